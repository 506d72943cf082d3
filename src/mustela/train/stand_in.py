"""Planning a run without its weights or its data, from what a recipe says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mustela.config import DataArguments, ModelArguments
from mustela.config.fields import nearest
from mustela.constants import IGNORE_INDEX
from mustela.data.message import Message, Slot
from mustela.data.processor import MustelaProcessor
from mustela.data.render import Rendered, RenderedRegion
from mustela.errors import ConfigError
from mustela.model.packaged import packaged_models
from mustela.regions import Box


@dataclass(frozen=True)
class StandIn:
    """What a recipe says of models and data that a dry run may have to do without.

    Attributes:
        language_model: its configuration, with its `model_type`.
        vision_tower: likewise.
        base: the configuration of a ready model, in place of both.
        image_processor: what its preprocessor_config.json holds.
        picture: width and height of a large picture.
        samples: of an epoch; by the stages' names in a run of stages.
        tokens: of a long sample, the picture's included.
        supervised: tokens of its answers.
        regions: that its questions point at.
        devices: that the run is meant for.
    """

    language_model: Mapping[str, Any] | None = None
    vision_tower: Mapping[str, Any] | None = None
    base: Mapping[str, Any] | None = None
    image_processor: Mapping[str, Any] | None = None
    picture: Sequence[int] = (1280, 960)
    samples: int | Mapping[str, int] = 0
    tokens: int = 1024
    supervised: int = 256
    regions: int = 4
    devices: int = 1

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> StandIn:
        """Read the `stand_in` section of a recipe.

        Raises:
            ConfigError: a key that isn't known, or a configuration that is missing.
        """
        known = [item.name for item in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"stand_in: {name} is not a known key.{nearest(name, known)}")
        needed = ("base", "image_processor") if "base" in values else ("language_model", "vision_tower")
        for name in needed:
            if not isinstance(values.get(name), Mapping):
                what = "an image processor" if name == "image_processor" else "a model, with its model_type"
                raise ConfigError(f"stand_in: {name} is the configuration of {what}.")
        return cls(**values)

    def replaces_model(self, model: ModelArguments) -> bool:
        """Say whether a model's weights aren't on this machine."""
        names = [name for name in (model.model_name_or_path, model.vision_tower) if name is not None]
        return not names or any(
            name not in packaged_models() and not Path(name).expanduser().is_dir() for name in names
        )

    def replaces_data(self, data: DataArguments) -> bool:
        """Say whether a record file isn't on this machine."""
        return not data.data_path or any(not Path(file).exists() for file in data.data_path)

    def samples_of(self, stage: str) -> int:
        """Return the samples of an epoch of a stage."""
        return self.samples if isinstance(self.samples, int) else self.samples.get(stage, 0)

    def sample(self, processor: MustelaProcessor, *, longest: int) -> dict[str, Tensor]:
        """Make a long sample: a grey picture, regions that cover it, and tokens that mean nothing.

        Args:
            processor: of the model.
            longest: tokens at most.
        """
        width, height = processor.settings.resized_image_wh or self.picture
        picture = Image.new("RGB", (width, height), "gray")
        has_regions = processor.settings.region_token is not None and processor.template.name != "plain"
        count = self.regions if has_regions else 0
        rendered = Rendered(
            "stand_in",
            (
                Message("user", (Slot.IMAGE, "\n", *([Slot.REGION] * count), " a")),
                Message("assistant", ("b",)),
            ),
            tuple(RenderedRegion(Box(0, 0, width, height)) for _ in range(count)),
        )
        sample = processor.encode(rendered, [picture])
        ids, labels = sample["input_ids"], sample["labels"]
        more = max(min(self.tokens, longest) - len(ids), 0)
        answer = min(self.supervised, more)
        filling = torch.full((more,), processor.pad_token_id)
        targets = torch.full((more,), IGNORE_INDEX)
        targets[more - answer :] = processor.pad_token_id
        kinds: dict[str, Tensor] = {
            name: torch.cat([sample[name], torch.zeros(more, dtype=torch.long)])
            for name in ("mm_token_type_ids", "token_type_ids")
            if name in sample
        }
        longer = {"input_ids": torch.cat([ids, filling]), "labels": torch.cat([labels, targets])}
        return {**sample, **longer, **kinds}
