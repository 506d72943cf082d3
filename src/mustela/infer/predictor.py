"""The predictor: load a model once, encode a picture once, ask many questions about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mustela.data.message import Message, Slot
from mustela.data.processor import MustelaProcessor
from mustela.data.render import Rendered, RenderOptions
from mustela.errors import ConfigError, RegionError
from mustela.infer.generation import MAX_NEW_TOKENS, encode_pictures, generate_texts, room_for_answers
from mustela.infer.notebook import answer_html, picture_html
from mustela.infer.query import Exchange, ImageInput, Query, default_options, render_query
from mustela.model import ImageFeatures, MustelaForConditionalGeneration
from mustela.model.loading import load_model
from mustela.regions import FoundRegion, Region, Transform, draw_regions, load_image, read_coordinates

ASKED_COLOR = (37, 99, 235)
ANSWERED_COLOR = (234, 88, 12)


@dataclass(frozen=True)
class Answer:
    """What the model said.

    `regions` are the boxes and points found in `text`, in pixels of the picture. `prompt` is the user's turn
    as the model read it, without its control tokens.
    """

    text: str
    regions: tuple[FoundRegion, ...]
    prompt: str
    query: Query
    image: Image.Image | None = None

    @property
    def exchange(self) -> Exchange:
        """This round as the history of the next question."""
        return Exchange(self.query.text, self.query.regions, self.text)

    def draw(self) -> Image.Image:
        """Return the picture with the question's regions and the answer's boxes.

        Raises RegionError without one.
        """
        if self.image is None:
            raise RegionError("there is no picture to draw on: the question was asked without an image.")
        asked = len(self.query.regions)
        labels = [f"region {number}" if asked > 1 else "region" for number in range(1, asked + 1)]
        labels += [found.phrase.strip() or "answer" for found in self.regions]
        colors = [ASKED_COLOR] * asked + [ANSWERED_COLOR] * len(self.regions)
        shapes = [*self.query.regions, *(found.region for found in self.regions)]
        return draw_regions(self.image, shapes, labels=labels, colors=colors)

    def _repr_html_(self) -> str:
        """Show question, answer and picture in a notebook."""
        drawn = None if self.image is None else self.draw()
        color = f"rgb{ANSWERED_COLOR}"
        return answer_html(self.query.text, self.text, self.regions, drawn, color=color)


class Predictor:
    """A model ready to answer.

    >>> predictor = Predictor.from_pretrained("runs/shapes-tiny/final")
    >>> predictor.set_image("scene.jpg")
    >>> predictor.ask("What is <region>?", regions=[Box(10, 20, 60, 80)]).text
    """

    def __init__(
        self,
        model: MustelaForConditionalGeneration,
        processor: MustelaProcessor,
        *,
        options: RenderOptions | None = None,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.options = options or default_options(processor)
        self._image: Image.Image | None = None
        self._features: ImageFeatures | None = None

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        **options: Any,
    ) -> Predictor:
        """Load the folder of a model, an adapter or a run, or a model that comes with mustela by its name.

        Args:
            path: folder or name.
            device: where to put it; None: an accelerator if there is one, else the CPU.
            dtype: of its weights.
            options: further arguments of `load_model`, such as an adapter's `base`.
        """
        model, processor = load_model(path, device=device, dtype=dtype, **options)
        return cls(model, processor)

    def set_image(self, image: ImageInput) -> None:
        """Choose the picture of the questions that follow and encode it.

        Raises ImageError if it can't be read.
        """
        self._image = load_image(image)
        alone = Rendered("image", (Message("user", (Slot.IMAGE,)),), ())
        sample = self.processor.encode(alone, [self._image], rng=None, generation=True)
        self._features = encode_pictures(self.model, [sample])

    def ask(
        self,
        text: str,
        *,
        regions: Sequence[Region] = (),
        history: Sequence[Exchange] = (),
        max_new_tokens: int = MAX_NEW_TOKENS,
        **generation: Any,
    ) -> Answer:
        """Answer a question about the picture of `set_image`, or a question about none.

        Args:
            text: the question; `<region>` stands for the regions in their order, or `<region1>`, `<region2>`
                ... for them by number. Anything else is plain text, control strings of the model included.
            regions: in pixels of the picture.
            history: earlier rounds about the same picture, `answer.exchange` of each.
            max_new_tokens: the longest answer; it also ends where the model's context does.
            generation: further arguments of transformers' `generate`. Without any the answer is greedy.

        Raises:
            CountMismatchError: numbers of placeholders and regions differ.
            RegionError: a region lies outside the picture, isn't in pixels, or is none.
            ConfigError: the question and its history fill the model's context.
        """
        if isinstance(regions, Region):
            raise RegionError(f"regions is {regions!r}, not a list of regions: write [{regions!r}].")
        query = Query(self._image, text, tuple(regions), tuple(history))
        _check_query(query)
        rendered = self._render(query, self._image)
        images = [] if self._image is None else [self._image]
        sample = self.processor.encode(rendered, images, rng=None, generation=True)
        said = generate_texts(
            self.model,
            self.processor,
            [sample],
            image_features=self._features,
            max_new_tokens=min(max_new_tokens, room_for_answers(self.model, [sample])),
            **generation,
        )
        return self._answer(said[0], query, rendered, self._image)

    def ask_many(
        self,
        queries: Sequence[Query],
        *,
        batch_size: int = 8,
        max_new_tokens: int = MAX_NEW_TOKENS,
        **generation: Any,
    ) -> list[Answer]:
        """Answer questions about any pictures in batches; the answers are those of asking one by one."""
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}. It is at least 1.")
        for query in queries:
            _check_query(query)
        answers: list[Answer] = []
        for start in range(0, len(queries), batch_size):
            batch = queries[start : start + batch_size]
            images = [None if query.image is None else load_image(query.image) for query in batch]
            rendered = [self._render(query, image) for query, image in zip(batch, images, strict=True)]
            samples = [
                self.processor.encode(item, [] if image is None else [image], rng=None, generation=True)
                for item, image in zip(rendered, images, strict=True)
            ]
            most = min(max_new_tokens, room_for_answers(self.model, samples))
            said = generate_texts(self.model, self.processor, samples, max_new_tokens=most, **generation)
            answers += [self._answer(*row) for row in zip(said, batch, rendered, images, strict=True)]
        return answers

    def _repr_html_(self) -> str:
        """Show the picture of `set_image` in a notebook."""
        if self._image is None:
            return "<p>No picture yet: choose one with <code>set_image</code>.</p>"
        return picture_html(self._image, alt="the picture of the questions")

    def _render(self, query: Query, image: Image.Image | None) -> Rendered:
        size = None if image is None else image.size
        return render_query(query, size, options=self.options, frames=self._frames(image))

    def _frames(self, image: Image.Image | None) -> tuple[Transform, ...] | None:
        sizes = [] if image is None else [image.size]
        return self.processor.frames(self.options.coordinates, sizes)

    def _answer(self, text: str, query: Query, rendered: Rendered, image: Image.Image | None) -> Answer:
        found: tuple[FoundRegion, ...] = ()
        if image is not None:
            frames, style = self._frames(image), self.options.coordinates
            fit = frames[0] if frames else None
            found = read_coordinates(text, image.size, style=style, fit=fit).regions
        return Answer(text, found, rendered.messages[-1].plain_text.strip(), query, image)


def _check_query(query: Query) -> None:
    for region in query.regions:
        if not isinstance(region, Region):
            raise RegionError(
                f"{region!r} is no region: regions are a list of Box, Point, Scribble, Polygon or Mask, such"
                " as [Box(10, 20, 60, 80)]."
            )
    for item in query.history:
        if not isinstance(item, Exchange):
            raise RegionError(f"{item!r} is no Exchange: the history is a list of answer.exchange.")
