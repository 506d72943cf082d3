"""The search for coordinates among the tokens of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mustela.regions.found import Rejected
from mustela.regions.reading import Reading, Scale, read_box, read_point
from mustela.regions.tokens import OPENERS, Kind, Token


@dataclass(slots=True)
class Hit:
    """A reading of coordinates, where it stands, and the label of its JSON object."""

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
# Keys whose makers agree on an order: Gemini and Gemma on one, Qwen on the other.
_OTHER_ORDER: dict[Scale, tuple[str, str]] = {
    "bins": ("box_2d", "y before x; read the answer with scale 'bins_yx'"),
    "bins_yx": ("bbox_2d", "x before y; read the answer with scale 'bins'"),
}


class Search:
    """One pass over the tokens with a stack of open brackets; nothing recurses."""

    def __init__(self, size_wh: tuple[float, float], scale: Scale) -> None:
        self.size_wh, self.scale = size_wh, scale
        self.hits: list[Hit] = []
        self.rejected: list[Rejected] = []
        self.unlabelled: list[int] = []
        self.stack = [_Frame("", 0, 0)]

    def take(self, token: Token) -> None:
        """Go on by one token."""
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
        """Decide what the brackets are that nobody closed."""
        while len(self.stack) > 1:
            frame = self.stack.pop()
            end = frame.numbers[-1].end if frame.numbers else frame.start + len(frame.opener)
            if len(frame.numbers) == 4 and not frame.has_groups and not frame.keyed:
                self._box(self._x_first(frame.numbers), (frame.start, end), "bracket not closed")
            elif len(frame.numbers) > 2 and not frame.has_groups and not frame.has_words:
                self._reject_count(frame, end)
            else:
                self._end_chain(frame)
        self._end_chain(self.stack[0])

    def take_bare_numbers(self, tokens: Sequence[Token]) -> None:
        """Accept an answer that is nothing but four numbers."""
        numbers = [token for token in tokens if token.kind is Kind.NUMBER]
        if len(numbers) == 4 and all(token.kind in (Kind.NUMBER, Kind.COMMA) for token in tokens):
            span = (numbers[0].start, numbers[-1].end)
            self._box(self._x_first(numbers), span, "no brackets")

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
        numbers = self._x_first(frame.numbers)
        if len(numbers) == 2:
            values = tuple(token.value for token in numbers)
            written = tuple(token.text for token in numbers)
            parent.chain.append(_Pair(values, written, span, frame.opener in "(\uff08"))
            return
        self._end_chain(parent)
        wrong_key, other = _OTHER_ORDER.get(self.scale, ("", ""))
        if len(numbers) == 4 and wrong_key and frame.key == wrong_key:
            self._reject(span, f"{wrong_key} has {other}")
        elif len(numbers) == 4:
            self._box(numbers, span, note)
        elif len(numbers) > 1:
            self._reject_count(frame, span[1])

    def _x_first(self, numbers: Sequence[Token]) -> Sequence[Token]:
        """Return numbers that no key names with x before y."""
        if self.scale != "bins_yx" or len(numbers) % 2:
            return numbers
        return [token for y, x in zip(numbers[::2], numbers[1::2], strict=True) for token in (x, y)]

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
            self.hits.append(Hit(reading, span))

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
    return all(a.values[0] <= b.values[0] and a.values[1] <= b.values[1] for a, b in corners)
