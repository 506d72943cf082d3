"""The recipes: what their headers say is what a dry run says, and their settings train."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from tests.model.tiny_bases import BASES

from mustela.config import read_recipe, resolve
from mustela.config.training import all_fields, build_arguments
from mustela.errors import ConfigError
from mustela.train.planning import plan_stages
from mustela.train.stand_in import StandIn

RECIPES = Path(__file__).parents[2] / "recipes"
PLANNED = sorted(path for path in RECIPES.glob("*.yaml") if "stand_in" in read_recipe(str(path)))
NAMES = [path.stem for path in PLANNED]
ONE_CARD = {
    "lora_7b_24gb": 24,
    "qlora_7b_16gb": 16,
    "small_siglip2_qwen3": 16,
    "lora_qwen3_vl_2b": 16,
    "lora_qwen3_vl_4b": 24,
    "lora_qwen3_vl_8b": 24,
    "lora_smolvlm2": 16,
    "lora_llava_onevision_7b": 24,
    "lora_paligemma2_3b": 16,
}


def plans(path: Path, flags: list[str]):
    settings = resolve([str(path), "--use_cpu", *flags], all_fields())
    return plan_stages(build_arguments(settings), stand_in=StandIn.read(settings.stand_in))


def shorten(stand_in):
    """Leave two layers of each model."""
    if "base" not in stand_in:
        stand_in["language_model"]["num_hidden_layers"] = 2
        stand_in["vision_tower"]["num_hidden_layers"] = 2
        return
    vision = stand_in["base"]["vision_config"]
    vision["depth" if "depth" in vision else "num_hidden_layers"] = 2
    if "deepstack_visual_indexes" in vision:
        vision["deepstack_visual_indexes"] = [0]
    stand_in["base"]["text_config"]["num_hidden_layers"] = 2


def test_every_way_has_a_recipe():
    assert {"stage1_align", "stage2_dense", "stage3_instruct", "ferret_7b", "ferret_13b"} < set(NAMES)
    assert set(ONE_CARD) < set(NAMES)


@pytest.mark.parametrize("path", PLANNED, ids=NAMES)
def test_headers_say_data_memory_time_and_how_it_was_checked(path):
    header = path.read_text("utf-8").split("output_dir:")[0]
    for word in ("Data", "Memory    ESTIMATE", "Time      ESTIMATE", "Checked", "mustela train recipes/"):
        assert f"# {word}" in header or f"#   {word}" in header, word
    assert f"recipes/{path.name}" in header


@pytest.mark.parametrize(
    "path",
    [
        path if path.stem == "qlora_7b_16gb" else pytest.param(path, marks=pytest.mark.slow)
        for path in PLANNED
    ],
    ids=NAMES,
)
def test_a_dry_run_needs_neither_weights_nor_data(runs, path):
    # Two layers are as good as forty here.
    recipe = read_recipe(str(path))
    shorten(recipe["stand_in"])
    result = runs(path.stem, recipe, ["--dry_run", "--use_cpu"], stand_in=recipe["stand_in"])
    assert not result.finished
    assert not (runs.root / path.stem).exists()
    told = runs.console
    for words in ("The weights aren't here", "Not all data files are here", "memory: about", "8 devices"):
        assert words in told
    if path.stem == "ferret_7b":
        assert "1100000 samples, 128 a step: 25782 steps, 3.00 epochs" in told


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qlora_7b_16gb", "lora_qwen3_vl_2b"])
def test_the_memory_in_the_header_is_that_of_a_dry_run(name):
    path = RECIPES / f"{name}.yaml"
    header = path.read_text("utf-8").partition("# Memory")[2].partition("# Time")[0]
    told = [float(number) for number in re.findall(r"([\d.]+) GiB", header)]
    for plan, expected in zip(plans(path, []), told, strict=False):
        size = plan.memory.total if name in ONE_CARD else plan.memory.sharded[8]
        assert size / 2**30 == pytest.approx(expected, abs=0.06)
        if name in ONE_CARD:
            assert size / 2**30 + 1 < ONE_CARD[name]


@pytest.mark.slow
def test_data_that_is_here_is_planned_with(runs, shapes):
    recipe = read_recipe(str(RECIPES / "lora_7b_24gb.yaml"))
    recipe["stand_in"]["language_model"]["num_hidden_layers"] = 1
    recipe["stand_in"]["vision_tower"]["num_hidden_layers"] = 2
    recipe |= {"data_path": [str(shapes / "train.json")], "image_folder": [str(shapes / "images")]}
    runs("run", recipe, ["--dry_run", "--use_cpu"], stand_in=recipe["stand_in"])
    assert "The weights aren't here" in runs.console
    assert "Not all data files are here" not in runs.console
    records = len(json.loads((shapes / "train.json").read_text("utf-8")))
    assert f"{records} samples, 32 a step" in runs.console


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sampels": 3}, "sampels is not a known key. Did you mean 'samples'"),
        ({"language_model": {}}, "vision_tower is the configuration of a model"),
        ({"base": {}}, "image_processor is the configuration of an image processor"),
    ],
)
def test_mistakes_in_a_stand_in_are_named(values, message):
    with pytest.raises(ConfigError) as caught:
        StandIn.read(values)
    assert message in str(caught.value)


@pytest.fixture
def ready_base(tmp_path, monkeypatch):
    """Writes a tiny base of a family into a folder."""

    def write(kind):
        tiny = BASES[kind]()
        tiny.base.save_pretrained(tmp_path / kind)
        monkeypatch.setattr("mustela.model.build.load_base_processor", lambda *_, **__: tiny.processor)
        return str(tmp_path / kind)

    return write


def captions(shapes: Path, folder: Path) -> Path:
    records = []
    for record in json.loads((shapes / "train.json").read_text("utf-8"))[:4]:
        turns = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "a few coloured shapes"}]
        kept = {key: record[key] for key in ("id", "image", "image_w", "image_h") if key in record}
        records.append({**kept, "conversations": turns})
    file = folder / "captions.json"
    file.write_text(json.dumps(records), encoding="utf-8")
    return file


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
@pytest.mark.parametrize("path", PLANNED, ids=NAMES)
def test_the_settings_train_on_tiny_models(runs, path, shapes, wide_parts, ready_base, tmp_path):
    if "qlora" in path.stem:
        pytest.importorskip("bitsandbytes", reason="the quantization extra is not installed")
    plain = captions(shapes, tmp_path)

    def shrunk(values, *, version):
        data = plain if version == "plain" else shapes / "train.json"
        return {
            **values,
            "data_path": [str(data)],
            "image_folder": [str(shapes / "images")],
            "data_multiple": [],
        }

    recipe = read_recipe(str(path))
    stand_in = recipe.pop("stand_in")
    if "base" in stand_in:
        model = {"model_name_or_path": ready_base(stand_in["base"]["model_type"])}
        # Too narrow to be packed in fewer bits.
        recipe.pop("bits", None)
    else:
        model = {
            "model_name_or_path": str(wide_parts[0]),
            "vision_tower": str(wide_parts[1]),
            "pretrain_mm_mlp_adapter": None,
        }
    recipe = shrunk(recipe, version=recipe["version"]) | {
        **model,
        "resized_image_h": 32,
        "resized_image_w": 32,
        "region_points": 24,
        "region_sub_points": [8, 4],
        "region_neighbors": 4,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "dataloader_num_workers": 0,
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
    }
    if "stages" in recipe:
        sizes = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
        recipe["stages"] = [shrunk(stage, version="") | sizes for stage in recipe["stages"]]
    runs(path.stem, yaml.safe_load(yaml.safe_dump(recipe)), ["--use_cpu"])
    losses = [loss for *_, loss in runs.losses(path.stem)]
    assert losses
    assert all(loss == loss for loss in losses)
    assert (runs.root / path.stem / "final").is_dir()
