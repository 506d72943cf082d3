"""A tiny Molmo 2."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from tests.model.tiny_parts import LAYERS, TinyBase, finish, tokenizer_of
from transformers import BatchFeature, ProcessorMixin, SiglipImageProcessorPil

SIDE, PATCH, MARGIN = 17, 2, 2
MARKS = ("<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<im_end>")


class Crops(SiglipImageProcessorPil):
    """Cuts pictures into overlapping crops as Molmo 2's image processor, which needs torchvision.

    Crops of 17 x 17 patches of 2 pixels overlap by 4 patches, of which the outer 2 of each crop are dropped.
    """

    patch_size = PATCH
    model_input_names = ["pixel_values", "image_token_pooling", "image_grids", "image_num_crops"]  # noqa: RUF012

    def __call__(self, images: list[Image.Image], **_: Any) -> BatchFeature:
        (image,) = images
        wide, high = image.width > image.height, image.height > image.width
        columns, rows = (3, 1) if wide else (1, 3) if high else (2, 2)
        step = SIDE - 2 * MARGIN
        canvas = image.resize(((columns * step + 2 * MARGIN) * PATCH, (rows * step + 2 * MARGIN) * PATCH))
        pieces = [image.resize((SIDE * PATCH, SIDE * PATCH))]
        number = np.full((rows * step + 2 * MARGIN, columns * step + 2 * MARGIN), -1)
        for row in range(rows):
            for column in range(columns):
                x, y = column * step * PATCH, row * step * PATCH
                pieces.append(canvas.crop((x, y, x + SIDE * PATCH, y + SIDE * PATCH)))
                own = SIDE * SIDE * (len(pieces) - 1) + np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
                # Its inner patches, and the outer ones at the borders of the canvas.
                top, left = (MARGIN if row else 0), (MARGIN if column else 0)
                bottom = SIDE - (MARGIN if row < rows - 1 else 0)
                right = SIDE - (MARGIN if column < columns - 1 else 0)
                inside = number[row * step :, column * step :]
                inside[top:bottom, left:right] = own[top:bottom, left:right]
        low = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
        pooled = [self.pool(low), self.pool(number)]
        pixels = np.stack([np.asarray(piece) for piece in pieces]) / 127.5 - 1
        patches = pixels.reshape(len(pieces), SIDE, PATCH, SIDE, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
        grids = [side for _, grid in pooled for side in grid]
        return BatchFeature(
            {
                "pixel_values": torch.from_numpy(patches.reshape(len(pieces), SIDE * SIDE, -1)).float(),
                "image_token_pooling": torch.from_numpy(np.concatenate([tokens for tokens, _ in pooled])),
                "image_grids": torch.tensor([grids]),
                "image_num_crops": torch.tensor([len(pieces)]),
            }
        )

    @staticmethod
    def pool(number: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """Group patches in twos, with as much missing on one side as on the other."""
        more = [(-side) % 2 for side in number.shape]
        number = np.pad(number, [(each // 2, (each + 1) // 2) for each in more], constant_values=-1)
        rows, columns = number.shape[0] // 2, number.shape[1] // 2
        tokens = number.reshape(rows, 2, columns, 2).transpose(0, 2, 1, 3).reshape(rows * columns, 4)
        return tokens, (rows, columns)


class MolmoWithoutTorchvision(ProcessorMixin):
    """Lays out a picture's tokens as Molmo 2's processor: overview, then canvas, a mark behind each row."""

    return_mm_token_type_ids = True

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str | None = None) -> None:
        self.image_token = "<|image|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids("<|image|>")
        self.image_token_ids = tokenizer.convert_tokens_to_ids(list(MARKS))
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    @property
    def model_input_names(self) -> list[str]:
        return [*super().model_input_names, "mm_token_type_ids"]

    def replace_image_token(self, image_inputs: Any, image_idx: int, **_: Any) -> str:
        low_rows, low_columns, rows, columns = image_inputs["image_grids"][image_idx].tolist()
        low = ("<im_patch>" * low_columns + "<im_col>") * low_rows
        high = ("<im_patch>" * columns + "<im_col>") * rows
        return f"<low_res_im_start>{low}<im_end><im_start>{high}<im_end>"


def molmo2() -> TinyBase:
    tokenizer = tokenizer_of(["<|image|>", *MARKS])
    processor = MolmoWithoutTorchvision(Crops(), tokenizer)
    narrow = {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
    vision = {
        **narrow,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "image_size": [SIDE * PATCH] * 2,
        "patch_size": PATCH,
    }
    adapter = {**narrow, "vision_feature_layer": [1, 0], "intermediate_size": 48, "text_hidden_size": 32}
    text = {**LAYERS, **narrow, "additional_vocab_size": 0, "max_position_embeddings": 2048}
    settings = {
        "vision_config": vision,
        "adapter_config": adapter,
        "text_config": text,
        "image_patch_id": tokenizer.convert_tokens_to_ids("<im_patch>"),
    }
    return TinyBase(*finish("molmo2", tokenizer, processor, "<|image|>", **settings), maps_rc=(15, 15))
