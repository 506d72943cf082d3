"""`mustela data tokens`: one sample as the model gets it."""

from __future__ import annotations

import argparse
import os
import sys
from itertools import islice
from pathlib import Path

from mustela.cli.command import Subparsers, add_command
from mustela.cli.data_check import add_file_arguments, check_options, pair_folders
from mustela.errors import ConfigError, RecordError

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Show one sample as the model gets it: its tokens, which of them are learnt, where pictures and regions sit,
and with --out a page that has the points of the regions on the encoded picture.

  mustela data tokens train.json --index 3 --model shapes-base --images images --out sample.html
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela data tokens`."""
    parser = add_command(
        subparsers,
        "tokens",
        summary="show one sample as the model gets it",
        run=run,
        description=_DESCRIPTION,
    )
    add_file_arguments(parser)
    parser.add_argument("--model", required=True, metavar="DIR", help="a model's or a run's folder")
    parser.add_argument("--index", type=int, default=0, metavar="N", help="which record, counted from 0 (0)")
    parser.add_argument("--max_length", type=int, metavar="N", help="token limit (none)")
    parser.add_argument("--version", metavar="NAME", help="another prompt template (the model's)")
    parser.add_argument("--out", metavar="FILE", help="write a page")


def run(args: argparse.Namespace) -> None:
    """Read the record, encode it, print it, and write the page."""
    from mustela.data.dataset import read_images
    from mustela.data.processor import MustelaProcessor
    from mustela.data.reading import read_checked
    from mustela.data.templates import get_template
    from mustela.infer.query import default_options
    from mustela.model.loading import resolve_model_path
    from mustela.pages import write_page
    from mustela.view.tokens import show_sample, tokens_page, tokens_text

    if len(args.files) > 1:
        raise ConfigError("name one file; --index says which of its records.")
    if args.index < 0:
        raise ConfigError(f"--index {args.index}: records are counted from 0.")
    ((file, folder),) = pair_folders(args.files, args.images)
    options = check_options(args)
    found = next(
        islice(read_checked(file, options, folder=options.open_folder(folder)), args.index, None), None
    )
    if found is None:
        raise ConfigError(f"--index {args.index}: {file} has no such record; they are counted from 0.")
    if found.record is None:
        raise RecordError("\n".join(str(fault) for fault in found.faults))
    processor = MustelaProcessor.from_pretrained(resolve_model_path(args.model))
    if args.version is not None:
        processor = processor.with_template(get_template(args.version))
    images = read_images(found.record, None if folder is None else Path(folder), checks=options)
    sample = show_sample(
        found.record,
        images,
        processor=processor,
        options=default_options(processor),
        index=args.index,
        max_length=args.max_length,
    )
    print(tokens_text(sample, colored=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    if args.out is not None:
        title = f"{Path(file).name}: {found.record.id}"
        print(f"page: {write_page(args.out, tokens_page(sample, title=title))}")
