"""`TrainingArguments`: those of `transformers`, with Ferret's additions and ours."""

import dataclasses
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import transformers
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.utils.import_utils import is_torch_bf16_gpu_available, is_torch_tf32_available

from mustela.config.arguments import DataArguments, ModelArguments
from mustela.config.fields import Field, fields_of
from mustela.config.resolve import RunSettings
from mustela.errors import ConfigError, MustelaError, require

logger = logging.getLogger(__name__)


@dataclass
class TrainingArguments(transformers.TrainingArguments):
    """How to train; the first block has Ferret's names and defaults.

    What the machine cannot do is left out with a warning: `tf32` without such a GPU, `fsdp` and `deepspeed`
    in one process. `bf16` works on any CPU, but is slow on one without instructions for it.
    """

    cache_dir: str | None = field(default=None, metadata={"help": "folder for models fetched from the Hub"})
    bf16: bool | Literal["auto"] = field(  # type: ignore[assignment]
        default=False,
        metadata={"help": "compute in bfloat16; auto: where the GPU or the CPU has instructions for it"},
    )
    optim: str = field(default="adamw_torch", metadata={"help": "optimizer"})
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "keep False: batches hold regions, which no column check knows"}
    )
    freeze_mm_mlp_adapter: bool = field(default=False, metadata={"help": "keep the projector as it is"})
    model_max_length: int = field(
        default=512, metadata={"help": "longest sequence in tokens, images included"}
    )
    double_quant: bool = field(
        default=True, metadata={"help": "with bits 4: compress the quantisation constants too"}
    )
    quant_type: Literal["fp4", "nf4"] = field(
        default="nf4", metadata={"help": "with bits 4: kind of the numbers"}
    )
    bits: Literal[4, 8, 16, 32] = field(
        default=16,
        metadata={
            "help": "with lora_enable: bits of the frozen weights; 16 with --bf16 or --fp16 only, else 32"
        },
    )
    lora_enable: bool = field(
        default=False, metadata={"help": "train low-rank adapters instead of the language model"}
    )
    lora_r: int = field(default=64, metadata={"help": "rank of the adapters"})
    lora_alpha: int = field(default=16, metadata={"help": "scale of the adapters"})
    lora_dropout: float = field(default=0.05, metadata={"help": "dropout in front of the adapters"})
    lora_weight_path: str = field(
        default="", metadata={"help": "folder of an adapter to go on from, on the base of model_name_or_path"}
    )
    lora_bias: Literal["none", "all", "lora_only"] = field(
        default="none",
        metadata={"help": "biases of the language model that train too: none, all, those under adapters"},
    )

    lora_target_modules: list[str] = field(
        default_factory=list,
        metadata={
            "help": "layers that get adapters, as patterns for the end of a name (q_proj); unset: all linear "
            "layers of the language model"
        },
    )
    lora_use_dora: bool = field(default=False, metadata={"help": "DoRA: learn the length of columns too"})
    lora_use_rslora: bool = field(
        default=False, metadata={"help": "scale adapters by the square root of the rank (rsLoRA)"}
    )
    lora_init: Literal["default", "pissa", "pissa_fast"] = field(
        default="default",
        metadata={
            "help": "first values of adapters; pissa: the weights' main directions; pissa_fast: roughly"
        },
    )

    vision_tower_lr: float | None = field(
        default=None, metadata={"help": "learning rate of the vision tower; unset: --learning_rate"}
    )
    mm_projector_lr: float | None = field(
        default=None, metadata={"help": "learning rate of the projector; unset: --learning_rate"}
    )
    region_encoder_lr: float | None = field(
        default=None, metadata={"help": "learning rate of the region encoder; unset: --learning_rate"}
    )
    muon: bool = field(
        default=False,
        metadata={
            "help": "Muon for matrices and kernels, AdamW for the rest; helps models trained from nothing"
        },
    )
    use_liger_kernel: bool | None = field(  # type: ignore[assignment]
        default=None,
        metadata={
            "help": "Liger's kernels in the language model; unset: where installed, on a CUDA GPU, without "
            "torch_compile"
        },
    )
    max_minutes: float | None = field(
        default=None,
        metadata={
            "help": "end after so many minutes, if max_steps or num_train_epochs don't come first; the "
            "learning rate falls in time"
        },
    )
    max_nonfinite_losses: int = field(
        default=0,
        metadata={
            "help": "losses that are NaN or infinite whose steps are left out before the training stops"
        },
    )
    save_dtype: Literal["auto", "float32", "bfloat16", "float16"] = field(
        default="auto",
        metadata={
            "help": "numbers in the final model; auto: those of the training (bf16, fp16), else float32"
        },
    )
    prediction_loss_only: bool = field(
        default=True, metadata={"help": "evaluation during training keeps the loss only, not the logits"}
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={"help": "start over in a folder that holds an earlier run, deleting that run"},
    )
    dry_run: bool = field(default=False, metadata={"help": "print the plan and stop"})

    def __post_init__(self) -> None:
        """Fit the settings to this machine, then let `transformers` check them."""
        if self.tf32 and not is_torch_tf32_available():
            _warn("--tf32 needs an NVIDIA GPU of the Ampere generation or later: left out here.")
            self.tf32 = None
        self._choose_bf16()
        if (self.bf16 or self.bf16_full_eval) and not self.use_cpu and not is_torch_bf16_gpu_available():
            self.use_cpu = not _has_accelerator()
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise ConfigError(f"max_minutes is {self.max_minutes}: a training needs some time. Leave it out?")
        if self.label_names is None:
            # Left alone, Trainer takes every argument of the model with "label" in its name for a label.
            self.label_names = ["labels"]
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _has_accelerator():
            # Without it, accelerate takes processes on a machine without a GPU for runs of their own.
            self.use_cpu = True
        if self.use_cpu or not _has_accelerator():
            self.dataloader_pin_memory = False
        if self.fsdp and int(os.environ.get("WORLD_SIZE", "1")) == 1:
            _warn("--fsdp shards a model over several processes, and there is one: left out here.")
            self.fsdp = None
        if self.deepspeed and int(os.environ.get("WORLD_SIZE", "1")) == 1:
            _warn("--deepspeed is for several processes, and there is one: left out here.")
            self.deepspeed = None
        if self.deepspeed:
            require("deepspeed", extra="deepspeed")
        super().__post_init__()
        if self.deepspeed:
            # Models are built whole; the trainer sets it again.
            unset_hf_deepspeed_config()

    def _choose_bf16(self) -> None:
        if self.bf16 == "auto":
            self.bf16 = has_bf16(cpu=self.use_cpu)
        elif self.bf16 and not has_bf16(cpu=self.use_cpu):
            _warn("--bf16 is slow here: nothing computes in bfloat16. `--bf16 auto` leaves it out then.")

    @property
    def shares_out(self) -> bool:
        """True where FSDP shares the model out, by our own setting or that of `accelerate launch`."""
        return bool(self.fsdp) or os.environ.get("ACCELERATE_USE_FSDP") == "true"


