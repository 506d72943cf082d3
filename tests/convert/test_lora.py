"""LoRA folders of the original: merged, or as adapters of ours and of PEFT."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tests.convert.originals import (
    answer,
    same,
    write_ferret,
    write_lora,
)

from mustela.convert import ConversionOptions, convert_ferret
from mustela.errors import CheckpointError
from mustela.model import load_model


def test_adapters_of_another_base_are_refused(tmp_path: Path) -> None:
    lora, vicuna, _ = write_lora(tmp_path)
    factors = torch.load(lora / "adapter_model.bin")
    name = "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"
    torch.save({**factors, name: torch.zeros(60, 4)}, lora / "adapter_model.bin")
    for way in ("merge", "adapter"):
        with pytest.raises(CheckpointError, match=r"v_proj.*\[60, 4\].*another base"):
            convert_ferret(lora, tmp_path / "ours", ConversionOptions(base=vicuna, lora=way))  # type: ignore[arg-type]
    torch.save({key: v for key, v in factors.items() if key != name}, lora / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="lacks its other half"):
        convert_ferret(lora, tmp_path / "ours", ConversionOptions(base=vicuna))
    moved = {key.replace("layers.1", "layers.7"): value for key, value in factors.items()}
    torch.save(moved, lora / "adapter_model.bin")
    for way in ("merge", "adapter"):
        with pytest.raises(CheckpointError, match=r"adapter:.*layers\.7.*no place"):
            convert_ferret(lora, tmp_path / "ours", ConversionOptions(base=vicuna, lora=way))  # type: ignore[arg-type]
    torch.save(factors, lora / "adapter_model.bin")
    settings = json.loads((lora / "adapter_config.json").read_text())
    (lora / "adapter_config.json").write_text(json.dumps({**settings, "r": 8}))
    with pytest.raises(CheckpointError, match=r"lora_A.*\[4, 64\].*r = 8"):
        convert_ferret(lora, tmp_path / "ours", ConversionOptions(base=vicuna))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_lora_folders_become_merged_weights_or_an_adapter(tmp_path: Path) -> None:
    lora, vicuna, whole = write_lora(tmp_path)
    with pytest.raises(CheckpointError, match="LoRA adapter: give --base DIR"):
        convert_ferret(lora, tmp_path / "merged")
    convert_ferret(lora, tmp_path / "merged", ConversionOptions(base=vicuna))
    convert_ferret(lora, tmp_path / "plain", ConversionOptions(base=vicuna, lora="adapter"))
    convert_ferret(write_ferret(tmp_path / "whole", state=whole), tmp_path / "expected")
    expected = load_file(tmp_path / "expected" / "model.safetensors")
    same(tmp_path / "merged", expected, tolerance=1e-6)
    model, _ = load_model(tmp_path / "plain", device="cpu")
    before = answer(model)
    merged = answer(load_model(tmp_path / "merged", device="cpu")[0])
    assert (before - merged).abs().max() > 1e-3
    adapted = PeftModel.from_pretrained(model, tmp_path / "plain" / "adapter")
    torch.testing.assert_close(answer(adapted.eval()), merged, atol=1e-5, rtol=0)
    # It is an adapter's folder of ours as well, and moves with its base.
    moved = (tmp_path / "plain").rename(tmp_path / "elsewhere") / "adapter"
    ours, processor = load_model(moved, device="cpu")
    torch.testing.assert_close(answer(ours), merged, atol=1e-5, rtol=0)
    assert ours.adapter is not None
    assert (ours.adapter.lora.r, ours.adapter.lora.scaling, len(ours.adapter.lora.targets)) == (4, 2.0, 4)
    assert processor.template.name == "v1"
    with pytest.raises(CheckpointError, match="isn't there"):
        load_model(shutil.copytree(moved, tmp_path / "alone"), device="cpu")
