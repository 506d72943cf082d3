"""From vision features to tokens of the language model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mustela.errors import ConfigError
from mustela.model.classic_config import ClassicConfig

# Content and place of an image token at the start: about as long as each other, so that both are heard.
_WAVES = 6
_WAVE_HEIGHT = 1.0
CONTENT_SCALE = 0.35


class DownsampleProjector(nn.Module):
    """Join each 2 x 2 patches and project them to one token of the language model.

    Args:
        channels: C of the vision features.
        hidden_size: D of the language model.
    """

    def __init__(self, channels: int, hidden_size: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(4 * channels, hidden_size)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(hidden_size, hidden_size)

    def forward(self, patches_NHWC: Tensor) -> Tensor:
        """Return `(N, H * W / 4, D)` for patches `(N, H, W, C)`, row-major."""
        height, width = patches_NHWC.shape[1:3]
        if height % 2 or width % 2:
            raise ConfigError(
                f"projector_type mlp_downsample joins 2 x 2 patches, but a picture has {height} x {width}."
            )
        windows = patches_NHWC.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3)
        return self.linear_2(self.act(self.linear_1(windows.flatten(3).flatten(1, 2))))


class MlpProjector(nn.Module):
    """Two linear layers with GELU between them, under the names of transformers' LLaVA.

    Args:
        channels: C of the vision features.
        hidden_size: D of the language model.
    """

    def __init__(self, channels: int, hidden_size: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(channels, hidden_size)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(hidden_size, hidden_size)

    def forward(self, features: Tensor) -> Tensor:
        """Return `(..., D)` for features `(..., C)`."""
        return self.linear_2(self.act(self.linear_1(features)))


class TokenNorm(nn.LayerNorm):
    """Norm of the projected tokens, before their place is added."""


class PlaceEmbedding(nn.Embedding):
    """A learned embedding of places on a square grid, row-major, that starts as waves over x and over y.

    So neighbours are alike from the start, and a row or a column is learned once, not at every place.
    """

    def waves(self) -> Tensor:
        """Return the table to start from: 1 to `_WAVES` half periods over the grid, then zeros."""
        side = math.isqrt(self.num_embeddings)
        place = (torch.arange(side) + 0.5) / side * math.pi
        waves = place[:, None] * torch.arange(1, min(_WAVES, self.embedding_dim // 4) + 1)
        waves = _WAVE_HEIGHT * torch.cat([waves.sin(), waves.cos()], dim=-1)
        rows, columns = waves[:, None].expand(-1, side, -1), waves[None].expand(side, -1, -1)
        table = torch.cat([rows, columns], dim=-1).flatten(0, 1)
        return nn.functional.pad(table, (0, self.embedding_dim - table.shape[-1])).to(self.weight)


def make_projector(config: ClassicConfig, channels: int) -> nn.Module:
    """Make a projector of the configured type from features of `channels` to the language model."""
    hidden_size = config.get_text_config().hidden_size
    if config.projector_type == "linear":
        return nn.Linear(channels, hidden_size)
    if config.projector_type == "mlp2x_gelu":
        return MlpProjector(channels, hidden_size)
    if config.vision_feature_select_strategy == "full":
        raise ConfigError(
            "projector_type mlp_downsample joins patches only: set mm_vision_select_feature: patch."
        )
    return DownsampleProjector(channels, hidden_size)
