"""Any Parquet file or Arrow folder of Hugging Face `datasets`, with a map of its columns.

    --columns image=image boxes=objects.bbox names=objects.category --box_format xywh

| column | what |
| image | a path, or the picture itself (`{"bytes": ..., "path": ...}`) |
| id, width, height | as they say; rows without an id are counted |
| boxes, names | a list of boxes and one name each; numbers become the names that the table's schema has |
| phrases | one expression a box |
| caption | a sentence, or a list |
| question, answer | texts, or lists of as many: a conversation |

A column that has one of these names needs no map. Rows with `conversations` or `messages` are read like JSON
of that kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mustela.constants import IMAGE_PLACEHOLDER
from mustela.data.check_boxes import check_box_format
from mustela.data.formats import chat
from mustela.data.formats.embedded import keep_picture, size_of
from mustela.data.formats.peek import Peek
from mustela.data.formats.records import convert
from mustela.data.formats.scene import Caption, Scene, Thing, box_region
from mustela.data.formats.source import Format, Found, Source
from mustela.data.formats.tables import class_names, table_rows
from mustela.errors import ConfigError, RecordError

COLUMNS = (
    "image", "id", "width", "height", "boxes", "names", "phrases", "caption", "question", "answer",
    "conversations", "messages", "regions", "box_x1y1x2y2", "masks", "images",
)  # fmt: skip


def _recognise(look: Peek) -> str | None:
    tables = look.of("parquet", "arrow")
    if tables:
        return f"a table with the columns {', '.join(tables[0].columns[:8])}"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene, or a native record where there are questions and answers, for each row."""
    unknown = sorted(set(source.columns) - set(COLUMNS))
    if unknown:
        raise ConfigError(f"columns: unknown {', '.join(unknown)}. Known: {', '.join(COLUMNS)}.")
    classes = class_names(source.path)
    for number, (file, line, row) in enumerate(table_rows(source.path)):
        if number == 0:
            _check_columns(row, source)

        def of_row(row: Mapping[str, Any], source: Source, number: int = number) -> Iterator[Found]:
            return _found(_values(row, source, number), source, classes)

        yield from convert(row, of_row, source, file=file, line=line)


def _values(row: Mapping[str, Any], source: Source, number: int) -> dict[str, Any]:
    """Return what a row has for the names of `COLUMNS`."""
    columns = {name: source.columns.get(name, name) for name in COLUMNS}
    values = {name: _value(row, column) for name, column in columns.items() if column.split(".")[0] in row}
    if "question" in values and "answer" in values and None in (values["question"], values["answer"]):
        empty = "question" if values["question"] is None else "answer"
        other = "answer" if empty == "question" else "question"
        if values[other] is not None:
            raise RecordError(f"{empty} is null. Give it a text or remove the row")
    return {"id": number, **{name: value for name, value in values.items() if value is not None}}


def _check_columns(row: Mapping[str, Any], source: Source) -> None:
    for name, column in source.columns.items():
        if column.split(".")[0] not in row:
            raise ConfigError(f"{source.path}: no column {column!r} for {name}. It has: {', '.join(row)}.")
    if not any(
        source.columns.get(name, name) in row for name in ("image", "images", "messages", "conversations")
    ):
        raise ConfigError(
            f"{source.path}: no column for the image. It has: {', '.join(row)}."
            " Say which with --columns image=NAME."
        )


def _value(row: Mapping[str, Any], column: str) -> Any:
    """Return a value by its name; dots lead into structures, and through lists of them."""
    value: Any = row
    for part in column.split("."):
        if isinstance(value, list):
            value = [_member(entry, part, column) for entry in value]
        elif value is not None:
            value = _member(value, part, column)
    return value


def _member(value: Any, part: str, column: str) -> Any:
    if isinstance(value, Mapping) and part in value:
        return value[part]
    known = ", ".join(value) if isinstance(value, Mapping) else "none"
    raise RecordError(f"no column {column!r}: there is no {part!r}. There are: {known}. Correct --columns")


