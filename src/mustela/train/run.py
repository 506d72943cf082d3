"""A run from start to end: checks, data, model, stages, and what is left in the run folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from rich.console import Console

from mustela.config import DataArguments, ModelArguments
from mustela.config.training import StageArguments, TrainingArguments
from mustela.model.adapter import is_adapter, read_adapter
from mustela.train.build import Built, build, classic_of, go_on
from mustela.train.checkpoint import (
    check_holds_state,
    check_processes,
    check_resumable,
    checkpoints,
    is_complete,
    newest_checkpoint,
    remove_incomplete,
)
from mustela.train.data import StageData, load_data, tokenizer_texts
from mustela.train.disk import clear_write_errors
from mustela.train.environment import environment
from mustela.train.files import write_json
from mustela.train.folder import RunFolder, check_run, open_run, trim_log
from mustela.train.planning import plan_stages
from mustela.train.preflight import check_stages
from mustela.train.settings import run_config
from mustela.train.stage import Examiner, StageRun, train_stage
from mustela.train.stand_in import StandIn
from mustela.train.stopping import StoppedError

# Makes the examiner of a stage from its arguments and a folder for pictures; None: nothing to ask.
MakeExaminer = Callable[[StageArguments, Path], Examiner | None]


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Args:
        folder: the run folder.
        finished: True when the final model is there; False after a dry run.
        trained: False when the run had been finished before and nothing was left to do.
        signal: number of the signal that ended it behind a checkpoint, or None.
    """

    folder: RunFolder
    finished: bool
    trained: bool
    signal: int | None = None


def run_train(
    model: ModelArguments,
    data: DataArguments,
    training: TrainingArguments,
    *,
    from_scratch: Mapping[str, Any] | None = None,
    make_examiner: MakeExaminer | None = None,
    console: Console | None = None,
) -> RunResult:
    """Train a model in one stage; see `run_stages`."""
    stage = StageArguments("", model, data, training)
    return run_stages([stage], from_scratch=from_scratch, make_examiner=make_examiner, console=console)


def run_stages(
    stages: Sequence[StageArguments],
    *,
    from_scratch: Mapping[str, Any] | None = None,
    stand_in: Mapping[str, Any] | None = None,
    make_examiner: MakeExaminer | None = None,
    console: Console | None = None,
    notes: Sequence[str] = (),
) -> RunResult:
    """Train a model in one or several stages, in one run folder.

    Started again with the same settings, an interrupted run goes on behind its newest complete checkpoint and
    ends with the same weights as one that was never interrupted.

    Args:
        stages: arguments of each stage, in order; the first says what model it is.
        from_scratch: description of a model to build from nothing, or None.
        stand_in: what a dry run plans with where weights or data are missing; see `StandIn`.
        make_examiner: gives each stage its questions for the evaluation during training.
        console: where messages go, from the main process only; stderr when None.
        notes: remarks to print first.

    Raises:
        MustelaError: anything wrong with settings, data or files; before a model is loaded where possible.
    """
    first = stages[0].training
    is_main = first.process_index == 0
    console = console or Console(stderr=True)
    console.quiet = console.quiet or not is_main
    if not is_main:
        transformers.logging.set_verbosity_error()
    # Its bars for reading and writing single files would tear ours apart.
    transformers.logging.disable_progress_bar()
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    described = StandIn.read(stand_in) if stand_in is not None else None
    check_stages(stages, from_scratch=from_scratch is not None, stand_in=described if first.dry_run else None)
    folder = RunFolder(Path(str(first.output_dir)))
    config = run_config(stages, from_scratch=from_scratch)
    if first.dry_run:
        for plan in plan_stages(stages, from_scratch=from_scratch, stand_in=described):
            console.print(plan.text, markup=False, highlight=False, soft_wrap=True)
        return RunResult(folder, finished=False, trained=False)
    overwrite = first.overwrite_output_dir
    if not overwrite and not folder.is_finished:
        # Before other settings: those of engines depend on the number.
        _check_number(folder, first.world_size)
    check_run(folder, config, overwrite=overwrite)
    if folder.is_finished and not overwrite:
        console.print(f"{folder.root} is finished: its model is in {folder.final}.", highlight=False)
        return RunResult(folder, finished=True, trained=False)
    with clear_write_errors(folder.root):
        return _run(
            stages, folder, config, from_scratch=from_scratch, make_examiner=make_examiner, console=console
        )


def _check_number(folder: RunFolder, processes: int) -> None:
    """Make sure that the newest checkpoints were written by as many processes as there are now."""
    for path in (folder.root, *folder.root.glob("stage-*")):
        complete = [checkpoint for _, checkpoint in checkpoints(path) if is_complete(checkpoint)]
        for newest in complete[-1:]:
            check_processes(newest, processes)


