"""Loading tokenizers; those with a sentencepiece model alone get the fast form that equals it.

Vicuna, LLaVA and Ferret ship only a `tokenizer.model`. transformers 5 makes a fast tokenizer of it whose
merges are in the order of the vocabulary, where sentencepiece merges by score, so that many texts get other
ids than in training.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils.hub import cached_file

from mustela.data.sentencepiece_model import (
    Piece,
    PieceKind,
    SentencePieceModel,
    read_sentencepiece,
)
from mustela.errors import CheckpointError

__all__ = ["load_tokenizer", "sentencepiece_only"]

logger = logging.getLogger(__name__)

_FAST = "tokenizer.json"
_MODEL = "tokenizer.model"
_SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")
_ADDED = "added_tokens.json"
_BLANK = "▁"
_told: set[Path] = set()


def load_tokenizer(name_or_path: str | Path, *, cache_dir: str | None = None) -> PreTrainedTokenizerFast:
    """Load a tokenizer from a folder or by name.

    Args:
        name_or_path: folder or name.
        cache_dir: where downloads go.

    Returns:
        What transformers loads; where there is only a sentencepiece model of the BPE kind, a fast tokenizer
        that equals sentencepiece, with the added tokens under the ids that the folder gives them.

    Raises:
        CheckpointError: the sentencepiece model can't be represented, or added tokens' ids have gaps.
    """
    place = sentencepiece_only(name_or_path, cache_dir=cache_dir)
    if place is not None:
        model = read_sentencepiece(place)
        if model.is_bpe:
            if place not in _told:
                _told.add(place)
                logger.warning(
                    "%s: there is no tokenizer.json; one was made whose merges follow the scores.", place
                )
            return _from_sentencepiece(model, place)
    loaded: Any = AutoTokenizer.from_pretrained(name_or_path, cache_dir=cache_dir)
    return loaded  # type: ignore[no-any-return]


def sentencepiece_only(name_or_path: str | Path, *, cache_dir: str | None = None) -> Path | None:
    """Return the `tokenizer.model` of a folder or name that has no `tokenizer.json`, else None."""
    folder = Path(name_or_path)
    if folder.is_dir():
        return folder / _MODEL if (folder / _MODEL).is_file() and not (folder / _FAST).is_file() else None
    if _download(name_or_path, _FAST, cache_dir=cache_dir) is not None:
        return None
    found = _download(name_or_path, _MODEL, cache_dir=cache_dir)
    if found is None:
        return None
    # They come to lie beside it, where they are read.
    for name in (*_SETTINGS, _ADDED):
        _download(name_or_path, name, cache_dir=cache_dir)
    return Path(found)


def _download(name: str | Path, file: str, *, cache_dir: str | None) -> str | None:
    """Return the place of a file of a name on the Hub; None where there is none or no connection."""
    kinds = ("missing_entries", "connection_errors")
    quiet: dict[str, Any] = {f"_raise_exceptions_for_{kind}": False for kind in kinds}
    return cached_file(str(name), file, cache_dir=cache_dir, **quiet)


def _from_sentencepiece(model: SentencePieceModel, place: Path) -> PreTrainedTokenizerFast:
    odd = next((p for p in model.pieces if p.kind in (PieceKind.USER_DEFINED, PieceKind.UNUSED)), None)
    if odd is not None:
        raise CheckpointError(
            f"{place}: piece {odd.text!r} is {odd.kind.name.lower().replace('_', '-')}, which merges alone "
            f"can't express. Put the model's own {_FAST} beside it."
        )
    settings = _settings(place.parent)
    control = [piece.text for piece in model.pieces if piece.kind == PieceKind.CONTROL]
    bos = _known(settings.get("bos_token"), model, control[0] if control else None)
    eos = _known(settings.get("eos_token"), model, control[1] if len(control) > 1 else None)
    unknown = model.first(PieceKind.UNKNOWN)
    raw = Tokenizer(
        models.BPE(
            vocab={piece.text: index for index, piece in enumerate(model.pieces)},
            merges=_merges(model.pieces),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=model.first(PieceKind.BYTE) is not None,
        )
    )
    # transformers before 4.34 put the blank in front of every piece between control tokens; files that ask
    # for the later way say `legacy: false`.
    every_piece = settings.get("legacy") is not False
    raw.normalizer = _normalizer(model, prefix=every_piece)
    if not every_piece:
        scheme = "first" if model.add_dummy_prefix else "never"
        raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    strip = [decoders.Strip(" ", 1, 0)] if model.add_dummy_prefix else []
    raw.decoder = decoders.Sequence(
        [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    ids = {piece.text: index for index, piece in enumerate(model.pieces)}
    begin = [bos] if bos is not None and settings.get("add_bos_token", True) else []
    end = [eos] if eos is not None and settings.get("add_eos_token", False) else []
    if begin or end:
        raw.post_processor = processors.TemplateProcessing(
            single=[*begin, "$A", *end], special_tokens=[(token, ids[token]) for token in {*begin, *end}]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=bos,
        eos_token=eos,
        unk_token=unknown,
        clean_up_tokenization_spaces=False,
        **{key: settings[key] for key in ("model_max_length", "chat_template") if settings.get(key)},
    )
    _add(tokenizer, place.parent, settings)
    pad = _content(settings.get("pad_token"))
    if pad is not None and pad in tokenizer.get_vocab():
        tokenizer.pad_token = pad
    tokenizer.name_or_path = str(place.parent)
    return tokenizer


def _merges(pieces: tuple[Piece, ...]) -> list[tuple[str, str]]:
    """List all pairs of pieces that make a piece, the best score first."""
    ids = {piece.text: index for index, piece in enumerate(pieces)}
    ranked = []
    for piece in pieces:
        if piece.kind != PieceKind.NORMAL:
            continue
        for cut in range(1, len(piece.text)):
            left, right = piece.text[:cut], piece.text[cut:]
            if left in ids and right in ids:
                ranked.append((-piece.score, ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(ranked)]


def _normalizer(model: SentencePieceModel, *, prefix: bool) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = []
    if model.charsmap:
        steps.append(normalizers.Precompiled(model.charsmap))
    if model.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if prefix:
        if model.add_dummy_prefix:
            steps.append(normalizers.Prepend(_BLANK))
        steps.append(normalizers.Replace(" ", _BLANK))
    return normalizers.Sequence(steps)


def _settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name in _SETTINGS:
        settings |= _read_json(folder / name)
    return settings


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from error
    return content


def _content(token: Any) -> str | None:
    """Return the text of a token that a file gives as text or as an object."""
    text = token.get("content") if isinstance(token, Mapping) else token
    return text or None


def _known(token: Any, model: SentencePieceModel, otherwise: str | None) -> str | None:
    text = _content(token)
    return text if any(piece.text == text for piece in model.pieces) else otherwise


def _add(tokenizer: PreTrainedTokenizerFast, folder: Path, settings: Mapping[str, Any]) -> None:
    """Add the tokens that a folder lists beside the pieces, under their ids."""
    first = len(tokenizer)
    for index, token in sorted(_added(folder, settings)):
        if index < first:
            continue
        tokenizer.add_tokens([token], special_tokens=token.special)
        got = tokenizer.convert_tokens_to_ids(token.content)
        if got != index:
            raise CheckpointError(
                f"{folder}: the added token {token.content!r} should have the id {index} but would get {got}:"
                f" added tokens must follow the {first} pieces without gaps. Correct added_tokens.json."
            )


def _added(folder: Path, settings: Mapping[str, Any]) -> Iterator[tuple[int, AddedToken]]:
    told: Mapping[str, Any] = settings.get("added_tokens_decoder") or {}
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    for index, token in told.items():
        yield int(index), AddedToken(token["content"], **{flag: bool(token.get(flag)) for flag in flags})
    for content, index in _read_json(folder / _ADDED).items():
        if str(index) not in told:
            # The tokenizers of that time swallowed the blanks round an added token.
            yield index, AddedToken(content, lstrip=True, rstrip=True, normalized=False, special=True)
