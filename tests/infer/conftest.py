"""A predictor with the tiny model, and two pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mustela.infer import Predictor


@pytest.fixture(scope="session")
def loaded(tiny_model_folder: Path) -> Predictor:
    """The model, loaded once."""
    return Predictor.from_pretrained(tiny_model_folder, device="cpu")


@pytest.fixture
def predictor(loaded: Predictor) -> Predictor:
    """A predictor without a picture."""
    return Predictor(loaded.model, loaded.processor)


def noise(seed: int, size_wh: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture of noise."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, size=(size_wh[1], size_wh[0], 3), dtype=np.uint8))


@pytest.fixture
def picture() -> Image.Image:
    """A picture."""
    return noise(0)


@pytest.fixture
def other_picture() -> Image.Image:
    """Another picture, of another size."""
    return noise(1, (40, 90))