def _run(
    stages: Sequence[StageArguments],
    folder: RunFolder,
    config: Mapping[str, Any],
    *,
    from_scratch: Mapping[str, Any] | None,
    make_examiner: MakeExaminer | None,
    console: Console,
) -> RunResult:
    """Train what is left of a run that was checked."""
    first = stages[0].training
    is_main = first.process_index == 0
    data = [load_data(stage) for stage in stages]
    if is_main:
        open_run(folder, config, overwrite=first.overwrite_output_dir)
    _wait(first)
    if is_main:
        _describe_start(folder, stages, data, console=console)
    runs = [
        StageRun(number, stage, stage_data, folder, is_last=number == len(stages))
        for number, (stage, stage_data) in enumerate(zip(stages, data, strict=True), start=1)
    ]
    done = max((run.number for run in runs if is_complete(run.model_folder)), default=0)
    for run in runs[done:]:
        built = _start_model(run, stages, data, from_scratch=from_scratch)
        try:
            _go_through(run, built, make_examiner=make_examiner, console=console)
        except StoppedError as stop:
            console.print(
                f"Stopped behind step {stop.step}. The same command goes on from there.", highlight=False
            )
            return RunResult(folder, finished=False, trained=True, signal=stop.number)
        if is_main:
            _clear_earlier(run, stages)
        _wait(first)
    return RunResult(folder, finished=True, trained=True)


def _go_through(run: StageRun, built: Built, *, make_examiner: MakeExaminer | None, console: Console) -> None:
    """Train a stage, from its newest checkpoint if it has one."""
    training = run.stage.training
    is_main = training.process_index == 0
    examiner = None
    if make_examiner is not None and training.eval_strategy != "no":
        examiner = make_examiner(run.stage, run.folder.pictures)
    checkpoint = _checkpoint(run, is_main=is_main, console=console)
    if is_main:
        step = 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
        trim_log(run.folder.log, stage=run.stage.name, after_step=step)
        if checkpoint is not None:
            console.print(f"Going on from {checkpoint}.", highlight=False, soft_wrap=True)
    skipped = train_stage(run, built, checkpoint=checkpoint, examiner=examiner, console=console)
    if is_main:
        _note_skipped(run, skipped, console=console)


def _start_model(
    run: StageRun,
    stages: Sequence[StageArguments],
    data: Sequence[StageData],
    *,
    from_scratch: Mapping[str, Any] | None,
) -> Built:
    """Make the model that a stage begins with: the first stage's from the arguments, the others' from disk.

    A stage always reads what the one before wrote, so that an interruption between them changes nothing.
    """
    transformers.set_seed(run.stage.training.seed)
    if run.number > 1:
        before = run.folder.stage(run.number - 1, stages[run.number - 2].name) / "final"
        return go_on(before, run.stage.training)
    return _build_first(stages, data, from_scratch=from_scratch)


def _build_first(
    stages: Sequence[StageArguments], data: Sequence[StageData], *, from_scratch: Mapping[str, Any] | None
) -> Built:
    return build(
        stages[0].model,
        classic=classic_of(stages[0]),
        from_scratch=from_scratch,
        texts=tokenizer_texts(data),
        training=stages[0].training,
    )


def _checkpoint(run: StageRun, *, is_main: bool, console: Console) -> Path | None:
    """Choose the checkpoint to go on from, after deleting what a kill left half written."""
    named = run.stage.training.resume_from_checkpoint
    if named is not None and run.number == 1:
        check_resumable(Path(named))
        check_processes(Path(named), run.stage.training.world_size)
        check_holds_state(Path(named))
        return Path(named)
    newest = newest_checkpoint(
        run.path, tell=lambda message: console.print(message, markup=False, highlight=False, soft_wrap=True)
    )
    _wait(run.stage.training)
    if is_main and run.path.is_dir():
        remove_incomplete(run.path)
    _wait(run.stage.training)
    if newest is not None:
        check_holds_state(newest)
    return newest


def _clear_earlier(run: StageRun, stages: Sequence[StageArguments]) -> None:
    """Delete the folders of the stages before, once this one's model is there, but for an adapter's base."""
    base = Path(read_adapter(run.model_folder).origin.model) if is_adapter(run.model_folder) else None
    for number in range(1, run.number):
        before = run.folder.stage(number, stages[number - 1].name)
        if base is None or not base.resolve().is_relative_to(before.resolve()):
            shutil.rmtree(before, ignore_errors=True)


def _note_skipped(run: StageRun, skipped: Mapping[str, int], *, console: Console) -> None:
    """Put into the data report how often samples were replaced by the next in training."""
    report = json.loads(run.folder.data_report.read_text("utf-8"))
    report[run.stage.name or "train"]["skipped_in_training"] = dict(skipped)
    write_json(run.folder.data_report, report)
    told = ", ".join(f"{count} {reason}" for reason, count in skipped.items() if count)
    if told:
        console.print(f"Samples replaced by the next: {told}.", highlight=False)


def _describe_start(
    folder: RunFolder, stages: Sequence[StageArguments], data: Sequence[StageData], *, console: Console
) -> None:
    training = stages[0].training
    starts: list[Any] = []
    if folder.environment.is_file():
        starts = json.loads(folder.environment.read_text("utf-8"))["starts"]
    starts.append(environment(seed=training.seed, processes=training.world_size))
    write_json(folder.environment, {"starts": starts})
    names = [stage.name or "train" for stage in stages]
    write_json(folder.data_report, {name: item.report for name, item in zip(names, data, strict=True)})
    shown: set[str] = set()
    for item in data:
        if item.table not in shown:
            console.print(item.table, markup=False, highlight=False, soft_wrap=True)
            shown.add(item.table)


def _wait(training: TrainingArguments) -> None:
    if training.world_size > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
