"""A ready base from its configuration alone, for a plan."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, ProcessorMixin

from mustela.constants import IMAGE_PLACEHOLDER, REGION_TOKEN
from mustela.data.processor import MustelaProcessor, ProcessorSettings
from mustela.data.templates import get_template
from mustela.errors import ConfigError
from mustela.model import MustelaForConditionalGeneration
from mustela.model.origin import Origin
from mustela.model.settings import RegionSettings
from mustela.model.tokens import control_strings, train_tokenizer
from mustela.model.wrapping import wrap
from mustela.train.rehearsal import Rehearsal

# Enough for words, so that texts take about as many tokens as with a real tokenizer.
_TOKENS = 8000


class StandInProcessor(ProcessorMixin):
    """Stands in for a base's processor: a picture has as many tokens as the model, rehearsed, makes of it.

    Args:
        image_processor: the base's.
        tokenizer: any, with the image token.
        model: without numbers.
        rehearsal: that it was made under.
    """

    def __init__(
        self,
        image_processor: Any,
        tokenizer: Any,
        *,
        model: MustelaForConditionalGeneration,
        rehearsal: Rehearsal,
    ) -> None:
        self.image_token = IMAGE_PLACEHOLDER
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_PLACEHOLDER)
        self._model, self._rehearsal = model, rehearsal
        self._counts: dict[str, int] = {}
        # Asked for by the processors of the bases that split pictures.
        names = image_processor.to_dict()
        self.images_kwargs: Any = {
            **({"return_row_col_info": True} if "do_image_splitting" in names else {}),
            **({"crop_to_patches": True} if "crop_to_patches" in names else {}),
        }
        super().__init__(image_processor, tokenizer)

    @classmethod
    def get_attributes(cls) -> list[str]:
        """Return what it is made of."""
        return ["image_processor", "tokenizer"]

    @property
    def model_input_names(self) -> list[str]:
        """Return what the base's processor makes."""
        return [*self.image_processor.model_input_names, *self._model.family.position_inputs]

    def replace_image_token(self, image_inputs: Any, image_idx: int, **_: Any) -> str:
        """Return the image tokens of the only picture."""
        family = self._model.family
        names = (*family.image_inputs, *family.optional_inputs)
        given = {name: image_inputs[name] for name in names if name in image_inputs}
        key = str({n: t.shape if t.is_floating_point() else t.tolist() for n, t in given.items()})
        if key not in self._counts:
            base: Any = self._model.base
            with torch.no_grad(), self._rehearsal:
                made = base.model.get_image_features(**given, return_dict=True).pooler_output
                self._counts[key] = sum(each.shape[:-1].numel() for each in made)
        return self.image_token * self._counts[key]


def build_stand_in_base(
    base: Mapping[str, Any],
    image_processor: Mapping[str, Any],
    texts: Iterable[str],
    *,
    regions: RegionSettings,
    rehearsal: Rehearsal,
    dtype: torch.dtype = torch.float32,
) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    """Make what `mustela.model.build.build_on_base` makes, from configurations alone.

    Args:
        base: configuration of the base, with its `model_type`.
        image_processor: what its preprocessor_config.json holds.
        texts: what the tokenizer learns from; token ids don't fit those of the model that it stands in for.
        regions: the region encoder.
        rehearsal: active.
        dtype: of all weights.

    Raises:
        ConfigError: the configuration has no `model_type`, or no family is known for it.
    """
    values = dict(base)
    if "model_type" not in values:
        raise ConfigError("stand_in: base needs a model_type, such as qwen3_vl.")
    template = get_template("compact", tokenizer=None)
    tokenizer = train_tokenizer(
        texts,
        vocab_size=_TOKENS,
        control_tokens=[*control_strings(template), IMAGE_PLACEHOLDER, REGION_TOKEN],
        end_token=template.stop_strings[0],
    )
    config: Any = AutoConfig.for_model(values.pop("model_type"), **values)
    config.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_PLACEHOLDER)
    text = config.get_text_config()
    text.pad_token_id = tokenizer.pad_token_id
    made = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    made.tie_weights()
    model = wrap(made, tokenizer, regions)
    model.origin = Origin("ready", "", None, text.vocab_size, probe=())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "preprocessor_config.json"
        file.write_text(json.dumps(dict(image_processor)), encoding="utf-8")
        images = AutoImageProcessor.from_pretrained(folder)
    settings = ProcessorSettings(
        region_token=REGION_TOKEN if regions.encoder != "none" else None,
        region_points=regions.points,
        tokens_per_region=regions.tokens,
        sampling_geometry=regions.geometry,
        coordinates=model.family.coordinates,
    )
    processor = StandInProcessor(images, tokenizer, model=model, rehearsal=rehearsal)
    return model, MustelaProcessor(processor, get_template("compact", tokenizer=tokenizer), settings)
