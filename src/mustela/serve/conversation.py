"""From the messages of a request to what the model reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mustela.data.message import Message, Role, Slot
from mustela.data.render import Rendered, RenderedRegion, RenderOptions
from mustela.errors import RegionError
from mustela.infer import check_in_picture, question_parts, region_indices
from mustela.regions import Mask, Region, Transform, region_from_json
from mustela.serve.errors import refused
from mustela.serve.images import Picture
from mustela.serve.limits import Limits, check_region
from mustela.serve.schema import ChatRequest, ImagePart, RequestMessage

__all__ = ["check_lengths", "image_urls", "render_request", "wanted_tokens", "wants_masks"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


_PLACEHOLDER = re.compile(r"<region\d*>")


@dataclass(frozen=True)
class _Turn:
    """A message: its texts, and the numbers of its pictures where they stand between them."""

    role: Role
    items: tuple[str | int, ...]


def check_lengths(request: ChatRequest, limits: Limits) -> None:
    """Refuse a request that is longer than the limits allow.

    Raises:
        ApiError: what is too long or too many, and the limit.
    """
    texts = sum(len(text) for message in request.messages for text in _texts(message))
    counts = (
        ("messages", len(request.messages), limits.messages, "messages"),
        ("messages", texts, limits.text_characters, "characters of text"),
        ("messages", len(image_urls(request)), limits.images, "pictures"),
        ("regions", len(request.regions or ()), limits.regions, "regions"),
        ("stop", len(request.stops), limits.stops, "stop strings"),
        ("n", request.n or 1, limits.choices, "answers"),
        ("max_tokens", wanted_tokens(request) or 1, limits.new_tokens, "tokens of an answer"),
    )
    for param, count, limit, what in counts:
        if count > limit:
            raise refused(f"{count} {what}, but at most {limit} are allowed.", code="too_large", param=param)


def wanted_tokens(request: ChatRequest) -> int | None:
    """Return the longest answer that a request asks for, in tokens; None: it doesn't say."""
    return request.max_completion_tokens or request.max_tokens


def image_urls(request: ChatRequest) -> list[str]:
    """Return where the pictures of a request are, in the order of its messages."""
    return [
        part.image_url.url
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
        if isinstance(part, ImagePart)
    ]


def wants_masks(request: ChatRequest) -> bool:
    """Tell whether the regions are the alpha channels of the pictures: placeholders, but no `regions`."""
    return request.regions is None and any(
        _PLACEHOLDER.search(text)
        for message in request.messages
        if message.role == "user"
        for text in _texts(message)
    )


def render_request(
    request: ChatRequest,
    pictures: Sequence[Picture],
    *,
    options: RenderOptions,
    limits: Limits,
    frames: Sequence[Transform] | None = None,
) -> Rendered:
    """Return the messages and regions of a request.

    The parts of a message are written line by line. Its only picture goes in front of its text, where it was
    in training; several stay where they are.

    Args:
        request: of the client.
        pictures: those of `image_urls`, in order.
        options: how regions are written.
        limits: of regions.
        frames: of `MustelaProcessor.frames`.

    Raises:
        ApiError: the conversation is not one that the model can read.
        MustelaError: regions are malformed or don't add up with their placeholders.
    """
    turns = _turns(request)
    if turns[-1].role != "user":
        raise refused("the last message is not the user's; end with a question.", param="messages")
    given = _regions(request, pictures, limits)
    texts = [item for turn in turns if turn.role == "user" for item in turn.items if isinstance(item, str)]
    indices = iter(region_indices(texts, len(given)))
    sizes_wh = [picture.size_wh for picture in pictures]
    messages: list[Message] = []
    shown: list[RenderedRegion] = []
    seen = 0
    for turn in turns:
        numbers = [item for item in turn.items if isinstance(item, int)]
        seen += len(numbers)
        if turn.role != "user" and numbers:
            raise refused(f"a message of the {turn.role} holds a picture.", param="messages")
        # The only picture goes to the front: sorting is stable.
        items = (
            sorted(turn.items, key=lambda item: isinstance(item, str)) if len(numbers) == 1 else turn.items
        )
        parts: list[str | Slot] = []
        for item in items:
            parts += ["\n"] if parts else []
            if isinstance(item, int):
                parts.append(Slot.IMAGE)
            elif turn.role == "user":
                asked = [_in_picture(*given[index], seen, sizes_wh, limits) for index in next(indices)]
                parts += question_parts(item, asked, sizes_wh, options=options, frames=frames)
                shown += asked
            else:
                parts.append(item)
        messages.append(Message(turn.role, tuple(parts)))
    return Rendered("request", tuple(messages), tuple(shown) if options.add_region_feature else ())


def _in_picture(
    region: Region, image: int | None, seen: int, sizes_wh: Sequence[tuple[int, int]], limits: Limits
) -> RenderedRegion:
    if image is None:
        image = seen - 1
    if seen == 0 or image < 0:
        raise RegionError("a region has no picture: put one into the message or before it.")
    check_region(region, sizes_wh[image], limits)
    check_in_picture(region, sizes_wh[image])
    return RenderedRegion(region, image=image)


def _regions(
    request: ChatRequest, pictures: Sequence[Picture], limits: Limits
) -> list[tuple[Region, int | None]]:
    """Return the regions of a request, each with the number of its picture, if that is said."""
    if wants_masks(request):
        return [
            (Mask.from_array(picture.alpha), number)
            for number, picture in enumerate(pictures)
            if picture.alpha is not None
        ]
    numbers = sum(_count(value) for item in request.regions or () for value in item.values())
    if numbers > limits.region_numbers:
        raise refused(
            f"the regions have {numbers} numbers, but at most {limits.region_numbers} are allowed. Send fewer"
            " points, or masks in compressed run lengths.",
            code="region_too_complex",
            param="regions",
        )
    found: list[tuple[Region, int | None]] = []
    for number, item in enumerate(request.regions or ()):
        image = item.get("image_index")
        if image is not None and (
            isinstance(image, bool) or not isinstance(image, int) or not 0 <= image < len(pictures)
        ):
            raise refused(
                f"region {number}: image_index is {image!r}, but there are {len(pictures)} pictures, counted"
                " from 0.",
                param="regions",
            )
        try:
            found.append((region_from_json(item, ignore=("image_index",)), image))
        except RegionError as error:
            raise RegionError(f"region {number}: {error}") from error
    return found


def _count(value: object) -> int:
    return sum(map(_count, value)) if isinstance(value, list) else 1


def _turns(request: ChatRequest) -> list[_Turn]:
    turns = []
    number = 0
    for message in request.messages:
        items: list[str | int] = []
        for part in [message.content] if isinstance(message.content, str) else message.content:
            if isinstance(part, ImagePart):
                items.append(number)
                number += 1
            else:
                items.append(part if isinstance(part, str) else part.text)
        turns.append(_Turn(_ROLES[message.role], tuple(items)))
    return turns


def _texts(message: RequestMessage) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [part.text for part in message.content if not isinstance(part, ImagePart)]
