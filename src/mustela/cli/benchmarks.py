"""`mustela benchmarks`: what there is, what to download, and whether a folder has it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mustela.cli.command import Subparsers, add_command
from mustela.errors import ConfigError

if TYPE_CHECKING:
    from mustela.evaluate.benchmarks import Benchmark

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
List the benchmarks, or say what one needs.

  mustela benchmarks
  mustela benchmarks refcoco
  mustela benchmarks refcoco --root DIR                              is everything there?
  mustela benchmarks refcoco --root DIR --questions questions.jsonl  for answers from elsewhere
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela benchmarks`."""
    parser = add_command(
        subparsers, "benchmarks", summary="list the published benchmarks", run=run, description=_DESCRIPTION
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of them")
    parser.add_argument("--root", metavar="DIR", help="check that this folder has the files")
    parser.add_argument("--split", help="one of the benchmark's splits (default: its first)")
    parser.add_argument("--questions", metavar="FILE", help="write the split's questions, with --root")
    parser.add_argument("--prompt", help="other words for the questions, with the fields of its own prompt")
    parser.add_argument("--seed", type=int, default=0, help="of what a benchmark draws")


def run(args: argparse.Namespace) -> int:
    """List, or describe and check; the status is 2 when files are missing."""
    from mustela.evaluate.benchmarks import BENCHMARKS, check_folder, find_benchmark
    from mustela.evaluate.benchmarks.items_file import write_items

    if args.name is None:
        if args.root or args.questions or args.split:
            raise ConfigError("--root, --split and --questions need the NAME of a benchmark.")
        rows = [(each.name, ", ".join(each.splits), each.measures) for each in BENCHMARKS.values()]
        names, splits = (max(len(row[column]) for row in rows) + 2 for column in (0, 1))
        for name, listed, measures in rows:
            print(f"{name:{names}}{listed:{splits}}{measures}")
        print("`mustela benchmarks NAME` says what to download and from where.")
        return 0
    benchmark = find_benchmark(args.name)
    split = benchmark.check_split(args.split)
    _describe(benchmark)
    if args.root is None:
        if args.questions:
            raise ConfigError("--questions needs --root, the folder of the benchmark's files.")
        return 0
    checked = check_folder(benchmark, Path(args.root), split)
    for entry in checked:
        state = f"{entry.files} found" if entry.found else "absent" if entry.optional else "MISSING"
        print(f"  {state:14}{entry.path}")
    if not all(entry.found or entry.optional for entry in checked):
        return 2
    items = benchmark.items(args.root, split=split, prompt=args.prompt, seed=args.seed)
    absent = {
        item.picture for item in items if item.picture and not (Path(args.root) / item.picture).is_file()
    }
    pictures = {item.picture for item in items}
    print(f"{split}: {len(items)} questions about {len(pictures)} pictures, {len(absent)} of them missing")
    if absent:
        print(f"  the first missing picture: {min(absent)}")
    if args.questions:
        write_items(Path(args.questions), items)
        print(f"questions: {args.questions}")
    return 2 if absent else 0


def _describe(benchmark: Benchmark) -> None:
    print(f"{benchmark.title}: {benchmark.measures}")
    print(f"paper:    {benchmark.paper}")
    print(f"licence:  {benchmark.licence}; its source has the last word")
    print(f"size:     {benchmark.size}")
    print(f"splits:   {', '.join(benchmark.splits)}")
    print(f"prompt:   {benchmark.prompt}")
    if benchmark.needs_judge:
        print("needs a judge: --judge ADDRESS --judge_model NAME")
    for needed in benchmark.files:
        only = f" ({', '.join(needed.splits)} only)" if needed.splits else ""
        print(f"  {needed.path}{only}\n      from {needed.source}{' (optional)' if needed.optional else ''}")
