"""Kept features: found again by content, never believed when torn, bounded."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from mustela.data.feature_cache import FeatureReader, FeatureWriter, half, picture_key
from mustela.errors import ConfigError

SHAPE = (2, 3, 4)
BYTES = 2 * 2 * 3 * 4


def features(number: int) -> torch.Tensor:
    return half(torch.randn(SHAPE, generator=torch.Generator().manual_seed(number)))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "tower"


@pytest.fixture
def writer(folder) -> Iterator[Callable[..., FeatureWriter]]:
    """Opens writers, and closes them at the end."""
    with ExitStack() as stack:

        def make(at: Path = folder, *, limit: int = 10_000, **more: int) -> FeatureWriter:
            made = FeatureWriter(at, root=folder.parent, max_bytes=limit, **more)
            stack.callback(made.close)
            return made

        yield make


def keys(count: int) -> list[bytes]:
    return [picture_key(bytes([number])) for number in range(count)]


def test_what_is_written_is_found_by_readers_that_are_open(folder, writer):
    reader = FeatureReader(folder, SHAPE)
    one, two, three = keys(3)
    assert reader.get(one) is None
    first, second = writer(), writer()
    first.put(one, features(1), (640, 480))
    found, size_wh = reader.get(one)
    assert (found.dtype, size_wh) == (torch.float16, (640, 480))
    assert torch.equal(found, features(1))
    second.put(three, features(3), (3, 5))
    first.put(two, features(2), (1, 2))
    copied = pickle.loads(pickle.dumps(reader))
    for each in (reader, copied):
        assert torch.equal(each.get(two)[0], features(2))
        assert torch.equal(each.get(three)[0], features(3))
        assert each.get(three)[1] == (3, 5)


def test_a_picture_is_written_once(folder, writer):
    one = writer()
    for _ in range(3):
        one.put(keys(1)[0], features(1), (1, 1))
    assert next(folder.glob("*.features")).stat().st_size == BYTES


@pytest.mark.parametrize(("file", "kept"), [("*.features", BYTES + 7), ("*.index", 50)])
def test_a_torn_write_costs_that_picture_alone(folder, writer, file, kept):
    one, two = keys(2)
    first = writer()
    first.put(one, features(1), (1, 1))
    first.put(two, features(2), (1, 1))
    first.close()
    path = next(folder.glob(file))
    path.write_bytes(path.read_bytes()[:kept])
    reader = FeatureReader(folder, SHAPE)
    assert torch.equal(reader.get(one)[0], features(1))
    assert reader.get(two) is None
    writer().put(two, features(2), (1, 1))
    assert torch.equal(FeatureReader(folder, SHAPE).get(two)[0], features(2))


def test_numbers_that_changed_on_disk_are_not_believed(folder, writer):
    writer().put(keys(1)[0], features(1), (1, 1))
    path = next(folder.glob("*.features"))
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(bytes(content))
    assert FeatureReader(folder, SHAPE).get(keys(1)[0]) is None


def test_the_limit_counts_all_towers_and_is_told_once(folder, writer, caplog):
    writer(folder.parent / "other").put(keys(1)[0], features(0), (1, 1))
    one = writer(limit=3 * BYTES)
    with caplog.at_level(logging.WARNING):
        for number, key in enumerate(keys(4)):
            one.put(key, features(number), (1, 1))
    assert sum(path.stat().st_size for path in folder.parent.glob("*/*.features")) == 3 * BYTES
    assert [record.message.count("cache_vision_features_gb") for record in caplog.records] == [1]
    assert FeatureReader(folder, SHAPE).get(keys(4)[1]) is not None
    assert FeatureReader(folder, SHAPE).get(keys(4)[2]) is None


def test_writers_share_what_is_left(folder, writer):
    writer(folder.parent / "other").put(keys(1)[0], features(0), (1, 1))
    one = writer(limit=3 * BYTES, writers=2)
    for number, key in enumerate(keys(2)):
        one.put(key, features(number), (1, 1))
    assert FeatureReader(folder, SHAPE).get(keys(2)[0]) is not None
    assert FeatureReader(folder, SHAPE).get(keys(2)[1]) is None


def test_numbers_that_are_not_finite_are_not_kept_and_large_ones_become_the_largest(folder, writer):
    one = writer()
    one.put(keys(1)[0], features(1) * float("nan"), (1, 1))
    assert not list(folder.iterdir())
    for dtype in (torch.float32, torch.bfloat16):
        assert half(torch.tensor([1e9, -1e9], dtype=dtype)).tolist() == [65504.0, -65504.0]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cache_vision_features .*file"):
        FeatureWriter(tmp_path / "file" / "tower", root=tmp_path / "file", max_bytes=1)
