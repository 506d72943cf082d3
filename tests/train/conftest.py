"""Tiny data and tiny models for whole runs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file
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
from mustela.model.tokens import train_tokenizer
from mustela.train import RunResult, run_stages
from mustela.train.trainer import MustelaTrainer

FIELDS = all_fields()

LANGUAGE_MODEL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "attention_dropout": 0.1,
}
VISION_TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
COMMON = {
    "region_points": 24,
    "region_sub_points": [8, 4],
    "region_neighbors": 4,
    "resized_image_h": 32,
    "resized_image_w": 32,
    "model_max_length": 700,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 4,
    "max_steps": 4,
    "logging_steps": 1,
    "save_steps": 2,
    "use_cpu": True,
}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("shapes"), train=12, val=3).folder


@pytest.fixture(scope="session")
def scratch(shapes) -> dict[str, Any]:
    """A recipe that builds a model from nothing."""
    return {
        **COMMON,
        "version": "chatml",
        "region_encoder": "geo",
        "data_path": [str(shapes / "train_refer.json")],
        "image_folder": [str(shapes / "images")],
        "from_scratch": {
            "language_model": {"model_type": "llama", "tie_word_embeddings": True, **LANGUAGE_MODEL},
            "vision_tower": {"model_type": "siglip_vision_model", **VISION_TOWER},
            "tokenizer": {"vocab_size": 350},
        },
    }


@pytest.fixture(scope="session")
def parts_on_disk(tmp_path_factory, shapes) -> tuple[Path, Path]:
    """A language model and a vision tower, as one has them from elsewhere."""
    return write_parts(tmp_path_factory.mktemp("parts"), shapes)


@pytest.fixture(scope="session")
def wide_language_model() -> dict[str, int]:
    """Sizes that bitsandbytes can pack: rows of 64 numbers."""
    return {"hidden_size": 64, "intermediate_size": 128}


@pytest.fixture(scope="session")
def wide_parts(tmp_path_factory, shapes, wide_language_model) -> tuple[Path, Path]:
    return write_parts(tmp_path_factory.mktemp("wide"), shapes, **wide_language_model)


def write_parts(root: Path, shapes: Path, **language_model: int) -> tuple[Path, Path]:
    texts = (shapes / "train_refer.json").read_text("utf-8").splitlines()
    tokenizer = train_tokenizer(texts, vocab_size=350, control_tokens=["<unk>"], end_token="</s>")
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            eos_token_id=tokenizer.eos_token_id,
            **{**LANGUAGE_MODEL, **language_model},
        )
    ).save_pretrained(root / "lm")
    tokenizer.save_pretrained(root / "lm")
    CLIPVisionModel(CLIPVisionConfig(**VISION_TOWER)).save_pretrained(root / "vision")
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(root / "vision")
    return root / "lm", root / "vision"


@pytest.fixture(scope="session")
def classic(shapes, parts_on_disk) -> dict[str, Any]:
    """A recipe of the classic composition in which the projector and the region encoder learn."""
    language_model, vision_tower = parts_on_disk
    return {
        **COMMON,
        "version": "v1",
        "model_name_or_path": str(language_model),
        "vision_tower": str(vision_tower),
        "mm_vision_select_layer": -2,
        "mm_use_im_start_end": True,
        "tune_mm_mlp_adapter": True,
        "add_region_feature": True,
        "region_geo_sampler": True,
        "data_path": [str(shapes / "train_refer.json")],
        "image_folder": [str(shapes / "images")],
    }


Fork = Callable[[dict[str, Any]], list[int]]


class KillError(Exception):
    """Stands for a kill."""


@dataclass(frozen=True)
class Runs:
    """Runs recipes in folders of a test."""

    root: Path
    patch: pytest.MonkeyPatch
    output: io.StringIO
    fork: Fork

    def __call__(
        self, name: str, recipe: dict[str, Any], flags: Sequence[str] = (), **options: Any
    ) -> RunResult:
        file = self.root / f"{name}.yaml"
        file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        settings = resolve([str(file), "--output_dir", str(self.root / name), *map(str, flags)], FIELDS)
        console = Console(file=self.output, width=200)
        return run_stages(
            build_arguments(settings), from_scratch=settings.from_scratch, console=console, **options
        )

    def on_two_processes(
        self, name: str, recipe: dict[str, Any], flags: Sequence[str] = (), **job: Any
    ) -> str:
        """Run on two processes that talk through gloo; return what they told."""
        statuses, told = self.forked(name, recipe, flags, processes=2, **job)
        assert statuses == [0, 0], told
        return told

    def forked(
        self, name: str, recipe: dict[str, Any], flags: Sequence[str] = (), **job: Any
    ) -> tuple[list[int], str]:
        """Run in other processes as `forks.py` says; return their statuses and what they told."""
        file, log = self.root / f"{name}.yaml", self.root / f"{name}.log"
        file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        folder = self.root / name
        log.unlink(missing_ok=True)
        words = ["train", str(file), "--output_dir", str(folder), *map(str, flags)]
        statuses = self.fork({"words": words, "log": str(log), "folder": str(folder), **job})
        return statuses, log.read_text("utf-8")

    def interrupted(self, name: str, recipe: dict[str, Any], *, at: int, stage: str = "") -> None:
        """Run until a step begins, and be killed there."""
        whole = MustelaTrainer.training_step

        def step(trainer: MustelaTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
            if trainer.state.global_step >= at and stage in str(trainer.args.output_dir):
                raise KillError
            return whole(trainer, *args, **kwargs)

        with self.patch.context() as patch:
            patch.setattr(MustelaTrainer, "training_step", step)
            with pytest.raises(KillError):
                self(name, recipe)

    def log(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.root / name / "log.jsonl").read_text("utf-8").splitlines()]

    def losses(self, name: str) -> list[tuple[str, int, float]]:
        return [(line["stage"], line["step"], line["loss"]) for line in self.log(name) if "loss" in line]

    def weights(self, name: str, file: str = "final/model.safetensors") -> dict[str, torch.Tensor]:
        return load_file(self.root / name / file)

    @property
    def console(self) -> str:
        return self.output.getvalue()


@pytest.fixture(scope="session")
def fork() -> Iterator[Fork]:
    """Does a job of `forks.py`, in a program that starts with the first job."""
    with ExitStack() as stack:
        started: list[subprocess.Popen[str]] = []

        def do(job: dict[str, Any]) -> list[int]:
            if not started:
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                line = [sys.executable, str(Path(__file__).with_name("forks.py"))]
                pipe = subprocess.PIPE
                program = subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True, env=environment)
                started.append(stack.enter_context(program))
            program = started[0]
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write(json.dumps(job, default=str) + "\n")
            program.stdin.flush()
            statuses: list[int] = json.loads(program.stdout.readline())
            return statuses

        yield do


@pytest.fixture(scope="session")
def runs_in(fork) -> Callable[[Path], Runs]:
    """Makes `runs` of another folder, for a run that several tests look at."""
    return lambda root: Runs(root, pytest.MonkeyPatch(), io.StringIO(), fork)


@pytest.fixture
def runs(tmp_path, monkeypatch, fork) -> Callable[..., RunResult]:
    return Runs(tmp_path, monkeypatch, io.StringIO(), fork)
