"""The command line: what each flag means, old names, mistakes."""

import shlex
import subprocess
import sys

import pytest
import torch

from mustela.config import resolve
from mustela.config.training import StageArguments, all_fields, build_arguments
from mustela.errors import ConfigError

FIELDS = all_fields()

ORIGINAL_SCRIPT = """
--lora_enable False --model_name_or_path DIR --version v1 --data_path A B --image_folder A B
--data_multiple 3 0.2 --vision_tower DIR --pretrain_mm_mlp_adapter FILE --mm_vision_select_layer -2
--mm_use_im_start_end False --mm_use_im_patch_token False --bf16 True --output_dir DIR --num_train_epochs 3
--per_device_train_batch_size 16 --per_device_eval_batch_size 4 --gradient_accumulation_steps 1
--evaluation_strategy no --save_strategy steps --save_steps 1500 --save_total_limit 3 --learning_rate 2e-5
--weight_decay 0. --warmup_ratio 0.03 --lr_scheduler_type cosine --logging_steps 1 --tf32 True
--fsdp "full_shard auto_wrap" --fsdp_transformer_layer_cls_to_wrap LlamaDecoderLayer --model_max_length 2048
--gradient_checkpointing True --dataloader_num_workers 8 --lazy_preprocess True --report_to tensorboard
--point_input_sample "segment_mask|center" --add_region_feature True --region_geo_sampler True
--sampler_pooler_mode max --refer_previous_point False --resized_image_h 336 --resized_image_w 336
--save_vision_tower True
"""


def arguments(line: str) -> StageArguments:
    (stage,) = build_arguments(resolve(shlex.split(line), FIELDS))
    return stage


def given(line: str) -> dict:
    (stage,) = resolve(shlex.split(line), FIELDS).stages
    return dict(stage.values)


def test_the_original_script_parses_and_means_what_it_meant(caplog):
    settings = resolve(shlex.split(ORIGINAL_SCRIPT), FIELDS)
    (stage,) = build_arguments(settings)
    model, data, training = stage.model, stage.data, stage.training
    assert (model.model_name_or_path, model.vision_tower, model.version) == ("DIR", "DIR", "v1")
    assert (model.pretrain_mm_mlp_adapter, model.mm_vision_select_layer) == ("FILE", -2)
    assert (model.mm_use_im_start_end, model.mm_use_im_patch_token, model.save_vision_tower) == (
        False,
        False,
        True,
    )
    assert (model.add_region_feature, model.region_geo_sampler, model.sampler_pooler_mode) == (
        True,
        True,
        "max",
    )
    assert (data.data_path, data.image_folder, data.data_multiple) == (["A", "B"], ["A", "B"], [3.0, 0.2])
    assert (data.point_input_sample, data.refer_previous_point) == ("segment_mask|center", False)
    assert (data.resized_image_h, data.resized_image_w, data.lazy_preprocess) == (336, 336, True)
    assert (training.bf16, training.lora_enable, training.model_max_length) == (True, False, 2048)
    assert (training.num_train_epochs, training.per_device_train_batch_size) == (3, 16)
    assert (training.per_device_eval_batch_size, training.gradient_accumulation_steps) == (4, 1)
    assert (training.save_strategy, training.save_steps, training.save_total_limit) == ("steps", 1500, 3)
    assert (training.learning_rate, training.weight_decay, training.warmup_steps) == (2e-5, 0.0, 0.03)
    assert training.get_warmup_steps(1000) == 30
    assert (training.lr_scheduler_type, training.logging_steps) == ("cosine", 1)
    assert (training.eval_strategy, training.report_to) == ("no", ["tensorboard"])
    assert (training.activation_checkpointing, training.dataloader_num_workers) == (True, 8)
    assert settings.stages[0].values["fsdp"] is True
    assert settings.stages[0].values["fsdp_config"] == {
        "reshard_after_forward": True,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"],
    }
    old = ("evaluation_strategy", "warmup_ratio", "fsdp ", "fsdp_transformer", "gradient_checkpointing")
    assert [sum(f"--{name}" in note for note in settings.notes) for name in old] == [1] * 5
    # This machine has one process and no GPU: both are left out with a line each.
    assert sum("--fsdp shards" in message for message in caplog.messages) == 1
    assert sum("--tf32" in message for message in caplog.messages) <= 1


