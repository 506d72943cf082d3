"""Scenes and records to look at, made once."""

from __future__ import annotations

import pytest
from tests.data.shapes.scenes import Sample, make_samples

from mustela.data.shapes import load_world


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """Scenes of both worlds and of both splits."""
    return make_samples(load_world("first"), 100) + make_samples(load_world("new"), 24)
