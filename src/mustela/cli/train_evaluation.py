"""What training and evaluation have to do with each other: a look at the model on the way, and the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mustela.config.training import StageArguments
from mustela.data.image_folder import locate_image
from mustela.data.processor import MustelaProcessor
from mustela.errors import ConfigError
from mustela.evaluate import Prediction, evaluate, evaluate_slice, pick_slice, questions_from
from mustela.evaluate.benchmarks import Answer, Benchmark, Item, ScoreTools, parse_slice
from mustela.evaluate.benchmarks.asking import question_of
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
    slices = benchmark_slices(stage)
    if not questions and not slices:
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
        scores = dict(result.scores)
        for each in slices:
            scores |= each.ask(model, processor, batch_size=stage.training.per_device_eval_batch_size)
        return scores

    return examine


@dataclass(frozen=True)
class BenchmarkSlice:
    """Some questions of a benchmark, evenly spread over a split; always the same ones."""

    benchmark: Benchmark
    split: str
    root: str
    items: Sequence[Item]

    def ask(
        self, model: MustelaForConditionalGeneration, processor: MustelaProcessor, *, batch_size: int
    ) -> dict[str, float]:
        """Return the main figure and the rate of parse failures, by names such as `refcoco_val_acc_50`."""
        result = evaluate_slice(
            model,
            processor,
            [question_of(item) for item in self.items],
            image_folder=self.root,
            batch_size=batch_size,
            max_new_tokens=self.benchmark.max_new_tokens,
        )
        answers = [
            Answer(
                item,
                item.answered(said.text, scale=said.scale, image_wh=said.image_wh, frame=said.frame),
            )
            for item, said in zip(self.items, result.predictions, strict=True)
        ]
        score = self.benchmark.score(answers, ScoreTools())
        main = next(iter(score.figures))
        name = f"{self.benchmark.name}_{self.split}"
        return {
            f"{name}_{main}": float(score.figures[main]["value"]),
            f"{name}_parse_failure_rate": sum(score.failed) / len(score.failed),
        }


def benchmark_slices(stage: StageArguments) -> list[BenchmarkSlice]:
    """Return the slices that `--eval_benchmarks` names.

    Raises ConfigError for benchmarks that don't exist or need a judge, and for folders that lack their files.
    """
    named, roots = stage.data.eval_benchmarks, stage.data.eval_benchmark_root
    if not named:
        return []
    if stage.training.eval_strategy == "no":
        raise ConfigError(
            "--eval_benchmarks are asked at each evaluation: set --eval_strategy steps or epoch."
        )
    if len(roots) not in (1, len(named)):
        raise ConfigError(
            f"--eval_benchmark_root has {len(roots)} values and --eval_benchmarks {len(named)}: "
            "give one for each, or one for all."
        )
    slices = []
    for text, root in zip(named, roots * len(named) if len(roots) == 1 else roots, strict=True):
        benchmark, split, count = parse_slice(text)
        if benchmark.needs_judge:
            raise ConfigError(
                f"--eval_benchmarks {text}: a judge takes no part in training. Evaluate afterwards."
            )
        items = benchmark.items(root, split=split)
        kept = min(count or len(items), len(items))
        spread = [items[number * len(items) // kept] for number in range(kept)]
        slices.append(BenchmarkSlice(benchmark, split, root, spread))
    return slices


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
