"""The arithmetic of `benchmarks/bench_gpu.py`, on a tiny model and the CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """The script as a module, one thread, nothing of it left behind."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before, threads = set(sys.modules), torch.get_num_threads()
    torch.set_num_threads(1)
    import bench_gpu

    yield bench_gpu
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if (
            getattr(sys.modules[name], "__file__", None)
            and BENCHMARKS in Path(sys.modules[name].__file__).parents
        ):
            del sys.modules[name]


@pytest.mark.parametrize("way", ["lora", "full"])
def test_operations_of_each_part_are_those_that_torch_counts_there(bench, way) -> None:
    model, processor = bench.make(bench.SIZES["tiny"], way)
    # Its gradient computes the scores anew otherwise.
    model.set_attn_implementation("eager")
    steps = bench.Steps(model.train(), processor, batch=2, workers=0)
    with FlopCounterMode(display=False) as counter:
        clock = bench.Clock(steps.device, counter.get_total_flops)
        steps.run(clock)
        counted = clock.spans()
    work = bench.step_work(model, steps.last)
    assert {part: work[part].total for part in bench.PARTS} == {part: counted[part] for part in bench.PARTS}
    assert all(each.total > 0 for each in work.values())
    # A border passes gradients on as they are.
    assert all(parameter.grad is None for parameter in steps.learning)
    assert counted["optimizer"] == counted["data"] == counted["rest"] == 0


def test_what_checkpointing_computes_again_is_not_counted(bench) -> None:
    model, processor = bench.make(bench.SIZES["tiny"], "full")
    model.set_attn_implementation("eager")
    model.train().activation_checkpointing_enable({"use_reentrant": False})
    steps = bench.Steps(model, processor, batch=2, workers=0)
    with FlopCounterMode(display=False) as counter:
        steps.run()
    work = bench.step_work(model, steps.last)
    needed = sum(each.total for each in work.values())
    # All of the language model but what its last product, whose result nothing needs, would give.
    again = work["language_model"].forward
    assert 0.8 * again < counter.get_total_flops() - needed <= again


def test_bytes_of_a_model_are_known_before_it_is_made(bench) -> None:
    size = bench.SIZES["tiny"]
    model, _ = bench.make(size, "full")
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.base.model.vision_tower.parameters())
    assert bench.bytes_needed(size, "full") == 16 * learning + 4 * frozen
    assert bench.bytes_needed(size, "lora") < bench.bytes_needed(size, "full")


def test_tried_out_on_a_processor_it_tells_figures_and_records_nothing(bench, monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        sys, "argv", ["bench_gpu.py", "--device", "cpu", "--sizes", "tiny", "--ways", "lora", "--runs", "1"]
    )
    before = {path: path.stat().st_mtime for path in (BENCHMARKS / "results").iterdir()}
    bench.main()
    told = json.loads(capsys.readouterr().out)
    (row,) = told["rows"]
    assert row["utilisation"] == pytest.approx(row["teraflops"] / told["machine"]["matrix_teraflops"])
    assert row["teraflops"] == pytest.approx(row["teraflop"] / row["step_s"])
    assert row["learning"] < row["weights"]
    assert all(row[f"{part}_s"] > 0 for part in (*bench.PARTS, "optimizer", "data", "rest"))
    assert {path: path.stat().st_mtime for path in (BENCHMARKS / "results").iterdir()} == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_in_a_line(bench, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_gpu.py"])
    bench.main()
    assert capsys.readouterr().out == "bench_gpu: left out, as there is no CUDA GPU here.\n"
