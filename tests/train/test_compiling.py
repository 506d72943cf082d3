"""Runs with a compiled language model."""

from __future__ import annotations

import pytest
import torch
from tests.train.test_equalities import without_dropout
from torch._dynamo.utils import counters

# torch looks at the gradients of what it compiles for, and warns of itself.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")]


@pytest.fixture
def compiler():
    """What was compiled since; starts from nothing."""
    torch._dynamo.reset()
    counters.clear()
    yield counters
    torch._dynamo.reset()


@pytest.mark.parametrize("packing", ["False", "True"])
def test_a_compiled_language_model_trains_alike_without_a_break(runs, scratch, compiler, packing):
    recipe = {**without_dropout(scratch), "packing": packing == "True", "per_device_train_batch_size": 3}
    runs("plain", recipe)
    assert not compiler["stats"]
    runs("compiled", recipe, ["--torch_compile_backend", "aot_eager"])
    assert not compiler["graph_break"]
    # One for all lengths, and one more where a length was so special that the first didn't fit.
    assert 1 <= compiler["stats"]["unique_graphs"] <= 2
    plain, compiled = ([loss for *_, loss in runs.losses(name)] for name in ("plain", "compiled"))
    assert compiled == pytest.approx(plain, abs=1e-5)
    assert runs.weights("compiled").keys() == runs.weights("plain").keys()
