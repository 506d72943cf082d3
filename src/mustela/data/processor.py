"""From a rendered record and its pictures to the tensors of one sample."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, PaliGemmaProcessor
from transformers.processing_utils import ProcessorMixin

from mustela.data.base_processor import load_base_processor
from mustela.data.normalising import Normaliser
from mustela.data.pictures import PreparedImage, fits_of, join_inputs, place_image, prepare_image
from mustela.data.processor_settings import ProcessorSettings
from mustela.data.region_points import draw_points
from mustela.data.render import Rendered, RenderedRegion
from mustela.data.sample_text import DigitWeights, SampleWriter
from mustela.data.slots import check_counts
from mustela.data.templates import Template
from mustela.data.token_types import token_types
from mustela.errors import CheckpointError
from mustela.regions import CoordinateStyle, Size, Transform

_BASE_FOLDER = "base_processor"
_TILES = "tile_processor"
_REGIONS = "region_processor"
_FILE = "processor_config.json"

__all__ = ["DigitWeights", "MustelaProcessor", "ProcessorSettings"]


class MustelaProcessor:
    """A base's processor, a template and the sampling of regions.

    Args:
        base_processor: processor of the base: tokenizer and image processor.
        template: how conversations are written.
        settings: see `ProcessorSettings`.
        tile_processor: image processor of the encoder of tiles; None: the base's.
        region_processor: image processor of the region tower, where there is one.
        as_bytes: leave pictures as bytes, for `normaliser` to finish where the step is computed.
    """

    def __init__(
        self,
        base_processor: ProcessorMixin,
        template: Template,
        settings: ProcessorSettings,
        *,
        tile_processor: Any = None,
        region_processor: Any = None,
        as_bytes: bool = False,
    ) -> None:
        self.base_processor = base_processor
        self.template = template
        self.settings = settings
        self.tokenizer = base_processor.tokenizer
        self.image_processor = base_processor.image_processor
        self.tile_processor = tile_processor
        self.region_processor = region_processor
        self.as_bytes = as_bytes
        self.image_token: str = base_processor.image_token  # type: ignore[attr-defined]
        self.image_token_id: int = self.tokenizer.convert_tokens_to_ids(self.image_token)

    @property
    def pad_token_id(self) -> int:
        """Id that pads batches; any id will do, as masks come from lengths."""
        pad = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id or 0) if pad is None else int(pad)

    @property
    def region_token_id(self) -> int | None:
        """Id of the region token; None for a processor without one."""
        token = self.settings.region_token
        return None if token is None else int(self.tokenizer.convert_tokens_to_ids(token))

    def with_template(self, template: Template) -> MustelaProcessor:
        """Return the same processor writing another template."""
        return MustelaProcessor(
            self.base_processor,
            template,
            self.settings,
            tile_processor=self.tile_processor,
            region_processor=self.region_processor,
            as_bytes=self.as_bytes,
        )

    def with_bytes(self) -> MustelaProcessor:
        """Return the same processor leaving pictures as bytes."""
        made = self.with_template(self.template)
        made.as_bytes = True
        return made

    @property
    def normaliser(self) -> Normaliser:
        """What finishes batches of a processor that leaves pictures as bytes."""
        processors = {
            "pixel_values": self.image_processor,
            "tile_pixel_values": self.tile_processor or self.image_processor,
            "region_pixel_values": self.region_processor,
        }
        return Normaliser({name: each for name, each in processors.items() if each is not None})

    def encode(
        self,
        rendered: Rendered,
        images: Sequence[Image.Image | PreparedImage],
        *,
        rng: np.random.Generator | None = None,
        max_length: int | None = None,
        generation: bool = False,
        digit_weights: DigitWeights | None = None,
        separate_rounds: bool = False,
    ) -> dict[str, Tensor]:
        """Make the tensors of one sample.

        Args:
            rendered: messages and regions, see `mustela.data.render.render`.
            images: the record's pictures, RGB or from `prepare_image`.
            rng: draws the points of regions; None spreads them the same way each time.
            max_length: ids at most; whole last rounds are dropped to keep to it.
            generation: end where the model is to answer; no labels.
            digit_weights: loss factors of hundreds, tens and units of coordinates in answers.
            separate_rounds: each round as a conversation of its own, see `mustela.data.rounds_apart`; not
                for a generation.

        Returns:
            `input_ids`, `labels` (and `label_weights`, and with separate rounds `segments (T, 2)` and
            `position_ids`) `(T,)`; `region_points (R, P, 2)` in 0..1 of the
            encoded picture and `region_image (R,)` where there are regions; the base's image tensors;
            `num_images`, a scalar.

        Raises:
            RecordError: the sample can't be labelled, or not even its first round fits `max_length`.
            CountMismatchError: pictures or regions and their slots differ in number.
        """
        check_counts(rendered, images)
        pictures: Sequence[PreparedImage] = [
            image if isinstance(image, PreparedImage) else self.prepare_image(image) for image in images
        ]
        sample, regions, pictures = self._writer.write(
            rendered,
            pictures,
            max_length=max_length,
            generation=generation,
            digit_weights=digit_weights,
            separate_rounds=separate_rounds,
        )
        sample |= token_types(self.base_processor, sample)
        if generation:
            sample.pop("labels")
        sample["num_images"] = torch.tensor(len(pictures))
        sample.update(join_inputs([picture.inputs for picture in pictures]))
        if regions:
            sample["region_points"] = self._points(regions, pictures, rng)
            sample["region_image"] = torch.tensor([region.image for region in regions])
        return sample

    def count_tokens(
        self,
        rendered: Rendered,
        sizes_wh: Sequence[Size],
        *,
        max_length: int | None = None,
        separate_rounds: bool = False,
    ) -> int:
        """Return how many ids `encode` would make, from the sizes of the pictures alone.

        Raises:
            RecordError: as `encode`.
            ConfigError: the base's image processor fits pictures in its own way.
        """
        pictures = [self.place_image(size_wh) for size_wh in sizes_wh]
        sample, _, _ = self._writer.write(
            rendered, pictures, max_length=max_length, separate_rounds=separate_rounds
        )
        return len(sample["input_ids"])

    @property
    def _writer(self) -> SampleWriter:
        # PaliGemma's tokenizer leaves its beginning to the processor, which writes it behind the pictures.
        begins = isinstance(self.base_processor, PaliGemmaProcessor)
        return SampleWriter(
            self.template,
            self.tokenizer,
            self.image_token,
            self.settings,
            self.region_token_id,
            begin_token_id=self.tokenizer.bos_token_id if begins else None,
        )

    def frames(self, coordinates: CoordinateStyle, sizes_wh: Sequence[Size]) -> tuple[Transform, ...] | None:
        """Return how pictures are fitted, for a style of coordinates that says so; None for all others."""
        if coordinates != "resized":
            return None
        return fits_of(sizes_wh, self.base_processor, self.settings)

    def prepare_image(self, image: Image.Image) -> PreparedImage:
        """Fit a picture, RGB, to the encoders, to be used for many samples.

        Raises:
            ConfigError: the base's image processor fits pictures in a way that isn't known.
        """
        return prepare_image(
            image,
            self.base_processor,
            self.settings,
            tile_processor=self.tile_processor,
            region_processor=self.region_processor,
            as_bytes=self.as_bytes,
        )

    def place_image(self, size_wh: Size, inputs: Mapping[str, Tensor] | None = None) -> PreparedImage:
        """Return what `prepare_image` makes of a picture of this size, with other tensors than its own.

        Raises:
            ConfigError: the base's image processor fits pictures in its own way.
        """
        return place_image(size_wh, self.base_processor, self.settings, inputs=inputs or {})

    def _points(
        self,
        regions: Sequence[RenderedRegion],
        pictures: Sequence[PreparedImage],
        rng: np.random.Generator | None,
    ) -> Tensor:
        """Sample regions and carry their points to the encoded pictures: `(R, P, 2)` in 0..1."""
        sizes_wh = [picture.size_wh for picture in pictures]
        points = draw_points(regions, sizes_wh, count=self.settings.region_points, rng=rng)
        if self.settings.sampling_geometry == "original":
            points -= 0.5
        shown = np.array([region.image for region in regions])
        for index in set(shown.tolist()):
            transform, here = pictures[index].transform, slice(None) if len(pictures) == 1 else shown == index
            encoded = transform.points(points[here].reshape(-1, 2)) / np.asarray(transform.encoded_wh)
            points[here] = np.clip(encoded, 0, 1).reshape(-1, *points.shape[1:])
        return torch.from_numpy(points)

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """Return the text of generated ids, without control tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Write the processor into a model's folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.base_processor.save_pretrained(folder / _BASE_FOLDER)
        for name, processor in ((_TILES, self.tile_processor), (_REGIONS, self.region_processor)):
            if processor is not None:
                processor.save_pretrained(folder / name)
        content = {
            "processor_class": type(self).__name__,
            "template": self.template.to_json(),
            "settings": asdict(self.settings),
        }
        (folder / _FILE).write_text(
            json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    @classmethod
    def from_pretrained(cls, folder: str | Path, **_: Any) -> MustelaProcessor:
        """Read a processor from a model's folder.

        Raises:
            CheckpointError: the folder has none.
        """
        file = Path(folder) / _FILE
        if not file.is_file():
            raise CheckpointError(
                f"{folder} has no mustela processor: looked for {_FILE} and {_BASE_FOLDER}/."
            )
        content = json.loads(file.read_text(encoding="utf-8"))
        base = load_base_processor(Path(folder) / _BASE_FOLDER, local_files_only=True)
        more = {
            name: AutoImageProcessor.from_pretrained(Path(folder) / place)
            for name, place in (("tile_processor", _TILES), ("region_processor", _REGIONS))
            if (Path(folder) / place).is_dir()
        }
        settings = ProcessorSettings.from_json(content["settings"])
        return cls(base, Template.from_json(content["template"]), settings, **more)
