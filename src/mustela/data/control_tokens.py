"""Control tokens: which ids of a tokenizer act, and a twin that reads none of them from plain text."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mustela.data.prompt_text import Span
from mustela.errors import TemplateError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

__all__ = ["ControlTokens", "covered"]

_MARKUP = re.compile(r"[<\[].*[>\]]", re.DOTALL)
_LOCATION = re.compile(r"<loc\d{4}>")
_PRIVATE_USE = range(0xF0000, 0xFFFFE)


class ControlTokens:
    """The control tokens of a tokenizer, as it was when this was made.

    A control token is one that the tokenizer calls special, one of the tokens in `always`, or an added token
    that looks like markup (`<think>`, `[IMG]`, `<|call|>`). Other added tokens, such as runs of blanks or the
    words of a trade, are ordinary text, and so are location tokens (`<loc0123>`), which texts are to hold.

    Args:
        tokenizer: a fast tokenizer of transformers.
        always: tokens that are control tokens whatever the tokenizer calls them.

    Raises:
        TemplateError: the tokenizer has no fast implementation, hence no character offsets.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, always: Iterable[str]) -> None:
        if not tokenizer.is_fast:
            raise TemplateError(
                f"the tokenizer {type(tokenizer).__name__} gives no character offsets; load its fast version "
                "(AutoTokenizer with a tokenizer.json in the folder)"
            )
        chosen = set(always)
        added = tokenizer.added_tokens_decoder
        self.id_of: dict[str, int] = {
            token.content: index
            for index, token in added.items()
            if token.special
            or token.content in chosen
            or (_MARKUP.fullmatch(token.content) and not _LOCATION.fullmatch(token.content))
        }
        self.ids = frozenset(self.id_of.values())
        self.unknown: tuple[int | None, str | None] = (tokenizer.unk_token_id, tokenizer.unk_token)
        self.beginning = _beginning(tokenizer)
        self._backend: Tokenizer = tokenizer.backend_tokenizer
        self._ordinary = {token.content: index for index, token in added.items() if index not in self.ids}
        self._twin: tuple[int, Tokenizer, dict[int, int]] | None = None
        longest_first = sorted(self.id_of, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def any_misread(
        self, text: str, ids: Sequence[int], offsets: Sequence[Span], literals: Sequence[Span]
    ) -> bool:
        """Tell whether any control token was read from plain text."""
        unknown_id, unknown_text = self.unknown
        for position in [position for position, index in enumerate(ids) if index in self.ids]:
            core = _without_blanks(text, *offsets[position])
            # An unknown word becomes the unknown token, and rightly so; the text "<unk>" is a word too.
            if ids[position] == unknown_id and text[core[0] : core[1]] != unknown_text:
                continue
            if covered(core, literals):
                return True
        return False

    def encode_apart(
        self, text: str, *, literals: Sequence[Span], cuts: Sequence[int]
    ) -> tuple[list[int], list[Span]]:
        """Encode a text so that control tokens are read outside the literals only.

        The tokenizer's twin knows the control tokens under private names, and these stand in the text where
        a control token is meant; what a user typed is ordinary text to it.

        Args:
            text: the whole text.
            literals: spans of characters in which nothing is a control token, ascending and disjoint.
            cuts: characters before which a token has to end.

        Returns:
            Ids and their spans of characters in `text`.
        """
        marker = next(code for code in _PRIVATE_USE if chr(code) not in text)
        if self._twin is None or self._twin[0] != marker:
            self._twin = (marker, *self._make_twin(marker))
        _, twin, ids_back = self._twin
        disguise = _Disguise()
        replaced = sorted([*self._meant(text, literals), *((cut, cut, _CUT) for cut in cuts)])
        for start, end, name in replaced:
            disguise.keep(text, start)
            disguise.replace(_private(marker, name), end)
        disguise.keep(text, len(text))
        encoding = twin.encode(disguise.text(), add_special_tokens=False)
        cut_id = twin.token_to_id(_private(marker, _CUT))
        kept = [
            (ids_back.get(index, index), (disguise.starts[start], disguise.ends[end]))
            for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
            if index != cut_id
        ]
        return [index for index, _ in kept], [span for _, span in kept]

    def _meant(self, text: str, literals: Sequence[Span]) -> Iterable[tuple[int, int, str]]:
        if self._pattern is None:
            return
        position = 0
        for start, end in [*literals, (len(text), len(text))]:
            for match in self._pattern.finditer(text, position, start):
                yield match.start(), match.end(), match.group()
            position = end

    def _make_twin(self, marker: int) -> tuple[Tokenizer, dict[int, int]]:
        from tokenizers import Tokenizer

        data: dict[str, Any] = json.loads(self._backend.to_str())
        # The caller adds what begins a sequence; a post-processor would also trim blanks off the offsets.
        data.update(post_processor=None, truncation=None, padding=None)
        names = {content: _private(marker, content) for content in self.id_of}
        normalizer = self._backend.normalizer
        survives = normalizer is None or chr(marker) in normalizer.normalize_str(chr(marker))
        for token in data["added_tokens"]:
            if token["content"] in names:
                token["content"] = names[token["content"]]
                token["normalized"] = token["normalized"] and survives
        last = max((token["id"] for token in data["added_tokens"]), default=-1)
        plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        cut = {"id": last + 1, "content": _private(marker, _CUT), "special": True, **plain}
        data["added_tokens"].append(cut)
        _rename_in_model(data["model"], names)
        twin = Tokenizer.from_str(json.dumps(data, ensure_ascii=False))
        meant = {names[content]: index for content, index in self.id_of.items()} | self._ordinary
        twin_ids = {name: twin.token_to_id(name) for name in meant}
        return twin, {own: meant[name] for name, own in twin_ids.items() if own is not None}


_CUT = "cut"


def _private(marker: int, name: str) -> str:
    # The name's code points spelt out, so that no private name holds another control string.
    return chr(marker) + "".join(f"{ord(character):x}." for character in name) + chr(marker)


class _Disguise:
    """Text with pieces replaced, and for each of its characters where it lies in the original."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._position = 0
        self.starts: list[int] = []
        self.ends: list[int] = [0]

    def keep(self, text: str, end: int) -> None:
        self._pieces.append(text[self._position : end])
        self.starts.extend(range(self._position, end))
        self.ends.extend(range(self._position + 1, end + 1))
        self._position = max(self._position, end)

    def replace(self, piece: str, end: int) -> None:
        self._pieces.append(piece)
        self.starts.extend([self._position] * len(piece))
        self.ends.extend([end] * len(piece))
        self._position = end

    def text(self) -> str:
        self.starts.append(self._position)
        return "".join(self._pieces)


def _rename_in_model(model: dict[str, Any], names: dict[str, str]) -> None:
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    else:
        model["vocab"] = {names.get(piece, piece): index for piece, index in vocabulary.items()}
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        merges = model["merges"]
        pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in merges)
        model["merges"] = [
            pair for pair in pairs if not ({pair[0], pair[1], pair[0] + pair[1]} & names.keys())
        ]


def _beginning(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return the ids that the tokenizer puts in front of every text."""
    whole = list(tokenizer("a").input_ids)
    bare = list(tokenizer("a", add_special_tokens=False).input_ids)
    for index in range(len(whole) - len(bare) + 1):
        if bare and whole[index : index + len(bare)] == bare:
            return whole[:index]
    return whole[:1] if whole[:1] == [tokenizer.bos_token_id] else []


def _without_blanks(text: str, start: int, end: int) -> Span:
    # A token that takes the blanks beside it (lstrip, rstrip) has them in its span.
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def covered(span: Span, spans: Sequence[Span]) -> bool:
    """Tell whether any of the ascending, disjoint spans shares a character with this one."""
    index = bisect_right(spans, (span[1],)) - 1
    return index >= 0 and spans[index][0] < span[1] and span[0] < spans[index][1]
