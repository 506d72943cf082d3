"""The memory that a plan tells, against the memory that a training takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from mustela.config import resolve
from mustela.config.training import all_fields, build_arguments
from mustela.data.shapes import write_shapes
from mustela.data.tokenizer import load_tokenizer
from mustela.train.memory import optimizer_bytes
from mustela.train.planning import plan_stages
from mustela.train.rehearsal import Rehearsal

PROGRAM = Path(__file__).with_name("measured_memory.py")
WAYS: dict[str, dict[str, Any]] = {
    "full": {},
    "projector": {"tune_mm_mlp_adapter": True},
    "lora": {"lora_enable": True, "lora_r": 8},
    "qlora": {"lora_enable": True, "lora_r": 8, "bits": 4},
}
BATCH = 4
# Some 25 million parameters.
SMALL = {
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
}
SMALL_TOWER = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 8,
}


@pytest.fixture(scope="module")
def talks(tmp_path_factory) -> Path:
    """Records of one batch: a plan is for the largest that it finds."""
    folder = write_shapes(tmp_path_factory.mktemp("talks"), train=4, val=1).folder
    records = json.loads((folder / "train.json").read_text("utf-8"))
    (folder / "train.json").write_text(json.dumps(records[:BATCH]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def small_parts(tmp_path_factory, parts_on_disk) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("small")
    LlamaForCausalLM(LlamaConfig(vocab_size=8_000, **SMALL)).save_pretrained(root / "lm")
    load_tokenizer(parts_on_disk[0]).save_pretrained(root / "lm")
    CLIPVisionModel(CLIPVisionConfig(**SMALL_TOWER)).save_pretrained(root / "vision")
    CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=64).save_pretrained(root / "vision")
    return root / "lm", root / "vision"


def recipe_of(classic, talks: Path, parts: tuple[Path, Path], pixels: int, **changes: Any) -> dict[str, Any]:
    return {
        **classic,
        "model_name_or_path": str(parts[0]),
        "vision_tower": str(parts[1]),
        "tune_mm_mlp_adapter": False,
        "mm_use_im_start_end": False,
        "resized_image_h": pixels,
        "resized_image_w": pixels,
        "data_path": [str(talks / "train.json")],
        "image_folder": [str(talks / "images")],
        "per_device_train_batch_size": BATCH,
        "max_steps": 2,
        "save_strategy": "no",
        "learning_rate": 1e-4,
        **changes,
    }


def compare(recipes: dict[str, dict[str, Any]], folder: Path) -> None:
    files = []
    for name, recipe in recipes.items():
        files.append(folder / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump({**recipe, "output_dir": str(folder / name)}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, files)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    estimated = [
        plan_stages(build_arguments(resolve([str(file)], all_fields())))[0].memory.total for file in files
    ]
    ratios = {name: e / m for name, e, m in zip(recipes, estimated, measured, strict=True)}
    assert all(0.85 < ratio < 1.15 for ratio in ratios.values()), ratios


@pytest.mark.slow
def test_tiny_models_take_what_the_plan_says(classic, talks, wide_parts, tmp_path):
    pytest.importorskip("bitsandbytes", reason="the quantization extra is not installed")
    cases = {
        f"{way}-{name}": {**flags, **changes}
        for way, flags in WAYS.items()
        for name, changes in {
            "plain": {},
            "checkpointed": {"bf16": True, "activation_checkpointing": True},
        }.items()
    }
    cases["accumulated"] = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": BATCH // 2}
    compare(
        {name: recipe_of(classic, talks, wide_parts, 32, **changes) for name, changes in cases.items()},
        tmp_path,
    )


@pytest.mark.slow
def test_small_models_take_what_the_plan_says(classic, talks, small_parts, tmp_path):
    pytest.importorskip("bitsandbytes", reason="the quantization extra is not installed")
    cases = {
        "full": {"activation_checkpointing": True},
        "projector": WAYS["projector"],
        "lora": {**WAYS["lora"], "bf16": True, "activation_checkpointing": True},
        "qlora": {**WAYS["qlora"], "activation_checkpointing": True},
    }
    compare(
        {name: recipe_of(classic, talks, small_parts, 64, **changes) for name, changes in cases.items()},
        tmp_path,
    )


def test_a_rehearsal_counts_what_lives_and_computes_nothing():
    rehearsal = Rehearsal()
    with rehearsal:
        layer = nn.Linear(100_000, 100_000, bias=False)
        assert rehearsal.now == 4 * 10**10
        rows = torch.arange(3)
        assert not isinstance(rows, FakeTensor)
        made = layer(torch.randn(3, 100_000))[rows > 0]
        assert made.shape == (2, 100_000)
        rehearsal.restart()
        made.sum().backward()
        del made
        assert rehearsal.peak >= 8 * 10**10
        layer.zero_grad()
        del layer
    assert rehearsal.now < 10**6


@pytest.mark.parametrize(
    ("optim", "bytes_a_number"),
    [
        ("adamw_torch", 8),
        ("adamw_torch_fused", 8),
        ("paged_adamw_32bit", 8),
        ("adamw_8bit", 2 + 2 * 4 / 256),
        ("lion_8bit", 1 + 4 / 256),
        ("lion_32bit", 4),
        ("ademamix", 12),
        ("sgd", 0),
    ],
)
def test_what_optimizers_keep(optim, bytes_a_number, tmp_path):
    words = ["--output_dir", str(tmp_path), "--optim", optim, "--use_cpu"]
    (stage,) = build_arguments(resolve(words, all_fields()))
    layer = nn.Linear(64, 256, bias=False)
    assert optimizer_bytes(layer, stage.training) == bytes_a_number * 64 * 256
