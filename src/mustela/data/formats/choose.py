"""Which format a data file for training is in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mustela.data.formats import FORMATS, Recognised, get_format, recognise
from mustela.data.formats.native_json import FERRET
from mustela.errors import RecordError

AUTO: Final = "auto"


def choose_format(path: str | Path, name: str) -> Recognised:
    """Return the format of a file of conversations.

    A file that looks like none is read as Ferret's JSON, whose faults say what is wrong with it.

    Args:
        path: the file.
        name: a format, or `auto` to look into the file.

    Raises:
        ConfigError: an unknown name.
        RecordError: the file can't be read, or holds annotations; says how to make conversations of them.
    """
    found = choose_stream(path, name)
    if found.format is FORMATS["webdataset"]:
        raise RecordError(
            f"{found.because} Training takes conversations and pictures out of one file with --streaming True"
            f" only. Otherwise take them apart: mustela data convert --from {found.format.name} --annotations"
            f" {path} --out train.json"
        )
    return found


def choose_stream(path: str | Path, name: str) -> Recognised:
    """Return the format of what is read in one pass: conversations, also with their pictures inside.

    Args and errors are those of `choose_format`.
    """
    if name != AUTO:
        found = Recognised(
            get_format(name), f"{path} is read as {get_format(name).title}: data_format says so."
        )
    else:
        try:
            found = recognise(path)
        except RecordError:
            if Path(path).is_dir() or not Path(path).exists():
                raise
            found = Recognised(FERRET, f"{path} is read as {FERRET.title}, as it looks like nothing else.")
    if found.format.gives == "annotations":
        raise _to_convert(found, path, "annotations")
    return found


def _to_convert(found: Recognised, path: str | Path, inside: str) -> RecordError:
    return RecordError(
        f"{found.because} It holds {inside}; training reads conversations. Make some:"
        f" mustela data convert --from {found.format.name} --annotations {path} --out train.json"
    )
