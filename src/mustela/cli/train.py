"""`mustela train`: train a model from a YAML file or a preset."""

from __future__ import annotations

import argparse

from mustela.cli.command import Subparsers, add_command
from mustela.cli.processes import run_processes, take_processes

__all__ = ["add_parser", "run"]

_USAGE = """usage: mustela train [RECIPE.yaml | PRESET] [--flag value ...]

Train a region-level vision-language model. A recipe sets defaults, flags win. Started again with the same
command, an interrupted run goes on where it was.

  mustela train shapes-tiny
  mustela train --model_name_or_path DIR --data_path train.json --image_folder images --output_dir runs/mine
  mustela train recipe.yaml --learning_rate 1e-4 --dry_run
  mustela train recipe.yaml --num_processes 8        on the GPUs of this machine

In a recipe of several stages, --stages.NAME.flag value sets a flag of one of them."""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela train`."""
    add_command(
        subparsers, "train", summary="train a model from a YAML file or a preset", run=run, pass_through=True
    )


def run(args: argparse.Namespace) -> int:
    """Train, then evaluate on the held-out records if there are any.

    Returns:
        0 when all is done; 128 and the signal's number when a signal ended the training behind a checkpoint.
    """
    processes, words = take_processes(args.arguments)
    from mustela.config import preset_names, resolve
    from mustela.config.flags import help_text
    from mustela.config.training import all_fields, build_arguments

    if not words or "--help" in words or "-h" in words:
        presets = f"presets: {', '.join(preset_names()) or 'none'}"
        print(_USAGE, presets, help_text(all_fields()), sep="\n\n")
        return 0 if words else 2
    settings = resolve(words, all_fields())
    if processes > 1:
        return run_processes(processes, ["train", *words])
    stages = build_arguments(settings)

    from mustela.cli.train_evaluation import benchmark_slices, evaluate_run, make_examiner
    from mustela.train import run_stages

    for stage in stages:
        benchmark_slices(stage)  # their mistakes are told before anything is loaded
    result = run_stages(
        stages,
        from_scratch=settings.from_scratch,
        stand_in=settings.stand_in,
        make_examiner=make_examiner,
        notes=settings.notes,
    )
    if result.signal is not None:
        return 128 + result.signal
    if result.finished:
        evaluate_run(result.folder, stages[-1])
    return 0
