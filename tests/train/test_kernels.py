"""Liger's kernels: when they are used, and on what. The kernels themselves need a GPU."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from mustela.config.training import TrainingArguments
from mustela.errors import MissingExtraError
from mustela.model.loading import load_model
from mustela.train import kernels
from mustela.train.kernels import use_liger_kernels, wants_liger


@pytest.fixture
def liger(monkeypatch):
    """A package in Liger's place; what it was asked to change."""
    asked = []
    package, inner = ModuleType("liger_kernel"), ModuleType("liger_kernel.transformers")
    patching = ModuleType("liger_kernel.transformers.monkey_patch")
    patching.MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": None}
    patching._apply_liger_kernel_to_instance = lambda model, **kwargs: asked.append((model, kwargs))
    for module in (package, inner, patching):
        module.__spec__ = SimpleNamespace(name=module.__name__)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return asked


def test_only_the_language_model_gets_kernels_and_keeps_its_own_head(liger, tiny_model_folder) -> None:
    model, _ = load_model(tiny_model_folder)
    assert use_liger_kernels(model, {"rope": False, "fused_linear_cross_entropy": True})
    ((patched, choices),) = liger
    assert patched is model.base.get_decoder()
    assert choices == {"rope": False, "cross_entropy": False, "fused_linear_cross_entropy": False}


def test_an_unknown_language_model_stays_as_it_is(liger, tiny_model_folder, caplog) -> None:
    model, _ = load_model(tiny_model_folder)
    model.base.get_decoder().config.model_type = "unheard_of"
    assert not use_liger_kernels(model)
    assert not liger
    assert "unheard_of" in caplog.text


@pytest.mark.parametrize(
    ("flags", "device", "wanted"),
    [
        ({}, "cuda", True),
        ({}, "cpu", False),
        ({"torch_compile": True}, "cuda", False),
        ({"use_liger_kernel": False}, "cuda", False),
        ({"use_liger_kernel": True, "torch_compile": True}, "cpu", True),
    ],
)
def test_left_open_they_are_used_where_they_can_be(liger, monkeypatch, flags, device, wanted) -> None:
    given = {"use_liger_kernel": None, "torch_compile": False, **flags}
    assert wants_liger(SimpleNamespace(device=torch.device(device), **given)) is wanted


def test_left_open_and_not_installed_they_are_not_used(monkeypatch) -> None:
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda _: None)
    training = SimpleNamespace(use_liger_kernel=None, torch_compile=False, device=torch.device("cuda"))
    assert not wants_liger(training)


def test_by_default_it_is_left_open(tmp_path) -> None:
    assert TrainingArguments(str(tmp_path), use_cpu=True).use_liger_kernel is None


def test_a_training_with_them_runs_and_is_examined(liger, runs, scratch, shapes) -> None:
    held_out = {"eval_data_path": [str(shapes / "val.json")], "eval_strategy": "steps", "eval_steps": 2}
    runs("with", {**scratch, **held_out, "max_steps": 2}, ["--use_liger_kernel", "True"])
    assert len(liger) == 1
    assert len(runs.losses("with")) == 2
    assert any("eval_loss" in line for line in runs.log("with"))


def test_asked_for_without_the_package_the_extra_is_named(runs, scratch, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "liger_kernel", None)
    with pytest.raises(MissingExtraError, match=r"mustela\[liger\]"):
        runs("without", scratch, ["--use_liger_kernel", "True"])
