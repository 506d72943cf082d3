"""Whole runs: what they leave behind, what they refuse."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml

from mustela.cli.main import main
from mustela.config import resolve
from mustela.config.training import all_fields, build_arguments
from mustela.data.processor import MustelaProcessor
from mustela.errors import CheckpointError, ConfigError, MissingExtraError, MustelaError, RecordError
from mustela.infer.query import default_options
from mustela.model.loading import load_model
from mustela.train import preflight
from mustela.train.checkpoint import mark_complete


def test_a_run_folder_explains_itself(runs, scratch):
    result = runs("run", scratch)
    assert (result.finished, result.trained) == (True, True)
    root = runs.root / "run"
    names = {path.name for path in root.iterdir()}
    assert names == {
        "checkpoint-2",
        "checkpoint-4",
        "config.yaml",
        "data_report.json",
        "environment.json",
        "final",
        "log.jsonl",
    }
    assert yaml.safe_load((root / "config.yaml").read_text("utf-8"))["learning_rate"] == 1e-3
    (start,) = json.loads((root / "environment.json").read_text("utf-8"))["starts"]
    assert start["packages"]["torch"] == torch.__version__.partition("+")[0] or start["packages"]["torch"]
    assert start["seed"] == 42
    for line in runs.log("run"):
        if "loss" in line:
            assert line["samples_per_second"] > 0
            assert line["tokens_per_second"] > line["samples_per_second"]
    assert not list(root.rglob("training_args.bin"))
    model, processor = load_model(root)
    assert processor.settings.region_points == 24
    assert model.config.to_dict().get("use_cache") is not False


def test_a_finished_run_is_left_alone(runs, scratch):
    runs("run", scratch)
    before = (runs.root / "run" / "final" / "model.safetensors").stat().st_mtime_ns
    result = runs("run", scratch)
    assert (result.finished, result.trained) == (True, False)
    assert (runs.root / "run" / "final" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="other settings"):
        runs("run", scratch, ["--learning_rate", 1])
    assert runs("run", scratch, ["--learning_rate", "2e-3", "--overwrite_output_dir"]).trained


@pytest.mark.slow
def test_the_saved_configuration_is_a_recipe(runs, scratch, shapes):
    recipe = {
        **scratch,
        "stages": [{"name": "a", "max_steps": 2}, {"name": "b", "max_steps": 1, "weight_decay": 0.1}],
    }
    runs("run", recipe)
    again = yaml.safe_load((runs.root / "run" / "config.yaml").read_text("utf-8"))
    runs("again", again)
    assert runs.losses("again") == runs.losses("run")


@pytest.mark.slow
def test_how_pictures_are_resized_and_numbers_written_goes_with_the_model(runs, scratch):
    flags = ["--coordinates", "resized", "--image_resize", "torch", "--max_steps", 1]
    runs("run", scratch, flags)
    _, processor = load_model(runs.root / "run")
    assert (processor.settings.coordinates, processor.settings.image_resize) == ("resized", "torch")
    with pytest.raises(ConfigError, match="with coordinates resized, leave them empty"):
        runs("other", scratch, [*flags, "--coordinate_digit_weights", 1, 0.3, 0.03])


@pytest.mark.slow
def test_a_run_s_configuration_repeats_its_first_twenty_losses(runs, scratch):
    recipe = {**scratch, "max_steps": 20, "save_strategy": "no", "dataloader_num_workers": 2}
    runs("run", recipe)
    assert (
        main(["train", str(runs.root / "run" / "config.yaml"), "--output_dir", str(runs.root / "again")]) == 0
    )
    assert len(runs.losses("run")) == 20
    assert runs.losses("again") == runs.losses("run")


def test_a_folder_that_takes_no_files_is_told(runs, scratch):
    (runs.root / "file").touch()
    with pytest.raises(ConfigError, match=r"file is a file, and a run is written to a folder"):
        runs("below", scratch, ["--output_dir", runs.root / "file" / "run"])
    (runs.root / "run").mkdir()
    (runs.root / "run" / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"run can't be written: .*No space left"):
        runs("run", scratch)


def test_a_dry_run_tells_the_plan_and_leaves_nothing(runs, scratch):
    result = runs("run", scratch, ["--dry_run", "--max_minutes", "1.5"])
    assert not result.finished
    assert not (runs.root / "run").exists()
    for words in (
        "4 a step: 4 steps",
        "in 1.5 minutes at most",
        "tokens a sample",
        "region_encoder",
        "vision_tower",
        "memory: about",
    ):
        assert words in runs.console


def no_model(*args, **kwargs):
    raise AssertionError("a model was built")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_path": ["nowhere.json"]}, "nowhere.json: there is no such file"),
        ({"image_folder": ["nowhere"]}, "nowhere: there is no such folder"),
        ({"data_path": []}, "nothing to train on"),
        ({"data_multiple": [1, 2]}, "--data_multiple has 2 values and --data_path 1"),
        ({"pretrain_mm_mlp_adapter": "nowhere.bin"}, "nowhere.bin: there is no such file"),
        ({"from_scratch": None}, "no model to train"),
        ({"from_scratch": None, "model_name_or_path": "./nowhere"}, "./nowhere: there is no such folder"),
        ({"model_name_or_path": "x"}, "from_scratch builds the model"),
        ({"lora_enable": True}, "lora_enable"),
        ({"bits": 4}, "bits 4"),
        ({"image_grid_pinpoints": "[[336, 672]]"}, "image_grid_pinpoints is for tiles"),
        ({"eval_strategy": "steps"}, "--eval_strategy needs something to ask: give --eval_data_path FILE"),
        ({"coordinate_digit_weights": [1, 2]}, "a coordinate three digits"),
        ({"remove_unused_columns": True}, "remove_unused_columns would drop"),
        ({"stages": [{"name": "a"}, {"name": "b", "region_encoder": "mean"}]}, "share one model"),
    ],
)
def test_what_is_wrong_is_found_before_a_model_is_loaded(runs, scratch, monkeypatch, changes, message):
    monkeypatch.setattr("mustela.train.run.build", no_model)
    recipe = {**scratch, **changes}
    if recipe["from_scratch"] is None:
        del recipe["from_scratch"]
    with pytest.raises(MustelaError) as caught:
        runs("run", recipe)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--muon"], "muon works on whole matrices"),
        (["--max_nonfinite_losses", "3"], "has changed the weights"),
    ],
)
def test_what_deepspeed_can_not_do_is_told(flags, message):
    (stage,) = build_arguments(resolve(["--use_cpu", *flags], all_fields()))
    # One process would leave it out.
    stage.training.deepspeed = "zero2.json"
    with pytest.raises(ConfigError, match=message):
        preflight.check_training(stage.training, data=stage.data)


def test_bad_records_are_found_before_a_model_is_loaded(runs, scratch, shapes, tmp_path, monkeypatch):
    records = json.loads((shapes / "train_refer.json").read_text("utf-8"))
    records[2]["conversations"][0]["value"] += " <bbox_location7>"
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(records), encoding="utf-8")
    recipe = {**scratch, "data_path": [str(bad)]}
    with monkeypatch.context() as patch:
        patch.setattr("mustela.train.run.build", no_model)
        with pytest.raises(RecordError, match="bbox_location7"):
            runs("run", recipe)
    runs("run", recipe, ["--on_bad_record", "skip", "--max_steps", 1])
    report = (runs.root / "run" / "data_report.json").read_text("utf-8")
    assert records[2]["id"] in report


def test_the_projector_alone_is_saved_and_loaded(runs, classic, tmp_path):
    runs("first", classic)
    projector = runs.weights("first", "mm_projector.safetensors")
    assert {name.partition(".")[0] for name in projector} == {"mm_projector", "region_encoder", "token_rows"}
    # Checkpoints of such a run hold only what learns.
    kept = runs.root / "first" / "checkpoint-4"
    assert (kept / "trained.safetensors").is_file()
    assert not (kept / "model.safetensors").exists()
    final = runs.weights("first")
    second = {**classic, "tune_mm_mlp_adapter": False, "max_steps": 1, "learning_rate": 0.0}
    file = runs.root / "first" / "mm_projector.safetensors"
    runs("second", second, ["--pretrain_mm_mlp_adapter", file])
    after = runs.weights("second")
    names = [name for name in final if "projector" in name or "region_encoder" in name]
    assert names
    for name in names:
        assert torch.equal(after[name], final[name]), name
    (table,) = (name for name in final if name.endswith("embed_tokens.weight"))
    assert torch.equal(after[table], final[table])


def test_only_the_rows_of_new_tokens_of_a_frozen_language_model_learn(runs, classic):
    runs("start", classic, ["--max_steps", 1, "--learning_rate", 0])
    runs("trained", classic)
    before, after = runs.weights("start"), runs.weights("trained")
    (name,) = (name for name in before if name.endswith("embed_tokens.weight"))
    changed = (before[name] != after[name]).any(dim=1).nonzero().flatten().tolist()
    processor = load_model(runs.root / "trained")[1]
    assert changed == processor.tokenizer.convert_tokens_to_ids(["<im_start>", "<im_end>"])
    frozen = [
        key for key in before if "language_model.layers" in key or "vision_tower" in key or "lm_head" in key
    ]
    assert all(torch.equal(before[key], after[key]) for key in frozen)


def test_weights_are_saved_as_trained(runs, scratch):
    runs("run", scratch, ["--bf16"])
    weights = runs.weights("run")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    unique = sum(parameter.numel() for parameter in load_model(runs.root / "run")[0].parameters())
    size = (runs.root / "run" / "final" / "model.safetensors").stat().st_size
    assert size < 1.05 * 2 * unique + 20_000  # the header names every tensor
    # Checkpoints keep what training goes on with.
    kept = runs.weights("run", "checkpoint-4/model.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}
    config = json.loads((runs.root / "run" / "final" / "config.json").read_text("utf-8"))
    assert config["dtype"] == "bfloat16"
    runs("wide", scratch, ["--bf16", "--save_dtype", "float32"])
    assert {tensor.dtype for tensor in runs.weights("wide").values()} == {torch.float32}


def test_the_vision_tower_is_saved_by_itself(runs, classic, parts_on_disk):
    from transformers import CLIPVisionModel

    runs("run", classic, ["--save_vision_tower", "True"])
    saved = CLIPVisionModel.from_pretrained(runs.root / "run" / "vision_tower")
    original = CLIPVisionModel.from_pretrained(parts_on_disk[1])
    for name, parameter in original.named_parameters():
        assert torch.equal(parameter, saved.get_parameter(name)), name


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("file", ["optimizer.pt", "rng_state.pth", "scheduler.pt"])
def test_a_checkpoint_with_pickled_objects_is_refused(runs, scratch, tmp_path, file):
    runs.interrupted("run", scratch, at=3)
    target = runs.root / "run" / "checkpoint-2" / file
    torch.save(Harmful(str(tmp_path / "pwned")), target)
    mark_complete(target.parent, {"step": 2})
    with pytest.raises(CheckpointError, match="can run code"):
        runs("run", scratch)
    assert not (tmp_path / "pwned").exists()


def test_rates_differ_by_part(runs, scratch):
    flags = ["--vision_tower_lr", "1e-4", "--region_encoder_lr", "5e-3", "--lr_scheduler_type", "constant"]
    runs("run", scratch, flags)
    line = runs.log("run")[0]
    assert line["learning_rate_vision_tower"] == pytest.approx(1e-4)
    assert line["learning_rate_region_encoder"] == pytest.approx(5e-3)
    assert line["learning_rate"] == pytest.approx(1e-3)


def test_tensorboard_writes_below_the_run_folder(runs, scratch):
    runs("run", scratch, ["--report_to", "tensorboard", "--max_steps", 1])
    assert list((runs.root / "run" / "tensorboard").rglob("events*"))


def test_a_missing_package_is_named_with_its_extra(runs, scratch, monkeypatch):
    def missing(module, *, extra):
        raise MissingExtraError(f'{module} is missing: pip install "mustela[{extra}]"')

    monkeypatch.setattr(preflight, "require", missing)
    with pytest.raises(MissingExtraError, match=r"mustela\[tensorboard\]"):
        runs("run", scratch, ["--report_to", "tensorboard"])
    with pytest.raises(ConfigError, match="pip install no_such_service"):
        runs("run", scratch, ["--report_to", "no_such_service"])


def test_samples_that_are_too_long_are_counted(runs, scratch, shapes, tmp_path):
    records = json.loads((shapes / "train_refer.json").read_text("utf-8"))
    for record in records[::2]:
        record["conversations"][1]["value"] = "a blue star. " * 400
    (tmp_path / "long.json").write_text(json.dumps(records), encoding="utf-8")
    runs("run", {**scratch, "data_path": [str(tmp_path / "long.json")]})
    report = json.loads((runs.root / "run" / "data_report.json").read_text("utf-8"))
    assert report["train"]["skipped_in_training"]["too_long"] > 0
    assert "Samples replaced by the next" in runs.console


def test_digits_can_weigh_less(runs, scratch, shapes):
    recipe = {**scratch, "data_path": [str(shapes / "train_detect.json")], "max_steps": 1}
    runs("even", recipe)
    runs("weighted", recipe, ["--coordinate_digit_weights", 1, 0.3, 0.03])
    assert runs.losses("weighted")[0][2] < runs.losses("even")[0][2]


def test_labels_are_smoothed_where_they_are_learned(runs, scratch):
    weighed = {**scratch, "coordinate_digit_weights": [1.0, 0.1, 0.01]}
    plain, hardly, smoothed = (
        [loss for *_, loss in runs.losses(name)]
        for name, factor in (("plain", 0), ("hardly", 1e-7), ("smoothed", 0.5))
        if runs(name, {**weighed, "label_smoothing_factor": factor})
    )
    assert hardly == pytest.approx(plain, rel=1e-4)
    assert smoothed != pytest.approx(plain, rel=1e-2)


def test_a_checkpoint_of_weights_alone_is_not_gone_on_from(runs, scratch):
    recipe = {**scratch, "save_only_model": True, "save_steps": 2}
    runs.interrupted("weights", recipe, at=3)
    with pytest.raises(CheckpointError, match=r"checkpoint-2 holds weights only \(--save_only_model\)"):
        runs("weights", recipe)


def test_another_template_than_the_model_s_own_is_told(runs, scratch, caplog):
    runs("first", scratch, ["--max_steps", 1])
    further = {name: value for name, value in scratch.items() if name not in ("from_scratch", "version")}
    further |= {"model_name_or_path": str(runs.root / "first"), "max_steps": 1}
    for version, told in (("chatml", False), ("v1", True)):
        caplog.clear()
        runs(version, {**further, "version": version})
        assert ("template chatml and goes on with v1" in caplog.text) is told


def test_a_model_can_be_trained_further_with_its_own_template(runs, scratch):
    runs("first", scratch, ["--max_steps", 1])
    recipe = {name: value for name, value in scratch.items() if name not in ("from_scratch", "version")}
    recipe["model_name_or_path"] = str(runs.root / "first" / "final")
    runs("second", recipe, ["--max_steps", 1])
    one, other = (load_model(runs.root / name)[1] for name in ("first", "second"))
    assert one.template == other.template


def test_a_model_without_a_region_encoder_can_be_trained_further(runs, scratch):
    runs("first", scratch | {"region_encoder": "none"}, ["--max_steps", 1])
    recipe = {
        name: value for name, value in scratch.items() if name not in ("from_scratch", "region_encoder")
    }
    recipe["model_name_or_path"] = str(runs.root / "first" / "final")
    assert runs("second", recipe, ["--max_steps", 1]).finished
    assert load_model(runs.root / "second")[1].settings.region_token is None


@pytest.mark.slow
def test_the_original_script_runs_as_it_is(runs, parts_on_disk, shapes, tmp_path):
    shutil.copy(shapes / "train_refer.json", tmp_path / "a.json")
    shutil.copy(shapes / "train.json", tmp_path / "b.json")
    torch.save(
        {"model.mm_projector.weight": torch.zeros(32, 32), "model.mm_projector.bias": torch.zeros(32)},
        tmp_path / "projector.bin",
    )
    language_model, vision_tower = parts_on_disk
    line = f"""
    --lora_enable False --model_name_or_path {language_model} --version v1
    --data_path {tmp_path / "a.json"} {tmp_path / "b.json"}
    --image_folder {shapes / "images"} {shapes / "images"} --data_multiple 3 0.2
    --vision_tower {vision_tower} --pretrain_mm_mlp_adapter {tmp_path / "projector.bin"}
    --mm_vision_select_layer -2 --mm_use_im_start_end False --mm_use_im_patch_token False --bf16 True
    --output_dir {tmp_path / "run"} --num_train_epochs 1 --per_device_train_batch_size 16
    --per_device_eval_batch_size 4 --gradient_accumulation_steps 1 --evaluation_strategy no
    --save_strategy steps --save_steps 1500 --save_total_limit 3 --learning_rate 2e-5 --weight_decay 0.
    --warmup_ratio 0.03 --lr_scheduler_type cosine --logging_steps 1 --tf32 True --model_max_length 2048
    --gradient_checkpointing True --dataloader_num_workers 2 --lazy_preprocess True
    --report_to tensorboard --point_input_sample segment_mask|center --add_region_feature True
    --region_geo_sampler True --sampler_pooler_mode max --refer_previous_point False
    --resized_image_h 32 --resized_image_w 32 --save_vision_tower True
    --fsdp_transformer_layer_cls_to_wrap LlamaDecoderLayer
    """
    from mustela.train import run_stages

    settings = resolve([*line.split(), "--fsdp", "full_shard auto_wrap", "--use_cpu"], all_fields())
    assert run_stages(build_arguments(settings)).finished


@pytest.mark.parametrize("kind", ["ImportError", "OSError", "RuntimeError"])
def test_an_attention_backend_that_can_not_be_imported_says_why(runs, classic, tmp_path, monkeypatch, kind):
    (tmp_path / "flash_attn.py").write_text(f'raise {kind}("undefined symbol: example")\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError) as caught:
        runs("run", classic, ["--attn_implementation", "flash_attention_2"])
    message = str(caught.value)
    for words in ("flash_attn", "pip install flash-attn", "undefined symbol: example"):
        assert words in message
    assert "\n" not in message
    assert not (runs.root / "run").exists()


@pytest.mark.slow
def test_separate_rounds_learn_and_go_on_as_unbroken(runs, scratch, shapes):
    recipe = {**scratch, "data_path": [str(shapes / "train_apart.json")], "separate_rounds": True}
    recipe |= {"model_max_length": 300}
    runs("unbroken", recipe)
    runs.interrupted("resumed", recipe, at=3)
    runs("resumed", recipe)
    assert runs.losses("resumed") == runs.losses("unbroken")
    together = {**recipe, "separate_rounds": False, "max_steps": 1}
    runs("together", together)
    assert runs.losses("together")[0] != runs.losses("unbroken")[0]


def test_a_model_is_asked_as_it_was_trained(runs, scratch):
    for no_coor in (True, False):
        runs(f"run-{no_coor}", {**scratch, "no_coor": no_coor, "max_steps": 1})
        processor = MustelaProcessor.from_pretrained(runs.root / f"run-{no_coor}/final")
        assert default_options(processor).no_coor == no_coor
