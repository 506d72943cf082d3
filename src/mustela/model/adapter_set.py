"""Several adapters on one base, of which one is active."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mustela.data.processor import MustelaProcessor
from mustela.errors import CheckpointError, ConfigError
from mustela.model.adapter import (
    place_new_rows,
    place_tensors,
    read_adapter,
    read_adapter_tensors,
)
from mustela.model.adapter_loading import load_base, located
from mustela.model.configuration import MustelaConfig
from mustela.model.lora import attach_lora, is_lora, plain_name
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.packaged import resolve_model_path
from mustela.model.quantisation import Quantisation


class AdapterSet:
    """One base in memory, and adapters that take turns on it.

    >>> adapters = AdapterSet({"cells": "runs/cells", "scenes": "runs/scenes"})
    >>> predictor = Predictor(*adapters.use("cells"))

    Args:
        folders: adapters' or runs' folders by a name of your choice, all trained on the same base.
        base: where the base lies, if no longer where it was in training.
        base_vision_tower: the same for the vision tower of a classic composition.
        device: where to put the model.
        dtype: of all weights.
        quantisation: of the language model; None: in full.

    Raises:
        CheckpointError: an adapter is incomplete, or they are of different bases or have different parts.
        ConfigError: there is no adapter, or a name has a dot.
    """

    def __init__(
        self,
        folders: Mapping[str, str | Path],
        *,
        base: str | Path | None = None,
        base_vision_tower: str | Path | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        quantisation: Quantisation | None = None,
    ) -> None:
        if not folders or any("." in name or not name for name in folders):
            raise ConfigError("AdapterSet needs one adapter at least, under names without dots.")
        paths = {name: resolve_model_path(folder) for name, folder in folders.items()}
        self._adapters = {name: read_adapter(path) for name, path in paths.items()}
        self._processors = {name: MustelaProcessor.from_pretrained(path) for name, path in paths.items()}
        configs = {name: MustelaConfig.from_pretrained(path) for name, path in paths.items()}
        first = next(iter(folders))
        for name in folders:
            self._check_same(first, name, configs)
        origin = located(
            self._adapters[first].origin,
            base=base,
            base_vision_tower=base_vision_tower,
            who=str(paths[first]),
        )
        model = load_base(
            origin,
            configs[first],
            dtype=dtype,
            quantisation=quantisation,
            device=device,
            who=str(paths[first]),
        )
        tensors = {name: read_adapter_tensors(path, self._adapters[name]) for name, path in paths.items()}
        self._tensors = {
            name: {key: tensor for key, tensor in each.items() if not is_lora(key)}
            for name, each in tensors.items()
        }
        whole = {key for each in self._tensors.values() for key in each}
        self._base = {
            name: parameter.detach().clone() for name, parameter in model.named_parameters() if name in whole
        }
        for name, path in paths.items():
            attach_lora(model, self._adapters[name].lora, name=name)
            place_tensors(model, tensors[name], who=str(path), base=origin.model, name=name)
            self._adapters[name] = replace(self._adapters[name], origin=origin)
        self._model = model.to(device).eval()  # type: ignore[arg-type]
        self.use(first)

    def use(self, name: str) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
        """Make an adapter the active one; returns the model, the same each time, and the adapter's processor.

        Raises:
            ConfigError: there is none of that name.
        """
        from peft.tuners.tuners_utils import set_adapter
        from peft.utils.other import TrainableTokensWrapper

        if name not in self._adapters:
            raise ConfigError(f"There is no adapter {name!r}; there are {', '.join(self._adapters)}.")
        places = {
            plain_name(full): parameter
            for full, parameter in self._model.named_parameters()
            if not is_lora(full)
        }
        tensors = {**self._base, **self._tensors[name]}
        with torch.no_grad():
            for key, tensor in tensors.items():
                if key in places:
                    places[key].copy_(tensor)
        place_new_rows(self._model, self._adapters[name].origin.rows, tensors)
        set_adapter(self._model, name, inference_mode=True)
        for module in self._model.modules():
            # An adapter without token rows would be looked up there nevertheless.
            if isinstance(module, TrainableTokensWrapper) and not self._adapters[name].lora.rows:
                module.token_adapter.set_adapter([], inference_mode=True)
        self._model.adapter = self._adapters[name]
        return self._model, self._processors[name]

    def _check_same(self, first: str, name: str, configs: Mapping[str, Any]) -> None:
        one, other = self._adapters[first].origin, self._adapters[name].origin
        same_base = (one.kind, one.rows, one.probe) == (other.kind, other.rows, other.probe)
        if not same_base or configs[first].to_dict() != configs[name].to_dict():
            raise CheckpointError(
                f"The adapters {first!r} ({one.model}) and {name!r} ({other.model}) are of different bases, "
                "or have different region encoders or tokens: they can't share one."
            )
