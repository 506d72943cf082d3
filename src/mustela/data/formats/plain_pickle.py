"""Reading pickles of plain data, and of nothing else: a pickle can name any function of the machine."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NoReturn

from mustela.errors import RecordError


class _PlainUnpickler(pickle.Unpickler):
    """Builds lists, tuples, dictionaries, sets, texts, numbers; refuses every name that would be imported."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to objects outside")


def load_plain_pickle(path: Path) -> Any:
    """Return the value of a pickle that holds plain data; texts of Python 2 are read as UTF-8.

    Raises:
        RecordError: the pickle names anything to import, which is never done; or it is broken.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="utf-8", errors="replace").load()
    except pickle.UnpicklingError as error:
        raise RecordError(
            f"{path}: not a pickle of plain data: {error}. A pickle that names code can run it, so it is"
            " refused; convert the file to JSON where you trust it."
        ) from error
    except OSError as error:
        raise RecordError(f"{path}: can't read the data file: {error.strerror or error}.") from error
    # A broken pickle can fail in any way that its opcodes can.
    except (EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError) as error:
        raise RecordError(f"{path}: a broken pickle: {error!r}.") from error
