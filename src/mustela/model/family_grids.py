"""Reading feature grids from the vision outputs of ready bases: where the cells lie, and in which order.

Shape legend: N pictures, K tiles of all pictures, S cells, H and W rows and columns of a grid, C channels.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from transformers.vision_utils import get_vision_window_index

from mustela.data.overlapping_crops import pooled_canvas
from mustela.model.family import Inputs
from mustela.model.grids import FeatureGrids
from mustela.model.tiling import join_tiles, region_grids


def layers_of(config: Any) -> list[int]:
    """Return the vision layers that a base's projector reads."""
    layer = config.vision_feature_layer
    return [layer] if isinstance(layer, int) else list(layer)


def layer_channels(config: Any) -> int:
    """Return the channels of those layers, side by side."""
    return int(config.vision_config.hidden_size) * len(layers_of(config))


def _layers(model: Any, outputs: Any) -> Tensor:
    return torch.cat([outputs.hidden_states[index] for index in layers_of(model.config)], dim=-1)


def _maps(features_NSC: Tensor, model: Any, inputs: Inputs) -> Tensor:
    """Return patches as maps `(N, H, W, C)`; what precedes them, such as a class token, is left out."""
    rows, columns = patch_grid(model.config.vision_config, inputs["pixel_values"])
    return features_NSC[:, features_NSC.shape[1] - rows * columns :].unflatten(1, (rows, columns))


def patch_grid(vision_config: Any, pixel_values: Tensor) -> tuple[int, int]:
    """Return the rows and columns of patches of pictures `(..., h, w)`."""
    patch = vision_config.patch_size
    down, across = (patch, patch) if isinstance(patch, int) else patch
    return pixel_values.shape[-2] // down, pixel_values.shape[-1] // across


