"""A server with the tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.running import Running, running

from mustela.infer import Predictor


@pytest.fixture(scope="session")
def tiny(tiny_model_folder: Path) -> Predictor:
    """The tiny model, loaded once."""
    return Predictor.from_pretrained(tiny_model_folder, device="cpu")


@pytest.fixture(scope="package")
def server(tiny: Predictor) -> Iterator[Running]:
    """A server without keys."""
    with running(tiny) as server:
        yield server
