"""What a conversion refuses, what may be allowed by name, and that it is there whole or not at all."""

from __future__ import annotations

import fnmatch
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.convert.originals import (
    PREFIX,
    numbers,
    write_ferret,
    write_lora,
)
from torch import Tensor

from mustela.convert import ConversionOptions, convert_ferret
from mustela.convert.writing import write_weights as stream
from mustela.errors import CheckpointError
from mustela.model import load_model

VISION = f"{PREFIX}vision_model."
SLOW = pytest.mark.slow


def test_names_that_do_not_add_up_are_errors_unless_allowed(tmp_path: Path) -> None:
    state = dict(numbers("state", "geo"))
    state["model.something.weight"] = torch.zeros(2)
    state["elsewhere.bias"] = torch.zeros(2)
    state.pop("model.mm_projector.bias")
    state.pop("model.layers.1.mlp.up_proj.weight")
    source = write_ferret(tmp_path / "original", state=state)
    with pytest.raises(CheckpointError) as caught:
        convert_ferret(source, tmp_path / "ours")
    for name in ("model.something.weight", "elsewhere.bias", "projector.bias", "layers.1.mlp.up_proj.weight"):
        assert name in str(caught.value)
    allowed = ConversionOptions(
        allow_unread=("model.something.*", "elsewhere.bias"), allow_missing=("*projector.bias",)
    )
    with pytest.raises(CheckpointError) as caught:
        convert_ferret(source, tmp_path / "ours", allowed)
    assert "something" not in str(caught.value).partition("Allowed")[0]
    assert "projector.bias" not in str(caught.value).partition("Allowed")[0]
    assert "layers.1.mlp.up_proj.weight of the new model have no source" in str(caught.value)
    more = replace(allowed, allow_missing=("*projector.bias", "*.layers.1.mlp.up_proj.weight"))
    done = convert_ferret(source, tmp_path / "ours", more)
    assert done.counts["made fresh"] == 2
    assert done.ignored["checkpoint: model.something.weight"] == "allowed by name"
    assert not (tmp_path / "ours.part").exists()


@pytest.mark.parametrize(
    ("gone", "patterns", "spread"),
    [
        ("model.region_geo_sampler.", ("region_encoder.*",), None),
        ("model.mm_projector.", ("*.multi_modal_projector.*",), None),
        ("model.layers.0.self_attn.q_proj.", ("*.q_proj.weight",), 0.02),
        pytest.param("model.norm.", ("*.language_model.norm.weight",), 0.0, marks=SLOW),
        pytest.param(f"{VISION}post_layernorm.", ("*.post_layernorm.*",), 0.0, marks=SLOW),
        pytest.param(f"{VISION}embeddings.", ("*.vision_tower.embeddings.*",), None, marks=SLOW),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_part_may_be_made_afresh_by_name(
    tmp_path: Path, reference: dict[str, Tensor], gone: str, patterns: tuple[str, ...], spread: float | None
) -> None:
    state = {name: v for name, v in numbers("state", "geo").items() if not name.startswith(gone)}
    source = write_ferret(tmp_path / "original", state=state)
    with pytest.raises(CheckpointError, match=r"--allow_missing|no projector"):
        convert_ferret(source, tmp_path / "ours")
    done = convert_ferret(source, tmp_path / "ours", ConversionOptions(allow_missing=patterns))
    found = load_file(tmp_path / "ours" / "model.safetensors")
    assert found.keys() == reference.keys()
    fresh = {name for name in found if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}
    fresh = {name for name in fresh if not torch.equal(found[name], reference[name])}
    assert 0 < len(fresh) <= done.counts["made fresh"]
    assert all(torch.equal(found[name], reference[name]) for name in found.keys() - fresh)
    for name in fresh:
        assert torch.isfinite(found[name]).all(), name
        if spread is not None:
            assert float(found[name].std()) == pytest.approx(spread, rel=0.1), name
    load_model(tmp_path / "ours", device="cpu")


def test_other_shapes_empty_tensors_and_lost_shards_are_named(tmp_path: Path) -> None:
    state = dict(numbers("state", "geo"))
    for name, value, message in (
        ("model.norm.weight", torch.zeros(63), r"norm\.weight is \[63\].*\[64\]"),
        ("model.norm.weight", torch.zeros(0), "without gathering"),
    ):
        folder = tmp_path / message[:3]
        source = write_ferret(folder / "original", state={**state, name: value})
        with pytest.raises(CheckpointError, match=message):
            convert_ferret(source, folder / "ours")
    next(source.glob("pytorch_model-00002*")).unlink()
    with pytest.raises(CheckpointError, match=r"lacks 1 of 3 files.*pytorch_model-00002"):
        convert_ferret(source, tmp_path / "ours")


class Harmful:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("place", ["checkpoint", "vision tower", "adapter", "beside the adapter", "base"])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, place: str) -> None:
    lora, vicuna, _ = write_lora(tmp_path)
    whole = write_ferret(tmp_path / "whole", files="bin", tower="subfolder")
    file = {
        "checkpoint": whole / "pytorch_model.bin",
        "vision tower": whole / "vision_tower" / "pytorch_model.bin",
        "adapter": lora / "adapter_model.bin",
        "beside the adapter": lora / "non_lora_trainables.bin",
        "base": vicuna / "pytorch_model.bin",
    }[place]
    with file.open("wb") as stream:
        pickle.dump({"w": Harmful(str(tmp_path / "harmed"))}, stream, protocol=2)
    (whole / "vision_tower" / "model.safetensors").unlink()
    source, base = (whole, None) if place in ("checkpoint", "vision tower") else (lora, vicuna)
    with pytest.raises(CheckpointError, match="run code"):
        convert_ferret(source, tmp_path / "ours", ConversionOptions(base=base))
    assert not (tmp_path / "harmed").exists()
    assert not (tmp_path / "ours").exists()


# Convert, and be killed when all but the model's own configuration is written.
KILLED_AT_THE_END = """
import os, signal, sys
from pathlib import Path
import mustela.convert.conversion as conversion
conversion.write_report = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
conversion.convert_ferret(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_an_interrupted_conversion_leaves_nothing_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_ferret(tmp_path / "original")

    def interrupted(steps, folder: Path, **options):
        stream(steps[: len(steps) // 2], folder, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mustela.convert.conversion.write_weights", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert_ferret(source, tmp_path / "ours")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["original"]
    words = [sys.executable, "-c", KILLED_AT_THE_END, str(source), str(tmp_path / "ours")]
    assert subprocess.run(words, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert not (tmp_path / "ours").exists()
    assert (tmp_path / "ours.part" / "model.safetensors").is_file()
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "ours.part")
    convert_ferret(source, tmp_path / "ours")
    assert not (tmp_path / "ours.part").exists()
    load_model(tmp_path / "ours", device="cpu")
    with pytest.raises(CheckpointError, match="exists"):
        convert_ferret(source, tmp_path / "ours")


def test_the_region_token_must_be_the_one_of_the_configuration(tmp_path: Path) -> None:
    source = write_ferret(tmp_path / "original")
    (source / "added_tokens.json").unlink()
    with pytest.raises(CheckpointError, match=r"<region_fea> is token 511.*added_tokens\.json"):
        convert_ferret(source, tmp_path / "ours")
