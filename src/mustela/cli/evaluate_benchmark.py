"""The part of `mustela evaluate` that asks and scores a benchmark."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mustela.cli.model_options import model_options
from mustela.errors import ConfigError

if TYPE_CHECKING:
    from mustela.evaluate.benchmarks import Item, ScoreTools
    from mustela.evaluate.benchmarks.asking import Endpoint
    from mustela.evaluate.runner import Progress

__all__ = [
    "add_benchmark_options",
    "add_scoring_options",
    "add_server_options",
    "benchmark_summary",
    "endpoint_of",
    "evaluate_benchmark",
    "is_address",
    "process_group",
    "scoring_tools",
]


def add_benchmark_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of an evaluation on a benchmark."""
    group = parser.add_argument_group("a benchmark")
    group.add_argument("--benchmark", metavar="NAME", help="see `mustela benchmarks`")
    group.add_argument("--root", metavar="DIR", help="folder of the benchmark's official files")
    group.add_argument("--split", help="one of the benchmark's splits (default: its first)")
    group.add_argument("--prompt", help="the question, with the fields that the benchmark's own has")
    add_scoring_options(group)
    add_server_options(parser)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Declare how a server is asked."""
    server = parser.add_argument_group("a server as MODEL")
    server.add_argument("--endpoint_model", metavar="NAME", help="the server's name of the model")
    server.add_argument(
        "--api_key_env",
        default="OPENAI_API_KEY",
        metavar="VARIABLE",
        help="environment variable with its key",
    )
    server.add_argument(
        "--coordinates",
        default="bins",
        help="how it reads and writes boxes: bins, corners, json, unit, pixels or tokens (default: bins)",
    )
    server.add_argument(
        "--concurrency", type=int, default=4, metavar="N", help="requests at a time (default: 4)"
    )


def add_scoring_options(group: Any) -> None:
    """Declare what some scorers need: a judge or a sentence encoder."""
    group.add_argument("--judge", metavar="ADDRESS", help="OpenAI-compatible address of the judge")
    group.add_argument("--judge_model", metavar="NAME", help="the judge's name on its server")
    group.add_argument(
        "--judge_key_env",
        default="OPENAI_API_KEY",
        metavar="VARIABLE",
        help="environment variable with its key",
    )
    group.add_argument(
        "--judge_cache", metavar="FILE", help="where its answers are kept (judge.jsonl beside them)"
    )
    group.add_argument(
        "--judge_price",
        nargs=2,
        type=float,
        default=(0.0, 0.0),
        metavar=("PROMPT", "ANSWER"),
        help="what a million tokens cost",
    )
    group.add_argument("--judge_budget", type=float, metavar="COST", help="ask no more when this is spent")
    group.add_argument("--no_swap", action="store_true", help="ask the judge in the published order only")
    group.add_argument(
        "--sentence_encoder", metavar="DIR", help="a sentence encoder's folder, for semantic similarity"
    )


def scoring_tools(args: argparse.Namespace, *, folder: Path, seed: int) -> ScoreTools:
    """Return the judge and the encoder that the options name; `folder` is where the judge's answers go."""
    from mustela.evaluate.benchmarks import ScoreTools
    from mustela.evaluate.benchmarks.judge import ChatJudge
    from mustela.evaluate.benchmarks.sentence_encoder import MeanEncoder
    from mustela.evaluate.chat_client import ChatClient

    judge = None
    if args.judge:
        if not args.judge_model:
            raise ConfigError("--judge needs --judge_model, the model's name on that server.")
        client = ChatClient(args.judge, args.judge_model, key=os.environ.get(args.judge_key_env))
        cache = Path(args.judge_cache) if args.judge_cache else folder / "judge.jsonl"
        judge = ChatJudge(client, cache, price=tuple(args.judge_price), budget=args.judge_budget)
    encoder = MeanEncoder(args.sentence_encoder) if args.sentence_encoder else None
    return ScoreTools(judge=judge, encoder=encoder, swap=not args.no_swap, seed=seed)


