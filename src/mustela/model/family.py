"""What mustela knows of one kind of base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mustela.model.grids import FeatureGrids
from mustela.regions import CoordinateStyle

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Family:
    """How to read regions from one kind of base.

    Attributes:
        image_inputs: arguments of the base's `get_image_features`, as its image processor makes them.
        channels: channels of the grid, from the base's configuration.
        grids: the grids, from the base's inner model, its vision outputs and the image tensors.
        blank: the image tensors of a small black picture, from the base's configuration.
        title: names of models of this kind.
        reads: what regions are read from, in words.
        tested: what the tests cover.
        position_inputs: image tensors, and others, that the base's forward needs beside encoded pictures.
        optional_inputs: further arguments of `get_image_features`, that not every model or batch has.
        layout_inputs: image tensors that only `grids` and `prepare` look at.
        prepare: turns the image tensors of a batch into what `get_image_features` takes, where joining
            pictures isn't enough.
        coordinates: how the base was trained to write coordinates.
        template: the one that it was trained with, where it brings no chat template of its own.
    """

    image_inputs: tuple[str, ...]
    channels: Callable[[Any], int]
    grids: Callable[[Any, Any, Inputs], FeatureGrids]
    blank: Callable[[Any], dict[str, Tensor]]
    title: str
    reads: str
    tested: str
    position_inputs: tuple[str, ...] = ()
    optional_inputs: tuple[str, ...] = ()
    layout_inputs: tuple[str, ...] = ()
    prepare: Callable[[Inputs], Inputs] | None = None
    coordinates: CoordinateStyle = "bins"
    template: str | None = None

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of all its image tensors."""
        return (*self.image_inputs, *self.optional_inputs, *self.layout_inputs)
