"""Asking a model many questions.

Pictures encoded once, batches by kind and length, always the same batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from mustela.constants import IMAGE_PLACEHOLDER, LOCATION_PATTERN
from mustela.data.image_folder import locate_image
from mustela.data.processor import MustelaProcessor
from mustela.data.render import Rendered, RenderOptions, render
from mustela.errors import ImageError
from mustela.evaluate.matching import BoxXYXY
from mustela.evaluate.predictions import Prediction
from mustela.evaluate.questions import Question, used_regions
from mustela.infer import default_options, encode_pictures, generate_texts
from mustela.model import ImageFeatures, MustelaForConditionalGeneration
from mustela.regions import Frame, load_image, scale_of

BATCHES_IN_WINDOW = 4
_LOCATION = re.compile(LOCATION_PATTERN)


@dataclass(frozen=True)
class Asked:
    """A question ready for the model."""

    question: Question
    sample: Mapping[str, Tensor]
    prediction: Prediction


def windows_of(questions: Sequence[Question], *, batch_size: int) -> list[list[Question]]:
    """Return the questions in windows of whole pictures, each worth about four batches.

    The windows depend on the questions and the batch size alone, so that an interrupted or a distributed
    evaluation computes exactly the batches of an unbroken one.
    """
    pictures: dict[tuple[str, ...], list[Question]] = {}
    for question in questions:
        pictures.setdefault(_image_paths(question), []).append(question)
    windows: list[list[Question]] = []
    for group in pictures.values():
        if not windows or len(windows[-1]) + len(group) > BATCHES_IN_WINDOW * batch_size:
            windows.append([])
        windows[-1].extend(group)
    return windows


def answer_window(
    model: MustelaForConditionalGeneration,
    processor: MustelaProcessor,
    window: Sequence[Question],
    *,
    image_folder: str | Path | None,
    batch_size: int,
    max_new_tokens: int,
    done: frozenset[str] = frozenset(),
    options: RenderOptions | None = None,
) -> Iterator[list[Prediction]]:
    """Yield the predictions of a window, one batch at a time; batches whose questions are all `done` are left
    out.

    Every picture is encoded once. Boxes are shown as boxes. Raises ImageError for a picture that can't be
    read.
    """
    if all(question.id in done for question in window):
        return
    options = options or default_options(processor)
    pictures: dict[tuple[str, ...], list[Image.Image]] = {}
    first: dict[tuple[str, ...], Mapping[str, Tensor]] = {}
    asked: list[Asked] = []
    for question in window:
        paths = _image_paths(question)
        if paths not in pictures:
            pictures[paths] = [_open(path, image_folder, question) for path in paths]
        item = prepare(question, processor, pictures[paths], options=options)
        first.setdefault(paths, item.sample)
        # The window keeps pixels of each picture once.
        sample = {name: value for name, value in item.sample.items() if not name.endswith("pixel_values")}
        asked.append(replace(item, sample=sample))
    features, places = _encode(model, first)
    asked.sort(key=lambda item: (item.question.kind, len(item.sample["input_ids"]), item.question.id))
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        if all(item.question.id in done for item in batch):
            continue
        index = [place for item in batch for place in places[_image_paths(item.question)]]
        texts = generate_texts(
            model,
            processor,
            [item.sample for item in batch],
            image_features=features.select(index) if features is not None and index else None,
            max_new_tokens=max_new_tokens,
        )
        yield [replace(item.prediction, text=text) for item, text in zip(batch, texts, strict=True)]


def _encode(
    model: MustelaForConditionalGeneration, first: Mapping[tuple[str, ...], Mapping[str, Tensor]]
) -> tuple[ImageFeatures | None, dict[tuple[str, ...], range]]:
    """Return the features of all pictures and where those of each group of paths lie among them."""
    places: dict[tuple[str, ...], range] = {}
    count = 0
    for paths in first:
        places[paths] = range(count, count + len(paths))
        count += len(paths)
    samples = [sample for paths, sample in first.items() if paths]
    return (encode_pictures(model, samples) if samples else None), places


def prepare(
    question: Question, processor: MustelaProcessor, images: Sequence[Image.Image], *, options: RenderOptions
) -> Asked:
    """Render and encode a question; the prediction has all but its text."""
    record = question.record
    sizes = [image.size for image in images]
    frames = processor.frames(options.coordinates, sizes)
    rendered = render(record, options, sizes_wh=sizes, rng=np.random.default_rng(0), frames=frames)
    prompt = Rendered(rendered.record_id, rendered.messages[:-1], rendered.regions)
    sample = processor.encode(prompt, images, rng=None, generation=True)
    truth = used_regions(question.reference)
    shown = used_regions(question.question)
    # An object that is annotated twice is asked for once.
    boxes: dict[BoxXYXY, str] = {}
    for item, phrase in zip(truth, question.phrases, strict=True):
        boxes.setdefault(item.region.bounds_xyxy(), phrase)
    about = next((item.image for item in [*truth, *shown]), 0)
    prediction = Prediction(
        question_id=question.id,
        kind=question.kind,
        picture=question.picture,
        image_wh=sizes[about] if sizes else None,
        question=readable_question(question),
        question_regions=tuple(item.region for item in shown),
        reference=rendered.messages[-1].plain_text,
        reference_boxes=tuple(boxes),
        reference_phrases=tuple(boxes.values()),
        text="",
        scale=scale_of(options.coordinates),
        frame=Frame.of(frames[about]) if frames else None,
    )
    return Asked(question, sample, prediction)


def readable_question(question: Question) -> str:
    """Return the question as a person would type it: `<region>`, or `<region1>` ...

    When there are several.
    """
    text = question.question.text.replace(IMAGE_PLACEHOLDER, "", len(question.record.images)).strip()
    numbers = list(dict.fromkeys(match[1] for match in _LOCATION.finditer(text)))
    if len(numbers) == 1:
        return _LOCATION.sub("<region>", text)
    return _LOCATION.sub(lambda match: f"<region{numbers.index(match[1]) + 1}>", text)


def _image_paths(question: Question) -> tuple[str, ...]:
    return tuple(image.path for image in question.record.images)


def _open(path: str, folder: str | Path | None, question: Question) -> Image.Image:
    try:
        return load_image(locate_image(path, folder or "."))
    except ImageError as error:
        raise ImageError(f'question "{question.id}": {error} Is image_folder right?') from error
