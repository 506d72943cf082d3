"""Configuration of a mustela model: a base model's configuration and what mustela adds to it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

RegionEncoderName = Literal["geo", "mean", "roi", "mask_embed", "none"]
RegionTowerJoin = Literal["concat", "sum", "only"]
SamplingGeometry = Literal["aligned", "original"]


class MustelaConfig(PreTrainedConfig):
    """An image-text-to-text base model with a region encoder.

    Attributes:
        base_config: configuration of the base, any image-text-to-text model of transformers or
            `mustela.model.ClassicConfig`.
        region_encoder: `geo` (spatial-aware visual sampler, Ferret section 3.2), `mean` (average of projected
            features), `roi` (a grid over the region's box), `mask_embed` (`roi` on features that the region's
            mask was embedded into) or `none` (coordinates in the text only).
        region_token_id: id of `<region_fea>`; None exactly if `region_encoder` is `none`.
        sampler_pooler_mode: how `geo` pools neighbours, `max` or `mean`.
        sampling_geometry: `aligned` reads features where the region is; `original` reads them as Ferret's
            released weights were trained (transposed and corner-aligned).
        region_points: points drawn in a region.
        region_sub_points: points kept by each stage of `geo`.
        region_neighbors: neighbours pooled for each kept point.
        tokens_per_region: region tokens that stand for one region; a square for `roi` and `mask_embed`.
        region_tower_config: a second vision encoder that regions are read from; None: only the base's is.
        region_tower_wh: the picture that it takes.
        region_tower_layer: its hidden state that is read.
        region_tower_join: `concat` joins its features with the base's, `sum` projects and adds them, `only`
            leaves the base's out.
    """

    model_type = "mustela"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        "base_config": SubConfigSpec(config_class=AutoConfig, model_type="llava"),
        "region_tower_config": SubConfigSpec(config_class=AutoConfig, model_type="dinov2", optional=True),
    }

    base_config: dict[str, Any] | PreTrainedConfig | None = None
    region_encoder: RegionEncoderName = "geo"
    region_token_id: int | None = None
    sampler_pooler_mode: Literal["max", "mean"] = "max"
    sampling_geometry: SamplingGeometry = "aligned"
    region_points: int = 512
    region_sub_points: list[int] | tuple[int, ...] = (128, 32)
    region_neighbors: int = 24
    tokens_per_region: int = 1
    region_tower_config: dict[str, Any] | PreTrainedConfig | None = None
    region_tower_wh: list[int] | tuple[int, ...] | None = None
    region_tower_layer: int = -1
    region_tower_join: RegionTowerJoin = "concat"
    tie_word_embeddings: bool = False

    def get_text_config(self, *args: Any, **kwargs: Any) -> PreTrainedConfig:
        """Return the language model's configuration, as transformers' own composite configurations do."""
        return self.base_config.get_text_config(*args, **kwargs)  # type: ignore[union-attr]
