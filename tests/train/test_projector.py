"""Projector files of several origins, and what is refused."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mustela.errors import CheckpointError
from mustela.model.tensor_file import read_tensors
from mustela.train.projector import load_projector, save_projector


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(3, 4)
        self.linear_2 = nn.Linear(4, 4)


class Model(nn.Module):
    def __init__(self, projector: nn.Module) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"multi_modal_projector": projector})
        self.region_encoder = nn.ModuleDict({"first": nn.Linear(3, 3), "last": nn.Linear(3, 4)})
        self.parts = {
            "projector": tuple(name for name, _ in self.named_parameters() if "projector" in name),
            "region_encoder": tuple(name for name, _ in self.named_parameters() if "region" in name),
        }


def linear() -> Model:
    return Model(nn.Linear(3, 4))


def projector(model: Model) -> dict[str, torch.Tensor]:
    return dict(model.inner["multi_modal_projector"].named_parameters())


@pytest.mark.parametrize(
    "prefix",
    ["mm_projector.", "model.mm_projector.", "base_model.model.mm_projector.", "multi_modal_projector."],
)
@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_prefixes_of_other_programs_are_stripped(tmp_path, prefix, suffix):
    tensors = {
        f"{prefix}weight": torch.randn(4, 3),
        f"{prefix}bias": torch.randn(4),
        "model.embed_tokens.weight": torch.randn(5, 4),
    }
    path = tmp_path / f"mm_projector{suffix}"
    if suffix == ".bin":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    model = linear()
    assert len(load_projector(model, path, parts=model.parts)) == 2
    assert torch.equal(projector(model)["weight"], tensors[f"{prefix}weight"])
    assert torch.equal(projector(model)["bias"], tensors[f"{prefix}bias"])


@pytest.mark.parametrize("rows", [2, 9])
def test_embeddings_of_new_tokens_are_the_last_rows_of_the_original_s_file(tmp_path, rows):
    tensors = {
        "model.mm_projector.weight": torch.randn(4, 3),
        "model.mm_projector.bias": torch.randn(4),
        "model.embed_tokens.weight": torch.randn(rows, 4),
    }
    torch.save(tensors, tmp_path / "mm_projector.bin")
    model, embedding = linear(), nn.Embedding(12, 4)
    before = embedding.weight.detach().clone()
    marks = {"<im_start>": 10, "<im_end>": 8}
    load_projector(
        model, tmp_path / "mm_projector.bin", parts=model.parts, embedding=embedding, token_ids=marks
    )
    before[[10, 8]] = tensors["model.embed_tokens.weight"][-2:]
    assert torch.equal(embedding.weight, before)
    for shape, says in (((1, 4), "lacks rows for <im_start>, <im_end>"), ((2, 5), "has 5 numbers")):
        torch.save({**tensors, "model.embed_tokens.weight": torch.zeros(shape)}, tmp_path / "p.bin")
        with pytest.raises(CheckpointError, match=says):
            load_projector(model, tmp_path / "p.bin", parts=model.parts, embedding=embedding, token_ids=marks)


def test_embeddings_that_no_token_asks_for_are_told(tmp_path, caplog):
    tensors = {
        "mm_projector.weight": torch.zeros(4, 3),
        "mm_projector.bias": torch.zeros(4),
        "model.embed_tokens.weight": torch.zeros(5, 4),
    }
    torch.save(tensors, tmp_path / "p.bin")
    model = linear()
    load_projector(model, tmp_path / "p.bin", parts=model.parts, embedding=nn.Embedding(5, 4))
    assert "mm_use_im_start_end" in caplog.text


def test_layers_of_a_sequential_projector_find_their_places(tmp_path):
    tensors = {
        "model.mm_projector.0.weight": torch.randn(4, 3),
        "model.mm_projector.0.bias": torch.randn(4),
        "model.mm_projector.2.weight": torch.randn(4, 4),
        "model.mm_projector.2.bias": torch.randn(4),
    }
    torch.save(tensors, tmp_path / "p.bin")
    model = Model(TwoLayers())
    load_projector(model, tmp_path / "p.bin", parts=model.parts)
    assert torch.equal(projector(model)["linear_2.weight"], tensors["model.mm_projector.2.weight"])


def test_saved_is_loaded_with_the_region_encoder(tmp_path):
    one, other = Model(TwoLayers()), Model(TwoLayers())
    save_projector(one.state_dict(), tmp_path / "p.safetensors", parts=one.parts)
    assert {name.split(".")[0] for name in load_file(tmp_path / "p.safetensors")} == {
        "mm_projector",
        "region_encoder",
    }
    load_projector(other, tmp_path / "p.safetensors", parts=other.parts)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, other.get_parameter(name))


class Harmful:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_pickled_objects_are_refused_and_not_run(tmp_path):
    with (tmp_path / "p.bin").open("wb") as file:
        pickle.dump({"w": Harmful(str(tmp_path / "pwned"))}, file, protocol=2)
    torch.save({"mm_projector.weight": Harmful(str(tmp_path / "pwned"))}, tmp_path / "q.bin")
    for name in ("p.bin", "q.bin"):
        with pytest.raises(CheckpointError, match=r"can run code.*safetensors"):
            read_tensors(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


def test_what_does_not_fit_names_file_tensor_and_shapes(tmp_path):
    model = linear()
    path = tmp_path / "p.safetensors"
    with pytest.raises(CheckpointError, match="no such file"):
        load_projector(model, path, parts=model.parts)
    path.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="not a readable file"):
        load_projector(model, path, parts=model.parts)
    save_file({"mm_projector.weight": torch.zeros(9, 3), "mm_projector.bias": torch.zeros(4)}, path)
    with pytest.raises(CheckpointError, match=r"\[9, 3\] in the file and \[4, 3\] in the model"):
        load_projector(model, path, parts=model.parts)
    save_file({"mm_projector.weight": torch.zeros(4, 3)}, path)
    with pytest.raises(CheckpointError, match=r"missing projector\.bias"):
        load_projector(model, path, parts=model.parts)
    save_file({"other.weight": torch.zeros(4, 3)}, path)
    with pytest.raises(CheckpointError, match="has no projector"):
        load_projector(model, path, parts=model.parts)


def test_sharded_tensors_are_not_written(tmp_path):
    model = linear()
    model.inner["multi_modal_projector"].weight = nn.Parameter(torch.zeros(0, 3))
    with pytest.raises(CheckpointError, match="was not gathered"):
        save_projector(model.state_dict(), tmp_path / "p.safetensors", parts=model.parts)
