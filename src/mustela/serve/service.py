"""What answers: the model with its queue and caches, from loading to closing."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mustela.data.processor import MustelaProcessor
from mustela.infer import default_options
from mustela.model import MustelaForConditionalGeneration
from mustela.serve.admission import Admission
from mustela.serve.batching import Batcher
from mustela.serve.chat import Chat
from mustela.serve.errors import ApiError
from mustela.serve.fetching import Fetcher
from mustela.serve.images import PictureCache
from mustela.serve.limits import Limits
from mustela.serve.metrics import Metrics

__all__ = ["Service"]


@dataclass(frozen=True)
class _Loaded:
    batcher: Batcher
    chat: Chat


class Service:
    """One model for many clients.

    Args:
        name: by which clients ask for it.
        limits: what requests may cost.
        fetcher: of pictures at addresses.
    """

    def __init__(self, name: str, *, limits: Limits, fetcher: Fetcher) -> None:
        self.name = name
        self.limits = limits
        self.metrics = Metrics()
        self.admission = Admission(limits)
        self.created = int(time.time())
        self._fetcher = fetcher
        self._loaded: _Loaded | None = None

    def start(self, model: MustelaForConditionalGeneration, processor: MustelaProcessor) -> None:
        """Take the model and be ready."""
        limits = self.limits
        cache = PictureCache(limits.cache_images, limits.cache_bytes)
        batcher = Batcher(
            model,
            processor,
            batch=limits.batch,
            batch_tokens=limits.batch_tokens,
            cache=cache,
            metrics=self.metrics,
        )
        trained = int(model.config.get_text_config().max_position_embeddings)
        chat = Chat(
            processor,
            options=default_options(processor),
            batcher=batcher,
            cache=cache,
            fetcher=self._fetcher,
            limits=limits,
            context=min(limits.context or trained, trained),
            metrics=self.metrics,
        )
        batcher.start()
        self._loaded = _Loaded(batcher, chat)

    def close(self) -> None:
        """Finish what runs, and take nothing more."""
        if self._loaded is not None:
            self._loaded.batcher.close()
            self._loaded.chat.close()

    @property
    def state(self) -> str:
        """Return `ready`, `loading`, or `stopped`, when the thread of the model has ended."""
        if self._loaded is None:
            return "loading"
        return "ready" if self._loaded.batcher.alive else "stopped"

    @property
    def chat(self) -> Chat:
        """What answers requests.

        Raises:
            ApiError: it isn't ready.
        """
        if self._loaded is None:
            raise ApiError(503, "the model is being loaded.", code="loading", retry_after=2)
        if self.state == "stopped":
            raise ApiError(503, "the server is going down.", code="stopping", retry_after=5)
        return self._loaded.chat
