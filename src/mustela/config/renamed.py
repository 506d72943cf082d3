"""Flags that older `transformers` had under another name or not at all any more, in one table."""

from collections.abc import Callable, Mapping
from typing import Any

from mustela.config.fields import Field, coerce
from mustela.errors import ConfigError

Translation = tuple[dict[str, Any], str]


def _text(value: Any) -> str:
    return " ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)


def _as(value: Any, kind: type, name: str) -> Any:
    field = Field(name, (kind,), optional=False, default=None, help="", group="")
    return coerce(value, field, where=f"--{name}")


def _to(new: str) -> Callable[[str, Any], Translation]:
    return lambda old, value: ({new: value}, f"--{old} is called --{new} now.")


def _warmup_ratio(old: str, value: Any) -> Translation:
    ratio = _as(value, float, old)
    if not 0 <= ratio < 1:
        raise ConfigError(
            f"--{old} {value}: a warm-up takes a share of the steps, from 0 up to but not including 1."
        )
    return {"warmup_steps": ratio}, f"--{old} is --warmup_steps now (below 1 it is a share of the steps)."


def _fsdp(old: str, value: Any) -> Translation:
    """Split the old list of options ("full_shard auto_wrap") into the switch and its configuration."""
    words = [] if value is None or isinstance(value, bool) else _text(value).split()
    if value is True or [word.lower() for word in words] in (["true"], ["yes"], ["1"]):
        return {"fsdp": True}, ""
    if not words or [word.lower() for word in words] in (["false"], ["no"], ["0"]):
        return {"fsdp": False}, ""
    config: dict[str, Any] = {}
    for word in words:
        if word in ("full_shard", "hybrid_shard", "hybrid_shard_zero2"):
            config["reshard_after_forward"] = word != "hybrid_shard_zero2"
        elif word == "shard_grad_op":
            config["reshard_after_forward"] = False
        elif word == "no_shard":
            return {
                "fsdp": False
            }, f'--{old} "no_shard" is plain data parallelism: fully sharded training is off.'
        elif word == "offload":
            config["cpu_offload"] = True
        elif word == "auto_wrap":
            config["auto_wrap_policy"] = "TRANSFORMER_BASED_WRAP"
        else:
            raise ConfigError(
                f'--{old} "{_text(value)}": {word!r} is not known. '
                "Known are full_shard, shard_grad_op, no_shard, offload, auto_wrap; or --fsdp alone."
            )
    return {
        "fsdp": True,
        "fsdp_config": config,
    }, f'--{old} "{_text(value)}" is --fsdp with --fsdp_config now.'


def _fsdp_layer(old: str, value: Any) -> Translation:
    names = _text(value).replace(",", " ").split()
    return (
        {"fsdp_config": {"transformer_layer_cls_to_wrap": names}},
        f"--{old} is `transformer_layer_cls_to_wrap` in --fsdp_config now.",
    )


def _grouping(strategy: str) -> Callable[[str, Any], Translation]:
    def translate(old: str, value: Any) -> Translation:
        message = f"--{old} is --train_sampling_strategy {strategy} now."
        return ({"train_sampling_strategy": strategy} if _as(value, bool, old) else {}), message

    return translate


def _ignored(old: str, value: Any) -> Translation:
    return {}, f"--{old} {_text(value)} has no effect any more."


RENAMED: Mapping[str, Callable[[str, Any], Translation]] = {
    "evaluation_strategy": _to("eval_strategy"),
    "warmup_ratio": _warmup_ratio,
    "fsdp": _fsdp,
    "fsdp_transformer_layer_cls_to_wrap": _fsdp_layer,
    "group_by_length": _grouping("group_by_length"),
    "group_by_modality_length": _grouping("group_by_modality_length"),
    "gradient_checkpointing": _to("activation_checkpointing"),
    "gradient_checkpointing_kwargs": _to("activation_checkpointing_kwargs"),
    "no_cuda": _to("use_cpu"),
    "per_gpu_train_batch_size": _to("per_device_train_batch_size"),
    "per_gpu_eval_batch_size": _to("per_device_eval_batch_size"),
    "push_to_hub_token": _to("hub_token"),
    "push_to_hub_model_id": _to("hub_model_id"),
    "logging_dir": _ignored,
    "save_safetensors": _ignored,
    "half_precision_backend": _ignored,
    "fp16_backend": _ignored,
    "fp16_opt_level": _ignored,
    "use_ipex": _ignored,
    "jit_mode_eval": _ignored,
    "use_mps_device": _ignored,
    "past_index": _ignored,
    "use_legacy_prediction_loop": _ignored,
    "include_inputs_for_metrics": _ignored,
}


def translate(values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Put today's names in place of old ones.

    Returns the new values and one message for each old name met. A value given under today's name wins
    over one given under the old; entries of `fsdp_config` from several old flags are put together.
    """
    out = {name: value for name, value in values.items() if name not in RENAMED}
    notes = []
    for old, value in values.items():
        if old not in RENAMED:
            continue
        made, note = RENAMED[old](old, value)
        if note:
            notes.append(note)
        for name, new_value in made.items():
            if name == "fsdp_config" and isinstance(out.get(name, {}), dict):
                out[name] = {**new_value, **out.get(name, {})}
            else:
                out.setdefault(name, new_value)
    return out, tuple(notes)
