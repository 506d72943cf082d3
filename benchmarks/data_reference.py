"""The obvious way from records to batches, which `benchmarks/data.py` measures beside mustela's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch.nn.utils.rnn import pad_sequence

from mustela.constants import IGNORE_INDEX
from mustela.data.processor import MustelaProcessor


class Reference:
    """The obvious way: records as Python objects, a dense float mask a region, a loop for each turn."""

    def __init__(
        self, found: list[dict[str, Any]], folder: Path, processor: MustelaProcessor, *, side: int
    ) -> None:
        self.records, self.folder, self.side = found, folder, side
        self.tokenizer, self.image_processor = processor.tokenizer, processor.image_processor
        self.image_id = processor.image_token_id
        self.patches = (side // 14) ** 2

    def __len__(self) -> int:
        return len(self.records)

    def picture(self, index: int) -> Image.Image:
        with Image.open(self.folder / self.records[index]["image"]) as file:
            return file.convert("RGB")

    pixels = picture

    def fit(self, image: Image.Image) -> torch.Tensor:
        resized = image.resize((self.side, self.side), Image.Resampling.BICUBIC)
        return self.image_processor(resized, return_tensors="pt")["pixel_values"][0]

    def text(self, index: int) -> list[tuple[str, str]]:
        record = self.records[index]
        width, height = record["image_w"], record["image_h"]
        turns = []
        for turn, boxes in zip(record["conversations"], record["box_x1y1x2y2"], strict=True):
            text = turn["value"]
            for number, (x1, y1, x2, y2) in enumerate(boxes):
                values = (x1 / width, y1 / height, x2 / width, y2 / height)
                written = str([min(999, int(value * 1000)) for value in values])
                written += " <region_fea>" if turn["from"] == "human" else ""
                text = text.replace(f"<bbox_location{number}>", written)
            turns.append((turn["from"], text))
        return turns

    def tokens(self, turns: list[tuple[str, str]]) -> tuple[torch.Tensor, torch.Tensor]:
        ids: list[int] = []
        labels: list[int] = []
        for role, text in turns:
            for token in self.tokenizer(f"{role}: {text}</s>", add_special_tokens=False)["input_ids"]:
                expanded = [token] * (self.patches if token == self.image_id else 1)
                ids += expanded
                labels += expanded if role == "gpt" else [IGNORE_INDEX] * len(expanded)
        return torch.tensor(ids), torch.tensor(labels)

    def masks(self, index: int) -> torch.Tensor:
        record = self.records[index]
        masks = []
        for turn, of_turn in zip(record["conversations"], record["masks"], strict=True):
            for rle in of_turn if turn["from"] == "human" else ():
                masks.append(torch.from_numpy(coco_mask.decode(rle)).float())
        return torch.stack(masks)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids, labels = self.tokens(self.text(index))
        pixels = self.fit(self.picture(index))
        return {"ids": ids, "labels": labels, "pixels": pixels, "masks": self.masks(index)}

    def collate(self, samples: list[dict[str, torch.Tensor]]) -> dict[str, Any]:
        return {
            "ids": pad_sequence([sample["ids"] for sample in samples], batch_first=True),
            "labels": pad_sequence([sample["labels"] for sample in samples], batch_first=True),
            "pixels": torch.stack([sample["pixels"] for sample in samples]),
            "masks": torch.cat([sample["masks"] for sample in samples]),
        }

    def points(self, batch: dict[str, Any], count: int) -> torch.Tensor:
        """Draw points from a batch's masks, which is left to the step."""
        drawn = []
        for mask in batch["masks"]:
            inside = mask.nonzero()
            few = count > len(inside)
            chosen = torch.randint(len(inside), (count,)) if few else torch.randperm(len(inside))[:count]
            drawn.append(inside[chosen].flip(-1) / torch.tensor(mask.shape[::-1]))
        return torch.stack(drawn)
