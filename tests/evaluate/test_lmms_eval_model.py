"""The model of lmms-eval, with a stand-in for that package (it brings hundreds of others)."""

from __future__ import annotations

import abc
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from mustela.errors import ConfigError


@pytest.fixture
def lmms_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    """What mustela uses of lmms-eval 0.7."""

    class Lmms(abc.ABC):  # noqa: B024 - as there
        def __init__(self) -> None:
            self._rank, self._world_size, self.task_dict = 0, 1, {}

    modules = {
        "lmms_eval": {},
        "lmms_eval.api": {},
        "lmms_eval.api.model": {"lmms": Lmms},
        "lmms_eval.models": {},
        "lmms_eval.models.registry_v2": {"ModelManifest": SimpleNamespace},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "mustela.evaluate.lmms_eval_model", raising=False)


def request(number: int, text: str, pictures: int, **settings: Any) -> SimpleNamespace:
    def show(document: int) -> list[Image.Image]:
        return [Image.new("RGB", (40, 30), (60 * document, 90, 90)) for _ in range(pictures)]

    return SimpleNamespace(args=(text, {"max_new_tokens": 4, **settings}, show, number, "task", "test"))


@pytest.mark.usefixtures("lmms_eval")
def test_answers_come_in_the_order_of_the_requests(tiny_model_folder: Path) -> None:
    from mustela.evaluate.lmms_eval_model import Mustela

    texts = ["What is it?", "<image> A dog, or what else could it be?", "Why?", "Is it red?"]
    requests = [request(n, text, pictures=n % 2) for n, text in enumerate(texts)]
    found = []
    for size in (1, 3):
        model = Mustela(str(tiny_model_folder), batch_size=size, device="cpu")
        model.task_dict = {"task": {"test": list(range(4))}}
        found.append(model.generate_until(requests))
    assert found[0] == found[1]
    assert all(found[0])
    cut = model.generate_until([request(0, texts[0], pictures=0, until=[found[0][0][:1]])])
    assert cut == [""]
    assert model.generate_until([]) == []


@pytest.mark.usefixtures("lmms_eval")
def test_mistakes_are_told(tiny_model_folder: Path) -> None:
    from mustela.evaluate.lmms_eval_model import Mustela

    with pytest.raises(ConfigError, match="mustela has no attn"):
        Mustela(str(tiny_model_folder), attn="x")
    with pytest.raises(ConfigError, match="dtype is 'int8'"):
        Mustela(str(tiny_model_folder), device="cpu", dtype="int8")


@pytest.mark.usefixtures("lmms_eval")
def test_the_entry_point_names_the_model() -> None:
    from mustela.evaluate.lmms_eval_plugin import manifest

    found = manifest()
    assert (found.model_id, found.simple_class_path) == (
        "mustela",
        "mustela.evaluate.lmms_eval_model.Mustela",
    )
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["lmms_eval.models"] == {
        "mustela": "mustela.evaluate.lmms_eval_plugin:manifest"
    }
