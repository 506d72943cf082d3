"""Getting boxes and points out of any answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mustela.errors import RegionError
from mustela.regions.location_tokens import LocationRun, find_location_tokens
from mustela.regions.phrases import phrase_before
from mustela.regions.reading import Reading, Scale, read_box, read_point
from mustela.regions.tokens import OPENERS, Kind, Token, tokenise
from mustela.regions.types import Box, Point


@dataclass(frozen=True, slots=True)
class FoundRegion:
    """A box or point that an answer names.

    `region` is in pixels of the original image, inside it. `span` is the half-open range of characters of
    its numbers and brackets in the answer, `phrase` what it seems to belong to (the words before it, or the
    label of its JSON object). `repaired` says that the numbers were not used as written, and `note` in
    which way.
    """

    region: Box | Point
    span: tuple[int, int]
    phrase: str
    repaired: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A place of an answer (half-open range of characters) that looks like coordinates and isn't, and why."""

    span: tuple[int, int]
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """All regions of an answer in the order of its text, and what was rejected."""

    regions: tuple[FoundRegion, ...]
    rejected: tuple[Rejected, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes alone."""
        return tuple(found.region for found in self.regions if isinstance(found.region, Box))

    @property
    def failure(self) -> str | None:
        """Why there is no box, or None if there is one."""
        if self.boxes:
            return None
        if self.rejected:
            return "; ".join(rejected.reason for rejected in self.rejected)
        return "a point but no box" if self.regions else "no coordinates in the answer"


def find_regions(text: str, size_wh: tuple[float, float], *, scale: Scale = "bins") -> Found:
    """Return every box and point of an answer, in pixels of an image of `size_wh`.

    `scale` says what the numbers are: `"bins"` (0..999 of the image side), `"unit"` (0..1), `"pixels"` or
    `"tokens"` (`<loc0000>` to `<loc1023>`, y before x). Numbers of another kind are rejected where they show
    what they are, with a word on how to read them.

    Four numbers in brackets of any kind, `(x1, y1), (x2, y2)` and objects with the keys `x1 y1 x2 y2` are
    boxes, two numbers are a point; markup and JSON round them don't matter. Swapped corners are put right,
    numbers up to 5 % beyond the image are moved to its border, an unclosed bracket is closed, and the region
    says so. Numbers further out, that aren't finite, or of the wrong count are rejected with a reason.
    No text makes it raise, and the time is linear in its length; only a `size_wh` without area or an unknown
    `scale` is a `RegionError`.
    """
    if scale not in ("bins", "unit", "pixels", "tokens"):
        raise RegionError(f"scale is {scale!r}. It is 'bins', 'unit', 'pixels' or 'tokens'.")
    if not (size_wh[0] > 0 and size_wh[1] > 0):
        raise RegionError(f"answers can't be read without an image size above 0, got {tuple(size_wh)}.")
    runs = list(find_location_tokens(text, size_wh))
    if scale == "tokens":
        return _found_tokens(text, size_wh, runs)
    search = _Search(size_wh, scale)
    search.rejected += [
        Rejected(run.span, "location tokens; read the answer with scale 'tokens'") for run in runs
    ]
    tokens = list(tokenise(text))
    for token in tokens:
        search.take(token)
    search.finish()
    if not search.hits and not search.rejected:
        search.take_bare_numbers(tokens)
    search.rejected.sort(key=lambda rejected: rejected.span)
    return Found(tuple(_with_phrases(text, search.hits, search.rejected)), tuple(search.rejected))


def _found_tokens(text: str, size_wh: tuple[float, float], runs: Sequence[LocationRun]) -> Found:
    regions = tuple(
        FoundRegion(run.region, run.span, run.phrase, repaired=bool(run.note), note=run.note)
        for run in runs
        if run.region is not None
    )
    rejected = [Rejected(run.span, run.note) for run in runs if run.region is None]
    # Numbers in brackets are no location tokens, whatever they mean.
    numbers = find_regions(text, size_wh, scale="bins") if not runs else Found((), ())
    rejected += [
        Rejected(found.span, f"{text[slice(*found.span)]} has no location tokens; read the answer as numbers")
        for found in numbers.regions
    ]
    rejected += numbers.rejected
    return Found(regions, tuple(sorted(rejected, key=lambda one: one.span)))


@dataclass(slots=True)
class _Hit:
    reading: Reading
    span: tuple[int, int]
    label: str | None = None


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two numbers in brackets: a point, or one corner of a box, which only its neighbours can tell."""

    values: tuple[float, ...]
    written: tuple[str, ...]
    span: tuple[int, int]
    round_bracket: bool


@dataclass(slots=True)
class _Frame:
    """An open bracket and what has been seen inside it."""

    opener: str
    start: int
    first_hit: int
    key: str = ""
    numbers: list[Token] = field(default_factory=list)
    keyed: dict[str, Token] = field(default_factory=dict)
    pending_key: str = ""
    last_key: str = ""
    chain: list[_Pair] = field(default_factory=list)
    has_words: bool = False
    has_groups: bool = False
    label: str | None = None


_BOX_KEYS = (
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
)
_SIZED_KEYS = (("x", "y", "w", "h"), ("x", "y", "width", "height"))


class _Search:
    """One pass over the tokens with a stack of open brackets; nothing recurses."""

    def __init__(self, size_wh: tuple[float, float], scale: Scale) -> None:
        self.size_wh, self.scale = size_wh, scale
        self.hits: list[_Hit] = []
        self.rejected: list[Rejected] = []
        self.unlabelled: list[int] = []
        self.stack = [_Frame("", 0, 0)]

    def take(self, token: Token) -> None:
        frame = self.stack[-1]
        if token.kind is Kind.NUMBER:
            self._number(frame, token)
        elif token.kind is Kind.OPEN:
            self.stack.append(_Frame(token.text, token.start, len(self.hits), frame.last_key))
        elif token.kind is Kind.CLOSE:
            if len(self.stack) > 1:
                self._close(token)
        elif token.kind is Kind.KEY:
            self._end_chain(frame)
            frame.pending_key = frame.last_key = token.text
        elif token.kind is Kind.LABEL:
            self._end_chain(frame)
            frame.label, frame.last_key = token.text, ""
        elif token.kind is Kind.WORD:
            self._end_chain(frame)
            frame.has_words, frame.pending_key, frame.last_key = True, "", ""
        elif token.text in ";\uff1b":
            self._end_chain(frame)

    def finish(self) -> None:
        while len(self.stack) > 1:
            frame = self.stack.pop()
            end = frame.numbers[-1].end if frame.numbers else frame.start + len(frame.opener)
            if len(frame.numbers) == 4 and not frame.has_groups and not frame.keyed:
                self._box(frame.numbers, (frame.start, end), "bracket not closed")
            elif len(frame.numbers) > 2 and not frame.has_groups and not frame.has_words:
                self._reject_count(frame, end)
            else:
                self._end_chain(frame)
        self._end_chain(self.stack[0])

    def take_bare_numbers(self, tokens: Sequence[Token]) -> None:
        """Accept an answer that is nothing but four numbers."""
        numbers = [token for token in tokens if token.kind is Kind.NUMBER]
        if len(numbers) == 4 and all(token.kind in (Kind.NUMBER, Kind.COMMA) for token in tokens):
            self._box(numbers, (numbers[0].start, numbers[-1].end), "no brackets")

    def _number(self, frame: _Frame, token: Token) -> None:
        if frame.opener == "":
            self._end_chain(frame)
            return
        if frame.pending_key:
            frame.keyed.setdefault(frame.pending_key, token)
            frame.pending_key = ""
        elif not frame.has_words:
            glued = bool(frame.numbers) and frame.numbers[-1].end == token.start
            frame.has_words = glued  # as in 1990-2000 or 1.2.3: no list of numbers
            frame.numbers.append(token)

    def _close(self, token: Token) -> None:
        frame = self.stack.pop()
        parent = self.stack[-1]
        span = (frame.start, token.end)
        mismatched = (
            frame.opener in OPENERS and token.text in OPENERS.values() and OPENERS[frame.opener] != token.text
        )
        if frame.keyed and self._keyed(frame, span):
            self._end_chain(parent)
        elif frame.has_groups or frame.chain:
            if frame.chain and frame.numbers and not frame.has_words:
                self._reject(span, "numbers and brackets are mixed")
            else:
                self._end_chain(frame)
        elif frame.numbers and not frame.has_words:
            self._leaf(frame, parent, span, "brackets don't match" if mismatched else "")
        else:
            self._end_chain(parent)
        parent.has_groups = parent.has_groups or parent.opener != ""
        if frame.label is not None:
            self._label(frame)

    def _leaf(self, frame: _Frame, parent: _Frame, span: tuple[int, int], note: str) -> None:
        if len(frame.numbers) == 2:
            values = tuple(token.value for token in frame.numbers)
            written = tuple(token.text for token in frame.numbers)
            parent.chain.append(_Pair(values, written, span, frame.opener in "(\uff08"))
            return
        self._end_chain(parent)
        if len(frame.numbers) == 4:
            self._box(frame.numbers, span, note)
        elif len(frame.numbers) > 1:
            self._reject_count(frame, span[1])

    def _keyed(self, frame: _Frame, span: tuple[int, int]) -> bool:
        for names in _BOX_KEYS:
            if all(name in frame.keyed for name in names):
                self._box([frame.keyed[name] for name in names], span, "")
                return True
        for names in _SIZED_KEYS:
            if all(name in frame.keyed for name in names):
                self._sized_box([frame.keyed[name] for name in names], span)
                return True
        if "x" in frame.keyed and "y" in frame.keyed:
            x, y = frame.keyed["x"], frame.keyed["y"]
            self._points([_Pair((x.value, y.value), (x.text, y.text), span, False)])
            return True
        return False

    def _end_chain(self, frame: _Frame) -> None:
        """Decide what the pairs that stood side by side are."""
        chain = frame.chain
        if not chain:
            return
        frame.chain = []
        nested = frame.opener != ""
        points_meant = frame.key.startswith("point") or frame.last_key.startswith("point")
        corners = nested or all(pair.round_bracket for pair in chain)
        if len(chain) == 2 and corners and not points_meant:
            self._corners(chain[0], chain[1])
        elif len(chain) > 2 and len(chain) % 2 == 0 and corners and not points_meant and _ordered(chain):
            for first, second in zip(chain[::2], chain[1::2], strict=True):
                self._corners(first, second)
        else:
            self._points(chain)

    def _corners(self, first: _Pair, second: _Pair) -> None:
        reading = read_box(
            first.values + second.values, first.written + second.written, self.size_wh, self.scale
        )
        self._add(reading, (first.span[0], second.span[1]))

    def _points(self, chain: Sequence[_Pair]) -> None:
        """Add points; if one of a list is no point of the image, the list isn't one of points."""
        readings = [read_point(pair.values, pair.written, self.size_wh, self.scale) for pair in chain]
        failed = next((reading for reading in readings if isinstance(reading, str)), None)
        if failed is not None:
            self._reject((chain[0].span[0], chain[-1].span[1]), failed)
            return
        for reading, pair in zip(readings, chain, strict=True):
            self._add(reading, pair.span)

    def _box(self, numbers: Sequence[Token], span: tuple[int, int], note: str) -> None:
        values, written = tuple(t.value for t in numbers), tuple(t.text for t in numbers)
        self._add(read_box(values, written, self.size_wh, self.scale, note=note), span)

    def _sized_box(self, numbers: Sequence[Token], span: tuple[int, int]) -> None:
        x, y, width, height = (token.value for token in numbers)
        written = tuple(token.text for token in numbers)
        self._add(read_box((x, y, x + width, y + height), written, self.size_wh, self.scale), span)

    def _add(self, reading: Reading | str, span: tuple[int, int]) -> None:
        if isinstance(reading, str):
            self._reject(span, reading)
        else:
            self.unlabelled.append(len(self.hits))
            self.hits.append(_Hit(reading, span))

    def _label(self, frame: _Frame) -> None:
        while self.unlabelled and self.unlabelled[-1] >= frame.first_hit:
            self.hits[self.unlabelled.pop()].label = frame.label

    def _reject_count(self, frame: _Frame, end: int) -> None:
        count = len(frame.numbers)
        self._reject((frame.start, end), f"{count} numbers in brackets are neither a box (4) nor a point (2)")

    def _reject(self, span: tuple[int, int], reason: str) -> None:
        self.rejected.append(Rejected(span, reason))


def _ordered(chain: Sequence[_Pair]) -> bool:
    corners = zip(chain[::2], chain[1::2], strict=True)
    return all(a.values[0] < b.values[0] and a.values[1] < b.values[1] for a, b in corners)


def _with_phrases(text: str, hits: Sequence[_Hit], rejected: Sequence[Rejected]) -> list[FoundRegion]:
    found: list[FoundRegion] = []
    end_before, phrase = 0, ""
    places: list[_Hit | Rejected] = [*hits, *rejected]
    for place in sorted(places, key=lambda place: place.span):
        phrase_here = phrase_before(text[end_before : place.span[0]])
        phrase = phrase if phrase_here is None else phrase_here
        end_before = max(end_before, place.span[1])
        if isinstance(place, _Hit):
            label = phrase if place.label is None else place.label
            note = place.reading.note
            found.append(FoundRegion(place.reading.region, place.span, label, repaired=bool(note), note=note))
    return found
