"""The classic composition: any vision encoder, a projector, any causal language model, in one base.

It extends the LLaVA of transformers by what Ferret and its kin need: a linear projector, and vision encoders whose
patch features are preceded by other numbers of tokens than CLIP's one.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaModel, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling

from mustela.errors import ConfigError

PROJECTORS = ("linear", "mlp2x_gelu", "mlp_downsample")

# Tokens before the patches: a class token, and registers where the encoder has them.
_CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0, "siglip2_vision_model": 0, "dinov2": 1}
_CLASS_AND_REGISTERS = ("dinov2_with_registers", "dinov3_vit")


def prefix_tokens(vision_config: PreTrainedConfig) -> int:
    """Return how many tokens a vision encoder puts before its patch features.

    Raises:
        ConfigError: the encoder is of a kind that mustela doesn't know.
    """
    kind = vision_config.model_type
    if kind in _CLASS_TOKENS:
        return _CLASS_TOKENS[kind]
    if kind in _CLASS_AND_REGISTERS:
        return 1 + int(vision_config.num_register_tokens)
    known = ", ".join(sorted([*_CLASS_TOKENS, *_CLASS_AND_REGISTERS]))
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
    """

    model_type = "mustela_classic"
    projector_type: Literal["linear", "mlp2x_gelu", "mlp_downsample"] = "mlp2x_gelu"

    @property
    def grid_size(self) -> int:
        """Patches along one side of the square picture."""
        return int(self.vision_config.image_size) // int(self.vision_config.patch_size)  # type: ignore[union-attr]

    @property
    def layer_width(self) -> int:
        """Channels of the selected vision features."""
        layers = 1 if isinstance(self.vision_feature_layer, int) else len(self.vision_feature_layer)
        return int(self.vision_config.hidden_size) * layers  # type: ignore[union-attr]


class DownsampleProjector(nn.Module):
    """Join each 2 x 2 patches and project them to one token of the language model.

    Args:
        channels: C of the vision features.
        hidden_size: D of the language model.
        side: patches along one side of the picture, even.
    """

    def __init__(self, channels: int, hidden_size: int, *, side: int) -> None:
        super().__init__()
        self.side = side
        self.linear_1 = nn.Linear(4 * channels, hidden_size)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(hidden_size, hidden_size)

    def forward(self, patches: Tensor) -> Tensor:
        """Return `(N, side * side / 4, D)` for patches `(N, side * side, C)`, row-major."""
        half = self.side // 2
        windows = patches.unflatten(1, (half, 2, half, 2)).transpose(2, 3)
        return self.linear_2(self.act(self.linear_1(windows.flatten(3).flatten(1, 2))))


class ClassicModel(LlavaModel):
    """Vision encoder, projector and language model without its head."""

    config: ClassicConfig
    config_class = ClassicConfig

    def __init__(self, config: ClassicConfig) -> None:
        super().__init__(config)
        if config.projector_type == "linear":
            self.multi_modal_projector = nn.Linear(config.layer_width, config.text_config.hidden_size)  # type: ignore[union-attr]
        elif config.projector_type == "mlp_downsample":
            if config.grid_size % 2:
                raise ConfigError(
                    "projector_type mlp_downsample joins 2 x 2 patches, but the tower has"
                    f" {config.grid_size} a side."
                )
            self.multi_modal_projector = DownsampleProjector(
                config.layer_width, config.text_config.hidden_size, side=config.grid_size
            )
        self.prefix_tokens = prefix_tokens(config.vision_config)  # type: ignore[arg-type]

    def select_features(self, hidden_states: tuple[Tensor, ...], *, prefix: bool) -> Tensor:
        """Pick the configured vision layers: `(N, patches (+ prefix), C)`."""
        layer = self.config.vision_feature_layer
        layers = [layer] if isinstance(layer, int) else layer
        start = 0 if prefix else self.prefix_tokens
        return torch.cat([hidden_states[index][:, start:] for index in layers], dim=-1)

    def get_image_features(
        self, pixel_values: Tensor, **kwargs: Any
    ) -> tuple[Any, ...] | BaseModelOutputWithPooling:
        """Encode pictures `(N, 3, H, W)`; `pooler_output` is the projected tokens, one tensor a picture."""
        kwargs.pop("return_dict", None)
        kwargs["output_hidden_states"] = self.config.vision_feature_layer
        outputs = self.vision_tower(pixel_values, return_dict=True, **kwargs)
        tokens = self.select_features(
            outputs.hidden_states, prefix=self.config.vision_feature_select_strategy == "full"
        )
        outputs.pooler_output = list(self.multi_modal_projector(tokens))
        return outputs


class ClassicForConditionalGeneration(LlavaForConditionalGeneration):
    """The classic composition with its language-model head."""

    config: ClassicConfig
    config_class = ClassicConfig

    def __init__(self, config: ClassicConfig) -> None:
        super().__init__(config)
        self.model = ClassicModel(config)
        self.post_init()
