"""The classic composition: any vision encoder, a projector, any causal language model, in one base.

It extends the LLaVA of transformers by what Ferret and its kin need: a linear projector, vision encoders
whose patch features are preceded by other numbers of tokens than CLIP's one, and pictures of another size
than the tower was trained with.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaModel,
    PreTrainedConfig,
    initialization,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from mustela.errors import ConfigError

ProjectorName = Literal["linear", "mlp2x_gelu", "mlp_downsample"]

# Tokens before the patches: a class token, and registers where the encoder has them.
_CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0, "siglip2_vision_model": 0, "dinov2": 1}
_CLASS_AND_REGISTERS = ("dinov2_with_registers", "dinov3_vit")
# Other encoders fit their position embeddings to the picture unasked, or have none.
_INTERPOLATE_WHEN_ASKED = ("clip_vision_model", "siglip_vision_model")
# Content and place of an image token at the start: about as long as each other, so that both are heard.
_WAVES = 6
_WAVE_HEIGHT = 1.0
_CONTENT_SCALE = 0.35
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
    """

    model_type = "mustela_classic"
    projector_type: ProjectorName = "mlp2x_gelu"
    silent_token_ids: list[int] | tuple[int, ...] = ()
    token_norm: bool = False

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
        vision: Any = self.vision_config
        layers = (
            [self.vision_feature_layer]
            if isinstance(self.vision_feature_layer, int)
            else self.vision_feature_layer
        )
        if is_convolutional(vision):
            return sum(int(vision.hidden_sizes[layer]) for layer in layers)
        return int(vision.hidden_size) * len(layers)


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


class ClassicModel(LlavaModel):
    """Vision encoder, projector and language model without its head."""

    config: ClassicConfig
    config_class = ClassicConfig

    def __init__(self, config: ClassicConfig) -> None:
        super().__init__(config)
        hidden_size = config.get_text_config().hidden_size
        projector: nn.Module = self.multi_modal_projector
        if config.projector_type == "linear":
            projector = nn.Linear(config.layer_width, hidden_size)
        elif config.projector_type == "mlp_downsample":
            if config.vision_feature_select_strategy == "full":
                raise ConfigError(
                    "projector_type mlp_downsample joins patches only: set mm_vision_select_feature: patch."
                )
            projector = DownsampleProjector(config.layer_width, hidden_size)
        self.multi_modal_projector = projector  # type: ignore[assignment]
        vision_config: Any = config.vision_config
        self.prefix_tokens = prefix_tokens(vision_config)
        self.is_convolutional = is_convolutional(vision_config)
        if self.is_convolutional and config.vision_feature_layer not in (-1, [-1]):
            raise ConfigError(
                f"mm_vision_select_layer is {config.vision_feature_layer}, but the maps of a convolutional"
                " tower differ in size: only the last one, -1, can be read."
            )
        # Convolutional features don't say where they are: a learned embedding of their place does.
        self.place = PlaceEmbedding(config.image_tokens, hidden_size) if self.is_convolutional else None
        self.token_norm = TokenNorm(hidden_size) if config.token_norm else None

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, PlaceEmbedding):
            initialization.copy_(module.weight, module.waves())
            return
        super()._init_weights(module)
        if isinstance(module, TokenNorm):
            initialization.constant_(module.weight, _CONTENT_SCALE)

    def grid_hw(self, pixel_values: Tensor) -> tuple[int, int]:
        """Return rows and columns of patches in pictures `(N, 3, H, W)`."""
        patch = patch_size(self.config.vision_config)
        return pixel_values.shape[-2] // patch, pixel_values.shape[-1] // patch

    def select_features(self, hidden_states: tuple[Tensor, ...], *, prefix: bool) -> Tensor:
        """Pick the configured vision layers: `(N, patches (+ prefix), C)`."""
        layer = self.config.vision_feature_layer
        layers = [layer] if isinstance(layer, int) else layer
        if self.is_convolutional:
            return torch.cat([hidden_states[index].flatten(2).transpose(1, 2) for index in layers], dim=-1)
        start = 0 if prefix else self.prefix_tokens
        return torch.cat([hidden_states[index][:, start:] for index in layers], dim=-1)

    def get_image_features(
        self, pixel_values: Tensor, **kwargs: Any
    ) -> tuple[Any, ...] | BaseModelOutputWithPooling:
        """Encode pictures `(N, 3, H, W)`; `pooler_output` is the projected tokens, one tensor a picture."""
        vision_config: Any = self.config.vision_config
        kwargs.pop("return_dict", None)
        # Only the layers that are read are kept, where the encoder can choose.
        kwargs["output_hidden_states"] = self.is_convolutional or self.config.vision_feature_layer
        if (
            vision_config.model_type in _INTERPOLATE_WHEN_ASKED
            and tuple(pixel_values.shape[-2:]) != (vision_config.image_size,) * 2
        ):
            kwargs["interpolate_pos_encoding"] = True
        if self.is_convolutional:
            # The layout that convolutions and their norms are fastest in, on processors and cards alike.
            pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        outputs = self.vision_tower(pixel_values, return_dict=True, **kwargs)
        tokens = self.select_features(
            outputs.hidden_states, prefix=self.config.vision_feature_select_strategy == "full"
        )
        if isinstance(self.multi_modal_projector, DownsampleProjector):
            tokens = tokens.unflatten(1, self.grid_hw(pixel_values))
        projected = self.multi_modal_projector(tokens)
        if self.token_norm is not None:
            projected = self.token_norm(projected)
        if self.place is not None:
            projected = projected + self.place.weight
        outputs.pooler_output = list(projected)
        return outputs


class ClassicForConditionalGeneration(LlavaForConditionalGeneration):
    """The classic composition with its language-model head."""

    config: ClassicConfig
    config_class = ClassicConfig

    def __init__(self, config: ClassicConfig) -> None:
        super().__init__(config)
        self.model = ClassicModel(config)
        # What language models do to logits behind their head, which LLaVA leaves out.
        text = config.get_text_config().to_dict()
        self.logit_cap: float | None = text.get("final_logit_softcapping")
        self.logit_factor = float(text.get("logit_scale") or 1.0) / float(text.get("logits_scaling") or 1.0)
        self.silent = torch.tensor(list(config.silent_token_ids), dtype=torch.long, device="cpu")
        self.register_forward_hook(_finish_logits)
        self.post_init()


def _finish_logits(model: ClassicForConditionalGeneration, _: Any, outputs: Any) -> None:
    """Scale and cap logits as Gemma 2, Granite and Cohere models do in their own forward; silence tokens."""
    if model.logit_factor != 1:
        outputs.logits = outputs.logits * model.logit_factor
    if model.logit_cap is not None:
        outputs.logits = torch.tanh(outputs.logits / model.logit_cap) * model.logit_cap
    if model.silent.numel():
        outputs.logits = outputs.logits.index_fill(-1, model.silent.to(outputs.logits.device), -torch.inf)
