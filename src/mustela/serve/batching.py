"""Answers in batches that newcomers join: one thread runs the model, requests wait in a queue."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mustela.data.processor import MustelaProcessor
from mustela.infer import Row, decode_rows
from mustela.model import ImageFeatures, MustelaForConditionalGeneration
from mustela.serve.images import Picture, PictureCache
from mustela.serve.metrics import Metrics

__all__ = ["Batcher", "Job"]

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 0.005
"""How long the first request of a batch waits for company."""

PATIENCE = 3.0
"""A batch that newcomers wait for runs this many times as long as its prompts took, then they join."""


@dataclass(eq=False)
class Job:
    """One answer to be made.

    Attributes:
        make_row: makes the row when the pictures are encoded.
        pictures: the pictures of the prompt.
        prompt_length: tokens of the prompt.
        max_new_tokens: the longest answer.
        deadline: time (monotonic) after which it is not worth an answer.
        on_end: called from the model's thread when the row has ended, or with what went wrong.
        row: the row, once it runs.
        cancelled: the client has gone.
    """

    make_row: Callable[[Sequence[ImageFeatures]], Row]
    pictures: Sequence[Picture]
    prompt_length: int
    max_new_tokens: int
    deadline: float
    on_end: Callable[[Exception | None], None]
    row: Row | None = None
    cancelled: bool = False
    arrived: float = field(default_factory=time.monotonic)

    def cancel(self) -> None:
        """Stop making the answer: nobody waits for it."""
        self.cancelled = True

    @property
    def tokens(self) -> int:
        """The most tokens that it can come to."""
        return self.prompt_length + self.max_new_tokens


class Batcher:
    """Runs the model in a thread of its own.

    Args:
        model: in evaluation mode.
        processor: the model's.
        batch: answers that grow together.
        batch_tokens: tokens of a batch, padding included; a single larger answer is made alone.
        cache: of pictures, told when they have been encoded.
        metrics: counts what is done.
    """

    def __init__(
        self,
        model: MustelaForConditionalGeneration,
        processor: MustelaProcessor,
        *,
        batch: int,
        batch_tokens: int,
        cache: PictureCache,
        metrics: Metrics,
    ) -> None:
        self._model = model
        self._processor = processor
        self._batch = batch
        self._batch_tokens = batch_tokens
        self._cache = cache
        self._metrics = metrics
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Finish what runs and waits, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether requests can be answered."""
        return self._thread.is_alive() and not self._closing

    def submit(self, jobs: Sequence[Job]) -> None:
        """Put answers into the queue."""
        with self._changed:
            self._waiting.extend(jobs)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._running and not self._closing:
                    self._changed.wait()
                if self._closing and not self._waiting and not self._running:
                    return
                fresh = not self._running
            if fresh:
                time.sleep(WINDOW_SECONDS)
            newcomers = self._admit()
            self._metrics.show(waiting=len(self._waiting), running=len(self._running))
            try:
                self._encode([picture for job in newcomers for picture in job.pictures])
                self._step(self._running)
            except Exception as error:  # noqa: BLE001
                self._one_by_one(error)
            self._release()

    def _admit(self) -> list[Job]:
        """Move waiting answers into the batch, first come first served, and say which."""
        newcomers = []
        with self._changed:
            while self._waiting and len(self._running) < self._batch:
                job = self._waiting[0]
                longest = max([job.tokens, *(each.tokens for each in self._running)])
                if self._running and longest * (len(self._running) + 1) > self._batch_tokens:
                    break
                self._waiting.popleft()
                if self._is_over(job):
                    job.on_end(None if job.cancelled else TimeoutError())
                    continue
                self._running.append(job)
                newcomers.append(job)
        return newcomers

    def _step(self, jobs: Sequence[Job]) -> None:
        """Let answers grow until all have ended or newcomers should join."""
        rows = []
        for job in jobs:
            if job.row is None:
                job.row = job.make_row([_encoded(picture) for picture in job.pictures])
            rows.append(job.row)
        if not rows:
            return
        self._metrics.batch(len(rows))
        clock = _Clock()

        def interrupt() -> bool:
            clock.tick()
            ended = 0
            for job, row in zip(jobs, rows, strict=True):
                if self._is_over(job):
                    row.cancel()
                ended += row.finish_reason is not None
            self._tell_ended(jobs)
            free = self._batch - len(rows) + ended
            return bool(self._waiting) and free > 0 and clock.ran > PATIENCE * clock.prompts

        decode_rows(self._model, self._processor, rows, interrupt=interrupt)

    def _is_over(self, job: Job) -> bool:
        return job.cancelled or time.monotonic() > job.deadline

    def _tell_ended(self, jobs: Sequence[Job]) -> None:
        """Hand over answers as soon as they are whole, whatever the rest of the batch still does."""
        for job in jobs:
            if job in self._running and job.row is not None and job.row.finish_reason is not None:
                self._running.remove(job)
                timed_out = job.row.finish_reason == "cancelled" and not job.cancelled
                job.on_end(TimeoutError() if timed_out else None)

    def _release(self) -> None:
        self._tell_ended(list(self._running))
        self._metrics.show(waiting=len(self._waiting), running=len(self._running))

    def _encode(self, pictures: Sequence[Picture]) -> None:
        """Encode the pictures that have not been yet, those of one size together."""
        new = list({id(picture): picture for picture in pictures if picture.features is None}.values())
        if not new:
            return
        names = self._model.family.image_inputs
        inputs = {name: torch.cat([_input(picture, name) for picture in new]) for name in names}
        inputs = {
            name: tensor.to(self._model.device, self._model.dtype if tensor.is_floating_point() else None)
            for name, tensor in inputs.items()
        }
        with torch.no_grad():
            features = self._model.encode_images(**inputs).split()
        for picture, encoded in zip(new, features, strict=True):
            picture.take(encoded, keep=self._model.family.position_inputs)
        self._metrics.encoded(len(new))
        self._cache.shrink()

    def _one_by_one(self, error: Exception) -> None:
        """Find whose fault it was: the others shall not suffer for one."""
        jobs, self._running = list(self._running), []
        for job in jobs:
            if job.row is not None and job.row.finish_reason is not None:
                self._running.append(job)
                continue
            try:
                if len(jobs) == 1:
                    raise error
                self._running.append(job)
                self._encode(job.pictures)
                self._step([job])
            except Exception as own:  # noqa: BLE001
                if job in self._running:
                    self._running.remove(job)
                log_failure(own)
                job.on_end(own)


class _Clock:
    """How long the prompts of a batch took, and how long it has run since."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self.prompts = 0.0
        self.ran = 0.0

    def tick(self) -> None:
        """Note the end of a step."""
        now = time.monotonic()
        if self.prompts == 0.0:
            self.prompts, self._start = now - self._start, now
        self.ran = now - self._start


def log_failure(error: BaseException) -> None:
    """Log where a defect is, without its message, which may quote a request."""
    place = "".join(traceback.format_tb(error.__traceback__))
    logger.error("a request failed with %s\n%s", type(error).__name__, place)


def _encoded(picture: Picture) -> ImageFeatures:
    if picture.features is None:
        raise RuntimeError("a picture was not encoded")
    return picture.features


def _input(picture: Picture, name: str) -> Tensor:
    return picture.prepared.inputs[name]
