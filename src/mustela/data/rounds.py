"""Over-long conversations lose whole rounds from their end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mustela.data.encoding import EncodedPrompt
from mustela.errors import CountMismatchError, RecordError

__all__ = ["SampleTooLongError", "fit_rounds"]


class SampleTooLongError(RecordError):
    """Not even the first round of a conversation fits.

    Attributes:
        needed: ids of the prompt up to the end of its first round, images expanded.
        limit: ids that are allowed.
    """

    def __init__(self, *, needed: int, limit: int) -> None:
        super().__init__(
            f"the sample needs {needed} ids, images included, but model_max_length is {limit}; raise it, "
            "shorten the text or make the images smaller"
        )
        self.needed = needed
        self.limit = limit


def fit_rounds(
    encoded: EncodedPrompt, image_lengths: Sequence[int], *, max_length: int, region_length: int = 1
) -> EncodedPrompt:
    """Return as many whole rounds from the start of a conversation as fit.

    Nothing is cut inside a round, so an image or region token is kept with all it belongs to or goes with its
    round. Pictures and regions that stay are the first `len(image_positions)` and `len(region_positions)`.

    Args:
        encoded: the whole conversation, one id for each image.
        image_lengths: how many ids each image expands to, in the order of the text.
        max_length: ids that are allowed after images and regions are expanded.
        region_length: how many ids each region expands to.

    Raises:
        SampleTooLongError: not even one round fits, or the prompt is for a generation, which ends with the
            question.
        CountMismatchError: there are more or fewer lengths than images.
    """
    if len(image_lengths) != len(encoded.image_positions):
        raise CountMismatchError(
            f"{len(encoded.image_positions)} image tokens in the prompt, but {len(image_lengths)} images"
        )
    whole = len(encoded.input_ids)
    ends = [] if encoded.prompt.is_generation else list(encoded.round_ends)
    if whole not in ends:
        ends.append(whole)
    lengths = [_expanded(encoded, image_lengths, region_length, end) for end in ends]
    fitting = [end for end, length in zip(ends, lengths, strict=True) if length <= max_length]
    if not fitting:
        raise SampleTooLongError(needed=lengths[0], limit=max_length)
    return encoded if fitting[-1] == whole else _cut(encoded, fitting[-1])


def _expanded(encoded: EncodedPrompt, image_lengths: Sequence[int], region_length: int, end: int) -> int:
    images = sum(position < end for position in encoded.image_positions)
    regions = sum(position < end for position in encoded.region_positions)
    return end - images + sum(image_lengths[:images]) + regions * (region_length - 1)


def _cut(encoded: EncodedPrompt, end: int) -> EncodedPrompt:
    rounds = sum(round_end <= end for round_end in encoded.round_ends)
    return replace(
        encoded,
        input_ids=encoded.input_ids[:end],
        labels=encoded.labels[:end],
        offsets=encoded.offsets[:end],
        answer_spans=encoded.answer_spans[:rounds],
        image_positions=tuple(position for position in encoded.image_positions if position < end),
        region_positions=tuple(position for position in encoded.region_positions if position < end),
        round_ends=encoded.round_ends[:rounds],
    )