def has_bf16(*, cpu: bool = False) -> bool:
    """Say whether the GPU, or the CPU where there is none or it is asked for, has instructions for bfloat16.

    Elsewhere arithmetic in bfloat16 works, but takes many times as long as in float32.
    """
    import torch

    if not cpu and _has_accelerator():
        return bool(is_torch_bf16_gpu_available())
    # Names of instruction sets on x86 and ARM; torch has no public call for all of them.
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _warn(message: str) -> None:
    # Every process of a distributed run comes here.
    if os.environ.get("RANK", "0") == "0":
        logger.warning(message)


def _has_accelerator() -> bool:
    import torch

    return torch.accelerator.is_available()


_OWN_TYPES: Mapping[str, tuple[Any, ...]] = {"fsdp": (bool,), "optim": (str,)}


def all_fields() -> dict[str, Field]:
    """List every setting of a run by name: the model's, the data's, then those of training."""
    inherited = {item.name for item in fields(transformers.TrainingArguments)}
    training = fields_of(TrainingArguments, group="training")
    own = {name: item for name, item in training.items() if name not in inherited or name == "optim"}
    rest = {
        name: dataclasses.replace(item, group="training, as in transformers.TrainingArguments")
        for name, item in training.items()
        if name not in own
    }
    found = {
        **fields_of(ModelArguments, group="model"),
        **fields_of(DataArguments, group="data"),
        **own,
        **rest,
    }
    for name, types in _OWN_TYPES.items():
        found[name] = dataclasses.replace(found[name], types=types)
    return found


@dataclass(frozen=True)
class StageArguments:
    """The three argument objects of one stage; `name` is empty in a run of one stage."""

    name: str
    model: ModelArguments
    data: DataArguments
    training: TrainingArguments


def build_arguments(settings: RunSettings) -> tuple[StageArguments, ...]:
    """Make the argument objects of every stage.

    Where nothing was said: a ready model (no `vision_tower`) uses its tokenizer's own template (`auto`) and
    gets the `geo` region encoder; the classic composition keeps Ferret's defaults.
    """
    names = {
        ModelArguments: {item.name for item in fields(ModelArguments)},
        DataArguments: {item.name for item in fields(DataArguments)},
    }
    stages = []
    for stage in settings.stages:
        values = dict(stage.values)
        values.setdefault("output_dir", "runs/mustela")
        # Trainer's own bar and printer are replaced by ours.
        values.setdefault("disable_tqdm", True)
        if not values.get("vision_tower") and settings.from_scratch is None:
            values.setdefault("version", "auto")
            if "add_region_feature" not in values:
                values.setdefault("region_encoder", "geo")
        model = {name: values.pop(name) for name in names[ModelArguments] if name in values}
        data = {name: values.pop(name) for name in names[DataArguments] if name in values}
        if settings.from_scratch is not None:
            # A vision tower of random numbers has nothing to keep.
            model.setdefault("freeze_vision_tower", False)
        try:
            training = TrainingArguments(**values)
        except MustelaError:
            raise
        except (ValueError, ImportError) as error:
            raise ConfigError(f"The settings of the training do not go together: {error}") from error
        stages.append(StageArguments(stage.name, ModelArguments(**model), DataArguments(**data), training))
    return tuple(stages)
