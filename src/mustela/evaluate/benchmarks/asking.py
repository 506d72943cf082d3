"""Asking a benchmark's questions: of a model of ours, or of any OpenAI-compatible endpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from mustela.constants import IMAGE_PLACEHOLDER
from mustela.data.image_folder import locate_image
from mustela.data.processor import MustelaProcessor
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.errors import RegionError
from mustela.evaluate.benchmarks.items_file import QUESTIONS, items_fingerprint, write_items
from mustela.evaluate.benchmarks.protocol import Item
from mustela.evaluate.chat_client import ChatClient, user_message
from mustela.evaluate.evaluation_folder import PREDICTIONS, append_batches, claim, collect, finish
from mustela.evaluate.predictions import Prediction
from mustela.evaluate.processes import process, wait
from mustela.evaluate.questions import Question, clean_phrase
from mustela.evaluate.runner import Progress, answer_questions
from mustela.infer import Query, placeholder_numbers
from mustela.model import MustelaForConditionalGeneration
from mustela.regions import Box, CoordinateStyle, load_image, scale_of, write_coordinates

_PLACEHOLDER = re.compile(r"<region(\d*)>")


def question_of(item: Item) -> Question:
    """Return an item as a question for `answer_questions`: a record of one picture and two turns."""
    numbers = iter(placeholder_numbers(item.question, len(item.regions)))
    asked = _PLACEHOLDER.sub(lambda match: f"<bbox_location{next(numbers)}>", item.question)
    images = (ImageRef(item.picture, item.image_wh),) if item.picture else ()
    phrases = (item.phrases or ("",) * len(item.boxes)) if item.boxes else ()
    reference = item.reference
    if item.boxes:
        reference = ". ".join(f"{phrase} <bbox_location{n}>" for n, phrase in enumerate(phrases))
    turns = (
        Turn(
            "user",
            f"{IMAGE_PLACEHOLDER}\n{asked}" if images else asked,
            tuple(RegionAnnotation(region) for region in item.regions),
        ),
        Turn("assistant", reference, tuple(RegionAnnotation(Box(*box)) for box in item.boxes)),
    )
    cleaned = tuple(clean_phrase(phrase) for phrase in phrases)
    return Question(item.id, item.kind, Record(item.id, images, turns), 0, cleaned)


def ask_model(
    model: MustelaForConditionalGeneration,
    processor: MustelaProcessor,
    items: Sequence[Item],
    *,
    root: str | Path,
    out_dir: str | Path,
    batch_size: int = 16,
    max_new_tokens: int = 256,
    overwrite: bool = False,
    about: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Ask a model all items; leaves `questions.jsonl` and `predictions.jsonl` in `out_dir`.

    Goes on where it was interrupted; processes of torch.distributed share the items. Errors as
    `mustela.evaluate.evaluate`.
    """
    answer_questions(
        model,
        processor,
        [question_of(item) for item in items],
        out_dir=out_dir,
        image_folder=root,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        overwrite=overwrite,
        about=about,
        progress=progress,
    )
    if process()[0] == 0:
        write_items(Path(out_dir) / QUESTIONS, items)
    wait()


@dataclass(frozen=True)
class Endpoint:
    """A chat server under test: regions go into its prompt, and boxes come back, in a style."""

    client: ChatClient
    coordinates: CoordinateStyle = "bins"
    concurrency: int = 4

    def ask(self, item: Item, root: str | Path, *, max_new_tokens: int) -> Prediction:
        """Return the server's answer to an item; RequestError, ImageError or RegionError if there is none."""
        image = load_image(locate_image(item.picture, root)) if item.picture else None
        text = self.say(Query(image, item.question, item.regions), max_new_tokens=max_new_tokens)
        size = None if image is None else image.size
        return item.answered(text, scale=scale_of(self.coordinates), image_wh=size)

    def say(self, query: Query, *, max_new_tokens: int) -> str:
        """Return the server's answer to a question; errors as `ask`."""
        image = None if query.image is None else load_image(query.image)
        numbers = iter(placeholder_numbers(query.text, len(query.regions)))

        def coordinates(_: re.Match[str]) -> str:
            if image is None:
                raise RegionError("there is no picture for the question's regions.")
            return write_coordinates(query.regions[next(numbers)], image.size, style=self.coordinates)

        text = _PLACEHOLDER.sub(coordinates, query.text)
        message = user_message(text, [] if image is None else [image])
        return self.client.ask([message], max_tokens=max_new_tokens).text

    def say_all(self, queries: Sequence[Query], *, max_new_tokens: int) -> list[str]:
        """Return the answers to several questions in their order."""
        with ThreadPoolExecutor(max_workers=self.concurrency) as pool:
            return list(pool.map(lambda query: self.say(query, max_new_tokens=max_new_tokens), queries))


def ask_endpoint(
    endpoint: Endpoint,
    items: Sequence[Item],
    *,
    root: str | Path,
    out_dir: str | Path,
    max_new_tokens: int = 256,
    overwrite: bool = False,
    about: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Ask a chat server all items; leaves `questions.jsonl` and `predictions.jsonl` in `out_dir`.

    Goes on where it was interrupted. Raises RequestError when the server gives no answer to a question:
    what it answered before is kept.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "endpoint": endpoint.client.address,
        "endpoint_model": endpoint.client.model,
        "coordinates": endpoint.coordinates,
        "questions_fingerprint": items_fingerprint(items),
        "max_new_tokens": max_new_tokens,
    }
    claim(folder, settings, about=about or {}, overwrite=overwrite)
    write_items(folder / QUESTIONS, items)
    done = collect(folder)
    open_items = [item for item in items if item.id not in done]

    def answers() -> Iterator[list[Prediction]]:
        with ThreadPoolExecutor(max_workers=endpoint.concurrency) as pool:
            waiting = [
                pool.submit(endpoint.ask, item, root, max_new_tokens=max_new_tokens) for item in open_items
            ]
            try:
                for future in as_completed(waiting):
                    yield [future.result()]
            finally:
                pool.shutdown(cancel_futures=True)

    for count, _ in enumerate(append_batches(folder / PREDICTIONS, answers()), start=len(done) + 1):
        if progress is not None:
            progress(count, len(items))
    finish(folder, [item.id for item in items])
