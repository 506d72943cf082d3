"""Whole folders: every way they may lie there, and that the result computes the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.convert.originals import (
    Files,
    is_language,
    numbers,
    same,
    write_ferret,
    write_weights,
)
from torch import Tensor

from mustela.cli.main import main
from mustela.convert import ConversionOptions, convert_ferret
from mustela.errors import CheckpointError
from mustela.model import MustelaForConditionalGeneration, load_model


@pytest.mark.parametrize("files", ["bin shards", "safetensors", "safetensors shards"])
def test_files_may_lie_there_in_any_way(tmp_path: Path, reference: dict[str, Tensor], files: Files) -> None:
    convert_ferret(write_ferret(tmp_path / "original", files=files), tmp_path / "ours")
    same(tmp_path / "ours", reference)


@pytest.mark.parametrize("tower", ["subfolder", "elsewhere"])
def test_the_vision_tower_may_lie_elsewhere(tmp_path: Path, reference: dict[str, Tensor], tower: str) -> None:
    source = write_ferret(tmp_path / "original", tower=tower)  # type: ignore[arg-type]
    if tower == "elsewhere":
        with pytest.raises(CheckpointError, match=r"--vision_tower DIR, a folder with openai/clip"):
            convert_ferret(source, tmp_path / "ours")
    place = tmp_path / "original-tower" if tower == "elsewhere" else None
    convert_ferret(source, tmp_path / "ours", ConversionOptions(vision_tower=place))
    same(tmp_path / "ours", reference)


def test_files_of_old_versions_of_torch_are_read(tmp_path: Path, reference: dict[str, Tensor]) -> None:
    source = write_ferret(tmp_path / "original", files="bin")
    file = source / "pytorch_model.bin"
    torch.save(torch.load(file), file, _use_new_zipfile_serialization=False)
    convert_ferret(source, tmp_path / "ours")
    same(tmp_path / "ours", reference)


def test_settings_of_the_original_are_kept(tmp_path: Path) -> None:
    done = convert_ferret(write_ferret(tmp_path / "original"), tmp_path / "ours")
    model, processor = load_model(tmp_path / "ours", device="cpu")
    config = model.config
    assert (config.sampling_geometry, config.sampler_pooler_mode) == ("original", "max")
    assert (config.region_token_id, config.region_encoder) == (511, "geo")
    assert config.base_config.vision_feature_layer == -2
    assert processor.template.name == "v1"
    assert processor.settings.point_clamp == "last_pixel"
    assert processor.settings.sampling_geometry == "original"
    assert processor.settings.resized_image_wh == (56, 56)
    assert model.generation_config.eos_token_id == [2]
    report = json.loads((tmp_path / "ours" / "conversion.json").read_text())
    assert done.counts["copied"] == len(report["tensors"]) - 2
    assert done.counts["copied, 1 rows added"] == 2
    aggregate = report["tensors"]["region_encoder.stages.0.aggregate.weight"]
    assert aggregate["from"] == ["checkpoint: model.region_geo_sampler.agg_projector_list.0.net.0.weight"]
    # Loading anew must not bring the added tokens' ids into another order.
    assert processor.tokenizer.convert_tokens_to_ids(["<region_fea>", "<image>"]) == [511, 512]


def test_large_models_are_written_in_shards(tmp_path: Path, reference: dict[str, Tensor]) -> None:
    source = write_ferret(tmp_path / "original")
    convert_ferret(source, tmp_path / "ours", ConversionOptions(shard_bytes=200_000))
    assert len(list((tmp_path / "ours").glob("model-*.safetensors"))) > 2
    same(tmp_path / "ours", reference)
    loaded = MustelaForConditionalGeneration.from_pretrained(tmp_path / "ours")
    assert torch.equal(loaded.state_dict()["base.lm_head.weight"], reference["base.lm_head.weight"])


def test_another_dtype(tmp_path: Path) -> None:
    source = write_ferret(tmp_path / "original")
    convert_ferret(source, tmp_path / "ours", ConversionOptions(dtype=torch.bfloat16))
    saved = load_file(tmp_path / "ours" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_delta_is_added_to_its_base_with_the_rows_of_new_tokens(
    tmp_path: Path, reference: dict[str, Tensor]
) -> None:
    state = numbers("state", "geo")
    base, delta = {}, {}
    for name, value in state.items():
        rows = 511 if name.startswith(("model.embed_tokens", "lm_head")) else None
        if is_language(name):
            base[name] = torch.randn(value.shape)[:rows]
        delta[name] = value.clone()
        if name in base:
            delta[name][:rows] -= base[name]
    vicuna = tmp_path / "vicuna"
    vicuna.mkdir()
    write_weights(vicuna, base, "bin shards", shards=2)
    source = write_ferret(tmp_path / "delta", state=delta)
    options = ConversionOptions(base=vicuna, delta=True)
    done = convert_ferret(source, tmp_path / "ours", options)
    same(tmp_path / "ours", reference, tolerance=1e-6)
    assert any("added to the base, rows from 511 on as they are" in how for how in done.counts)
    del base["model.layers.1.mlp.up_proj.weight"]
    write_weights(vicuna, base, "bin shards", shards=2)
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.up_proj\.weight \(in the base\)"):
        convert_ferret(source, tmp_path / "again", options)


def test_the_command_reports_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_ferret(tmp_path / "original")
    target = tmp_path / "ours"
    words = [
        "convert",
        "ml-ferret",
        str(source),
        str(target),
        "--max_shard_size",
        "1MB",
        "--dtype",
        "float16",
    ]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "template: v1" in shown
    assert "conversion.json" in shown
    assert main(words) == 2
    assert "isn't an empty folder" in capsys.readouterr().err
    save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert main(["convert", "llava", str(tmp_path), str(tmp_path / "new")]) == 2
    assert "no config.json" in capsys.readouterr().err
