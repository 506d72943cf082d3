"""Answers in batches that newcomers join: one thread runs the model, requests wait in a queue."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from mustela.data.pictures import join_inputs
from mustela.data.processor import MustelaProcessor
from mustela.infer import Row, decode_rows, on_device
from mustela.model import ImageFeatures, MustelaForConditionalGeneration
from mustela.serve.failure import log_failure
from mustela.serve.images import Picture, PictureCache
from mustela.serve.metrics import Metrics

__all__ = ["Batcher", "Job"]

WINDOW_SECONDS = 0.005
"""How long the first request of a batch waits for company."""

PATIENCE = 3.0
"""Newcomers wait at most so many times as long as the prompts of a running batch took."""


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
            while self._has_room(len(self._running)):
                job = self._waiting.popleft()
                if self._is_over(job):
                    job.on_end(None if job.cancelled else TimeoutError())
                    continue
                self._running.append(job)
                newcomers.append(job)
        return newcomers

    def _has_room(self, rows: int) -> bool:
        """Tell whether the next waiting answer can join those that run, in a batch of so many rows."""
        if not self._waiting or rows >= self._batch:
            return False
        longest = max(job.tokens for job in (self._waiting[0], *self._running))
        return not self._running or longest * (len(self._running) + 1) <= self._batch_tokens

    def _step(self, jobs: Sequence[Job]) -> None:
        """Let answers grow until all have ended or newcomers should join."""
        jobs, rows = list(jobs), []
        for job in jobs:
            if job.row is None:
                job.row = job.make_row([_encoded(picture) for picture in job.pictures])
            rows.append(job.row)
        if not rows:
            return
        self._metrics.batch(len(rows))
        clock = _Clock()

        def interrupt() -> bool:
            for job, row in zip(jobs, rows, strict=True):
                if self._is_over(job):
                    row.cancel()
            self._tell_ended(jobs)
            going = len(self._running)
            clock.tick(min(len(self._waiting), self._batch - going) / self._batch)
            dear = clock.lost > clock.prompts * going / len(rows)
            return (dear or clock.ran > PATIENCE * clock.prompts) and self._has_room(going)

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
        """Encode the pictures that have not been yet."""
        new = list({id(picture): picture for picture in pictures if picture.features is None}.values())
        for start in range(0, len(new), self._batch):
            together = new[start : start + self._batch]
            inputs = join_inputs([picture.prepared.inputs for picture in together])
            with torch.no_grad():
                features = self._model.encode_images(**on_device(inputs, self._model)).split()
            for picture, encoded in zip(together, features, strict=True):
                picture.take(encoded, keep=self._model.family.position_inputs)
        if new:
            self._metrics.encoded(len(new))
            self._cache.shrink()

    def _one_by_one(self, error: Exception) -> None:
        """Find whose fault it was: the others shall not suffer for one."""
        jobs, self._running = list(self._running), []
        if len(jobs) == 1:
            self._fail(jobs[0], error)
            return
        for job in jobs:
            self._running.append(job)
            if job.row is not None and job.row.finish_reason is not None:
                continue
            try:
                self._encode(job.pictures)
                self._step([job])
            except Exception as own:  # noqa: BLE001
                self._running.remove(job)
                self._fail(job, own)

    def _fail(self, job: Job, error: Exception) -> None:
        log_failure(error)
        job.on_end(error)


class _Clock:
    """When newcomers should join a batch: when as much was lost without them as their joining costs.

    What is lost is the share of a full batch that could be used and isn't. What joining costs is that the
    prompts of those who go on are read once more.

    Attributes:
        prompts: seconds that the prompts of the batch took.
        ran: seconds since.
        lost: seconds of them.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.prompts = self.ran = self.lost = 0.0

    def tick(self, idle: float) -> None:
        """Note the end of a step; `idle` is the share of a full batch that others wait for."""
        now = time.monotonic()
        if self.prompts == 0.0:
            self.prompts = now - self._last
        else:
            self.ran += now - self._last
            self.lost += (now - self._last) * idle
        self._last = now


def _encoded(picture: Picture) -> ImageFeatures:
    if picture.features is None:
        raise RuntimeError("a picture was not encoded")
    return picture.features
