"""Exported folders load, compute the same and say where they come from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.convert.originals import answer, write_ferret, write_lora

from mustela.cli.main import main
from mustela.convert import CardFields, ConversionOptions, convert_ferret, export_model
from mustela.errors import MustelaError
from mustela.model import load_model
from mustela.model.parts import parts
from mustela.train.projector import load_projector


def test_an_exported_model_is_the_same(tiny_model_folder: Path, tmp_path: Path) -> None:
    export_model(tiny_model_folder, tmp_path / "out", shard_bytes=60_000)
    assert (tmp_path / "out" / "model.safetensors.index.json").is_file()
    before, _ = load_model(tiny_model_folder, device="cpu")
    after, processor = load_model(tmp_path / "out", device="cpu")
    assert processor.template.name == "v1"
    assert before.generation_config.eos_token_id == after.generation_config.eos_token_id
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name]), name


def test_another_dtype_and_a_model_with_a_tied_head(tmp_path: Path) -> None:
    export_model("shapes-base", tmp_path / "out", dtype=torch.float16)
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values() if tensor.is_floating_point()} == {torch.float16}
    assert "base.lm_head.weight" not in saved
    load_model(tmp_path / "out", device="cpu")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_is_merged(tmp_path: Path) -> None:
    lora, vicuna, _ = write_lora(tmp_path)
    convert_ferret(lora, tmp_path / "plain", ConversionOptions(base=vicuna, lora="adapter"))
    convert_ferret(lora, tmp_path / "merged", ConversionOptions(base=vicuna))
    expected = answer(load_model(tmp_path / "merged", device="cpu")[0])
    ours = tmp_path / "plain" / "adapter"
    peft = tmp_path / "peft"
    peft.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(ours / name, peft)
    export_model(ours, tmp_path / "one")
    export_model(tmp_path / "plain", tmp_path / "two", adapter=ours)
    export_model(tmp_path / "plain", tmp_path / "three", adapter=peft)
    for name in ("one", "two", "three"):
        found, processor = load_model(tmp_path / name, device="cpu")
        assert found.adapter is None
        torch.testing.assert_close(answer(found), expected, atol=1e-5, rtol=0)
        assert processor.template.name == "v1"
    for model, options, says in (
        (tmp_path / "plain", {"adapter": tmp_path}, "is no adapter"),
        (tmp_path / "plain", {"base": tmp_path}, "needs no base"),
        (ours, {"adapter": peft}, "leave --adapter out"),
    ):
        with pytest.raises(MustelaError, match=says):
            export_model(model, tmp_path / "again", **options)


@pytest.mark.parametrize("only", ["projector", "region_encoder"])
def test_a_part_alone_is_what_training_starts_from(tmp_path: Path, only: str) -> None:
    convert_ferret(write_ferret(tmp_path / "ferret"), tmp_path / "ours")
    export_model(tmp_path / "ours", tmp_path / "out", only=only)  # type: ignore[arg-type]
    (file,) = (tmp_path / "out").glob("*.safetensors")
    assert "config.json" not in [path.name for path in (tmp_path / "out").iterdir()]
    model, _ = load_model(tmp_path / "ours", device="cpu")
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    own = parts(model)
    with torch.no_grad():
        for parameter in own[only].values():  # type: ignore[index]
            parameter.zero_()
    assert set(load_projector(model, file, parts=own)) == set(own[only])  # type: ignore[index]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    if only == "projector":
        # As the original's program calls them.
        assert set(load_file(file)) == {"model.mm_projector.weight", "model.mm_projector.bias"}


def test_the_card_says_data_settings_metrics_and_licences(tiny_model_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "final").symlink_to(tiny_model_folder)
    settings = {"learning_rate": 1e-4, "data_path": ["/home/somebody/secret/cells.json"], "output_dir": "/x"}
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    files = [
        {"path": "/home/somebody/cells.json", "kept": 40, "skipped": 2},
        {"path": "/data/shards/1.tar", "format": "webdataset", "bytes": 3},
    ]
    report = {"train": {"files": files}, "skipped_in_training": {"too_long": 0}}
    (run / "data_report.json").write_text(json.dumps({"train": report}))
    metrics = {"referring_accuracy": 0.915, "grounding_acc_50": 0.0, "questions": {"referring": 200}}
    (run / "metrics.json").write_text(json.dumps(metrics))
    fields = CardFields(license="apache-2.0", base_model="some/base", base_license="mit")
    export_model(run, tmp_path / "out", fields=fields)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "apache-2.0"
    assert head["base_model"] == "some/base"
    for line in (
        "| train | cells.json | 40 | 2 |",
        "| train | 1.tar | streamed |",
        "| referring: accuracy | 91.5 % | 200 |",
        "learning_rate: 0.0001",
        "| some/base | mit |",
        "| the training data | not stated |",
        "| template | v1 |",
    ):
        assert line in card
    assert "somebody" not in card
    assert "Acc@0.5" not in card  # no such question was asked


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "shapes-base", str(tmp_path / "out"), "--license", "apache-2.0"]) == 0
    shown = capsys.readouterr().out
    assert "model.safetensors" in shown
    assert "base_license, data_license" in shown
    assert main(["export", str(tmp_path), str(tmp_path / "new")]) == 2
    assert "no mustela model" in capsys.readouterr().err
    assert main(["export", "shapes-base", str(tmp_path / "p"), "--max_shard_size", "12MB"]) == 0
    with pytest.raises(SystemExit):
        main(["export", "shapes-base", str(tmp_path / "q"), "--max_shard_size", "many"])
