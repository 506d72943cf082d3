"""Counting samples that are replaced by the next."""

from __future__ import annotations

import logging

import torch

logger = logging.getLogger(__name__)


class SkipCounter:
    """Counts and logs what is skipped, in all workers that a process starts.

    Args:
        kinds: short names of the reasons.
    """

    def __init__(self, *kinds: str) -> None:
        self._kinds = kinds
        # In shared memory, so that what workers skip is counted here.
        self._counts = torch.zeros(len(kinds), dtype=torch.long).share_memory_()

    def count(self, kind: str, reason: str) -> None:
        """Count and log one."""
        self._counts[self._kinds.index(kind)] += 1
        logger.warning("Skipped: %s", reason)

    @property
    def counts(self) -> dict[str, int]:
        """How many, by reason."""
        return dict(zip(self._kinds, self._counts.tolist(), strict=True))
