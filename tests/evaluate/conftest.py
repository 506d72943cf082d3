"""The tiny model, a few pictures and records about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mustela.data.processor import MustelaProcessor
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.evaluate.predictions import Prediction
from mustela.model import MustelaForConditionalGeneration
from mustela.model.loading import load_model
from mustela.regions import Box

SIZE = (64, 48)


@pytest.fixture(scope="session")
def tiny(tiny_model_folder: Path) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    """The tiny model, loaded once."""
    return load_model(tiny_model_folder, device="cpu")


def turn(role: str, text: str, *boxes: tuple[float, float, float, float]) -> Turn:
    """A turn with boxes."""
    return Turn(role, text, tuple(RegionAnnotation(Box(*box)) for box in boxes))


@pytest.fixture
def records() -> list[Record]:
    """Three pictures, seven questions of several kinds."""
    found = []
    for number in range(3):
        box = (4.0 + number, 5.0, 30.0, 40.0)
        turns = [
            turn("user", "<image>\nWhat is <bbox_location0>?", box),
            turn("assistant", "a red star."),
            turn("user", "Where is the red star?"),
            turn("assistant", "a red star <bbox_location0>.", box),
        ]
        found.append(Record(f"r{number}", (ImageRef(f"{number}.png", SIZE),), tuple(turns)))
    more = (turn("user", "<image>\nIs there a blue circle?"), turn("assistant", "No."))
    return [*found, Record("p", (ImageRef("0.png", SIZE),), more)]


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """The pictures of the records."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, size=(SIZE[1], SIZE[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


MakePrediction = Callable[..., Prediction]


@pytest.fixture
def make_prediction() -> MakePrediction:
    """Return predictions that differ from a plain one in the given fields."""
    plain = Prediction(
        question_id="q",
        kind="grounding",
        picture="a.png",
        image_wh=(640, 480),
        question="Where is the dog?",
        question_regions=(),
        reference="a dog [100, 200, 300, 400].",
        reference_boxes=((64.0, 96.0, 192.0, 192.0),),
        reference_phrases=("dog",),
        text="a dog [100, 200, 300, 400].",
    )
    return lambda **changes: replace(plain, **changes)
