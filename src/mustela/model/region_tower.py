"""A second vision encoder that regions are read from, at a resolution of its own.

Shape legend: N pictures, H and W rows and columns of its map, C its channels, B channels of the base's map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig

from mustela.errors import ConfigError, CountMismatchError
from mustela.model.classic_config import is_convolutional, patch_size, prefix_tokens
from mustela.model.configuration import MustelaConfig
from mustela.model.grids import FeatureGrids, resample

# Encoders that fit their position embeddings to the picture when asked.
_INTERPOLATE_WHEN_ASKED = ("clip_vision_model", "siglip_vision_model")
# Encoders of masks: their output is a map (N, C, H, W) behind a neck, of pictures of one size.
_MASK_ENCODERS = ("sam_vision_model", "sam_hq_vision_model")


def tower_width(tower: PreTrainedConfig | Any) -> int:
    """Return the channels C of an encoder's map.

    Raises:
        ConfigError: the encoder is of a kind that mustela doesn't know.
    """
    if tower.model_type in _MASK_ENCODERS:
        return int(tower.output_channels)
    prefix_tokens(tower)
    return int(tower.hidden_sizes[-1] if is_convolutional(tower) else tower.hidden_size)


def region_channels(config: MustelaConfig, base_channels: int) -> int:
    """Return the channels of the maps that regions are read from, of a base of `base_channels`."""
    if config.region_tower_config is None:
        return base_channels
    own = tower_width(config.region_tower_config)
    return own + base_channels if config.region_tower_join == "concat" else own


def region_size(tower: Any, size: int | None) -> int:
    """Return the side of the square picture that an encoder takes.

    Args:
        tower: its configuration.
        size: as asked for; None: what it was trained with.

    Raises:
        ConfigError: it can't take a picture of that size.
    """
    trained = int(tower.image_size) if "image_size" in tower.to_dict() else 224
    side = trained if size is None else size
    if tower.model_type in _MASK_ENCODERS and side != trained:
        raise ConfigError(
            f"region_tower_size is {side}, but an encoder of type {tower.model_type} takes {trained} only."
        )
    patch = patch_size(tower)
    if side < patch or side % patch:
        nearest = max(patch, side // patch * patch)
        raise ConfigError(
            f"region_tower_size is {side}, but the region tower's features stand for {patch} x {patch}"
            f" pixels: give a multiple, such as {nearest} or {nearest + patch}."
        )
    return side


class RegionTower(nn.Module):
    """The encoder and its map.

    Args:
        tower: its configuration.
        layer: hidden state that is read; of an encoder of masks its output, whatever this says.
    """

    def __init__(self, tower: PreTrainedConfig | Any, *, layer: int = -1) -> None:
        super().__init__()
        self.layer = layer
        width = tower_width(tower)
        if is_convolutional(tower) and layer != -1:
            raise ConfigError(
                f"region_tower_layer is {layer}, but the maps of a convolutional tower differ in size: only"
                " the last one, -1, can be read."
            )
        self.width = width
        self.encoder = AutoModel.from_config(tower)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the map `(N, H, W, C)` of pictures `(N, 3, h, w)`."""
        tower: Any = self.encoder.config
        pixel_values = pixel_values.to(self.encoder.dtype)
        if tower.model_type in _MASK_ENCODERS:
            encoded: Tensor = self.encoder(pixel_values, return_dict=True).last_hidden_state
            return encoded.permute(0, 2, 3, 1)
        options: dict[str, Any] = {"output_hidden_states": True, "return_dict": True}
        if tower.model_type in _INTERPOLATE_WHEN_ASKED:
            options["interpolate_pos_encoding"] = True
        hidden: Tensor = self.encoder(pixel_values, **options).hidden_states[self.layer]
        if is_convolutional(tower):
            return hidden.permute(0, 2, 3, 1)
        patch = patch_size(tower)
        grid_hw = pixel_values.shape[-2] // patch, pixel_values.shape[-1] // patch
        return hidden[:, prefix_tokens(tower) :].unflatten(1, grid_hw)


class RegionJoin(nn.Module):
    """Projections of both maps to one width, to be summed.

    Args:
        base_channels: B.
        tower_channels: C, also the width of the sum.
    """

    def __init__(self, base_channels: int, tower_channels: int) -> None:
        super().__init__()
        self.base = nn.Linear(base_channels, tower_channels)
        self.tower = nn.Linear(tower_channels, tower_channels)

    def forward(self, base_SB: Tensor, tower_SC: Tensor) -> Tensor:
        """Return the sum `(S, C)` of both, cell by cell."""
        return self.base(base_SB) + self.tower(tower_SC)


def make_region_tower(config: MustelaConfig) -> RegionTower | None:
    """Make the tower that a configuration names, of random numbers; None: it names none."""
    if config.region_tower_config is None:
        return None
    return RegionTower(config.region_tower_config, layer=config.region_tower_layer)


def make_region_join(config: MustelaConfig, base_channels: int) -> RegionJoin | None:
    """Make the projections of both maps; None where they aren't summed."""
    if config.region_tower_config is None or config.region_tower_join != "sum":
        return None
    return RegionJoin(base_channels, tower_width(config.region_tower_config))


def join_grids(
    base: FeatureGrids, tower_NHWC: Tensor, window_N4: Tensor, *, join: RegionJoin | None, only: bool
) -> FeatureGrids:
    """Make one map a picture of the base's and the region tower's, in the cells of the latter.

    Args:
        base: maps of the base.
        tower_NHWC: maps of the region tower, each of a whole picture.
        window_N4: left, top, right and bottom of each whole picture in 0..1 of what the base encoded.
        join: the projections, where both are summed; None: they are concatenated.
        only: leave the base's maps out.

    Raises:
        CountMismatchError: they are of other numbers of pictures.
    """
    if len(base.start) != tower_NHWC.shape[0]:
        raise CountMismatchError(
            f"The base encoded {len(base.start)} pictures and the region tower {tower_NHWC.shape[0]}:"
            " region_pixel_values needs one for each. Use the model's own processor."
        )
    tower = FeatureGrids.from_batch(tower_NHWC)
    tower = FeatureGrids(tower.table, tower.start, tower.size_hw, window_N4.float())
    if only:
        return tower
    base_SB = resample(base, tower).table
    if join is not None:
        return tower.with_table(join(base_SB, tower.table.to(base_SB.dtype)))
    return tower.with_table(torch.cat([base_SB, tower.table.to(base_SB.dtype)], dim=-1))
