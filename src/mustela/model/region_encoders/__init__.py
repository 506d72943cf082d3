"""Region encoders: feature grids and points to one vector, or several, a region.

Every encoder is a module called as `encoder(grids, points_RP2, image_R) -> (R * tokens, D)`.
"""

from __future__ import annotations

from typing import TypeAlias

from mustela.errors import ConfigError
from mustela.model.configuration import MustelaConfig
from mustela.model.region_encoders.geo import GeoSampler
from mustela.model.region_encoders.mean import MeanEncoder
from mustela.model.region_encoders.roi import RoiEncoder, RoiTokens

__all__ = ["GeoSampler", "MeanEncoder", "RegionEncoder", "RoiEncoder", "RoiTokens", "build_region_encoder"]

RegionEncoder: TypeAlias = GeoSampler | MeanEncoder | RoiEncoder | RoiTokens


def build_region_encoder(config: MustelaConfig, *, channels: int, hidden_size: int) -> RegionEncoder | None:
    """Make the region encoder that a configuration names.

    Args:
        config: the model's configuration.
        channels: channels of the feature grids.
        hidden_size: width of the language model.

    Returns:
        The encoder, or None for `region_encoder: none`.

    Raises:
        ConfigError: it can't give that many tokens a region.
    """
    tokens = config.tokens_per_region
    if tokens < 1 or (tokens > 1 and config.region_encoder == "none"):
        raise ConfigError(
            f"tokens_per_region is {tokens} with region_encoder {config.region_encoder}: at least 1, and 1"
            " where regions have no tokens."
        )
    if config.region_encoder == "geo":
        return GeoSampler(
            channels,
            hidden_size,
            sub_points=tuple(config.region_sub_points),
            neighbors=config.region_neighbors,
            pooling=config.sampler_pooler_mode,
            tokens=tokens,
            geometry=config.sampling_geometry,
        )
    if config.region_encoder == "mean":
        if tokens > config.region_points:
            raise ConfigError(
                f"tokens_per_region is {tokens}, more than region_points {config.region_points}."
            )
        return MeanEncoder(channels, hidden_size, tokens=tokens, geometry=config.sampling_geometry)
    if config.region_encoder in ("roi", "mask_embed"):
        mask = config.region_encoder == "mask_embed"
        geometry = config.sampling_geometry
        if tokens == 1:
            return RoiEncoder(channels, hidden_size, mask=mask, geometry=geometry)
        return RoiTokens(channels, hidden_size, tokens=tokens, mask=mask, geometry=geometry)
    return None