def _found(value: Mapping[str, Any], source: Source, classes: Mapping[str, list[str]]) -> Iterator[Found]:
    if "messages" in value:
        yield from chat.to_native(value, source)
        return
    pictures: dict[str, bytes] = {}
    image = keep_picture(value["image"], str(value["id"]), pictures)
    width, height = value.get("width"), value.get("height")
    size = (int(width), int(height)) if width and height else None
    if size is None and image in pictures:
        size = size_of(pictures[image])
    if "conversations" in value:
        native = {
            key: value[key] for key in ("conversations", "regions", "box_x1y1x2y2", "masks") if value.get(key)
        }
        yield Found({"id": str(value["id"]), "image": image, **native}, pictures=pictures)
    elif "question" in value and "answer" in value:
        yield Found(_conversation(value, image), pictures=pictures)
    else:
        captions = value.get("caption") or []
        captions = [captions] if isinstance(captions, str) else captions
        things = _things(value, source, classes, size, image)
        scene = Scene(str(value["id"]), image, size, things, tuple(Caption(str(text)) for text in captions))
        yield Found(scene, pictures=pictures)


def _conversation(value: Mapping[str, Any], image: str) -> dict[str, Any]:
    questions, answers = (
        [value[key]] if isinstance(value[key], str) else list(value[key]) for key in ("question", "answer")
    )
    if len(questions) != len(answers):
        raise RecordError(f"{len(questions)} questions but {len(answers)} answers")
    turns = []
    for question, answer in zip(questions, answers, strict=True):
        turns += [{"from": "human", "value": str(question)}, {"from": "gpt", "value": str(answer)}]
    if turns and IMAGE_PLACEHOLDER not in turns[0]["value"]:
        turns[0]["value"] = f"{IMAGE_PLACEHOLDER}\n{turns[0]['value']}"
    return {"id": str(value["id"]), "image": image, "conversations": turns}


def _things(
    value: Mapping[str, Any],
    source: Source,
    classes: Mapping[str, list[str]],
    size: tuple[int, int] | None,
    image: str,
) -> tuple[Thing, ...]:
    boxes: Sequence[Any] = value.get("boxes") or []
    if boxes and source.box_format is None:
        raise RecordError("boxes of unknown convention; say --box_format xyxy, xywh, norm1 or norm1000")
    names = value.get("names") or [""] * len(boxes)
    phrases = value.get("phrases") or [None] * len(boxes)
    if not len(boxes) == len(names) == len(phrases):
        raise RecordError(f"{len(boxes)} boxes, {len(names)} names, {len(phrases)} phrases")
    known = classes.get(source.columns.get("names", "names"), [])
    return tuple(
        Thing(
            _name(name, known),
            _region(box, source, size, image),
            phrases=(str(phrase),) if phrase else (),
        )
        for box, name, phrase in zip(boxes, names, phrases, strict=True)
    )


def _name(name: Any, known: Sequence[str]) -> str:
    """Return the name of an object; -1 is how `datasets` writes that there is none."""
    if isinstance(name, str):
        return name
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    if not isinstance(name, int) or isinstance(name, bool):
        raise RecordError(
            f"names has {name!r}. It takes texts, or numbers of the names in the table's schema"
        )
    if not known:
        raise RecordError(
            f"names has the number {name}, but the table's schema has no names. Write them as texts"
        )
    if name == -1:
        return ""
    if not 0 <= name < len(known):
        raise RecordError(
            f"names has {name}, but the schema's names are numbered 0 to {len(known) - 1}. Correct it"
        )
    return known[name]


def _region(box: Sequence[float], source: Source, size: tuple[int, int] | None, image: str) -> dict[str, Any]:
    check_box_format(source.box_format or "")
    x1, y1, x2, y2 = (float(number) for number in box)
    if source.box_format == "xywh":
        return box_region(x1, y1, x1 + x2, y1 + y2)
    if source.box_format == "xyxy":
        return box_region(x1, y1, x2, y2)
    width, height = size or source.picture_size(image)
    side = 1 if source.box_format == "norm1" else 1000
    return box_region(x1 * width / side, y1 * height / side, x2 * width / side, y2 * height / side)


TABLE = Format(
    "table", "Parquet and Arrow tables (Hugging Face datasets)", "annotations", _recognise, read, folders=True
)
