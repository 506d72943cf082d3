"""What a disk refuses, as one clear message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from mustela.errors import CheckpointError

# torch.save tells of a failed write by a plain RuntimeError with one of these words.
_WRITERS = ("PytorchStreamWriter", "inline_container", "unexpected pos")


@contextmanager
def clear_write_errors(path: Path) -> Iterator[None]:
    """Turn a failed write into one message.

    Args:
        path: what was going to be written.

    Raises:
        CheckpointError: the disk or the folder did not take it: full, without inodes, read-only.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise _refused(path, error) from error
    except RuntimeError as error:
        if not any(word in str(error) for word in _WRITERS):
            raise
        raise _refused(path, error) from error


def _refused(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} can't be written: {error}. Checkpoints before it are untouched. Make room or the folder "
        "writable (df -h, df -i), then give the same command: it goes on behind the newest of them."
    )
