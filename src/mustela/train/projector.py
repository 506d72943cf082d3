"""The projector by itself: read from files of many origins, written as safetensors.

The file also carries what is trained in the same stage and would be lost otherwise: the region encoder, and
the embeddings of tokens that were added to a frozen language model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mustela.errors import CheckpointError
from mustela.model.tensor_file import read_tensors
from mustela.train.freezing import PROJECTOR, REGION_ENCODER, Parts

FILE_NAME = "mm_projector.safetensors"

_ROWS = "token_rows."
# What stands in front of `weight` and `bias`, in files of LLaVA and Ferret, of transformers, and in ours.
_OURS = re.compile(r"^(?:.*\.)?(?:mm_projector|multi_modal_projector)\.")
_REGIONS = re.compile(r"^(?:.*\.)?region_encoder\.")
# LLaVA's two-layer projector is a Sequential (linear, GELU, linear).
_SEQUENTIAL = {"0": "linear_1", "2": "linear_2"}


def load_projector(
    model: nn.Module,
    path: Path,
    *,
    parts: Parts,
    embedding: nn.Embedding | None = None,
    token_ids: Mapping[str, int] | None = None,
) -> tuple[str, ...]:
    """Put the projector of a file into a model, the region encoder, or both, as the file has them.

    Prefixes of other programs are stripped; tensors of other parts in the file are ignored. Embeddings of
    tokens in the file are copied into `embedding` where `token_ids` has the token.

    Returns:
        The names of the parameters that were set.

    Raises:
        CheckpointError: the file lacks a tensor of the projector, or a shape differs (naming both).
    """
    tensors = read_tensors(path)
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if _OURS.match(name):
            found[f"{PROJECTOR}.{_layer(_OURS.sub('', name))}"] = tensor
        elif _REGIONS.match(name):
            found[f"{REGION_ENCODER}.{_REGIONS.sub('', name)}"] = tensor
    if not found:
        raise CheckpointError(f"{path} has no projector: its tensors are {', '.join(list(tensors)[:5])} ...")
    wanted: dict[str, str] = {}
    for part in (PROJECTOR, REGION_ENCODER):
        if any(name.startswith(f"{part}.") for name in found):
            wanted |= _short_names(parts, part)
    _check(wanted, found, model=model, path=path)
    by_name = dict(model.named_parameters())
    with torch.no_grad():
        for short, full in wanted.items():
            by_name[full].copy_(found[short])
        if embedding is not None:
            for token, row in (token_ids or {}).items():
                if f"{_ROWS}{token}" in tensors:
                    embedding.weight[row].copy_(tensors[f"{_ROWS}{token}"])
    return tuple(wanted.values())


def save_projector(
    weights: Mapping[str, Tensor],
    path: Path,
    *,
    parts: Parts,
    rows: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write projector and region encoder of a model's weights as `mm_projector.*` and `region_encoder.*`.

    Embeddings of added tokens, `rows` by token, become `token_rows.*`.

    Raises:
        CheckpointError: a tensor is empty, as when it is sharded over processes and was not gathered.
    """
    tensors = {}
    for part, prefix in ((PROJECTOR, "mm_projector"), (REGION_ENCODER, REGION_ENCODER)):
        for short, full in _short_names(parts, part).items():
            tensor = weights[full].detach().cpu()
            if tensor.numel() == 0:
                raise CheckpointError(
                    f"{full} is empty here: it is sharded over processes and was not gathered before saving."
                )
            tensors[short.replace(f"{part}.", f"{prefix}.", 1)] = tensor.to(
                dtype or tensor.dtype
            ).contiguous()
    for token, row in (rows or {}).items():
        tensors[f"{_ROWS}{token}"] = row.detach().cpu().to(dtype or row.dtype).contiguous()
    save_file(tensors, path, metadata={"format": "pt"})


def _layer(name: str) -> str:
    first, _, rest = name.partition(".")
    return f"{_SEQUENTIAL[first]}.{rest}" if first in _SEQUENTIAL and rest else name


def _short_names(parts: Parts, part: str) -> dict[str, str]:
    """Map `part.rest` to the parameter's full name, without what stands in front of the part's own names."""
    names = list(parts.get(part, ()))
    prefix = _common_module(names)
    return {f"{part}.{name.removeprefix(prefix)}": name for name in names}


def _common_module(names: list[str]) -> str:
    """Find the longest module path that all names share, with its dot."""
    if not names:
        return ""
    paths = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for level in zip(*paths, strict=False):
        if len(set(level)) != 1:
            break
        shared.append(level[0])
    return "".join(f"{module}." for module in shared)


def _check(wanted: Mapping[str, str], found: Mapping[str, Tensor], *, model: nn.Module, path: Path) -> None:
    by_name = dict(model.named_parameters())
    missing = [short for short in wanted if short not in found]
    unknown = [short for short in found if short not in wanted]
    if missing or unknown:
        raise CheckpointError(
            f"{path} holds another kind of projector or region encoder than the model's: "
            f"missing {', '.join(missing) or 'nothing'}; not in the model {', '.join(unknown) or 'nothing'}. "
            "Check mm_projector_type and region_encoder."
        )
    for short, full in wanted.items():
        if found[short].shape != by_name[full].shape:
            raise CheckpointError(
                f"{path}: {short} is {list(found[short].shape)} in the file and {list(by_name[full].shape)} "
                "in the model. The file was made for another language model or vision tower."
            )
