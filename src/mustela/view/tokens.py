"""One sample as the model gets it: its tokens, which of them are learnt, where pictures and regions sit."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from PIL import Image

from mustela.constants import IGNORE_INDEX, REGION_TOKEN
from mustela.data.processor import MustelaProcessor
from mustela.data.record import Record
from mustela.data.render import RenderOptions, render, sample_rng
from mustela.pages import render_page
from mustela.view.page import PAGE
from mustela.view.pictures import color, picture_address, safe

Kind = Literal["prompt", "label", "image", "region"]
_PICTURE_SIDE = 560
_TERMINAL = {"prompt": "2", "label": "32;1", "image": "34", "region": "35;1"}


@dataclass(frozen=True, slots=True)
class ShownToken:
    """One id: its text, and what it is for; `region` counts region tokens, `repeats` equal ones in a row."""

    text: str
    id: int
    kind: Kind
    region: int = -1
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class ShownSample:
    """A sample to look at.

    Attributes:
        tokens: all ids, image tokens in a row as one.
        length: number of ids.
        learnt: number of ids with a label.
        points: for each region its points `(P, 2)` in 0..1 of the encoded picture.
        picture_of: for each region the index of its picture.
        pictures: what the vision encoder sees, brought back to colours.
    """

    record_id: str
    tokens: list[ShownToken]
    length: int
    learnt: int
    points: list[np.ndarray]
    picture_of: list[int]
    pictures: list[Image.Image]


def show_sample(
    record: Record,
    images: list[Image.Image],
    *,
    processor: MustelaProcessor,
    options: RenderOptions,
    index: int = 0,
    max_length: int | None = None,
) -> ShownSample:
    """Encode a record as training does in its first epoch, and take it apart.

    Args:
        record: the record.
        images: its pictures, RGB.
        processor: of the model.
        options: how regions are written.
        index: of the record; with seed 0 it decides what is drawn.
        max_length: ids at most.
    """
    rng = sample_rng(0, 0, index)
    sizes = [image.size for image in images]
    frames = processor.frames(options.coordinates, sizes)
    rendered = render(record, options, sizes_wh=sizes, rng=rng, frames=frames)
    sample = processor.encode(rendered, images, rng=rng, max_length=max_length)
    ids, labels = sample["input_ids"].tolist(), sample["labels"].tolist()
    tokens = _tokens(ids, labels, processor)
    points = sample.get("region_points", torch.zeros(0, 0, 2))
    return ShownSample(
        record_id=record.id,
        tokens=tokens,
        length=len(ids),
        learnt=sum(label != IGNORE_INDEX for label in labels),
        points=[each.numpy() for each in points],
        picture_of=sample.get("region_image", torch.zeros(0, dtype=torch.long)).tolist(),
        pictures=_encoded_pictures(sample, images, processor),
    )


def _tokens(ids: list[int], labels: list[int], processor: MustelaProcessor) -> list[ShownToken]:
    region_token = processor.settings.region_token or REGION_TOKEN
    region_id = processor.tokenizer.convert_tokens_to_ids(region_token)
    texts = processor.tokenizer.convert_ids_to_tokens(ids)
    tokens: list[ShownToken] = []
    regions = 0
    for (number, supervised), run in groupby(
        zip(ids, labels, texts, strict=True), key=lambda each: (each[0], each[1] != IGNORE_INDEX)
    ):
        members = list(run)
        if number == processor.image_token_id:
            tokens.append(ShownToken(processor.image_token, number, "image", repeats=len(members)))
            continue
        for _, _, text in members:
            is_region = number == region_id
            kind: Kind = "region" if is_region else "label" if supervised else "prompt"
            region = regions // processor.settings.tokens_per_region if is_region else -1
            tokens.append(ShownToken(_readable(text), number, kind, region))
            regions += is_region
    return tokens


def _readable(text: str) -> str:
    """Return a token's text with marks for blanks and line ends that tokenizers write in their own way."""
    return text.replace("Ġ", "·").replace("▁", "·").replace("Ċ", "⏎").replace("<0x0A>", "⏎")


def _encoded_pictures(
    sample: dict[str, torch.Tensor], images: list[Image.Image], processor: MustelaProcessor
) -> list[Image.Image]:
    """Return the pictures as the encoder gets them; those that are cut in patches as they came."""
    pixels = sample.get("pixel_values")
    if pixels is None or pixels.ndim != 4 or pixels.shape[0] != len(images) or pixels.shape[1] != 3:
        return images
    settings = processor.image_processor
    mean, std = (np.asarray(value, dtype=np.float32) for value in (settings.image_mean, settings.image_std))
    shown = []
    for each in pixels:
        values = each.float().numpy().transpose(1, 2, 0)
        values = values * std + mean if settings.do_normalize else values
        shown.append(Image.fromarray((np.clip(values, 0, 1) * 255).round().astype(np.uint8)))
    return shown


def tokens_text(sample: ShownSample, *, colored: bool) -> str:
    """Return the sample for a terminal; without colours, each kind has brackets of its own."""
    brackets = {"prompt": ("", ""), "label": ("[", "]"), "image": ("{", "}"), "region": ("<", ">")}
    parts = []
    for token in sample.tokens:
        text = f"{token.text} x {token.repeats}" if token.kind == "image" else token.text
        if token.kind == "region":
            text = f"region {token.region + 1}"
        opening, closing = brackets[token.kind]
        if colored:
            parts.append(f"\x1b[{_TERMINAL[token.kind]}m{text}\x1b[0m" + ("\n" if "⏎" in text else " "))
        else:
            parts.append(f"{opening}{text}{closing}" + ("\n" if "⏎" in text else " "))
    head = (
        f"{sample.record_id}: {sample.length} tokens, {sample.learnt} learnt, {len(sample.points)} regions\n"
    )
    legend = "learnt: [ ]   image: { }   region: < >\n"
    return head + ("" if colored else legend) + "".join(parts).rstrip()


def tokens_page(sample: ShownSample, *, title: str) -> str:
    """Return a self-contained page: the tokens, and the pictures with the points that stand for regions."""
    pictures = []
    for index, picture in enumerate(sample.pictures):
        factor = max(1, _PICTURE_SIDE // max(picture.size))
        large = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
        width, height = large.size
        radius = max(1.5, 0.0035 * max(large.size))
        marks = []
        for number, points in enumerate(sample.points):
            if sample.picture_of[number] == index:
                ink = color(number)
                dots = "".join(
                    f'<circle cx="{x * width:.1f}" cy="{y * height:.1f}" r="{radius:.1f}" fill="{ink}"/>'
                    for x, y in np.unique(points, axis=0)
                )
                marks.append({"number": number, "svg": safe(dots)})
        pictures.append(
            {"address": picture_address(large), "size": large.size, "shown": picture.size, "marks": marks}
        )
    colors = [color(number) for number in range(len(sample.points))]
    return render_page(
        PAGE, "tokens.html.jinja", title=title, sample=sample, pictures=pictures, colors=colors
    )
