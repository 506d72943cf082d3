"""The model: a base of transformers that also understands regions.

Shape legend: B samples, T tokens, V vocabulary, D width of the language model, N images, R regions, P points.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from transformers import AutoModelForImageTextToText, GenerationMixin, PreTrainedModel, initialization
from transformers.utils.generic import ModelOutput

from mustela.constants import IGNORE_INDEX
from mustela.errors import CountMismatchError
from mustela.model.alignment import align_weights
from mustela.model.configuration import MustelaConfig
from mustela.model.families import family_of
from mustela.model.grids import FeatureGrids
from mustela.model.image_features import ImageFeatures, check_image_tokens, encode_images
from mustela.model.injection import head_only_at, region_embeddings, region_rows
from mustela.model.loss import supervised_loss
from mustela.model.parts import part_of
from mustela.model.region_encoders import RegionEncoder, build_region_encoder
from mustela.model.region_encoders.mask import ZeroConvolution
from mustela.model.region_tower import join_grids, make_region_join, make_region_tower, region_channels
from mustela.model.row_attention import RowLayout, rows_apart, takes_rows
from mustela.model.visibility import flatten_rows, is_varlen, visibility

if TYPE_CHECKING:
    from mustela.model.adapter import Adapter
    from mustela.model.origin import Origin


@dataclass
class MustelaOutput(ModelOutput):
    """What a forward pass returns.

    Attributes:
        loss: scalar, with `labels`.
        logits: `(B, T, V)` without `labels`; with them `(supervised, V)`, only where a label is.
        cache: keys and values, where the base keeps them.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    cache: Any = None


class MustelaForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """An image-text-to-text base whose region tokens carry features of the regions they stand for.

    The base stays as it is: its pictures are encoded once, region features are read from them and put in the
    place of the region tokens' embeddings, and the base runs with both.

    Attributes:
        origin: the base that its weights were loaded from; None for a model from nothing.
        adapter: what was trained on that base, where low-rank adapters are in it.
    """

    config: MustelaConfig
    config_class = MustelaConfig
    base_model_prefix = "base"
    input_modalities = ("image", "text")  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = True
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    is_quantized = False

    def __init__(self, config: MustelaConfig) -> None:
        super().__init__(config)
        self.origin: Origin | None = None
        self.adapter: Adapter | None = None
        self.family = family_of(config.base_config)  # type: ignore[arg-type]
        self.base = AutoModelForImageTextToText.from_config(config.base_config)
        base_channels = self.family.channels(config.base_config)
        self.region_tower = make_region_tower(config)
        self.region_join = make_region_join(config, base_channels)
        self.region_encoder: RegionEncoder | None = build_region_encoder(
            config,
            channels=region_channels(config, base_channels),
            hidden_size=config.get_text_config().hidden_size,
        )
        self.post_init()
        # The bases' lists name modules that this one may not have; engines that shard want all of a list.
        present = {type(module).__name__ for module in self.modules()}
        self._no_split_modules = sorted(present & set(self._no_split_modules or ()))

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, ZeroConvolution):
            initialization.zeros_(module.weight)
            return
        super()._init_weights(module)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *args: Any, **kwargs: Any
    ) -> MustelaForConditionalGeneration:
        """Load a model's folder, or an adapter's folder together with its base.

        Args:
            pretrained_model_name_or_path: the folder; what it is, is read from its files.
            args: passed on.
            kwargs: those of transformers; for adapters also those of `mustela.model.load_adapter`.
        """
        from mustela.model.adapter import is_adapter
        from mustela.model.adapter_loading import load_adapter

        if is_adapter(pretrained_model_name_or_path):
            kwargs.pop("config", None)
            return load_adapter(pretrained_model_name_or_path, **kwargs)
        model: Any = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        align_weights(model)
        return model

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Write the model, or only its adapter where it has one.

        Args:
            save_directory: the folder.
            args: passed on, for a whole model.
            kwargs: those of transformers, for a whole model.
        """
        if self.adapter is None:
            super().save_pretrained(save_directory, *args, **kwargs)
            return
        from mustela.model.adapter import write_adapter

        write_adapter(self, Path(save_directory))

    def get_input_embeddings(self) -> nn.Module:
        """Return the base's input embedding."""
        return self.base.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Set the base's input embedding."""
        self.base.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """Return the base's language-model head."""
        return self.base.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Set the base's language-model head."""
        self.base.set_output_embeddings(value)

    def enable_input_require_grads(self) -> None:
        """Let embeddings ask for gradients, as some checkpointing needs, but for those of frozen encoders.

        A frozen encoder would otherwise be computed again and passed through backwards for nobody.
        """
        # Asked for twice, it would lose the hooks of the first time.
        self.disable_input_require_grads()
        super().enable_input_require_grads()
        learning = {part_of(name) for name, each in self.named_parameters() if each.requires_grad}
        for name, module in self.named_modules():
            part = part_of(f"{name}.")
            if part in ("vision_tower", "region_tower") and part not in learning:
                for handle in self._require_grads_hooks:
                    module._forward_hooks.pop(handle.id, None)

    @property
    def image_inputs(self) -> tuple[str, ...]:
        """Names of the image tensors that `encode_images` takes; a batch may lack some."""
        own = () if self.region_tower is None else ("region_pixel_values", "region_window")
        return (*self.family.tensors, *own)

    def encode_images(self, **inputs: Tensor) -> ImageFeatures:
        """Run the vision part once; hand the result to `forward` or `generate` as `image_features`.

        Args:
            inputs: the image tensors that the processor made (`pixel_values` and, by base, others).
        """
        features = encode_images(self.base, inputs)
        if self.region_tower is None:
            return features
        grids = join_grids(
            features.grids,
            self.region_tower(inputs["region_pixel_values"]),
            inputs["region_window"],
            join=self.region_join,
            only=self.config.region_tower_join == "only",
        )
        return ImageFeatures(features.outputs, features.tokens, grids)

    def encode_regions(
        self, images: ImageFeatures | None, points_RP2: Tensor | None, image_R: Tensor | None
    ) -> Tensor:
        """Turn regions into vectors.

        Args:
            images: encoded pictures; None if there are none.
            points_RP2: `(R, P, 2)` points in 0..1 of the encoded picture; None means no region.
            image_R: `(R,)` index of each region's picture.

        Returns:
            `(R * tokens_per_region, D)`, one row a region token, in order; with R = 0 too, so that the
            encoder is always part of the graph.

        Raises:
            CountMismatchError: a region's picture doesn't exist, or the two counts of regions differ.
        """
        count = 0 if points_RP2 is None else points_RP2.shape[0]
        if count and (image_R is None or image_R.shape[0] != count):
            given = 0 if image_R is None else image_R.shape[0]
            raise CountMismatchError(
                f"{count} regions have points but {given} have an image index (region_image)."
            )
        pictures = 0 if images is None else len(images)
        if count and int(image_R.max()) >= pictures:  # type: ignore[union-attr]
            raise CountMismatchError(
                f"A region lies in image {int(image_R.max())}, but the batch has {pictures} images."  # type: ignore[union-attr]
            )
        if self.region_encoder is None:
            return torch.zeros(0, self.config.get_text_config().hidden_size, device=self.device)
        if images is None:
            parameter = next(self.region_encoder.parameters())
            channels = region_channels(self.config, self.family.channels(self.config.base_config))
            grids = FeatureGrids.empty(channels, parameter)
        else:
            grids = images.grids
        if points_RP2 is None or image_R is None:
            most = self.config.region_points
            points_RP2 = torch.zeros(0, most, 2, device=grids.table.device)
            image_R = torch.zeros(0, dtype=torch.long, device=grids.table.device)
        return self.region_encoder(grids, points_RP2, image_R)

    def _prepare(self, input_ids: Tensor, inputs: dict[str, Any]) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """Encode what a call was given: rows of the region tokens, region features, other inputs."""
        inputs = dict(inputs)
        points, image = inputs.pop("region_points", None), inputs.pop("region_image", None)
        features: ImageFeatures | None = inputs.pop("image_features", None)
        if features is None and _has_pictures(inputs):
            features = self.encode_images(**inputs)
        for name in self.image_inputs:
            if name not in self.family.position_inputs:
                inputs.pop(name, None)
        if features is not None:
            # A copy: `generate` repeats what is in it for every beam, in place.
            inputs["mm_encoder_outputs"] = {"image": copy(features.outputs)}
        check_image_tokens(input_ids, self.config.base_config.image_token_id, features)  # type: ignore[union-attr]
        region_features = self.encode_regions(features, points, image)
        count = 0 if points is None else points.shape[0]
        rows = region_rows(
            input_ids, self.config.region_token_id, count, tokens=self.config.tokens_per_region
        )
        return rows, region_features, inputs

    def _waits_for_pictures(self) -> bool:
        """Say whether a batch without pictures must run the vision part nevertheless.

        It must where that part learns, and where other processes may be running it: engines that share out
        weights or gradients wait for every process.
        """
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            return True
        return self.training and any(
            parameter.requires_grad
            for name, parameter in self.named_parameters()
            if part_of(name) in ("vision_tower", "projector", "region_tower")
        )

    def blank_picture(self) -> Tensor:
        """Encode a black picture and sum up all that is read from it: a scalar that hangs on every weight.

        Added to the features of no region, it changes nothing and gives all that it ran through gradients of
        zero.
        """
        inputs = {
            name: tensor.to(self.device)
            for name, tensor in self.family.blank(self.config.base_config).items()
        }
        if self.config.region_tower_wh is not None:
            width, height = self.config.region_tower_wh
            inputs["region_pixel_values"] = torch.zeros(1, 3, height, width, device=self.device)
            inputs["region_window"] = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=self.device)
        features = self.encode_images(**inputs)
        deepstack = features.outputs.get("deepstack_features") or ()
        outputs = [*features.tokens, *(picture for layer in deepstack for picture in layer)]
        return torch.stack([features.grids.table.sum(), *(output.sum() for output in outputs)]).sum()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | dict[str, Tensor] | None = None,
        labels: Tensor | None = None,
        label_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        num_items_in_batch: Tensor | int | None = None,
        **inputs: Any,
    ) -> MustelaOutput:
        """Run the model, with `labels` for a loss, without them for logits.

        Args:
            input_ids: `(B, T)`, image and region placeholders expanded by the processor.
            attention_mask: `(B, T)`, 0 at padding.
            labels: `(B, T)` token ids, -100 where unsupervised; shifted inside.
            label_weights: `(B, T)` factor of each label's loss.
            label_smoothing: share of each label that is spread over the whole vocabulary.
            num_items_in_batch: supervised tokens to divide the loss by; the Trainer gives those of the whole
                accumulated batch.
            inputs: `region_points (R, P, 2)` and `region_image (R,)`; the base's image tensors, or
                `image_features` from `encode_images`; `segments (B, T, 2)` and `position_ids (B, T)` of
                rows that hold several conversations; anything else that the base takes.

        Raises:
            CountMismatchError: numbers of region tokens, regions or images disagree.
        """
        segments, layout = inputs.pop("segments", None), None
        if segments is not None and is_varlen(self.base) and isinstance(attention_mask, Tensor):
            more = {"labels": labels, "label_weights": label_weights, "position_ids": inputs["position_ids"]}
            flat = flatten_rows(segments, attention_mask, {"input_ids": input_ids, **more})
            input_ids, labels, label_weights, inputs["position_ids"] = flat.values()  # type: ignore[assignment]
            attention_mask = None
        elif segments is not None and isinstance(attention_mask, Tensor) and takes_rows(self.base):
            layout = RowLayout.of(attention_mask, segments, inputs["position_ids"])
        elif segments is not None:
            attention_mask = visibility(self.base, attention_mask, segments, inputs.get("position_ids"))
        # Before the regions, as pictures are: some engines join gradients in the order in which they come.
        given = _has_pictures(inputs) or inputs.get("image_features") is not None
        blank = None if given or not self._waits_for_pictures() else self.blank_picture()
        rows, region_features, inputs = self._prepare(input_ids, inputs)
        if blank is not None:
            region_features = region_features + blank
        with (
            region_embeddings(self.get_input_embeddings(), rows, region_features),
            rows_apart(self.base, layout),
        ):
            if labels is None:
                outputs = self.base(input_ids=input_ids, attention_mask=attention_mask, **inputs)
                return MustelaOutput(logits=outputs.logits, cache=outputs.get("cache"))
            targets = labels[:, 1:]
            kept = targets != IGNORE_INDEX
            keep = functional.pad(kept, (0, 1))
            inputs.setdefault("use_cache", False)
            with head_only_at(self.get_output_embeddings(), keep):
                outputs = self.base(input_ids=input_ids, attention_mask=attention_mask, **inputs)
        logits = outputs.logits[0]
        weights = None if label_weights is None else label_weights[:, 1:][kept]
        loss = supervised_loss(
            logits, targets[kept], weights_L=weights, smoothing=label_smoothing, items=num_items_in_batch
        )
        return MustelaOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def generate(self, input_ids: Tensor, **inputs: Any) -> Any:
        """Generate with the base's own `generate`; pictures and regions are encoded once.

        Args:
            input_ids: `(B, T)` prompts, padded on the left.
            inputs: as for `forward`, and any argument of transformers' `generate`.

        Returns:
            What the base's `generate` returns: `(B, T + new)` ids, prompt included, unless asked otherwise.
        """
        rows, region_features, inputs = self._prepare(input_ids, inputs)
        self.base.generation_config = self.generation_config
        # Neither can be an answer: behind them stand features, not words.
        placeholders = (self.config.base_config.image_token_id, self.config.region_token_id)  # type: ignore[union-attr]
        inputs.setdefault("suppress_tokens", [token for token in placeholders if token is not None])
        with region_embeddings(self.get_input_embeddings(), rows, region_features):
            return self.base.generate(input_ids=input_ids, **inputs)


def _has_pictures(inputs: Mapping[str, Any]) -> bool:
    return any(inputs.get(name) is not None for name in ("pixel_values", "image_maps"))
