"""What the conversions are compared with."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file
from tests.convert.originals import write_ferret
from torch import Tensor

from mustela.convert import convert_ferret


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The tensors of a plain conversion of the tiny model."""
    folder = tmp_path_factory.mktemp("reference")
    convert_ferret(write_ferret(folder / "original", files="bin"), folder / "ours")
    return load_file(folder / "ours" / "model.safetensors")
