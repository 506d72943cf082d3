"""One request of the chat endpoint: from its body to the answers, whole or piece by piece."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from torch import Tensor

from mustela.data.processor import MustelaProcessor
from mustela.data.render import RenderOptions
from mustela.errors import MustelaError
from mustela.infer import Row, Sampling
from mustela.model import ImageFeatures
from mustela.regions import found_to_json, read_coordinates
from mustela.serve.batching import Batcher, Job
from mustela.serve.conversation import (
    check_lengths,
    image_urls,
    render_request,
    wanted_tokens,
    wants_masks,
)
from mustela.serve.errors import ApiError, refused, too_late
from mustela.serve.fetching import Fetcher
from mustela.serve.images import Picture, PictureCache, read_picture
from mustela.serve.limits import Limits
from mustela.serve.metrics import Metrics
from mustela.serve.schema import ChatRequest

__all__ = ["Answer", "Asked", "Chat"]


@dataclass(frozen=True)
class Asked:
    """A request that is ready for the model.

    Attributes:
        sample: the encoded prompt.
        pictures: its pictures.
        max_new_tokens: the longest answer.
    """

    sample: dict[str, Tensor]
    pictures: Sequence[Picture]
    max_new_tokens: int

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, those of pictures included."""
        return int(self.sample["input_ids"].shape[0])


@dataclass(eq=False)
class Answer:
    """An answer in the making; `events` gives its pieces, then its end.

    Attributes:
        index: which of the answers to a request.
        job: what the batcher works on.
        events: ("text", piece), then ("end", None) or ("error", exception).
    """

    index: int
    job: Job
    events: asyncio.Queue[tuple[Literal["text", "end"], Any]] = field(default_factory=asyncio.Queue)

    @property
    def row(self) -> Row:
        """The finished or growing row."""
        if self.job.row is None:
            raise RuntimeError("the answer has not begun")
        return self.job.row

    @property
    def reason(self) -> Literal["stop", "length"]:
        """Why the answer ended."""
        return "length" if self.row.finish_reason == "length" else "stop"


class Chat:
    """Makes the answers to requests.

    Args:
        processor: the model's.
        options: how regions are written.
        batcher: runs the model.
        cache: of pictures.
        fetcher: of pictures at addresses.
        limits: of requests.
        context: tokens that the model can take.
        metrics: counts what is done.
    """

    def __init__(
        self,
        processor: MustelaProcessor,
        *,
        options: RenderOptions,
        batcher: Batcher,
        cache: PictureCache,
        fetcher: Fetcher,
        limits: Limits,
        context: int,
        metrics: Metrics,
    ) -> None:
        self._processor = processor
        self._options = options
        self._batcher = batcher
        self._cache = cache
        self._fetcher = fetcher
        self._limits = limits
        self._context = context
        self._metrics = metrics
        # Downloads wait for others; reading pictures and prompts is work.
        self._readers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="read")
        # Tokenizers are not made for several threads at once.
        self._tokenizing = threading.Lock()

    def close(self) -> None:
        """End the threads."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def prepare(self, request: ChatRequest) -> Asked:
        """Read the pictures and the text of a request.

        Raises:
            ApiError: the request can't be answered.
        """
        check_lengths(request, self._limits)
        loop = asyncio.get_running_loop()
        read = partial(
            read_picture,
            processor=self._processor,
            cache=self._cache,
            fetcher=self._fetcher,
            limits=self._limits,
            as_mask=wants_masks(request),
        )
        pictures = [await loop.run_in_executor(self._readers, read, url) for url in image_urls(request)]
        self._metrics.reused(sum(picture.features is not None for picture in pictures))
        return await loop.run_in_executor(self._readers, self._encode, request, pictures)

    def _encode(self, request: ChatRequest, pictures: Sequence[Picture]) -> Asked:
        try:
            prepared = [picture.prepared for picture in pictures]
            rendered = render_request(
                request,
                pictures,
                options=self._options,
                limits=self._limits,
                frames=[picture.transform for picture in prepared],
            )
            with self._tokenizing:
                sample = self._processor.encode(rendered, prepared, rng=None, generation=True)
        except MustelaError as error:
            raise refused(str(error), code="invalid_conversation", param="messages") from error
        return Asked(sample, pictures, self._max_new_tokens(request, int(sample["input_ids"].shape[0])))

    def _max_new_tokens(self, request: ChatRequest, prompt_tokens: int) -> int:
        wanted = wanted_tokens(request)
        left = self._context - prompt_tokens
        if left < (wanted or 1):
            raise refused(
                f"the prompt has {prompt_tokens} tokens and the answer may have {wanted or 1}, but the model"
                f" takes {self._context} together. Shorten the conversation or lower max_tokens.",
                code="context_length_exceeded",
                param="messages",
            )
        return wanted or min(left, self._limits.default_new_tokens, self._limits.new_tokens)

    def begin(self, request: ChatRequest, asked: Asked, *, deadline: float) -> list[Answer]:
        """Put the answers to a request into the queue; to be called in the event loop."""
        answers = [self._answer(request, asked, index, deadline) for index in range(request.n or 1)]
        self._batcher.submit([answer.job for answer in answers])
        return answers

    def _answer(self, request: ChatRequest, asked: Asked, index: int, deadline: float) -> Answer:
        loop = asyncio.get_running_loop()
        sampling = Sampling(
            temperature=request.temperature or 0.0,
            top_p=1.0 if request.top_p is None else request.top_p,
            seed=request.seed,
            stream=index,
        )
        events: asyncio.Queue[tuple[Literal["text", "end"], Any]] = asyncio.Queue()

        def tell(kind: Literal["text", "end"], content: Any) -> None:
            # The loop may have been closed behind a client who has gone.
            if not loop.is_closed():
                loop.call_soon_threadsafe(events.put_nowait, (kind, content))

        def make_row(images: Sequence[ImageFeatures]) -> Row:
            return Row(
                asked.sample,
                images,
                self._processor,
                max_new_tokens=asked.max_new_tokens,
                stop=request.stops,
                sampling=sampling,
                on_text=partial(tell, "text"),
            )

        job = Job(
            make_row,
            asked.pictures,
            asked.prompt_tokens,
            asked.max_new_tokens,
            deadline,
            partial(tell, "end"),
        )
        return Answer(index, job, events)

    async def pieces(self, answer: Answer) -> AsyncIterator[str]:
        """Yield the text of an answer as it comes.

        Raises:
            ApiError: it could not be made in time, or at all.
        """
        first = True
        while True:
            kind, content = await answer.events.get()
            if kind == "text":
                if first:
                    self._metrics.first_text(time.monotonic() - answer.job.arrived)
                first = False
                yield content
            elif isinstance(content, TimeoutError):
                raise too_late()
            elif content is not None:
                raise ApiError(500, "the answer could not be made.", code="internal_error")
            else:
                return

    def regions(self, text: str, asked: Asked) -> list[dict[str, object]]:
        """Return the boxes and points of an answer, in pixels of the last picture."""
        if not asked.pictures:
            return []
        picture = asked.pictures[-1]
        style, fit = self._options.coordinates, picture.prepared.transform
        found = read_coordinates(text, picture.size_wh, style=style, fit=fit)
        last = len(asked.pictures) - 1
        return [{**found_to_json(item), "image_index": last} for item in found.regions]
