"""YOLO: a text file for each picture, a line for each object, all numbers shares of the picture's sides.

    0 0.5 0.4 0.25 0.3            class, centre x, centre y, width, height
    0 0.1 0.1 0.6 0.1 0.6 0.7     class, then the corners of an outline

The names of the classes are in a classes.txt or obj.names with one a line, in the `names` of a YAML file (a
list, or numbers to names), or in another text file that is neither a picture's nor a README. A picture lies
beside its text file, or in a folder of the same shape with "images" in the place of "labels". `split` is the
part of a path, such as `train` in `labels/train/a.txt`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from mustela.data.formats.peek import Peek
from mustela.data.formats.scene import Scene, Thing, box_region, polygon_region
from mustela.data.formats.source import Format, Found, Source
from mustela.errors import RecordError

_LINE = re.compile(r"\s*\d+(?:\s+[-+.\deE]+){4,}\s*")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_NAME_FILES = ("classes.txt", "obj.names")
_NO_NAMES = ("readme", "license", "licence")


def _recognise(peek: Peek) -> str | None:
    for look in peek.of("text") if peek.kind == "folder" else ():
        lines = [line for line in look.text.splitlines() if line.strip()]
        if lines and all(_LINE.fullmatch(line) for line in lines[:20]):
            return "text files whose lines are a class number and at least four shares, as in YOLO"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each text file of objects."""
    if not source.path.is_dir():
        raise RecordError(f"{source.path}: for YOLO, name the folder that holds the text files.")
    pictures = {file.with_suffix("").as_posix(): file for file in _pictures(source)}
    names = _names(source, pictures)
    for file in sorted(source.path.rglob("*.txt")):
        if source.split is not None and source.split not in file.relative_to(source.path).parts[:-1]:
            continue
        picture = _picture_of(file, source, pictures)
        try:
            lines = _lines(file)
        except RecordError as error:
            if picture is not None or not file.stem.lower().startswith(_NO_NAMES):
                yield Found(file=str(file), fault=str(error))
            continue
        if picture is None:
            # Others are the names of the classes, a list of pictures, a licence.
            written = [line for line in lines if line.strip()]
            if not written or any(_LINE.fullmatch(line) for line in written):
                looked = source.images or source.path
                yield Found(file=str(file), fault=f"no picture for {file.name}; looked in {looked}")
            continue
        root = source.images or source.path
        image = picture.relative_to(root).as_posix()
        yield from _scene(file, lines, image, source, names)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise RecordError(f"{file}: not UTF-8: {error}. Save the file as UTF-8.") from error


def _scene(
    file: Path, lines: Sequence[str], image: str, source: Source, names: Sequence[str]
) -> Iterator[Found]:
    try:
        size = source.picture_size(image)
    except RecordError as error:
        yield Found(file=str(file), fault=str(error))
        return
    things = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        thing = _thing(line, size, names)
        if isinstance(thing, str):
            yield Found(file=str(file), line=number, fault=thing)
        else:
            things.append(thing)
    yield Found(Scene(Path(image).with_suffix("").as_posix(), image, size, tuple(things)), str(file), 1)


def _thing(line: str, size_wh: tuple[int, int], names: Sequence[str]) -> Thing | str:
    words = line.split()
    try:
        number, shares = int(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        return f"{line.strip()!r} is not a class number and shares of the sides"
    if not all(math.isfinite(share) and -0.5 <= share <= 1.5 for share in shares):
        return f"{line.strip()!r} has numbers that are no shares from 0 to 1"
    if not 0 <= number < len(names):
        return (
            f"class {number} has no name; the names are numbered 0 to {len(names) - 1}."
            " Correct the number or add the name"
        )
    pixels = [share * size_wh[axis % 2] for axis, share in enumerate(shares)]
    if len(pixels) in (4, 5):  # five: the last is a confidence
        x, y, width, height = pixels[:4]
        return Thing(names[number], box_region(x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    if len(pixels) < 6 or len(pixels) % 2:
        return f"{line.strip()!r} has {len(pixels)} numbers after the class; a box has 4, an outline pairs"
    return Thing(names[number], polygon_region(pixels))


def _names(source: Source, pictures: dict[str, Path]) -> list[str]:
    """Return the names of the classes by number."""
    folder = source.path
    # A folder's own names go before those that lie beside it.
    for find in (folder.rglob, folder.parent.glob):
        for file in [file for pattern in _NAME_FILES for file in sorted(find(pattern))]:
            lines = [line.strip() for line in _lines(file) if line.strip()]
            if lines and _picture_of(file, source, pictures) is None:
                return lines
        for file in sorted([*find("*.yaml"), *find("*.yml")]):
            from_yaml = _yaml_names(file)
            if from_yaml is not None:
                return from_yaml
    for file in [*sorted(folder.rglob("*.txt")), *sorted(folder.parent.glob("*.txt"))]:
        if _belongs_elsewhere(file, source, pictures):
            continue
        lines = [line.strip() for line in _lines(file) if line.strip()]
        one_word_lines = lines and not any(_LINE.fullmatch(line) or "/" in line for line in lines)
        if one_word_lines and not any(line.lower().endswith(_PICTURES) for line in lines):
            return lines
    raise RecordError(
        f"{folder}: no names of the classes. Put them into a classes.txt, one a line, or into the `names`"
        " of a YAML file."
    )


def _belongs_elsewhere(file: Path, source: Source, pictures: dict[str, Path]) -> bool:
    return file.stem.lower().startswith(_NO_NAMES) or _picture_of(file, source, pictures) is not None


def _yaml_names(file: Path) -> list[str] | None:
    """Return the `names` of a YAML file, None if it has none."""
    try:
        found = yaml.safe_load("\n".join(_lines(file)))
    except yaml.YAMLError as error:
        raise RecordError(f"{file}: not YAML: {error}.") from error
    if not isinstance(found, dict) or "names" not in found:
        return None
    names = found["names"]
    if isinstance(names, list) and names:
        return [str(name) for name in names]
    try:
        by_number = {int(number): str(name) for number, name in names.items()}
        return [by_number.get(number, f"class {number}") for number in range(max(by_number) + 1)]
    except (AttributeError, TypeError, ValueError) as error:
        raise RecordError(
            f"{file}: `names` is {names!r}. Make it a list of the names, or numbers from 0 to names, such as"
            " {0: dog}."
        ) from error


def _pictures(source: Source) -> Iterator[Path]:
    root = source.images or source.path
    return (file for file in sorted(root.rglob("*")) if file.suffix.lower() in _PICTURES)


def _picture_of(file: Path, source: Source, pictures: dict[str, Path]) -> Path | None:
    base = source.path if file.is_relative_to(source.path) else file.parent
    stem = file.relative_to(base).with_suffix("")
    root = source.images or source.path
    parts = stem.parts
    candidates = [stem, Path(*["images" if part == "labels" else part for part in parts]), Path(stem.name)]
    if "labels" in parts:
        candidates.append(Path(*parts[parts.index("labels") + 1 :]))
    for candidate in candidates:
        found = pictures.get((root / candidate).as_posix())
        if found is not None:
            return found
    return None


YOLO = Format("yolo", "YOLO text (boxes and outlines)", "annotations", _recognise, read, folders=True)
