"""Getting boxes and points out of any answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from mustela.errors import RegionError
from mustela.regions.found import Found, FoundRegion, Rejected
from mustela.regions.location_tokens import LocationRun, find_location_tokens
from mustela.regions.phrases import phrase_before
from mustela.regions.reading import Scale
from mustela.regions.search import Hit, Search
from mustela.regions.tokens import tokenise


def find_regions(text: str, size_wh: tuple[float, float], *, scale: Scale = "bins") -> Found:
    """Return every box and point of an answer, in pixels of an image of `size_wh`.

    `scale` says what the numbers are: `"bins"` (0..999 of the image side), `"bins_yx"` (the same, y before
    x), `"unit"` (0..1), `"pixels"` or `"tokens"` (`<loc0000>` to `<loc1023>`, y before x). Numbers of another
    kind are rejected where they show what they are, with a word on how to read them.

    Four numbers in brackets of any kind, `(x1, y1), (x2, y2)` and objects with the keys `x1 y1 x2 y2` are
    boxes, two numbers are a point; markup and JSON round them don't matter. Swapped corners are put right,
    numbers up to 5 % beyond the image are moved to its border, an unclosed bracket is closed, and the region
    says so. Numbers further out, that aren't finite, or of the wrong count are rejected with a reason.
    No text makes it raise, and the time is linear in its length; only a `size_wh` without area or an unknown
    `scale` is a `RegionError`.
    """
    if scale not in get_args(Scale):
        raise RegionError(f"scale is {scale!r}. It is one of: {', '.join(get_args(Scale))}.")
    if not (size_wh[0] > 0 and size_wh[1] > 0):
        raise RegionError(f"answers can't be read without an image size above 0, got {tuple(size_wh)}.")
    runs = list(find_location_tokens(text, size_wh))
    if scale == "tokens":
        return _found_tokens(text, size_wh, runs)
    search = Search(size_wh, scale)
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


def _with_phrases(text: str, hits: Sequence[Hit], rejected: Sequence[Rejected]) -> list[FoundRegion]:
    found: list[FoundRegion] = []
    end_before, phrase = 0, ""
    places: list[Hit | Rejected] = [*hits, *rejected]
    for place in sorted(places, key=lambda place: place.span):
        phrase_here = phrase_before(text[end_before : place.span[0]])
        phrase = phrase if phrase_here is None else phrase_here
        end_before = max(end_before, place.span[1])
        if isinstance(place, Hit):
            label = phrase if place.label is None else place.label
            note = place.reading.note
            found.append(FoundRegion(place.reading.region, place.span, label, repaired=bool(note), note=note))
    return found
