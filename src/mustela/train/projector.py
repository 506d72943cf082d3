"""The projector by itself: read from files of many origins, written as safetensors.

The file also carries what is trained in the same stage and would be lost otherwise: the region encoder, and
the embeddings of tokens that were added to a frozen language model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mustela.errors import CheckpointError
from mustela.model.tensor_file import read_tensors
from mustela.train.freezing import PROJECTOR, REGION_ENCODER, Parts

logger = logging.getLogger(__name__)

FILE_NAME = "mm_projector.safetensors"

_ROWS = "token_rows."
# What stands in front of `weight` and `bias`, in files of LLaVA and Ferret, of transformers, and in ours.
_OURS = re.compile(r"^(?:.*\.)?(?:mm_projector|multi_modal_projector)\.")
# Where LLaVA and Ferret train rows of new tokens, their files hold the whole embedding; those rows are last.
_EMBEDDING = re.compile(r"^(?:.*\.)?embed_tokens\.weight$")
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
    tokens in the file are copied into `embedding` where `token_ids` has the token; of a whole embedding, as
    LLaVA and Ferret write it with `mm_use_im_start_end`, the last rows are those of `token_ids`, in order.

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
        rows = _token_rows(tensors, token_ids or {}, path=path)
        if embedding is not None:
            for token, row in rows.items():
                if row.shape != embedding.weight.shape[1:]:
                    raise CheckpointError(
                        f"{path}: the embedding of {token} has {row.shape[-1]} numbers, the model's "
                        f"{embedding.weight.shape[1]}. The file was made for another language model."
                    )
                embedding.weight[(token_ids or {})[token]].copy_(row)
    return tuple(wanted.values())


def _token_rows(
    tensors: Mapping[str, Tensor], token_ids: Mapping[str, int], *, path: Path
) -> dict[str, Tensor]:
    """Find embeddings of tokens in a file: a tensor a token, or the last rows of a whole embedding."""
    found = {token: tensors[f"{_ROWS}{token}"] for token in token_ids if f"{_ROWS}{token}" in tensors}
    whole = next((tensor for name, tensor in tensors.items() if _EMBEDDING.match(name)), None)
    if whole is None:
        return found
    if not token_ids:
        logger.warning(
            "%s holds embeddings of new tokens too, which are left out: they belong to mm_use_im_start_end.",
            path,
        )
        return found
    if whole.ndim != 2 or whole.shape[0] < len(token_ids):
        raise CheckpointError(
            f"{path}: its embedding is {list(whole.shape)}, which lacks rows for {', '.join(token_ids)}."
        )
    return dict(zip(token_ids, whole[-len(token_ids) :], strict=True)) | found


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
