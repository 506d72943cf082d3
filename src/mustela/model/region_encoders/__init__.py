"""Region encoders: feature grids and points to one vector a region.

Every encoder is a module called as `encoder(grids, points_RP2, image_R) -> (R, D)`.
"""

from __future__ import annotations

from typing import TypeAlias

from mustela.model.configuration import MustelaConfig
from mustela.model.region_encoders.geo import GeoSampler
from mustela.model.region_encoders.mean import MeanEncoder
from mustela.model.region_encoders.roi import RoiEncoder

__all__ = ["GeoSampler", "MeanEncoder", "RegionEncoder", "RoiEncoder", "build_region_encoder"]

RegionEncoder: TypeAlias = GeoSampler | MeanEncoder | RoiEncoder


def build_region_encoder(config: MustelaConfig, *, channels: int, hidden_size: int) -> RegionEncoder | None:
    """Make the region encoder that a configuration names.

    Args:
        config: the model's configuration.
        channels: channels of the feature grids.
        hidden_size: width of the language model.

    Returns:
        The encoder, or None for `region_encoder: none`.
    """
    if config.region_encoder == "geo":
        return GeoSampler(
            channels,
            hidden_size,
            sub_points=tuple(config.region_sub_points),
            neighbors=config.region_neighbors,
            pooling=config.sampler_pooler_mode,
            geometry=config.sampling_geometry,
        )
    if config.region_encoder == "mean":
        return MeanEncoder(channels, hidden_size, geometry=config.sampling_geometry)
    if config.region_encoder == "roi":
        return RoiEncoder(channels, hidden_size, geometry=config.sampling_geometry)
    return None
