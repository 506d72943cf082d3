"""What training and evaluation have to do with each other: a look at the model on the way, and the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from mustela.config.training import StageArguments
from mustela.data.image_folder import locate_image
from mustela.data.processor import MustelaProcessor
from mustela.evaluate import Prediction, evaluate, evaluate_slice, pick_slice, questions_from
from mustela.evaluate.gallery import draw_prediction, pick
from mustela.evaluate.report import write_report
from mustela.model import MustelaForConditionalGeneration
from mustela.model.loading import load_model, quantisation_for
from mustela.regions import load_image
from mustela.train import Examiner, RunFolder, held_out_folder, held_out_records


def make_examiner(stage: StageArguments, pictures: Path) -> Examiner | None:
    """Return what asks a model some held-out questions of each kind and draws a few of its answers."""
    records = held_out_records(stage.data)
    folder = held_out_folder(stage.data)
    questions = pick_slice(questions_from(records), per_kind=stage.data.eval_records)
    if not questions:
        return None

    def examine(
        model: MustelaForConditionalGeneration, processor: MustelaProcessor, step: int
    ) -> Mapping[str, float]:
        result = evaluate_slice(
            model,
            processor,
            questions,
            image_folder=folder,
            batch_size=stage.training.per_device_eval_batch_size,
            max_new_tokens=stage.data.eval_max_new_tokens,
        )
        if stage.training.process_index == 0:
            name = f"{stage.name}-{step:06d}" if stage.name else f"{step:06d}"
            _draw(result.predictions, pictures / name, folder=folder, count=stage.data.eval_pictures)
        return result.scores

    return examine


def _draw(predictions: Sequence[Prediction], target: Path, *, folder: Path | None, count: int) -> None:
    shown = pick([item for item in predictions if item.image_wh], order=lambda item: 0.0, count=count)
    target.mkdir(parents=True, exist_ok=True)
    for number, prediction in enumerate(shown, start=1):
        image = load_image(locate_image(prediction.picture, folder or Path()))
        draw_prediction(prediction, image).save(target / f"{number}-{prediction.kind}.png")


def evaluate_run(run: RunFolder, stage: StageArguments) -> None:
    """Evaluate a finished run on its held-out records; leaves `metrics.json` and `report.html` there."""
    is_main = stage.training.process_index == 0
    console = Console(stderr=True, quiet=not is_main)
    if not stage.data.eval_data_path:
        console.print(f"The model is in {run.final}.", highlight=False, soft_wrap=True)
        return
    folder = held_out_folder(stage.data)
    bits = stage.training.bits if stage.training.bits in (4, 8) else None
    model, processor = load_model(
        run.final, device=stage.training.device, quantisation=quantisation_for(run.final, bits)
    )
    evaluate(
        model,
        processor,
        held_out_records(stage.data),
        out_dir=run.root,
        image_folder=folder,
        batch_size=stage.training.per_device_eval_batch_size,
        max_new_tokens=stage.data.eval_max_new_tokens,
        about={"model": str(run.final), "data": ", ".join(stage.data.eval_data_path)},
    )
    if is_main:
        report = write_report(run.root, image_folder=folder, run_dir=run.root)
        console.print(
            f"The model is in {run.final}, the report in {report}.", highlight=False, soft_wrap=True
        )
