"""Work in processes: in order, in bounded memory, and the same as in one."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from itertools import count

import pytest

from mustela.data import parallel, store
from mustela.data.parallel import in_chunks, in_processes, settled
from mustela.data.store import open_records


def adding(offset: int) -> Callable[[int], int]:
    return offset.__add__


class EndAtSeven:
    def __call__(self, number: int) -> int:
        if number == 7:
            os._exit(1)
        return number


def test_results_come_in_order_and_things_are_taken_no_faster() -> None:
    taken = count()
    results = in_processes(adding, (100,), taken, workers=2)
    assert [next(results) for _ in range(20)] == list(range(100, 120))
    results.close()
    assert next(taken) <= 20 + 2 * parallel._AHEAD


def test_a_process_that_ends_is_told() -> None:
    with pytest.raises(BrokenProcessPool):
        list(in_processes(EndAtSeven, (), range(20), workers=2))


def test_one_process_is_this_one() -> None:
    assert list(in_processes(adding, (os.getpid(),), [0, 1], workers=1)) == [os.getpid(), os.getpid() + 1]


def test_chunks() -> None:
    assert list(in_chunks(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_the_collector_is_left_as_it_was() -> None:
    with settled():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


@pytest.fixture
def many(tmp_path):
    """A file of records, some of them with faults, that counts as large."""
    records = [
        {
            "id": f"record {number}",
            "image": "one.png",
            "image_w": 64,
            "image_h": 48,
            "conversations": [
                {"from": "human", "value": "<image>\nWhat is <bbox_location0>?"},
                {"from": "gpt", "value": "A cell." if number % 100 else ""},
            ],
            "box_x1y1x2y2": [[[1, 2, 30.5, 40 if number % 70 else 60]], []],
        }
        for number in range(1000)
    ]
    path = tmp_path / "many.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def test_a_large_file_gives_the_same_store_and_report_by_several_processes(
    many, tmp_path, monkeypatch
) -> None:
    one, report = open_records(many, cache_dir=tmp_path / "one")
    monkeypatch.setattr(store, "_LARGE", 1)
    monkeypatch.setattr(store, "cores", lambda: 2)
    two, other = open_records(many, cache_dir=tmp_path / "two")
    assert other == report
    assert (other.skipped, other.repaired) == (10, 13)
    assert list(one) == list(two)


def test_a_script_without_a_main_guard_is_told_and_served(many, tmp_path) -> None:
    script = tmp_path / "script.py"
    text = f"""
        from mustela.data import store
        store._LARGE, store.cores = 1, lambda: 2
        found, report = store.open_records({str(many)!r}, cache_dir={str(tmp_path / "cache")!r})
        print(len(found))
    """
    script.write_text(textwrap.dedent(text), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.splitlines()[-1] == "990"
    assert '`if __name__ == "__main__":`' in done.stderr
