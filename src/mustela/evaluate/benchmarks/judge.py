"""A language model as judge, behind any OpenAI-compatible address."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mustela.errors import ConfigError
from mustela.evaluate.chat_client import ChatClient, RequestError

MAX_FAILURES_IN_A_ROW = 5


@dataclass
class ChatJudge:
    """A judge that remembers what it said.

    Answers lie in `cache`, a file of JSON lines, by model and prompt, so that scoring again costs nothing and
    an interrupted scoring goes on. `price` is in any currency for a million tokens of (prompt, answer); at
    `budget` no more requests are sent.
    """

    client: ChatClient
    cache: Path
    price: tuple[float, float] = (0.0, 0.0)
    budget: float | None = None
    max_tokens: int = 1024
    requests: int = 0
    from_cache: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    _known: dict[str, str] = field(default_factory=dict)
    _in_a_row: int = 0
    _last_trouble: str = ""

    def __post_init__(self) -> None:
        """Read what was said before; a last line that a killed run left half written is ignored."""
        if self.budget is not None and self.price == (0.0, 0.0):
            raise ConfigError("--judge_budget needs --judge_price: without a price nothing has a cost.")
        if not self.cache.is_file():
            return
        for line in self.cache.read_text(encoding="utf-8").split("\n")[:-1]:
            entry = json.loads(line)
            self._known[entry["key"]] = entry["text"]

    @property
    def cost(self) -> float:
        """What the requests of this run cost."""
        tokens = (self.prompt_tokens, self.completion_tokens)
        return sum(count * price for count, price in zip(tokens, self.price, strict=True)) / 1e6

    def ask(self, prompt: str) -> str | None:
        """Return the judge's answer, from the cache if it was asked before; None when it fails.

        Raises ConfigError after five failures in a row, or when the budget is spent: what was said so far is
        in the cache.
        """
        key = hashlib.sha256(f"{self.client.model}\0{self.max_tokens}\0{prompt}".encode()).hexdigest()
        if key in self._known:
            self.from_cache += 1
            return self._known[key]
        if self.budget is not None and self.cost >= self.budget:
            raise ConfigError(
                f"the judge has cost {self.cost:.2f} of a budget of {self.budget:.2f}. Its answers are in "
                f"{self.cache}: raise --judge_budget and score again to go on."
            )
        self.requests += 1
        try:
            reply = self.client.ask(
                [{"role": "user", "content": prompt}], max_tokens=self.max_tokens, temperature=0.0
            )
        except RequestError as error:
            self._fail(str(error))
            return None
        self._in_a_row = 0
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        self._known[key] = reply.text
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        with self.cache.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps({"key": key, "model": self.client.model, "text": reply.text}) + "\n")
        return reply.text

    def _fail(self, trouble: str) -> None:
        self.failures += 1
        self._in_a_row += 1
        if self._in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise ConfigError(
                f"the judge failed {self._in_a_row} times in a row: {trouble} What it said before is in "
                f"{self.cache}; score again to go on."
            )

    def usage(self) -> dict[str, Any]:
        """Return requests, answers from the cache, failures, tokens and the price of this run."""
        return {
            "model": self.client.model,
            "requests": self.requests,
            "from_cache": self.from_cache,
            "failures": self.failures,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": self.cost,
        }
