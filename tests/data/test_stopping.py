from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mustela.data.stopping import StopMatcher, cut_at_stop


def _stream(pieces: list[str], stops: list[str]) -> tuple[str, list[str], bool]:
    matcher = StopMatcher(stops)
    out = [matcher.feed(piece) for piece in pieces]
    stopped = matcher.finished
    return "".join(out) + matcher.finish(), out, stopped


@pytest.mark.parametrize(
    ("pieces", "stops", "text"),
    [
        (["Hel", "lo#", "##", " x"], ["###"], "Hello"),
        (["It is 3#"], ["###"], "It is 3#"),
        (["It is 3#", "# or so"], ["###"], "It is 3## or so"),
        (["a</", "s", ">b"], ["</s>"], "a"),
        (["abc", "x"], ["abcd", "bc"], "a"),
        (["abc", "d"], ["abcd", "bc"], ""),
        (["####"], ["###"], ""),
        (["#", "#a##", "#"], ["###"], "##a"),
        (["as it is"], [], "as it is"),
        (["as it is"], [""], "as it is"),
    ],
)
def test_text_ends_at_the_first_stop_string(pieces: list[str], stops: list[str], text: str) -> None:
    assert _stream(pieces, stops)[0] == text


def test_nothing_that_later_proves_part_of_the_stop_is_given_out() -> None:
    _, out, stopped = _stream(["Hel", "lo#", "##", " x"], ["###"])
    assert out == ["Hel", "lo", "", ""]
    assert stopped


def test_each_row_of_a_batch_ends_by_itself() -> None:
    first, second = StopMatcher(["###"]), StopMatcher(["###"])
    for left, right in zip(["no", "###", "x"], ["It", " is", " on"], strict=True):
        first.feed(left)
        second.feed(right)
    assert first.finished
    assert not second.finished


@given(
    st.text("a#", max_size=30), st.lists(st.integers(0, 30)), st.lists(st.text("a#", min_size=1), max_size=3)
)
def test_pieces_do_not_matter(text: str, cuts: list[int], stops: list[str]) -> None:
    borders = sorted({0, len(text), *(cut for cut in cuts if cut <= len(text))})
    pieces = [text[start:end] for start, end in pairwise(borders)]
    assert _stream(pieces, stops)[0] == cut_at_stop(text, stops)
