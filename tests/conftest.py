"""Every test runs offline, seeded and on few threads."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

# Before any test module imports a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

import numpy as np
import pytest
from hypothesis import settings
from tests.parity_table import ParityTable

TABLE = pytest.StashKey[ParityTable]()
SEED = 20240229


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--parity", metavar="PAGE", help="run the comparisons with the original, write their table into PAGE"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = ParityTable()
    # A busy machine is no reason to fail.
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--parity"):
        chosen = [
            item for item in items if isinstance(item, pytest.Function) and "parity" in item.fixturenames
        ]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    page, table = config.getoption("--parity"), config.stash[TABLE]
    if page and table.cases:
        terminalreporter.write_sep("=", "parity with the original")
        terminalreporter.write_line(table.markdown())
        skipped = "skipped" in terminalreporter.stats
        if exitstatus == 0 and not skipped:
            table.write_into(Path(page))
            terminalreporter.write_line(f"written into {page}")
        else:
            terminalreporter.write_line(f"{page} is left as it was: not every comparison ran and held")


@pytest.fixture
def parity(pytestconfig: pytest.Config) -> ParityTable:
    """What a test compares with the original; `make parity` shows it as one table."""
    return pytestconfig.stash[TABLE]


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


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep checked records in the folder of the test session, not in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of random numbers; its answers differ with picture, region and question."""
    import torch

    from mustela.model.build import ClassicSettings, RegionSettings, build_from_nothing

    layers = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    recipe = {
        "tokenizer": {"vocab_size": 320},
        "language_model": {
            "model_type": "llama",
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            **layers,
        },
        "vision_tower": {"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8, **layers},
    }
    model, processor = build_from_nothing(
        recipe,
        ["What is this? a red star [1, 2, 3, 4]. Where is the blue circle? Yes. No."] * 5,
        version="v1",
        regions=RegionSettings(encoder="geo", points=32, sub_points=(8, 4), neighbors=4),
        classic=ClassicSettings(image_wh=(32, 32)),
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.25)
    folder = tmp_path_factory.mktemp("tiny-model")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
