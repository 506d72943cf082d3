"""Reading short answers: the text that counts as the same, and yes or no."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

_ARTICLES = frozenset({"a", "an", "the"})
_OPENINGS = re.compile(r"^(?:it is|it s|its|this is|that is|that s|thats|they are|these are)\b ?")
_JOINERS = frozenset("-/\u2010\u2011\u2012\u2013\u2014_")
# A "no" that is followed by neither of these starts a name ("no entry sign"), not an answer.
_NO = re.compile(r"(?:no|nope)(?:$|\s*[.,;:!?\u3002\uff0c]|\s+(?:there|it|this|that|they|i|he|she|we)\b)")
_YES = re.compile(r"(?:yes|yeah|yep)\b")


def normalise_answer(text: str) -> str:
    """Return `text` as compared by the normalised match.

    Compatibility forms of Unicode, case folded, punctuation dropped (hyphens and slashes become blanks), a
    leading "it is" or "this is" dropped, the articles a, an and the dropped, blanks collapsed. An answer that
    consists of articles only ("A" in a multiple choice) keeps them.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(_plain(character) for character in folded)
    words = _OPENINGS.sub("", " ".join(kept.split())).split()
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def _plain(character: str) -> str:
    if character in _JOINERS:
        return " "
    return "" if unicodedata.category(character).startswith("P") else character


def yes_or_no(text: str) -> Literal["yes", "no"] | None:
    """Return what an answer says when it begins with yes or no, otherwise None.

    "Yes, there is no doubt." is yes, "NO" is no, "No entry sign" and "Not visible" are neither.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().lstrip(" \t\r\n\"'*`([")
    if _YES.match(folded):
        return "yes"
    return "no" if _NO.match(folded) else None
