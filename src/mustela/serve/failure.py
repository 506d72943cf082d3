"""What the log says of defects: where they are, and nothing of a request."""

from __future__ import annotations

import logging
import traceback

__all__ = ["log_failure"]

logger = logging.getLogger(__name__)


def log_failure(error: BaseException) -> None:
    """Log where a defect is, without its message, which may quote a request."""
    place = "".join(traceback.format_tb(error.__traceback__))
    logger.error("a request failed with %s\n%s", type(error).__name__, place)
