"""Settings of a model that is to be built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mustela.model.classic import ProjectorName
from mustela.model.configuration import RegionEncoderName, SamplingGeometry


@dataclass(frozen=True)
class RegionSettings:
    """The region encoder of a model to be built; see `mustela.model.MustelaConfig`."""

    encoder: RegionEncoderName = "geo"
    geometry: SamplingGeometry = "aligned"
    pooling: Literal["max", "mean"] = "max"
    points: int = 512
    sub_points: tuple[int, ...] = (128, 32)
    neighbors: int = 24
    tokens: int = 1


@dataclass(frozen=True)
class ClassicSettings:
    """The classic composition to be built, under the original's names.

    Attributes:
        image_wh: the picture that the vision tower takes.
        select_layer: hidden state of the tower that is read.
        select_feature: `patch` or `cls_patch`.
        projector_type: `linear`, `mlp2x_gelu` or `mlp_downsample`.
        image_aspect_ratio: `square_nocrop` or `pad`.
        use_im_start_end: mark pictures in the text.
        use_im_patch_token: add the unused token `<im_patch>`, so that ids equal those of the original.
    """

    image_wh: tuple[int, int] = (336, 336)
    select_layer: int = -2
    select_feature: str = "patch"
    projector_type: ProjectorName = "linear"
    image_aspect_ratio: str = "square_nocrop"
    use_im_start_end: bool = False
    use_im_patch_token: bool = False
