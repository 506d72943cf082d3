"""`mustela evaluate`: measure a model on a data file or a benchmark."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mustela.cli.command import Subparsers, add_command
from mustela.cli.evaluate_benchmark import add_benchmark_options, evaluate_benchmark, process_group
from mustela.cli.model_options import add_model_options, check_counts, check_device, model_options
from mustela.cli.progress import show_progress
from mustela.errors import ConfigError

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Ask a model every question of a data file, each in a conversation of its own, and write a folder with

  predictions.jsonl  every question and answer; an interrupted evaluation goes on here
  metrics.json       referring, grounding, presence ... with chance levels and 95 % intervals
  report.html        one page with tables, training curves and pictures

MODEL is a model's or adapter's folder, a run's folder, the name of a model that comes with mustela, or, with
--benchmark, the address of an OpenAI-compatible server (http://localhost:8000/v1).

  mustela evaluate shapes-base --data val.json
  mustela evaluate runs/mine/final --benchmark refcoco --root refcoco --split testA
  torchrun --nproc_per_node 8 -m mustela evaluate runs/mine/final --benchmark lvis_box --root lvis

`mustela benchmarks` lists the benchmarks.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela evaluate`."""
    parser = add_command(
        subparsers,
        "evaluate",
        summary="measure a model on a data file or a benchmark",
        run=run,
        description=_DESCRIPTION,
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "--data", metavar="FILE", help="JSON or JSONL with questions and answers (or --benchmark)"
    )
    parser.add_argument(
        "--image_folder", metavar="DIR", help="where the image paths begin (default: the folder of FILE)"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where to write (default: the run's folder, or evaluation-FILE there when it holds another "
        "file's evaluation; else evaluation-MODEL-FILE here)",
    )
    parser.add_argument(
        "--batch_size", type=int, default=16, metavar="N", help="questions at a time (default: 16)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N questions")
    parser.add_argument(
        "--max_new_tokens",
        type=int,
        metavar="N",
        help="longest answer in tokens (default: 256, of a benchmark what it says)",
    )
    add_model_options(parser)
    add_benchmark_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of intervals, chance levels and drawn pictures")
    parser.add_argument("--overwrite", action="store_true", help="replace another evaluation in the folder")
    parser.add_argument("--title", help="heading of the report (default: the model's name)")
    parser.add_argument(
        "--compare",
        metavar="DIR",
        help="an earlier evaluation of the same questions; writes compare.html as well",
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate, write the report and print the main numbers."""
    check_counts(args, "batch_size", "limit", "max_new_tokens", "concurrency")
    if (args.data is None) == (args.benchmark is None):
        raise ConfigError("name either --data FILE or --benchmark NAME.")
    if args.out and Path(args.out).exists() and not Path(args.out).is_dir():
        raise ConfigError(f"--out {args.out}: is a file. Name a folder, which is made when missing.")
    check_device(args.device)
    if args.benchmark is not None:
        with show_progress() as progress:
            evaluate_benchmark(args, progress=progress)
        return
    with process_group(args.device) as (rank, device):
        args.device = device
        _evaluate_data(args, is_main=rank == 0)


def _evaluate_data(args: argparse.Namespace, *, is_main: bool) -> None:
    data = Path(args.data)
    if not data.is_file():
        raise ConfigError(f"--data {data}: there is no such file.")
    from transformers.utils.logging import disable_progress_bar

    from mustela.data import read_records
    from mustela.evaluate import evaluate, write_comparison, write_report
    from mustela.model.loading import load_model, resolve_model_path

    disable_progress_bar()
    model_folder = resolve_model_path(args.model)
    run_dir = _run_folder(model_folder)
    out = Path(args.out) if args.out else _default_out(model_folder, run_dir, data)
    images = Path(args.image_folder) if args.image_folder else data.parent
    if args.compare:
        _check_compare(args, data, out)
    model, processor = load_model(args.model, **model_options(args))
    with show_progress() as progress:
        metrics = evaluate(
            model,
            processor,
            read_records(data),
            out_dir=out,
            image_folder=images,
            batch_size=args.batch_size,
            limit=args.limit,
            max_new_tokens=args.max_new_tokens or 256,
            overwrite=args.overwrite,
            seed=args.seed,
            about={"model": str(args.model), "data": str(args.data)},
            progress=progress,
        )
    if not is_main:
        return
    print(summary(metrics))
    title = args.title or (run_dir or model_folder).name
    report = write_report(out, image_folder=images, run_dir=run_dir, title=title, seed=args.seed)
    print(f"report: {report}")
    if args.compare:
        page = write_comparison(
            args.compare, out, image_folder=images, out=out / "compare.html", run_dir=run_dir, seed=args.seed
        )
        print(f"before and after: {page}")


def _check_compare(args: argparse.Namespace, data: Path, out: Path) -> None:
    """Refuse, before anything is asked, an earlier evaluation that this one can't be compared with."""
    from mustela.data import read_records
    from mustela.evaluate.compare import check_questions
    from mustela.evaluate.questions import questions_from

    before = Path(args.compare)
    if not before.is_dir():
        raise ConfigError(f"--compare {before}: there is no such folder.")
    if out.is_dir() and out.samefile(before):
        raise ConfigError(f"--compare {before}: this evaluation is written there. Choose another --out.")
    check_questions(before, questions_from(read_records(data), limit=args.limit))


def summary(metrics: Mapping[str, Any]) -> str:
    """Return the main numbers as a plain table."""
    from mustela.evaluate.sections import headline

    lines = [f"{'':24}{'score':>8}  {'95 % interval':>15}  {'blindly':>8}  {'questions':>9}"]
    for row in headline(metrics):
        level = "-" if row.level is None else f"{100 * row.level:.1f} %"
        bounds = f"{100 * row.low:.1f} - {100 * row.high:.1f}"
        lines.append(f"{row.name:24}{100 * row.value:>6.1f} %  {bounds:>15}  {level:>8}  {row.n:>9}")
    return "\n".join(lines)


def _run_folder(model_folder: Path) -> Path | None:
    """Return the training run that a model's folder belongs to, if it does."""
    run_dir = model_folder.parent
    return run_dir if model_folder.name == "final" and (run_dir / "log.jsonl").is_file() else None


def _default_out(model_folder: Path, run_dir: Path | None, data: Path) -> Path:
    if run_dir is None:
        return Path(f"evaluation-{model_folder.name}-{data.stem}")
    card = run_dir / "evaluation.json"
    before = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    known = before.get("about", {}).get("data")
    is_free = known is None or Path(known).resolve() == data.resolve()
    return run_dir if is_free else run_dir / f"evaluation-{data.stem}"
