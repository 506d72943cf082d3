"""What the server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "mustela_requests", "Requests, by path and status.", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "mustela_request_seconds",
            "Time from a request to the end of its response, by path.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._first = Histogram(
            "mustela_first_token_seconds",
            "Time from a request to the first text of its answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._waiting = Gauge("mustela_answers_waiting", "Answers in the queue.", registry=registry)
        self._running = Gauge("mustela_answers_running", "Answers that grow.", registry=registry)
        self._batch = Histogram(
            "mustela_batch_answers", "Answers of a batch.", buckets=_SIZES, registry=registry
        )
        self._prompt_tokens = Counter("mustela_prompt_tokens", "Tokens read.", registry=registry)
        self._answer_tokens = Counter("mustela_answer_tokens", "Tokens written.", registry=registry)
        self._encoded = Counter("mustela_pictures_encoded", "Pictures encoded.", registry=registry)
        self._cached = Counter("mustela_pictures_reused", "Pictures known before.", registry=registry)
        self._cancelled = Counter(
            "mustela_requests_cancelled", "Requests whose client went away.", registry=registry
        )

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a response."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def first_text(self, seconds: float) -> None:
        """Note how long the first text took."""
        self._first.observe(seconds)

    def show(self, *, waiting: int, running: int) -> None:
        """Note the length of the queue and of the batch."""
        self._waiting.set(waiting)
        self._running.set(running)

    def batch(self, answers: int) -> None:
        """Note the size of a batch that starts."""
        self._batch.observe(answers)

    def tokens(self, *, prompt: int, answer: int) -> None:
        """Count the tokens of a request."""
        self._prompt_tokens.inc(prompt)
        self._answer_tokens.inc(answer)

    def encoded(self, pictures: int) -> None:
        """Count pictures that the model looked at."""
        self._encoded.inc(pictures)

    def reused(self, pictures: int) -> None:
        """Count pictures that were there already."""
        self._cached.inc(pictures)

    def cancelled(self) -> None:
        """Count a client that went away."""
        self._cancelled.inc()

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)
