"""Arguments that commands on weights share: sizes of files and types of numbers."""

from __future__ import annotations

import argparse
import re
from typing import Final

__all__ = ["DTYPES", "byte_count"]

DTYPES: Final = ("float32", "bfloat16", "float16")
_UNITS: Final = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def byte_count(text: str) -> int:
    """Read a size such as `5GB` or `500MB` (powers of ten), for argparse."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?B?)", text.strip(), re.IGNORECASE)
    unit = _UNITS.get(match[2].upper()) if match is not None else None
    if match is None or unit is None or float(match[1]) * unit < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 5GB or 500MB")
    return int(float(match[1]) * unit)
