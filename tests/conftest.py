"""Every test runs offline, seeded and on few threads."""

from __future__ import annotations

import os
import random
import sys

# Before any test module imports a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import pytest

SEED = 20240229


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Reset the global generators, for the libraries that use them; ours take generators as arguments."""
    random.seed(SEED)
    np.random.seed(SEED)
    # A test of the parts without torch shall not pay for importing it.
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(SEED)
        if torch.get_num_threads() > 2:
            torch.set_num_threads(2)
