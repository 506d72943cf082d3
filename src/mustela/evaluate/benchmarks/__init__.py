"""The published benchmarks: questions from their official files, scored as published."""

from __future__ import annotations

from typing import Final

from mustela.errors import ConfigError
from mustela.evaluate.benchmarks.coco_detection import COCO_DETECTION
from mustela.evaluate.benchmarks.dlc_bench import DLC_BENCH
from mustela.evaluate.benchmarks.ferret_bench import FERRET_BENCH
from mustela.evaluate.benchmarks.flickr30k import FLICKR30K
from mustela.evaluate.benchmarks.folder import Checked, check_folder
from mustela.evaluate.benchmarks.joining import Joined, join, read_answers
from mustela.evaluate.benchmarks.lvis import LVIS_BOX, LVIS_FREE_FORM, LVIS_POINT
from mustela.evaluate.benchmarks.open_vocabulary import LVIS_OPEN, PACO_OPEN
from mustela.evaluate.benchmarks.pope import POPE
from mustela.evaluate.benchmarks.protocol import (
    Answer,
    Benchmark,
    Item,
    LoadOptions,
    Needed,
    Score,
    ScoreTools,
)
from mustela.evaluate.benchmarks.ref_l4 import REF_L4
from mustela.evaluate.benchmarks.refcoco import REFCOCO, REFCOCO_PLUS, REFCOCOG
from mustela.evaluate.benchmarks.region_captions import GENOME_CAPTIONS, REFCOCOG_CAPTIONS
from mustela.evaluate.benchmarks.scoring import Scored, score_benchmark, write_scores
from mustela.evaluate.benchmarks.screenspot import SCREENSPOT, SCREENSPOT_V2

__all__ = [
    "BENCHMARKS",
    "Answer",
    "Benchmark",
    "Checked",
    "Item",
    "Joined",
    "LoadOptions",
    "Needed",
    "Score",
    "ScoreTools",
    "Scored",
    "check_folder",
    "find_benchmark",
    "join",
    "parse_slice",
    "read_answers",
    "score_benchmark",
    "write_scores",
]

BENCHMARKS: Final[dict[str, Benchmark]] = {
    benchmark.name: benchmark
    for benchmark in (
        REFCOCO,
        REFCOCO_PLUS,
        REFCOCOG,
        REF_L4,
        FLICKR30K,
        SCREENSPOT,
        SCREENSPOT_V2,
        LVIS_POINT,
        LVIS_BOX,
        LVIS_FREE_FORM,
        LVIS_OPEN,
        PACO_OPEN,
        REFCOCOG_CAPTIONS,
        GENOME_CAPTIONS,
        DLC_BENCH,
        FERRET_BENCH,
        POPE,
        COCO_DETECTION,
    )
}


def find_benchmark(name: str) -> Benchmark:
    """Return the benchmark of a name; a ConfigError lists them all if there is none."""
    if name not in BENCHMARKS:
        raise ConfigError(f"there is no benchmark {name!r}. Choose one of: {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[name]


def parse_slice(text: str) -> tuple[Benchmark, str, int | None]:
    """Return benchmark, split and number of questions of `NAME`, `NAME_SPLIT` or `NAME_SPLIT:COUNT`.

    Raises ConfigError for names that don't exist and counts below 1.
    """
    name, _, number = text.partition(":")
    if number and not (number.isascii() and number.isdigit() and int(number) > 0):
        raise ConfigError(f"{text!r}: the number of questions after the colon is a whole number above 0.")
    count = int(number) if number else None
    for benchmark in sorted(BENCHMARKS.values(), key=lambda entry: -len(entry.name)):
        if name == benchmark.name:
            return benchmark, benchmark.splits[0], count
        if name.startswith(benchmark.name + "_"):
            return benchmark, benchmark.check_split(name.removeprefix(benchmark.name + "_")), count
    return find_benchmark(name), "", count