def layer_grids(model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    """Read the layers that the projector reads: of square pictures, or of pictures of their own sizes."""
    if "image_sizes" in inputs:
        return native_grids(model, outputs, inputs)
    return FeatureGrids.from_batch(_maps(_layers(model, outputs), model, inputs))


def native_grids(model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    """Read the same layers of an encoder whose patches lie in one row, picture after picture (Pixtral)."""
    patch = model.vision_tower.patch_size
    sizes = [(height // patch, width // patch) for height, width in inputs["image_sizes"].tolist()]
    pictures = _layers(model, outputs)[0].split([h * w for h, w in sizes])
    return FeatureGrids.from_list(
        [cells.unflatten(0, size) for cells, size in zip(pictures, sizes, strict=True)]
    )


def last_layer_grids(model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    """Read the encoder's last layer of square pictures, before the projector pools it."""
    return FeatureGrids.from_batch(_maps(outputs.last_hidden_state, model, inputs))


def window_grids(model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    """Read patches that lie in windows of merge x merge, the windows in row-major order (Qwen)."""
    return _windows(outputs.last_hidden_state, model, inputs)


def shuffled_window_grids(model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    """Read the same where the encoder sorts the windows for its local attention (Qwen 2.5)."""
    visual = model.visual
    order, _ = get_vision_window_index(
        inputs["image_grid_thw"],
        spatial_merge_size=visual.spatial_merge_size,
        window_size=visual.window_size,
        patch_size=visual.patch_size,
    )
    features = outputs.last_hidden_state
    windows = features.view(len(order), -1, features.shape[-1])
    return _windows(windows[order.argsort()].flatten(0, 1), model, inputs)


def _windows(features_SC: Tensor, model: Any, inputs: Inputs) -> FeatureGrids:
    merge = model.visual.spatial_merge_size
    sizes = inputs["image_grid_thw"].tolist()
    grids = []
    for patches, (_, height, width) in zip(
        features_SC.split([t * h * w for t, h, w in sizes]), sizes, strict=True
    ):
        windows = patches.view(height // merge, width // merge, merge, merge, -1)
        grids.append(windows.transpose(1, 2).reshape(height, width, -1))
    return FeatureGrids.from_list(grids)


def merged_grids(model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    """Read merged patches in row-major order (GLM-4V: its encoder merges before its last layer)."""
    merge = model.visual.spatial_merge_size
    sizes = [(h // merge, w // merge) for _, h, w in inputs["image_grid_thw"].tolist()]
    pictures = outputs.last_hidden_state.split([h * w for h, w in sizes])
    return FeatureGrids.from_list(
        [cells.unflatten(0, size) for cells, size in zip(pictures, sizes, strict=True)]
    )


def pooled_grids(model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    """Read pooled patches in row-major order, of pictures of their own sizes (Gemma 4)."""
    kernel = model.config.vision_config.pooling_kernel_size
    sizes = [((y + 1) // kernel, (x + 1) // kernel) for x, y in inputs["image_position_ids"].amax(1).tolist()]
    pictures = outputs.last_hidden_state.split([h * w for h, w in sizes])
    return FeatureGrids.from_list(
        [cells.unflatten(0, size) for cells, size in zip(pictures, sizes, strict=True)]
    )


def pooled_crop_grids(_model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    """Read image tokens of the canvas of crops, which stand behind those of the overview (Molmo 2)."""
    grids, windows, begin = [], [], 0
    for tokens, (low_rows, low_columns, rows, columns) in zip(
        outputs.pooler_output, inputs["image_grids"].tolist(), strict=True
    ):
        low = low_rows * low_columns
        grids.append(tokens[low:].unflatten(0, (rows, columns)))
        pooling = inputs["image_token_pooling"][begin + low : begin + low + rows * columns]
        windows.append(pooled_canvas(pooling, (rows, columns)).window)
        begin += low + rows * columns
    made = FeatureGrids.from_list(grids)
    window = torch.tensor(windows, device=made.table.device)
    return FeatureGrids(made.table, made.start, made.size_hw, window)


def number_patches(inputs: Inputs) -> Inputs:
    """Let the tokens of a batch of pictures pool patches of their own picture (Molmo 2)."""
    grids = inputs["image_grids"]
    tokens = grids[:, 0] * grids[:, 1] + grids[:, 2] * grids[:, 3]
    patches = inputs["image_num_crops"] * inputs["pixel_values"].shape[1]
    before = (patches.cumsum(0) - patches).repeat_interleave(tokens)[:, None]
    pooling = inputs["image_token_pooling"]
    return {**inputs, "image_token_pooling": torch.where(pooling >= 0, pooling + before, pooling)}


def layer_tile_grids(model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    """Read the projector's layers of an overview and the tiles behind it (LLaVA-NeXT, OneVision)."""
    return _tiles(_layers(model, outputs), model, inputs, overview="first")


def layer_tile_grids_overview_last(model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    """Read the projector's layer of tiles and the overview behind them (InternVL)."""
    # Its projector reads the last layer behind the encoder's norm, any other as it is.
    last = layers_of(model.config) == [-1]
    features = outputs.last_hidden_state if last else _layers(model, outputs)
    return _tiles(features, model, inputs, overview="last")


def last_layer_tile_grids(model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    """Read the encoder's last layer of tiles and the overview behind them (Idefics3, SmolVLM)."""
    return _tiles(outputs.last_hidden_state, model, inputs, overview="last")


def _tiles(
    features_KSC: Tensor, model: Any, inputs: Inputs, *, overview: Literal["first", "last"]
) -> FeatureGrids:
    """Join tiles to one map a picture and add its overview."""
    maps = _maps(features_KSC, model, inputs)
    grids_rc = [(int(rows), int(columns)) for rows, columns in inputs["image_tiles"].tolist()]
    pictures = maps.split([rows * columns + 1 for rows, columns in grids_rc])
    first = overview == "first"
    tiles = torch.cat([parts[1:] if first else parts[:-1] for parts in pictures])
    height, width = inputs["pixel_values"].shape[-2:]
    return region_grids(
        torch.stack([parts[0] if first else parts[-1] for parts in pictures]),
        join_tiles(tiles, grids_rc),
        content_N4=inputs["image_content"],
        canvases_wh=[(max(columns, 1) * width, max(rows, 1) * height) for rows, columns in grids_rc],
        region_map="merged",
    )