def test_defaults_are_those_of_the_original_scripts():
    stage = arguments("--vision_tower DIR --output_dir DIR")
    assert (stage.model.version, stage.model.mm_vision_select_layer, stage.model.mm_use_im_patch_token) == (
        "v0",
        -1,
        True,
    )
    assert (stage.model.add_region_feature, stage.model.region_encoder) == (False, None)
    assert (stage.training.optim, stage.training.model_max_length) == ("adamw_torch", 512)
    assert (stage.training.lora_r, stage.training.lora_alpha, stage.training.lora_dropout) == (64, 16, 0.05)
    assert (stage.training.bits, stage.training.quant_type, stage.training.double_quant) == (16, "nf4", True)
    assert stage.training.remove_unused_columns is False


def test_a_ready_model_uses_its_own_template_and_a_region_encoder():
    stage = arguments("--model_name_or_path some/model --output_dir DIR")
    assert (stage.model.version, stage.model.region_encoder) == ("auto", "geo")
    assert arguments("--add_region_feature False --output_dir DIR").model.region_encoder is None


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("--lora_enable False", "lora_enable", False),
        ("--lora_enable", "lora_enable", True),
        ("--bits 4", "bits", 4),
        ("--tf32", "tf32", True),
        ("--tf32 --bf16", "tf32", True),
        ("--no_mm_use_im_patch_token", "mm_use_im_patch_token", False),
        ("--no-mm-use-im-patch-token", "mm_use_im_patch_token", False),
        ("--learning-rate 3e-4", "learning_rate", 3e-4),
        ("--learning_rate=3e-4", "learning_rate", 3e-4),
        ("--mm_vision_select_layer -2", "mm_vision_select_layer", -2),
        ("--data_path a b", "data_path", ["a", "b"]),
        ("--data_path a --data_path b", "data_path", ["b"]),
        ("--data_path=a", "data_path", ["a"]),
        ("--report_to tensorboard wandb", "report_to", ["tensorboard", "wandb"]),
        ("--report_to none", "report_to", "none"),
        ("--eval_strategy no", "eval_strategy", "no"),
        ("--save_total_limit 2", "save_total_limit", 2),
        ("--save_total_limit none", "save_total_limit", None),
        ("--coordinate_digit_weights 1 0.3 0.03", "coordinate_digit_weights", [1.0, 0.3, 0.03]),
        ("--lr_scheduler_kwargs '{\"a\": 1}'", "lr_scheduler_kwargs", {"a": 1}),
        ("--deepspeed zero3.json", "deepspeed", "zero3.json"),
        ("--fsdp", "fsdp", True),
        ("--fsdp True", "fsdp", True),
        ('--fsdp ""', "fsdp", False),
        ('--fsdp "full_shard offload"', "fsdp_config", {"reshard_after_forward": True, "cpu_offload": True}),
        ('--fsdp "shard_grad_op auto_wrap"', "fsdp", True),
        ('--fsdp "no_shard"', "fsdp", False),
        ("--group_by_length True", "train_sampling_strategy", "group_by_length"),
        ("--group_by_length", "train_sampling_strategy", "group_by_length"),
        ("--group_by_modality_length True", "train_sampling_strategy", "group_by_modality_length"),
        ("--no_cuda True", "use_cpu", True),
        ("--warmup_steps 100", "warmup_steps", 100.0),
        ("--warmup_ratio 0.1 --warmup_steps 20", "warmup_steps", 20.0),
    ],
)
def test_flags(line, name, value):
    assert given(line)[name] == value


def test_switched_off_old_flags_leave_nothing():
    assert given("--group_by_length False") == {}


