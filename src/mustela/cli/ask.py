"""`mustela ask`: ask a model about an image and its regions, or many questions from a file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mustela.cli.command import Subparsers, add_command
from mustela.cli.model_options import add_model_options, check_counts, model_options
from mustela.cli.region_options import add_region_options, region_of
from mustela.errors import ConfigError

if TYPE_CHECKING:
    from mustela.infer import Predictor
    from mustela.regions import FoundRegion

__all__ = ["add_parser", "print_regions", "run"]

_DESCRIPTION = """\
Ask a model about an image, print the answer and draw it.

  mustela ask shapes-base scene.jpg "What is <region>?" --box 10 20 200 180
  mustela ask shapes-base scene.jpg "Where is the red star?"

<region> stands for the regions in the order of the options, <region1>, <region2> ... for them by number.
Coordinates are pixels of the image. MODEL is a model's or adapter's folder, a run's folder, or the name
of a model that comes with mustela.

  mustela ask shapes-base --batch questions.jsonl --image_folder images --out answers.jsonl

asks many questions: a JSON object a line with "question", "image", "regions" and "id". An --out file that
is there already is gone on with.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela ask`."""
    parser = add_command(
        subparsers,
        "ask",
        summary="ask a model about an image and its regions",
        run=run,
        description=_DESCRIPTION,
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("image", metavar="IMAGE", nargs="?")
    parser.add_argument("question", metavar="QUESTION", nargs="?")
    add_region_options(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="picture of question and answer (default: answer-IMAGE.png in this folder); with --batch the"
        " file of answers (default: answers-BATCH.jsonl)",
    )
    batch = parser.add_argument_group("many questions")
    batch.add_argument("--batch", metavar="FILE", type=Path, help="JSONL, in place of IMAGE QUESTION")
    batch.add_argument(
        "--image_folder", metavar="DIR", type=Path, help="where their images lie (default: beside FILE)"
    )
    batch.add_argument(
        "--batch_size", type=int, default=8, metavar="N", help="questions at once (default: %(default)s)"
    )
    add_model_options(parser)
    parser.add_argument(
        "--max_new_tokens", type=int, default=256, metavar="N", help="longest answer in tokens (default: 256)"
    )


def run(args: argparse.Namespace) -> int | None:
    """Ask, print the answer and its regions, and write the picture; or ask what a file says."""
    check_counts(args, "max_new_tokens", "batch_size")
    if args.batch is not None:
        return _run_batch(args)
    if args.image is None or args.question is None:
        raise ConfigError("give an IMAGE and a QUESTION, or many questions with --batch FILE.")
    _check_question(args.question)
    regions = [region_of(kind, values) for kind, values in args.regions]
    out = Path(args.out or f"answer-{Path(args.image).stem}.png")
    _check_folder(out)
    predictor = _predictor(args)
    predictor.set_image(args.image)
    answer = predictor.ask(args.question, regions=regions, max_new_tokens=args.max_new_tokens)
    print(answer.text)
    print_regions(answer.regions)
    try:
        answer.draw().save(out)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--out {out}: the picture can't be written ({error}).") from error
    print(f"picture: {out}")
    return None


def _run_batch(args: argparse.Namespace) -> int:
    from mustela.cli.ask_batch import answer_file, read_questions

    if args.image is not None or args.regions:
        raise ConfigError("--batch takes images, questions and regions from its file: leave the others out.")
    out = Path(args.out or f"answers-{args.batch.stem}.jsonl")
    _check_folder(out)
    questions = read_questions(args.batch, image_folder=args.image_folder or args.batch.parent)
    if out.exists() and (not out.is_file() or out.samefile(args.batch)):
        what = "the file of the questions" if out.is_file() else "no file"
        raise ConfigError(f"--out {out}: is {what}. Choose another for the answers.")
    asked, failed = answer_file(
        _predictor(args), questions, out, batch_size=args.batch_size, max_new_tokens=args.max_new_tokens
    )
    skipped = len(questions) - asked
    print(f"{asked - failed} answers written to {out}" + (f", {skipped} were there" if skipped else ""))
    if failed:
        print(f"{failed} could not be asked: their lines say why, and the next run tries them again")
    return 1 if failed else 0


def _check_question(question: str) -> None:
    from mustela.infer.query import check_text

    if not question.strip():
        raise ConfigError(f"QUESTION is {question!r}. Write one.")
    check_text(question)


def _check_folder(out: Path) -> None:
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist.")


def _predictor(args: argparse.Namespace) -> Predictor:
    from transformers.utils.logging import disable_progress_bar

    from mustela.infer import Predictor

    disable_progress_bar()
    return Predictor.from_pretrained(args.model, **model_options(args))


def print_regions(regions: Sequence[FoundRegion], *, first: int | None = None) -> None:
    """Print the regions of an answer, line by line, numbered from `first` if that is given."""
    for number, found in enumerate(regions, start=first or 0):
        bounds = ", ".join(f"{value:.1f}" for value in found.region.bounds_xyxy())
        repaired = f" ({found.note})" if found.repaired else ""
        mark = "" if first is None else f"#{number} "
        print(f"  {mark}{found.phrase or type(found.region).__name__.lower()}: {bounds}{repaired}")
