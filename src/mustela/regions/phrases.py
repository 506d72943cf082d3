"""Finding the words of an answer that a region belongs to."""

from __future__ import annotations

import re

# Escapes stand for the full-width marks and dashes: 3002 ff01 ff1f ff1b ff0c ff1a 3001, 2013 2014.
_MARKUP = re.compile(r"<[/|]{0,2}[A-Za-z_]{1,24}[/|]{0,2}>")
_SENTENCE_END = re.compile(r"[.!?;\u3002\uff01\uff1f\uff1b][\s\"')]|[\n\u3002\uff01\uff1f\uff1b]")
_EDGES = " \t\r\n,.:;\u3001\uff0c\uff1a\"'`*-\u2013\u2014_{}[]()<>=|"
_JOINING = re.compile(r"(?:and|or|\u548c)?\Z", re.IGNORECASE)
_JSON_KEY = re.compile(r"(?:bbox|box|point)[a-z0-9_]{0,20}\Z", re.IGNORECASE)
_OPEN_KEY = re.compile(
    r"[{\[\s]*\{\s{0,9}[\"']?(?:bbox|box|point)[a-z0-9_]{0,20}[\"']?\s{0,9}:\s{0,9}\Z", re.IGNORECASE
)
_LEADING_JOIN = re.compile(r"(?:and|or|then)\s", re.IGNORECASE)


def phrase_before(between: str) -> str | None:
    """Return the words that lead up to a region, or None if they only join it to the region before."""
    between = _OPEN_KEY.sub(" ", _MARKUP.sub(" ", between))
    stripped = between.strip(_EDGES)
    if _JOINING.match(stripped):
        return None
    last = 0
    for mark in _SENTENCE_END.finditer(between.rstrip(_EDGES)):
        last = mark.end()
    phrase = between[last:].strip(_EDGES)
    if _JSON_KEY.match(phrase):
        return ""
    phrase = _LEADING_JOIN.sub("", phrase, count=1) if _LEADING_JOIN.match(phrase) else phrase
    return " ".join(phrase.split())
