"""A sentencepiece model file as pieces, scores and the rules of its normaliser.

The file is a protocol buffer (sentencepiece_model.proto of google/sentencepiece). Few of its fields matter
here, so they are read as they lie, which needs no protobuf package.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from mustela.errors import CheckpointError

__all__ = ["Piece", "PieceKind", "SentencePieceModel", "read_sentencepiece"]


class PieceKind(IntEnum):
    """What a piece is, numbered as in the file."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """One piece of the vocabulary; its id is its place."""

    text: str
    score: float
    kind: PieceKind


@dataclass(frozen=True)
class SentencePieceModel:
    """What a sentencepiece model file says.

    Attributes:
        pieces: the vocabulary by id.
        is_bpe: merges by score; otherwise another algorithm (unigram, words, characters).
        charsmap: compiled table of the normaliser; empty for none.
        add_dummy_prefix: a blank is put in front of every text.
        remove_extra_whitespaces: runs of blanks become one, those at the ends go.
    """

    pieces: tuple[Piece, ...]
    is_bpe: bool
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool

    def first(self, kind: PieceKind) -> str | None:
        """Return the first piece of a kind."""
        return next((piece.text for piece in self.pieces if piece.kind == kind), None)


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a `tokenizer.model`.

    Raises:
        CheckpointError: it can't be read as one.
    """
    try:
        content = path.read_bytes()
        pieces: list[Piece] = []
        trainer: dict[int, int | bytes] = {}
        normalizer: dict[int, int | bytes] = {}
        for number, value in _fields(content):
            if number == 1 and isinstance(value, bytes):
                pieces.append(_piece(dict(_fields(value))))
            elif number == 2 and isinstance(value, bytes):
                trainer = dict(_fields(value))
            elif number == 3 and isinstance(value, bytes):
                normalizer = dict(_fields(value))
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise CheckpointError(f"{path} is not a readable sentencepiece model: {error}") from error
    if not pieces:
        raise CheckpointError(f"{path} is not a sentencepiece model: it has no pieces.")
    charsmap = normalizer.get(2, b"")
    return SentencePieceModel(
        pieces=tuple(pieces),
        is_bpe=trainer.get(3, 1) == 2,
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
    )


def _piece(values: dict[int, int | bytes]) -> Piece:
    text, score, kind = values.get(1, b""), values.get(2, bytes(4)), values.get(3, 1)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or isinstance(kind, bytes):
        raise ValueError("a piece has fields of other types")  # noqa: TRY004 - the file is wrong, not a caller
    return Piece(text.decode("utf-8"), struct.unpack("<f", score)[0], PieceKind(kind))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Go through the fields of a protocol-buffer message: number, and a number or the bytes of the rest."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        wire = key & 7
        if wire == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if wire == 2:
            size, place = _varint(message, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")
        if place + size > len(message):
            raise ValueError("the file ends too early")
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place
