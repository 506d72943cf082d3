"""`mustela robustness`: does an answer hang on what it should not?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mustela.cli.command import Subparsers, add_command
from mustela.cli.evaluate_benchmark import add_server_options, endpoint_of, is_address
from mustela.cli.model_options import add_model_options, model_options
from mustela.cli.progress import show_progress
from mustela.errors import ConfigError

if TYPE_CHECKING:
    from mustela.evaluate.robustness import Ask
    from mustela.infer import Query

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Ask a data file's referring questions in other ways: the object pointed at by point, box, scribble and mask, a
shaken box, the picture resized or padded, other words, and the region at an empty place. Writes
variants.jsonl, where an interrupted run goes on, and robustness.json.

  mustela robustness shapes-base --data shapes/val.json --image_folder shapes/images --limit 100

MODEL is as for `mustela evaluate`, a server's address included.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela robustness`."""
    parser = add_command(
        subparsers,
        "robustness",
        summary="ask the same in other ways, and compare the answers",
        run=run,
        description=_DESCRIPTION,
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "--data", required=True, metavar="FILE", help="JSON or JSONL with questions and answers"
    )
    parser.add_argument(
        "--image_folder", metavar="DIR", help="where the image paths begin (default: the folder of FILE)"
    )
    parser.add_argument("--out", metavar="DIR", help="where to write (default: robustness-MODEL-FILE here)")
    parser.add_argument("--limit", type=int, metavar="N", help="only N questions, evenly spread")
    parser.add_argument(
        "--paraphrase",
        action="append",
        metavar="TEXT",
        help="other words with one <region>, as often as wanted (default: five of ours)",
    )
    parser.add_argument("--batch_size", type=int, default=16, metavar="N", help="questions at a time (16)")
    parser.add_argument("--max_new_tokens", type=int, default=64, metavar="N", help="longest answer (64)")
    add_model_options(parser)
    add_server_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn, and of intervals")
    parser.add_argument("--overwrite", action="store_true", help="replace other answers in the folder")


def run(args: argparse.Namespace) -> None:
    """Ask, score and print."""
    data = Path(args.data)
    if not data.is_file():
        raise ConfigError(f"--data {data}: there is no such file.")
    for name in ("batch_size", "limit", "max_new_tokens", "concurrency"):
        value = vars(args)[name]
        if value is not None and value < 1:
            raise ConfigError(f"--{name} is {value}. It is at least 1.")
    wrong = [text for text in args.paraphrase or () if text.count("<region>") != 1]
    if wrong:
        raise ConfigError(f"--paraphrase {wrong[0]!r} needs exactly one <region>.")
    from mustela.data import read_records
    from mustela.evaluate.robustness import PARAPHRASES, evaluate_robustness

    name = args.endpoint_model if is_address(args.model) else Path(args.model).name
    out = Path(args.out or f"robustness-{name}-{data.stem}".replace("/", "-"))
    ask, asked = _asker(args)
    with show_progress() as progress:
        found = evaluate_robustness(
            ask,
            read_records(data),
            out_dir=out,
            image_folder=args.image_folder or data.parent,
            limit=args.limit,
            paraphrases=args.paraphrase or PARAPHRASES,
            seed=args.seed,
            asked=asked,
            overwrite=args.overwrite,
            about={"model": str(args.model), "data": str(args.data)},
            progress=progress,
        )
    print(robustness_summary(found))
    print(f"figures: {out / 'robustness.json'}")


def _asker(args: argparse.Namespace) -> tuple[Ask, str]:
    """Return what asks the model or the server, and a name of exactly what that is."""
    if is_address(args.model):
        endpoint = endpoint_of(args)
        name = f"{args.model} {args.endpoint_model} {args.coordinates} {args.max_new_tokens}"
        return lambda queries: endpoint.say_all(queries, max_new_tokens=args.max_new_tokens), name
    from transformers.utils.logging import disable_progress_bar

    from mustela.evaluate.fingerprint import model_fingerprint
    from mustela.infer import Predictor

    disable_progress_bar()
    predictor = Predictor.from_pretrained(args.model, **model_options(args))

    def ask(queries: Sequence[Query]) -> list[str]:
        answers = predictor.ask_many(queries, batch_size=args.batch_size, max_new_tokens=args.max_new_tokens)
        return [answer.text for answer in answers]

    return ask, f"{model_fingerprint(predictor.model)} {args.max_new_tokens}"


def robustness_summary(found: Mapping[str, Any]) -> str:
    """Return the figures as a plain table."""
    plain = found["plain_accuracy"]
    lines = [
        f"{found['questions']} questions, plainly asked: {100 * plain['value']:.1f} % right "
        f"({100 * plain['low']:.1f} - {100 * plain['high']:.1f})",
        f"{'':14}{'consistency':>22}{'accuracy':>22}{'worst case':>22}{'n':>7}",
    ]
    nothing = found["families"].get("nothing")
    for family, figures in found["families"].items():
        if family != "nothing":
            cells = [_cell(figures[key]) for key in ("consistency", "accuracy", "worst_case")]
            lines.append(
                f"{family:14}{''.join(f'{cell:>22}' for cell in cells)}{figures['accuracy']['n']:>7}"
            )
    if nothing is not None:
        lines.append(
            f"at an empty place: names an object {_cell(nothing['names_an_object'])}, "
            f"the same answer as at the object {_cell(nothing['same_answer'])}, "
            f"n {nothing['same_answer']['n']}"
        )
    return "\n".join(lines)


def _cell(figure: Mapping[str, Any]) -> str:
    return f"{100 * figure['value']:.1f} % ({100 * figure['low']:.0f} - {100 * figure['high']:.0f})"
