"""The classic composition: any vision encoder, a projector, any causal language model, in one base.

It extends the LLaVA of transformers by what Ferret and its kin need: a linear projector, vision encoders
whose patch features are preceded by other numbers of tokens than CLIP's one, and pictures of another size
than the tower was trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, LlavaForConditionalGeneration, LlavaModel, initialization
from transformers.modeling_outputs import BaseModelOutputWithPooling

from mustela.errors import ConfigError, CountMismatchError
from mustela.model.classic_config import ClassicConfig, is_convolutional, patch_size, prefix_tokens
from mustela.model.grids import FeatureGrids
from mustela.model.projectors import (
    CONTENT_SCALE,
    DownsampleProjector,
    PlaceEmbedding,
    TokenNorm,
    make_projector,
)
from mustela.model.tiling import join_tiles, picture_tokens, region_grids

# Other encoders fit their position embeddings to the picture unasked, or have none.
_INTERPOLATE_WHEN_ASKED = ("clip_vision_model", "siglip_vision_model")


class ClassicModel(LlavaModel):
    """Vision encoder, projector and language model without its head."""

    config: ClassicConfig
    config_class = ClassicConfig

    def __init__(self, config: ClassicConfig) -> None:
        super().__init__(config)
        hidden_size = config.get_text_config().hidden_size
        if config.projector_type != "mlp2x_gelu":
            self.multi_modal_projector = make_projector(config, config.layer_width)  # type: ignore[assignment]
        vision_config: Any = config.vision_config
        # Encoders that aren't known are refused here.
        prefix_tokens(vision_config)
        self.is_convolutional = is_convolutional(vision_config)
        if self.is_convolutional and config.vision_feature_layer not in (-1, [-1]):
            raise ConfigError(
                f"mm_vision_select_layer is {config.vision_feature_layer}, but the maps of a convolutional"
                " tower differ in size: only the last one, -1, can be read."
            )
        # Convolutional features don't say where they are: a learned embedding of their place does.
        self.place = PlaceEmbedding(config.image_tokens, hidden_size) if self.is_convolutional else None
        self.token_norm = TokenNorm(hidden_size) if config.token_norm else None
        if config.tile_order is not None and config.vision_feature_select_strategy == "full":
            raise ConfigError(
                "image_aspect_ratio anyres joins the patches of tiles, without the tokens before them: set"
                " mm_vision_select_feature: patch."
            )
        spatial = config.tile_order in ("spatial", "spatial_unpad")
        # The token behind each row of joined tiles.
        self.newline = nn.Embedding(1, hidden_size) if spatial else None
        tile_config: Any = config.tile_vision_config
        self.tile_tower = None if tile_config is None else AutoModel.from_config(tile_config)
        self.tile_projector = (
            None if tile_config is None else make_projector(config, config.width_of(tile_config))
        )

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, PlaceEmbedding):
            initialization.copy_(module.weight, module.waves())
            return
        super()._init_weights(module)
        if isinstance(module, TokenNorm):
            initialization.constant_(module.weight, CONTENT_SCALE)

    def get_image_features(
        self,
        pixel_values: Tensor | None = None,
        image_tiles: Tensor | None = None,
        image_content: Tensor | None = None,
        tile_pixel_values: Tensor | None = None,
        image_maps: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...] | BaseModelOutputWithPooling:
        """Encode pictures.

        Args:
            pixel_values: `(N, 3, H, W)` pictures, or overviews of tiled pictures.
            image_tiles: `(N, 2)` rows and columns of tiles; 0 where a picture has none.
            image_content: `(N, 4)` left, top, right and bottom of the picture on its canvas, in pixels.
            tile_pixel_values: `(K, 3, H, W)` tiles of all pictures, each row by row.
            image_maps: `(N, H, W, C)` from `vision_maps`, in place of `pixel_values`.
            kwargs: passed to the encoder.

        Returns:
            `pooler_output` is the tokens, one tensor a picture; `region_grids` the maps of regions.
        """
        kwargs.pop("return_dict", None)
        if image_maps is not None:
            maps = image_maps.to(next(self.multi_modal_projector.parameters()).dtype)
            outputs: Any = BaseModelOutputWithPooling()
            selected = maps.flatten(1, 2)
        elif pixel_values is not None:
            outputs, maps = self._encode(self.vision_tower, self.config.vision_config, pixel_values, **kwargs)
            selected = self._selected(outputs, maps)
        else:
            raise CountMismatchError("There is nothing to encode: give pixel_values or image_maps.")
        tokens, rows_columns = self._project(self.multi_modal_projector, selected, maps.shape[1:3])
        outputs.pooler_output = list(tokens)
        if image_tiles is None or image_content is None or pixel_values is None:
            outputs["region_grids"] = FeatureGrids.from_batch(maps)
            return outputs
        grids_rc = [(int(rows), int(columns)) for rows, columns in image_tiles.tolist()]
        height, width = pixel_values.shape[-2:]
        canvases = [(max(columns, 1) * width, max(rows, 1) * height) for rows, columns in grids_rc]
        overview = tokens.unflatten(1, rows_columns)
        read, projected = self._tiles(tile_pixel_values, grids_rc, **kwargs)
        outputs.pooler_output = [
            picture_tokens(
                tokens[n],
                projected[n],
                grid_rc=grids_rc[n],
                content_xyxy=content,
                canvas_wh=canvases[n],
                order=self.config.tile_order or "flat",
                newline_D=None if self.newline is None else self.newline.weight[0],
            )
            for n, content in enumerate(image_content.tolist())
        ]
        own = self.tile_tower is not None
        outputs["region_grids"] = region_grids(
            overview if own else maps,
            projected if own else read,
            content_N4=image_content,
            canvases_wh=canvases,
            region_map=self.config.region_map,
        )
        return outputs

    def vision_maps(self, pixel_values: Tensor) -> Tensor:
        """Return what the vision tower makes of pictures, before the projector: `(N, H, W, C)`."""
        return self._encode(self.vision_tower, self.config.vision_config, pixel_values)[1]

    def _tiles(
        self, pixel_values: Tensor | None, grids_rc: Sequence[tuple[int, int]], **kwargs: Any
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Encode tiles: the features of each picture's joined tiles, and what the projector makes of them."""
        if pixel_values is None:
            return [None] * len(grids_rc), [None] * len(grids_rc)
        tower: Any = self.vision_tower if self.tile_tower is None else self.tile_tower
        vision_config = self.config.tile_vision_config or self.config.vision_config
        projector = self.tile_projector or self.multi_modal_projector
        _, maps = self._encode(tower, vision_config, pixel_values, **kwargs)
        tokens, rows_columns = self._project(projector, maps.flatten(1, 2), maps.shape[1:3])
        return join_tiles(maps, grids_rc), join_tiles(tokens.unflatten(1, rows_columns), grids_rc)

    def _encode(
        self, tower: nn.Module, vision_config: Any, pixel_values: Tensor, **kwargs: Any
    ) -> tuple[Any, Tensor]:
        """Run an encoder; return its outputs and the map of the configured layers: `(N, H, W, C)`."""
        # Only the layers that are read are kept, where the encoder can choose.
        kwargs["output_hidden_states"] = is_convolutional(vision_config) or self.config.vision_feature_layer
        if (
            vision_config.model_type in _INTERPOLATE_WHEN_ASKED
            and tuple(pixel_values.shape[-2:]) != (vision_config.image_size,) * 2
        ):
            kwargs["interpolate_pos_encoding"] = True
        if is_convolutional(vision_config):
            # The layout that convolutions and their norms are fastest in, on processors and cards alike.
            pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        outputs = tower(pixel_values, return_dict=True, **kwargs)
        patch = patch_size(vision_config)
        grid_hw = pixel_values.shape[-2] // patch, pixel_values.shape[-1] // patch
        return outputs, self._layers(outputs.hidden_states, vision_config, prefix=False).unflatten(1, grid_hw)

    def _layers(self, hidden_states: tuple[Tensor, ...], vision_config: Any, *, prefix: bool) -> Tensor:
        """Pick the configured vision layers: `(N, patches (+ prefix), C)`."""
        layer = self.config.vision_feature_layer
        layers = [layer] if isinstance(layer, int) else layer
        if is_convolutional(vision_config):
            return torch.cat([hidden_states[index].flatten(2).transpose(1, 2) for index in layers], dim=-1)
        start = 0 if prefix else prefix_tokens(vision_config)
        return torch.cat([hidden_states[index][:, start:] for index in layers], dim=-1)

    def _selected(self, outputs: Any, maps_NHWC: Tensor) -> Tensor:
        """Return the features that the projector reads: the patches, or with the tokens before them."""
        if self.config.vision_feature_select_strategy == "full":
            return self._layers(outputs.hidden_states, self.config.vision_config, prefix=True)
        return maps_NHWC.flatten(1, 2)

    def _project(
        self, projector: nn.Module, features_NSC: Tensor, grid_hw: Sequence[int]
    ) -> tuple[Tensor, tuple[int, int]]:
        """Project features; return the tokens `(N, T, D)` and the rows and columns that they lie in."""
        height, width = grid_hw
        if isinstance(projector, DownsampleProjector):
            features_NSC = features_NSC.unflatten(1, (height, width))
            height, width = height // 2, width // 2
        projected = projector(features_NSC)
        if self.token_norm is not None:
            projected = self.token_norm(projected)
        if self.place is not None:
            projected = projected + self.place.weight
        return projected, (height, width)


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
