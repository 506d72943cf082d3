"""Grouping millions of values by key without keeping them in memory."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Hashable
from types import TracebackType
from typing import Any


class Spool:
    """Values by key on disk; in memory are eight bytes a value and the keys.

    >>> with Spool() as spool:
    ...     spool.add(3, {"bbox": [1, 2, 3, 4]})
    ...     spool.get(3)
    [{'bbox': [1, 2, 3, 4]}]
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by __exit__
        self._offsets: dict[Hashable, array[int]] = {}

    def add(self, key: Hashable, value: object) -> None:
        """Keep a JSON value under a key, after those that are there."""
        offsets = self._offsets.setdefault(key, array("Q"))
        offsets.append(self._file.seek(0, 2))
        self._file.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")

    def get(self, key: Hashable) -> list[Any]:
        """Return the values of a key in the order in which they came."""
        found = []
        for offset in self._offsets.get(key, ()):
            self._file.seek(offset)
            found.append(json.loads(self._file.readline()))
        return found

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
