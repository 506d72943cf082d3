"""Low-rank adapters through peft, put into a model in place."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import nn

from mustela.errors import CheckpointError, ConfigError
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.parts import part_of

DEFAULT_NAME = "default"
LoraInit = Literal["default", "pissa", "pissa_fast"]

_INIT: Mapping[LoraInit, bool | str] = {"default": True, "pissa": "pissa", "pissa_fast": "pissa_niter_16"}
_KINDS = "lora_A|lora_B|lora_magnitude_vector|trainable_tokens_delta"


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters of a model.

    Attributes:
        r: rank.
        alpha: scale; the adapters' output is multiplied by alpha / r, with rslora by alpha / sqrt(r).
        dropout: in front of the adapters, in training.
        dora: learn the length of each weight column by itself (Liu et al. 2024).
        rslora: scale by the square root of the rank (Kalajdzievski 2023).
        targets: full names of the linear layers that get adapters.
        rows: tokens whose embeddings learn, each by itself.
    """

    r: int
    alpha: float
    dropout: float
    dora: bool
    rslora: bool
    targets: tuple[str, ...]
    rows: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> LoraSettings:
        """Read what `to_json` wrote."""
        return cls(**{**content, "targets": tuple(content["targets"]), "rows": tuple(content["rows"])})

    @property
    def scaling(self) -> float:
        """Factor of the adapters' output."""
        return float(self.alpha / (self.r**0.5 if self.rslora else self.r))


def choose_targets(model: MustelaForConditionalGeneration, patterns: Sequence[str] = ()) -> tuple[str, ...]:
    """List the linear layers that get adapters.

    Args:
        model: without adapters.
        patterns: regular expressions. A layer of the language model is taken if one matches the end of its
            name, behind a dot (`q_proj`); a layer of another part only if one matches its whole name
            (`base\\.model\\.vision_tower\\..*q_proj`). None: all layers of the language model.

    Raises:
        ConfigError: a pattern is no regular expression or matches nothing.
    """
    head = model.get_output_embeddings()
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    heads = {name for name, module in model.named_modules() if module is head}
    language = [name for name in layers if part_of(f"{name}.") == "language_model" and name not in heads]
    if not patterns:
        return tuple(language)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        try:
            end, whole = re.compile(rf"(?:.*\.)?(?:{pattern})"), re.compile(pattern)
        except re.error as error:
            raise ConfigError(
                f"lora_target_modules: {pattern!r} is no regular expression ({error})."
            ) from None
        inside = set(language)
        found = [name for name in layers if (end if name in inside else whole).fullmatch(name)]
        if not found:
            if any(end.fullmatch(name) for name in heads):
                raise ConfigError(
                    f"lora_target_modules: {pattern!r} is the head, which gets no adapters. Leave it out."
                )
            hint = " Several patterns are separated by blanks, not by commas." if "," in pattern else ""
            raise ConfigError(
                f"lora_target_modules: {pattern!r} matches no linear layer.{hint} A pattern matches the end "
                "of a layer's name in the language model, or the whole name elsewhere; names are "
                f"{', '.join(language[:2])}, {layers[-1]} ..."
            )
        chosen.update(dict.fromkeys(found))
    return tuple(name for name in layers if name in chosen)


def attach_lora(
    model: MustelaForConditionalGeneration,
    settings: LoraSettings,
    *,
    init: LoraInit = "default",
    name: str = DEFAULT_NAME,
) -> None:
    """Put fresh adapters into a model, where they change nothing yet; all other parameters freeze.

    Raises:
        ConfigError: there is nothing to adapt, or the head is asked for and shares the embeddings.
    """
    from peft import LoraConfig, inject_adapter_in_model

    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    tied = bool(model.base.config.tie_word_embeddings)
    names = {module: path for path, module in model.named_modules()}
    if tied and names.get(head) in settings.targets:
        raise ConfigError(
            "lora_target_modules: the head shares its weights with the embeddings; leave it out."
        )
    if not settings.targets:
        raise ConfigError("lora_enable: the model has no linear layer that adapters could be put into.")
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        use_dora=settings.dora,
        use_rslora=settings.rslora,
        init_lora_weights=_INIT[init],  # type: ignore[arg-type]
        target_modules=list(settings.targets),
        trainable_token_indices={names[embedding]: list(settings.rows)} if settings.rows else None,
    )
    with _tied_for_peft(model, tied=tied), warnings.catch_warnings():
        # Said of every adapter after the first.
        warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")
        inject_adapter_in_model(config, model, adapter_name=name)
    if model.is_quantized:
        # What the trainer asks before it trains on a quantised model.
        model._hf_peft_config_loaded = True


@contextmanager
def _tied_for_peft(model: MustelaForConditionalGeneration, *, tied: bool) -> Iterator[None]:
    """Say where peft looks that the base's head shares the embeddings: new rows then change in both."""
    before = model.config.tie_word_embeddings, model._tied_weights_keys
    model.config.tie_word_embeddings = tied
    model._tied_weights_keys = {}
    try:
        yield
    finally:
        model.config.tie_word_embeddings, model._tied_weights_keys = before


def lora_names(model: nn.Module, *, name: str = DEFAULT_NAME) -> dict[str, str]:
    """Map the adapters' parameters, without the adapter's name, to their full names."""
    pattern = re.compile(rf"\.({_KINDS})\.{re.escape(name)}(?=\.|$)")
    return {pattern.sub(r".\1", full): full for full, _ in model.named_parameters() if pattern.search(full)}


def plain_name(full: str) -> str:
    """Return the name that a parameter of a model with adapters has in the model without."""
    return re.sub(r"\.(?:token_adapter\.)?base_layer(?=\.)", "", full)


def is_lora(full: str) -> bool:
    """Tell whether a parameter is an adapter's."""
    return re.search(rf"\.(?:{_KINDS})(?:\.|$)", full) is not None


def merge_lora(model: MustelaForConditionalGeneration) -> None:
    """Add the active adapters to the weights under them and take them out of the model, in place.

    The sum is formed in float32 and has the dtype of the weights; all others stay what they are.

    Raises:
        CheckpointError: an adapter holds numbers that are not finite, or lies on quantised weights.
    """
    from peft.tuners.lora import LoraLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    for path, module in list(model.named_modules()):
        if isinstance(module, AuxiliaryTrainingWrapper):
            model.set_submodule(path, module.unload_and_optionally_merge_module(True, True, None))
        elif isinstance(module, LoraLayer):
            layer: Any = module.get_base_layer()
            if not layer.weight.is_floating_point():
                raise CheckpointError(
                    f"{path} is quantised: adapters are merged into full-precision weights."
                )
            dtype = layer.weight.dtype
            layer.weight.data = layer.weight.data.float()
            try:
                module.merge(safe_merge=True)
            except ValueError as error:
                raise CheckpointError(f"The adapter of {path} can't be merged: {error}") from error
            layer.weight.data = layer.weight.data.to(dtype)
            model.set_submodule(path, layer)
    del model.peft_config
    model._hf_peft_config_loaded = False