def test_old_names_are_mentioned_once():
    notes = resolve(shlex.split("--evaluation_strategy no --logging_dir x --warmup_ratio 0.1"), FIELDS).notes
    assert len(notes) == len(set(notes)) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--learning_rte 1", "--learning_rte is not a known flag. Did you mean 'learning_rate'?"),
        ("--evaluation_stratgy no", "Did you mean 'evaluation_strategy'?"),
        ("--zzzzzz 1", "--zzzzzz is not a known flag."),
        ("--learning_rate fast", "--learning_rate: 'fast' does not fit. Give a number."),
        ("--learning_rate", "--learning_rate needs a value."),
        ("--per_device_train_batch_size 1.5", "Give a whole number."),
        ("--lora_enable perhaps", "--lora_enable perhaps: the flag takes true or false"),
        ("--freeze_backbone maybe", "--freeze_backbone maybe: the flag takes true or false"),
        ("--bf16 maybe", "--bf16 maybe: the flag takes auto, true or false"),
        ("--tf32 recipe.yaml", "The recipe comes before the flags."),
        ("--lora_rank 4", "--lora_rank is not a known flag. Did you mean 'lora_r'?"),
        ("--lora_r 8", "--lora_r 8 has no effect without adapters: add --lora_enable True"),
        ("--lora_use_dora --learning_rate 1", "--lora_use_dora True has no effect without adapters"),
        (
            "--lr_scheduler_kwargs num_cycles=2",
            "--lr_scheduler_kwargs: 'num_cycles=2' does not fit. Give names",
        ),
        ("--lr_scheduler_kwargs \"{'a': 1}\"", "--lr_scheduler_kwargs: \"{'a': 1}\" is broken JSON"),
        ("--liger_kernel_config rope=true", "--liger_kernel_config: 'rope=true' does not fit. Give names"),
        (
            "--accelerator_config a=1",
            "--accelerator_config: 'a=1' does not fit. Give names and values as JSON",
        ),
        ("--deepspeed '{\"a\": }'", "--deepspeed: '{\"a\": }' is broken JSON"),
        ("--sampler_pooler_mode sum", "Give one of: mean, max."),
        ("--data_multiple 1 x", "value 2, 'x', does not fit"),
        ("--warmup_ratio 3", "from 0 up to but not including 1"),
        ('--fsdp "full_shrd"', "'full_shrd' is not known"),
        ("--learning_rate 1 2", "'2' on the command line belongs to no flag"),
        ("--bits 5", "Give one of: 4, 8, 16, 32."),
    ],
)
def test_mistakes_are_named(line, message):
    with pytest.raises(ConfigError) as caught:
        given(line)
    assert message in str(caught.value)


def test_flags_of_adapters_that_are_switched_off_are_accepted(tmp_path):
    assert given("--lora_enable False --lora_r 8")["lora_r"] == 8
    (tmp_path / "recipe.yaml").write_text("lora_enable: true")
    assert given(f"{tmp_path / 'recipe.yaml'} --lora_r 8")["lora_r"] == 8


def test_settings_that_do_not_go_together_are_user_errors():
    with pytest.raises(ConfigError, match="do not go together"):
        arguments("--output_dir DIR --fp16 --bf16")


def test_bf16_works_on_the_cpu():
    assert arguments("--output_dir DIR --bf16 True").training.bf16 is True


@pytest.mark.parametrize(
    ("instructions", "chosen"),
    [
        ({"avx2": True, "avx512_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({"neon": True, "bf16": False}, False),
    ],
)
def test_bf16_auto_is_on_where_the_processor_computes_in_it(monkeypatch, instructions, chosen):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert arguments("--output_dir DIR --bf16 auto --use_cpu").training.bf16 is chosen


def test_bf16_where_nothing_computes_in_it_is_obeyed_with_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert arguments("--output_dir DIR --bf16 --use_cpu").training.bf16 is True
    assert "--bf16 auto" in caplog.text


def test_a_switch_that_takes_words_says_so():
    with pytest.raises(ConfigError, match=r"bf16: 'maybe' does not fit. Give one of: auto, true, false\."):
        arguments("--output_dir DIR --bf16=maybe")


def test_importing_the_package_does_not_import_torch():
    code = "import sys, mustela.config; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
