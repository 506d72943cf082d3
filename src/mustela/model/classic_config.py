"""Configuration of the classic composition, and what it has to know of vision encoders."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from transformers import AutoConfig, LlavaConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from mustela.data.tiling import TileOrder
from mustela.errors import ConfigError
from mustela.model.tiling import RegionMap

ProjectorName = Literal["linear", "mlp2x_gelu", "mlp_downsample"]

# Tokens before the patches: a class token, and registers where the encoder has them.
_CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0, "siglip2_vision_model": 0, "dinov2": 1}
_CLASS_AND_REGISTERS = ("dinov2_with_registers", "dinov3_vit")
# Encoders whose hidden states are maps (N, C, H, W), and which have no position of their own.
_CONVOLUTIONAL = ("convnext", "convnextv2", "resnet")


def is_convolutional(vision_config: PreTrainedConfig) -> bool:
    """Tell whether an encoder is convolutional."""
    return vision_config.model_type in _CONVOLUTIONAL


def patch_size(vision_config: Any) -> int:
    """Return the side of the square of pixels that one vision feature stands for."""
    if is_convolutional(vision_config):
        return int(4 * 2 ** (len(vision_config.hidden_sizes) - 1))
    return int(vision_config.patch_size)


def prefix_tokens(vision_config: PreTrainedConfig) -> int:
    """Return how many tokens a vision encoder puts before its patch features.

    Raises:
        ConfigError: the encoder is of a kind that mustela doesn't know.
    """
    kind = vision_config.model_type
    if kind in _CONVOLUTIONAL:
        return 0
    if kind in _CLASS_TOKENS:
        return _CLASS_TOKENS[kind]
    if kind in _CLASS_AND_REGISTERS:
        return 1 + int(vision_config.num_register_tokens)
    known = ", ".join(sorted([*_CLASS_TOKENS, *_CLASS_AND_REGISTERS, *_CONVOLUTIONAL]))
    raise ConfigError(
        f"vision_tower: encoders of type {kind!r} are not known to the classic composition. Known: {known}."
    )


class ClassicConfig(LlavaConfig):
    """Configuration of the classic composition.

    Attributes:
        projector_type: `linear` (Ferret, LLaVA 1), `mlp2x_gelu` (LLaVA 1.5) or `mlp_downsample`: each 2 x 2
            patches become one token, so that the language model reads a quarter of them.
        vision_feature_select_strategy: `default` gives the language model the patches, `full` also the tokens
            before them. Regions are always read from the patches.
        silent_token_ids: tokens whose logit is always minus infinity. Tokens added to a converted model are
            such, so that its probabilities stay those of the original.
        token_norm: normalise the projected tokens of a convolutional encoder before their place is added, so
            that both start about equally long. False in models made before this field.
        tile_order: how the tokens of tiled pictures are laid out, see `mustela.data.tiling.TileTokens`; None:
            pictures have no tiles.
        region_map: what regions of tiled pictures are read from: `merged`, `tiles` or `global`.
        tile_vision_config: another encoder for the tiles, with a projector of its own; None: that of the
            overview. With it, regions are read from projected features, the only ones of equal width.
    """

    model_type = "mustela_classic"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        **LlavaConfig.sub_configs_defaults,
        "tile_vision_config": SubConfigSpec(config_class=AutoConfig, model_type="dinov2", optional=True),
    }
    projector_type: ProjectorName = "mlp2x_gelu"
    silent_token_ids: list[int] | tuple[int, ...] = ()
    token_norm: bool = False
    tile_order: TileOrder | None = None
    region_map: RegionMap = "merged"
    tile_vision_config: dict[str, Any] | PreTrainedConfig | None = None

    @property
    def grid_size(self) -> int:
        """Patches along one side of the square picture."""
        return int(self.vision_config.image_size) // patch_size(self.vision_config)  # type: ignore[union-attr]

    @property
    def image_tokens(self) -> int:
        """Tokens of one picture in the language model, without those that `full` adds."""
        return self.grid_size**2 // (4 if self.projector_type == "mlp_downsample" else 1)

    @property
    def layer_width(self) -> int:
        """Channels of the selected vision features."""
        return self.width_of(self.vision_config)

    @property
    def region_width(self) -> int:
        """Channels of the features that regions are read from."""
        if self.tile_vision_config is not None:
            return int(self.get_text_config().hidden_size)
        return self.layer_width

    def width_of(self, vision: Any) -> int:
        """Return the channels of the selected layers of an encoder."""
        layers = (
            [self.vision_feature_layer]
            if isinstance(self.vision_feature_layer, int)
            else self.vision_feature_layer
        )
        if is_convolutional(vision):
            return sum(int(vision.hidden_sizes[layer]) for layer in layers)
        return int(vision.hidden_size) * len(layers)
