"""`mustela score`: score a file of answers to a benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path

from mustela.cli.command import Subparsers, add_command
from mustela.cli.evaluate_benchmark import add_scoring_options, benchmark_summary, scoring_tools
from mustela.errors import ConfigError

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Score answers to a benchmark's questions; they may come from anywhere.

  mustela score refcoco-val-mine/predictions.jsonl --benchmark refcoco
  mustela score answers.jsonl --benchmark refcoco --root refcoco --split testA --scale pixels

FILE has JSON lines {"id": ..., "text": ...}, joined with the questions by id; `mustela benchmarks NAME --root
DIR --questions FILE` writes the questions with their ids. Without --root the questions are taken from
questions.jsonl beside FILE, which `mustela evaluate` leaves there.
"""

# As `mustela.regions.Scale`, which a parser alone doesn't import.
SCALES = ("bins", "bins_yx", "unit", "pixels", "tokens")


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela score`."""
    parser = add_command(
        subparsers,
        "score",
        summary="score a file of answers to a benchmark",
        run=run,
        description=_DESCRIPTION,
    )
    parser.add_argument("file", metavar="FILE", help="answers, JSON lines or a JSON array")
    parser.add_argument("--benchmark", required=True, metavar="NAME", help="see `mustela benchmarks`")
    parser.add_argument("--root", metavar="DIR", help="folder of the benchmark's official files")
    parser.add_argument("--split", help="one of the benchmark's splits (default: its first)")
    parser.add_argument("--prompt", help="the question that was asked, where it wasn't the benchmark's own")
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default="bins",
        help="what coordinates are in answers that don't say: thousandths (bins_yx: y before x), shares,"
        " pixels or location tokens (default: bins)",
    )
    parser.add_argument("--strict", action="store_true", help="ids that don't add up are an error")
    parser.add_argument("--out", metavar="DIR", help="where to write the figures (default: FILE's folder)")
    parser.add_argument("--seed", type=int, default=0, help="of intervals, and of what a benchmark draws")
    add_scoring_options(parser)


def run(args: argparse.Namespace) -> None:
    """Join, score, write and print."""
    from mustela.evaluate.benchmarks import find_benchmark, join, read_answers, score_benchmark, write_scores
    from mustela.evaluate.benchmarks.items_file import QUESTIONS, read_items

    benchmark = find_benchmark(args.benchmark)
    answers = read_answers(args.file)
    beside = Path(args.file).parent / QUESTIONS
    if args.root is not None:
        split = benchmark.check_split(args.split)
        items = benchmark.items(args.root, split=split, prompt=args.prompt, seed=args.seed, pictures=False)
    elif beside.is_file():
        split = args.split or "as asked"
        items = read_items(beside)
    else:
        raise ConfigError(
            f"there is no {beside}, so the questions are unknown: name the folder of "
            f"{benchmark.title}'s files with --root."
        )
    out = Path(args.out) if args.out else Path(args.file).parent
    tools = scoring_tools(args, folder=out, seed=args.seed)
    joined = join(items, answers, scale=args.scale)
    scored = score_benchmark(benchmark, joined, split=split, tools=tools, strict=args.strict)
    write_scores(out, scored)
    print(benchmark_summary(scored.metrics))
    print(f"figures: {out / 'metrics.json'}")
