"""A sentence encoder of transformers: mean of the last hidden states, as all-MiniLM-L6-v2 and its kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

from mustela.errors import CheckpointError


class MeanEncoder:
    """Texts to vectors: the mean of the last hidden states over the tokens of a text."""

    def __init__(self, path: str | Path, *, device: str | torch.device = "cpu", batch_size: int = 64) -> None:
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(path)
            self.model = AutoModel.from_pretrained(path).eval().to(device)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"--sentence_encoder {path}: not a model of transformers that can be loaded ({error}). "
                "Osprey's figures need sentence-transformers/all-MiniLM-L6-v2."
            ) from error
        self.batch_size = batch_size

    def similarities(self, first: Sequence[str], second: Sequence[str]) -> list[float]:
        """Return the cosine of each text of `first` with its partner in `second`."""
        texts = list(dict.fromkeys([*first, *second]))
        places = {text: place for place, text in enumerate(texts)}
        parts = [
            self._encode(texts[start : start + self.batch_size])
            for start in range(0, len(texts), self.batch_size)
        ]
        vectors = torch.cat(parts) if parts else torch.zeros(0, 1)
        return [
            float((vectors[places[a]] * vectors[places[b]]).sum().clamp(-1, 1))
            for a, b in zip(first, second, strict=True)
        ]

    def _encode(self, texts: Sequence[str]) -> torch.Tensor:
        batch = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        batch = batch.to(self.model.device)
        with torch.no_grad():
            hidden = self.model(**batch).last_hidden_state.float()
        weight = batch["attention_mask"].unsqueeze(-1).float()
        mean = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=-1).cpu()
