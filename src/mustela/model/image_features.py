"""Encoding pictures once, for any number of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mustela.errors import CountMismatchError
from mustela.model.families import family_of
from mustela.model.grids import FeatureGrids


@dataclass(frozen=True)
class ImageFeatures:
    """Encoded pictures.

    Attributes:
        outputs: what the base's `get_image_features` returned, and its forward takes.
        tokens: the tokens of each picture, `(T, D)` or `(parts, T, D)`.
        grids: the feature grids that regions are read from.
    """

    outputs: Any
    tokens: Sequence[Tensor]
    grids: FeatureGrids

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.tokens)

    def select(self, index: list[int]) -> ImageFeatures:
        """Return the pictures at `index`, in that order, with repeats."""
        tokens = [self.tokens[i] for i in index]
        deepstack = self.outputs.get("deepstack_features")
        chosen_deep = None if deepstack is None else [[layer[i] for i in index] for layer in deepstack]
        outputs = self._outputs(tokens, chosen_deep)
        chosen = torch.tensor(index, device=self.grids.start.device, dtype=torch.long)
        return ImageFeatures(outputs, tokens, self.grids.select(chosen))

    def split(self) -> list[ImageFeatures]:
        """Return each picture alone, in memory of its own."""
        return [self.select([index])._copied() for index in range(len(self))]

    def _copied(self) -> ImageFeatures:
        tokens = [picture.clone() for picture in self.tokens]
        deepstack = self.outputs.get("deepstack_features")
        copied = None if deepstack is None else [[one.clone() for one in layer] for layer in deepstack]
        return ImageFeatures(self._outputs(tokens, copied), tokens, self.grids.copied())

    def _outputs(self, tokens: Sequence[Tensor], deepstack: Sequence[Sequence[Tensor]] | None) -> Any:
        """Put tokens into outputs as the base makes them: one tensor, or one a picture."""
        together = isinstance(self.outputs.pooler_output, Tensor)
        outputs = self.outputs.__class__(pooler_output=torch.cat(list(tokens)) if together else tokens)
        if deepstack is not None:
            outputs["deepstack_features"] = deepstack
        return outputs

    @classmethod
    def join(cls, parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """Return the pictures of several as one."""
        tokens = [picture for part in parts for picture in part.tokens]
        deepstacks = [part.outputs.get("deepstack_features") for part in parts]
        joined = None
        if deepstacks[0] is not None:
            joined = [
                [picture for layer in layers for picture in layer] for layers in zip(*deepstacks, strict=True)
            ]
        outputs = parts[0]._outputs(tokens, joined)
        return cls(outputs, tokens, FeatureGrids.join([part.grids for part in parts]))

    @property
    def nbytes(self) -> int:
        """Memory that the features take, in bytes."""
        deepstack = self.outputs.get("deepstack_features") or ()
        pictures = [*self.tokens, *(picture for layer in deepstack for picture in layer)]
        return sum(tensor.nbytes for tensor in (self.grids.table, *pictures))


def encode_images(base: PreTrainedModel, inputs: Mapping[str, Tensor]) -> ImageFeatures:
    """Run the base's vision part once.

    Args:
        base: an image-text-to-text model.
        inputs: its image tensors; names that are none of its family's are ignored.

    Raises:
        ConfigError: the base's kind is not known.
    """
    family = family_of(base.config)
    known: Mapping[str, Tensor] = {name: inputs[name] for name in family.tensors if name in inputs}
    if family.prepare is not None:
        known = family.prepare(known)
    names = (*family.image_inputs, *family.optional_inputs)
    given = {name: known[name] for name in names if name in known}
    outputs = base.model.get_image_features(**given, return_dict=True)
    grids = family.grids(base.model, outputs, known)
    return ImageFeatures(outputs, _by_picture(outputs.pooler_output, known, len(grids.start)), grids)


def _by_picture(
    pooled: Tensor | Sequence[Tensor], inputs: Mapping[str, Tensor], pictures: int
) -> list[Tensor]:
    """Split the tokens of all pictures, or of all their parts, into those of each picture."""
    if not isinstance(pooled, Tensor):
        return list(pooled)
    if len(pooled) == pictures:
        return list(pooled.split(1))
    tiles = inputs["image_tiles"].prod(-1)
    return list(pooled.split((tiles + 1).tolist()))


def check_image_tokens(input_ids: Tensor, token_id: int, images: ImageFeatures | None) -> None:
    """Compare the image tokens of a batch with what the vision part made for them.

    Args:
        input_ids: `(B, T)`, image placeholders expanded.
        token_id: id of the image token.
        images: encoded pictures; None if there are none.

    Raises:
        CountMismatchError: the two numbers differ.
    """
    tokens = int((input_ids == token_id).sum())
    features = 0 if images is None else sum(each.shape[:-1].numel() for each in images.tokens)
    if tokens != features:
        raise CountMismatchError(
            f"The batch has {tokens} image tokens, but its {0 if images is None else len(images)} images give"
            f" {features} features. Use the model's own processor, and don't cut its ids."
        )
