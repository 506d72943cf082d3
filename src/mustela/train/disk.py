"""What a disk refuses, as one clear message."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from mustela.errors import CheckpointError

# torch.save tells of a failed write by a plain RuntimeError with one of these words.
_OF_TORCH = ("PytorchStreamWriter", "inline_container", "unexpected pos")
_OF_SAFETENSORS = "I/O error"
# Packages whose errors are OSErrors too, and about a network.
_OF_NETWORK = ("huggingface_hub", "httpx", "httpx2", "requests", "urllib3")
_FILE_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR)


@contextmanager
def clear_write_errors(path: Path, *, inside: Path | None = None) -> Iterator[None]:
    """Turn a failed write into one message.

    Args:
        path: the file or folder that is written.
        inside: folder of all that is written; errors about files elsewhere go through. By default, `path`.

    Raises:
        CheckpointError: the disk or the folder did not take it: full, without inodes, read-only; or the Hub
            can't be reached.
    """
    try:
        yield
    except OSError as error:
        if _is_network(error):
            raise _unreachable(error) from error
        if isinstance(error, ConnectionError | TimeoutError):
            raise
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


def _is_network(error: OSError) -> bool:
    return type(error).__module__.partition(".")[0] in _OF_NETWORK


def _unreachable(error: OSError) -> CheckpointError:
    reason = " ".join(str(error).split()).rstrip(".")
    return CheckpointError(
        f"The Hub can't be reached: {reason}. Leave out --push_to_hub (and upload the final folder "
        "later) or mend the connection, then give the same command: it goes on behind the newest checkpoint."
    )


def _refused(path: Path, error: Exception) -> CheckpointError:
    if isinstance(error, OSError) and error.errno in _FILE_IN_THE_WAY:
        return CheckpointError(
            f"{path} can't be written: {error}. A file is where a folder has to be. Move it away, or give "
            "another --output_dir."
        )
    return CheckpointError(
        f"{path} can't be written: {error}. Checkpoints that are complete are untouched. Make room or the "
        "folder writable (df -h, df -i), then give the same command: it goes on behind the newest of them."
    )
