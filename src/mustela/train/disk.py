"""What a disk refuses, as one clear message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from mustela.errors import CheckpointError

# torch.save tells of a failed write by a plain RuntimeError with one of these words.
_OF_TORCH = ("PytorchStreamWriter", "inline_container", "unexpected pos")
_OF_SAFETENSORS = "I/O error"


@contextmanager
def clear_write_errors(path: Path, *, inside: Path | None = None) -> Iterator[None]:
    """Turn a failed write into one message.

    Args:
        path: the file or folder that is written.
        inside: folder of all that is written; errors about files elsewhere go through. By default, `path`.

    Raises:
        CheckpointError: the disk or the folder did not take it: full, without inodes, read-only.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None and not _is_about(str(error.filename), inside or path):
            raise
        raise _refused(path, error) from error
    except SafetensorError as error:
        if _OF_SAFETENSORS not in str(error):
            raise
        raise _refused(path, error) from error
    except RuntimeError as error:
        if not any(word in str(error) for word in _OF_TORCH):
            raise
        raise _refused(path, error) from error


def _is_about(name: str, path: Path) -> bool:
    """Say whether a file lies in a folder that is written, or on the way to it."""
    file, folder = Path(name).absolute(), path.absolute()
    return file.is_relative_to(folder) or folder.is_relative_to(file)


def _refused(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} can't be written: {error}. Checkpoints that are complete are untouched. Make room or the "
        "folder writable (df -h, df -i), then give the same command: it goes on behind the newest of them."
    )
