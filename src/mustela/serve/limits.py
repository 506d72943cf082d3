"""What a request may cost."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mustela.errors import ConfigError
from mustela.infer import MAX_NEW_TOKENS
from mustela.regions import Polygon, Region, Scribble
from mustela.serve.errors import ApiError, refused

__all__ = ["Limits", "check_region", "too_many"]


@dataclass(frozen=True)
class Limits:
    """Bounds of one request, and of all together.

    Attributes:
        body_bytes: of a request, encoded pictures included.
        bodies_bytes: of all requests that are being read.
        body_seconds: in which it must have arrived.
        image_bytes: of one picture's file.
        image_pixels: of one picture.
        images: pictures of a conversation.
        regions: of a conversation.
        region_numbers: of all regions of a request, coordinates above all.
        region_edges: rows of pixels that the lines of a region's outline cross, all together.
        text_characters: of all messages together.
        messages: turns of a conversation.
        stops: stop strings of a request.
        choices: answers to one request (`n`).
        new_tokens: longest answer that may be asked for.
        default_new_tokens: longest answer when the request doesn't say, if model and `new_tokens` allow it.
        context: tokens of prompt and answer; None: what the model was made for.
        requests: that are read, wait or are answered; more are told to come back.
        batch: answers that grow together.
        batch_tokens: tokens of a batch, padding included.
        seconds: from the arrival of a request to its answer.
        cache_images: encoded pictures that are kept.
        cache_bytes: memory that they may take.
    """

    body_bytes: int = 32 * 2**20
    bodies_bytes: int = 512 * 2**20
    body_seconds: float = 30.0
    image_bytes: int = 20 * 2**20
    image_pixels: int = 7680 * 4320
    images: int = 8
    regions: int = 64
    region_numbers: int = 50_000
    region_edges: int = 2_000_000
    text_characters: int = 32_000
    messages: int = 256
    stops: int = 8
    choices: int = 8
    new_tokens: int = 1024
    default_new_tokens: int = MAX_NEW_TOKENS
    context: int | None = None
    requests: int = 128
    batch: int = 32
    batch_tokens: int = 65_536
    seconds: float = 120.0
    cache_images: int = 128
    cache_bytes: int = 512 * 2**20

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise ConfigError(f"{field.name} is {value}. It is above 0.")


def check_region(region: Region, size_wh: tuple[int, int], limits: Limits) -> None:
    """Refuse a region whose outline would take long to fill.

    Raises:
        ApiError: it is refused.
    """
    if not isinstance(region, Scribble | Polygon):
        return
    lines = region.rings if isinstance(region, Polygon) else (region.points,)
    extra = 1.0 + (region.width if isinstance(region, Scribble) else 0.0)
    height = float(size_wh[1])
    rows = sum(
        min(height, abs(start[1] - end[1]) + extra)
        for line in lines
        for start, end in zip(line, (*line[1:], line[0]), strict=True)
    )
    if rows > limits.region_edges:
        raise refused(
            f"a region's outline is too long: its lines cross {rows:.0f} rows of pixels,"
            f" {limits.region_edges} are allowed. Send fewer points, or a mask.",
            code="region_too_complex",
            param="regions",
        )


def too_many(what: str) -> ApiError:
    """The error of a request that comes while the server is busy; `what` says with what."""
    return ApiError(
        429,
        f"the server is busy with {what}. Try again in a moment.",
        code="queue_full",
        retry_after=1,
    )