def evaluate_benchmark(args: argparse.Namespace, *, progress: Progress | None) -> None:
    """Ask a benchmark's questions, score the answers and print the figures."""
    from mustela.evaluate.benchmarks import find_benchmark, join, read_answers, score_benchmark, write_scores
    from mustela.evaluate.evaluation_folder import PREDICTIONS

    benchmark = find_benchmark(args.benchmark)
    if args.root is None:
        raise ConfigError(
            f"--benchmark needs --root, the folder of its files: `mustela benchmarks {args.benchmark}`."
        )
    if args.compare:
        raise ConfigError("--compare is for --data; `mustela compare DIR DIR` compares benchmark results.")
    if benchmark.needs_judge and not args.judge:
        raise ConfigError(f"{benchmark.title} needs a judge: --judge ADDRESS --judge_model NAME.")
    split = benchmark.check_split(args.split)
    items = benchmark.items(args.root, split=split, prompt=args.prompt, seed=args.seed)[: args.limit]
    name = args.model.rstrip("/").rsplit("/", 1)[-1] if not is_address(args.model) else args.endpoint_model
    out = Path(args.out or f"{benchmark.name}-{split}-{name}".replace("/", "-"))
    tokens = args.max_new_tokens or benchmark.max_new_tokens
    about = {"model": str(args.model), "benchmark": benchmark.name, "split": split, "root": str(args.root)}
    is_main = _ask(args, items, out=out, max_new_tokens=tokens, about=about, progress=progress)
    if not is_main:
        return
    joined = join(items, read_answers(out / PREDICTIONS))
    tools = scoring_tools(args, folder=out, seed=args.seed)
    scored = score_benchmark(benchmark, joined, split=split, tools=tools)
    write_scores(out, scored)
    print(benchmark_summary(scored.metrics))
    print(f"figures: {out / 'metrics.json'}")


def _ask(
    args: argparse.Namespace,
    items: list[Item],
    *,
    out: Path,
    max_new_tokens: int,
    about: dict[str, str],
    progress: Progress | None,
) -> bool:
    """Ask the model or the server; return whether this is the process that scores."""
    from mustela.evaluate.benchmarks.asking import ask_endpoint, ask_model

    if is_address(args.model):
        endpoint = endpoint_of(args)
        ask_endpoint(
            endpoint,
            items,
            root=args.root,
            out_dir=out,
            max_new_tokens=max_new_tokens,
            overwrite=args.overwrite,
            about=about,
            progress=progress,
        )
        return True
    from transformers.utils.logging import disable_progress_bar

    from mustela.model.loading import load_model

    disable_progress_bar()
    with process_group(args.device) as (rank, device):
        args.device = device
        model, processor = load_model(args.model, **model_options(args))
        ask_model(
            model,
            processor,
            items,
            root=args.root,
            out_dir=out,
            batch_size=args.batch_size,
            max_new_tokens=max_new_tokens,
            overwrite=args.overwrite,
            about=about,
            progress=progress,
        )
    return rank == 0


def is_address(model: str) -> bool:
    """Tell whether MODEL is a server."""
    return model.startswith(("http://", "https://"))


def endpoint_of(args: argparse.Namespace) -> Endpoint:
    """Return the server that the options describe; a ConfigError for ones that don't fit."""
    from mustela.evaluate.benchmarks.asking import Endpoint
    from mustela.evaluate.chat_client import ChatClient
    from mustela.regions import COORDINATE_STYLES

    if not args.endpoint_model:
        raise ConfigError("a server as MODEL needs --endpoint_model, the model's name there.")
    # How a server fits a picture isn't known, so pixels of the fitted one can't be read.
    styles = [style for style in COORDINATE_STYLES if style != "resized"]
    if args.coordinates not in styles:
        raise ConfigError(f"--coordinates {args.coordinates}: choose one of {', '.join(styles)}.")
    client = ChatClient(args.model, args.endpoint_model, key=os.environ.get(args.api_key_env))
    return Endpoint(client, args.coordinates, args.concurrency)


@contextmanager
def process_group(device: str | None) -> Iterator[tuple[int, str | None]]:
    """Join the processes that torchrun started; yields this one's number and device.

    Without torchrun there is one process, and the device is the one given.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield 0, device
        return
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    try:
        yield state.process_index, device or str(state.device)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def benchmark_summary(metrics: Mapping[str, Any]) -> str:
    """Return a benchmark's figures as a plain table, with the prompt and whatever doesn't add up."""
    lines = [
        f"{metrics['title']}, {metrics['split']}: {metrics['questions']} questions",
        f"the first question: {metrics['prompt']}",
        f"{'':28}{'figure':>8}  {'95 % interval':>15}  {'n':>7}",
    ]
    for name, figure in {**metrics["figures"], "parse_failure_rate": metrics["parse_failure_rate"]}.items():
        points = figure.get("unit") == "points"
        scale, digits, mark = (1, 3, "  ") if points else (100, 1, " %")
        value = f"{scale * figure['value']:.{digits}f}{mark}"
        bounds = f"{scale * figure['low']:.{digits}f} - {scale * figure['high']:.{digits}f}"
        lines.append(f"{name:28}{value:>8}  {bounds:>15}  {figure['n']:>7}")
    ids = metrics["ids"]
    odd = [f"{ids[key]} {key.replace('_', ' ')}" for key in ids if key != "examples" and ids[key]]
    if odd:
        lines.append(f"ids that don't add up: {', '.join(odd)} (missing ones score as empty answers)")
    judge = metrics["details"].get("judge")
    if judge:
        lines.append(
            f"judge {judge['model']}: {judge['requests']} requests, {judge['from_cache']} from the cache, "
            f"{judge['failures']} failed, cost {judge['cost']:.4f}"
        )
    return "\n".join([*lines, *metrics["notes"]])
