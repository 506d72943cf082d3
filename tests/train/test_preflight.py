"""What is refused before data or a model are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from mustela.errors import CheckpointError, ConfigError
from mustela.model.adapter import ADAPTER_FILE
from mustela.model.lora import choose_targets
from mustela.model.packaged import resolve_model_path
from mustela.train.disk import clear_write_errors

LORA = ["--lora_enable", "True"]
OPTIM = "mustela.train.preflight_effects.importlib.util.find_spec"


def nothing_read(*args, **kwargs):
    raise AssertionError("data or a model were read")


@pytest.fixture
def refused(runs, classic, shapes, monkeypatch):
    """Return the message that a run of the classic composition with more flags is refused with."""
    monkeypatch.setattr("mustela.train.run.build", nothing_read)
    monkeypatch.setattr("mustela.train.run.load_data", nothing_read)

    def refuse(*flags, recipe=None):
        base = {**classic, "tune_mm_mlp_adapter": False} if recipe is None else recipe
        with pytest.raises(ConfigError) as caught:
            runs("run", base, [str(shapes / "val.json") if flag == "VAL" else flag for flag in flags])
        message = str(caught.value)
        assert "\n" not in message
        return message

    return refuse


EVAL = ["--eval_strategy", "steps", "--eval_data_path", "VAL"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--per_device_train_batch_size", "0"],
            "--per_device_train_batch_size 0: give a whole number, 1 at",
        ),
        (["--per_device_eval_batch_size", "0"], "--per_device_eval_batch_size 0: give a whole number, 1 at"),
        (
            ["--gradient_accumulation_steps", "0"],
            "--gradient_accumulation_steps 0: give a whole number, 1 at",
        ),
        (["--learning_rate", "-1"], "--learning_rate -1.0: give a number, 0 at least"),
        (["--learning_rate", "nan"], "--learning_rate nan: give a number, 0 at least"),
        (["--region_encoder_lr", "-1"], "--region_encoder_lr -1.0: give a number, 0 at least"),
        ([*LORA, "--lora_dropout", "1.5"], "--lora_dropout 1.5: give a share from 0"),
        ([*LORA, "--lora_alpha", "0"], "--lora_alpha 0: give a number above 0"),
        (["--seed", "-1"], "--seed -1: give a whole number from 0"),
        (["--seed", "4294967296"], "--seed 4294967296: give a whole number from 0"),
        (["--dataloader_persistent_workers", "True"], "Give --dataloader_num_workers 1 or more"),
        (["--eval_max_new_tokens", "0"], "--eval_max_new_tokens 0: give a whole number, 1 at least"),
        (["--max_steps", "0"], "--max_steps 0: give a number of steps, 1 at least"),
        (["--max_steps", "-1", "--num_train_epochs", "0"], "--num_train_epochs 0: nothing would be trained"),
        (["--warmup_steps", "1.5"], "--warmup_steps 1.5: give a share of the steps"),
        (
            [*EVAL, "--eval_records", "0"],
            "--eval_records 0 with --eval_strategy steps: .* Leave --eval_strat",
        ),
        (["--eval_records", "-2"], "--eval_records -2: give a whole number, 0 at least"),
    ],
    ids=lambda value: " ".join(value)[-50:] if isinstance(value, list) else "",
)
def test_numbers_that_can_not_work(refused, flags, message):
    assert message.partition(" .* ")[0] in (said := refused(*flags))
    assert message.rpartition(" .* ")[2] in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--vision_tower_lr", "1e-4"],
            "--vision_tower_lr 0.0001 has no effect: .*--freeze_vision_tower False",
        ),
        (
            ["--vision_tower_lr", "1e-4", "--freeze_vision_tower", "False", "--tune_mm_mlp_adapter", "True"],
            "leave out --tune_mm_mlp_adapter",
        ),
        (["--mm_projector_lr", "1e-4", "--freeze_mm_mlp_adapter"], "leave out --freeze_mm_mlp_adapter"),
        (["--region_encoder_lr", "1e-4", "--freeze_region_encoder"], "leave out --freeze_region_encoder"),
        (["--quant_type", "fp4"], "--quant_type fp4 is for --bits 4, and bits is 16"),
        (["--muon", "True", "--optim", "sgd"], "--optim sgd has no effect with --muon True"),
        (["--muon", "True", "--optim_args", "a=1"], "--optim_args a=1 has no effect with --muon True"),
        (["--optim_args", "momentum=0.9"], "momentum=0.9 has no effect with --optim adamw_torch"),
        (["--optim", "sgd", "--optim_args", "momentum"], "--optim_args momentum: write name=value"),
    ],
    ids=lambda value: " ".join(value)[-50:] if isinstance(value, list) else "",
)
def test_settings_without_effect(refused, flags, message):
    said = refused(*flags)
    assert all(part in said for part in message.split(".*"))


def test_a_rate_is_for_any_of_the_stages(refused, runs, scratch):
    stages = [{"name": "a", "tune_mm_mlp_adapter": True}, {"name": "b"}]
    recipe = {**scratch, "stages": stages, "vision_tower_lr": 1e-4}
    assert not runs("run", recipe, ["--dry_run"]).finished
    recipe["freeze_vision_tower"] = True
    assert "--vision_tower_lr 0.0001 has no effect" in refused(recipe=recipe)


def test_a_rate_of_a_frozen_part_may_be_for_its_adapters(runs, classic):
    flags = [*LORA, "--lora_target_modules", r"base\.model\.vision_tower\..*q_proj", "--dry_run"]
    recipe = {**classic, "tune_mm_mlp_adapter": False, "vision_tower_lr": 1e-4}
    assert not runs("run", recipe, flags).finished


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused"])
def test_muon_goes_with_either_name_of_adamw(runs, scratch, optim):
    assert not runs("run", scratch, ["--dry_run", "--muon", "True", "--optim", optim]).finished


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (
            ["--train_sampling_strategy", "batch_rebalance"],
            ["--train_sampling_strategy batch_rebalance", "random, sequential, group_by_length"],
        ),
        (
            ["--lr_scheduler_type", "warmup_stable_decay"],
            ["--lr_scheduler_kwargs '{\"num_decay_steps\": N}'"],
        ),
        (["--debug", "underflow_overflow"], ["--debug underflow_overflow", "Leave it out"]),
        (["--save_strategy", "best"], ["--save_strategy best needs evaluations", "--eval_data_path FILE"]),
        (
            [*EVAL, "--save_strategy", "best"],
            ["needs a metric: add --metric_for_best_model", "loss, referring_accuracy"],
        ),
        (
            [*EVAL, "--save_strategy", "best", "--metric_for_best_model", "eval_foo"],
            ["--metric_for_best_model eval_foo: nothing of that name", "loss, referring_accuracy"],
        ),
        (
            [*EVAL, "--load_best_model_at_end", "True", "--metric_for_best_model", "foo",
             "--eval_steps", "2"],
            ["--metric_for_best_model foo: nothing of that name"],
        ),
    ],
    ids=lambda value: " ".join(value)[-50:] if isinstance(value, list) else "",
)  # fmt: skip
def test_choices_that_do_not_work_here(refused, flags, parts):
    said = refused(*flags)
    assert all(part in said for part in parts)


@pytest.mark.parametrize("metric", ["loss", "eval_loss", "grounding_acc_50", "eval_referring_accuracy"])
def test_what_is_measured_can_choose_the_best(runs, scratch, shapes, metric):
    flags = ["--eval_strategy", "steps", "--eval_data_path", shapes / "val.json", "--save_strategy", "best"]
    assert not runs("run", scratch, [*flags, "--metric_for_best_model", metric, "--dry_run"]).finished


@pytest.mark.parametrize(
    ("optim", "package"), [("galore_adamw", "galore_torch"), ("apollo_adamw", "apollo_torch")]
)
def test_the_package_of_an_optimizer_is_named(refused, monkeypatch, optim, package):
    monkeypatch.setattr(OPTIM, lambda name: None if name == package else object())
    assert f"--optim {optim}: the package {package} is not installed" in refused("--optim", optim)
    monkeypatch.setattr(OPTIM, lambda name: object())
    assert "--optim_target_modules all-linear" in refused("--optim", optim)


def test_the_run_folder_is_no_file_and_a_push_has_a_network(refused, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    said = refused("--output_dir", str(tmp_path / "file" / "run"))
    assert f"{tmp_path / 'file'} is a file" in said
    assert "Give another --output_dir." in said
    monkeypatch.setattr("mustela.train.preflight_base.is_offline_mode", lambda: True)
    assert "leave out --push_to_hub" in refused("--push_to_hub", "True")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--region_encoder", "mean"], "--region_encoder mean: shapes-base has roi"),
        (["--add_region_feature", "--region_geo_sampler"], "--region_encoder geo: shapes-base has roi"),
        (["--mm_projector_type", "mlp2x_gelu"], "--mm_projector_type mlp2x_gelu: shapes-base has mlp_downs"),
        (["--mm_vision_select_layer", "-2"], "--mm_vision_select_layer -2: shapes-base has -1"),
        (["--mm_vision_select_feature", "cls_patch"], "cls_patch: shapes-base has patch"),
        (["--resized_image_h", "224"], "--resized_image_h 224: shapes-base has 128"),
        (["--resized_image_w", "224"], "--resized_image_w 224: shapes-base has 128"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_a_model_has_settled_is_not_asked_for_otherwise(refused, scratch, flags, said):
    assert said in refused(*flags, recipe=going_on(scratch))


def test_what_a_model_has_may_be_said_again(runs, scratch):
    flags = ["--region_encoder", "roi", "--mm_projector_type", "mlp_downsample", "--dry_run"]
    sizes = ["--resized_image_h", "128", "--resized_image_w", "128"]
    assert not runs("run", going_on(scratch), [*flags, *sizes]).finished
    assert not runs("run", going_on(scratch), ["--dry_run"]).finished


def going_on(scratch):
    names = ("data_path", "image_folder", "max_steps", "use_cpu", "model_max_length")
    return {"model_name_or_path": "shapes-base", **{name: scratch[name] for name in names}}


@pytest.mark.parametrize("trained_on", ["mustela", "ready", "classic"])
def test_an_adapter_goes_onto_the_kind_of_base_that_it_was_trained_on(
    refused, classic, scratch, tmp_path, trained_on
):
    adapter = describe_adapter(tmp_path / "adapter", trained_on)
    recipe = going_on(scratch) if trained_on != "mustela" else {**classic, "tune_mm_mlp_adapter": False}
    said = refused(*LORA, "--lora_weight_path", str(adapter), recipe=recipe)
    assert f"--lora_weight_path {adapter}: this adapter was trained on another kind of base" in said
    assert f"--model_name_or_path {recipe['model_name_or_path']}" in said


def describe_adapter(folder: Path, kind: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text((resolve_model_path("shapes-base") / "config.json").read_text())
    base = {"kind": kind, "model": {"name": "some-base"}, "vision_tower": None, "rows": 8, "probe": []}
    lora = {"r": 4, "alpha": 8, "dropout": 0, "dora": False, "rslora": False, "targets": [], "rows": []}
    content = {"format": 1, "base": base, "lora": lora, "quantisation": None, "tensors": {}}
    (folder / ADAPTER_FILE).write_text(json.dumps(content))
    return folder


def test_a_hub_that_is_not_reached_is_no_full_disk(tmp_path):
    reached = pytest.raises(CheckpointError, match="The Hub can't be reached: offline")
    with reached as caught, clear_write_errors(tmp_path):
        raise OfflineModeIsEnabled("offline.")
    assert "--push_to_hub" in str(caught.value)
    assert "df -h" not in str(caught.value)
    with pytest.raises(ConnectionResetError), clear_write_errors(tmp_path):
        raise ConnectionResetError


def test_a_file_in_the_way_of_a_folder_is_no_full_disk(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(CheckpointError, match="Move it away") as caught, clear_write_errors(tmp_path / "run"):
        (tmp_path / "run").mkdir()
    assert "df -h" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("q_proj,v_proj", "separated by blanks"), ("lm_head", "is the head, which gets no adapters")],
)
def test_patterns_of_layers_that_match_nothing(pattern, said):
    from mustela.model.loading import load_model

    model, _ = load_model("shapes-base", device="cpu")
    with pytest.raises(ConfigError, match=said):
        choose_targets(model, [pattern])
    with pytest.raises(ConfigError, match=r"matches no linear layer\. A pattern"):
        choose_targets(model, ["wq"])
