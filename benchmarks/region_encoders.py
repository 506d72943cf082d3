"""Region encoders against each other: referring accuracy with and without coordinates, over seeds.

    python benchmarks/region_encoders.py --shapes data/shapes --cells DIR --out docs/about/region_encoders
    python benchmarks/region_encoders.py --encoders geo,mean,none --coordinates with

Each variant gives the packaged model `shapes-base` a region encoder of random numbers in place of its own, as
people give one to a model that they have, and tunes all of it with the same questions and settings; with
`--cells`, it then goes on with blood cells (a folder of train.json, test.json and images/). Held-out
questions are counted by what they show: free-form regions, nested ones (another asked region of the picture
has almost the same box), tiny and large ones. Every finished run leaves its scores in `--scores`: the same
command goes on after an interruption and doesn't train again what is done. It ends with whether geo beats
mean and none on free-form and nested regions.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from region_encoders_page import answer, page, plot, table

from mustela.cli.main import main as mustela
from mustela.data import Record, read_records
from mustela.data.native import write_records
from mustela.evaluate import Prediction, Question, questions_from
from mustela.evaluate.answering import answer_window, windows_of
from mustela.evaluate.questions import used_regions
from mustela.infer.query import default_options
from mustela.model import load_model
from mustela.model.settings import RegionSettings
from mustela.model.wrapping import wrap
from mustela.regions import Box, Point, box_iou

TINY, LARGE = 0.01, 0.08
NESTED_IOU = 0.5
# More than the preset's, for geo, which chooses among them in two stages.
POINTS, SUB_POINTS = 128, (64, 16)


@dataclass(frozen=True)
class Variant:
    """An encoder with its number of tokens, and whether questions have coordinates."""

    encoder: str
    tokens: int
    coordinates: bool

    @property
    def name(self) -> str:
        """What tables call it."""
        many = f", {self.tokens} tokens" if self.tokens > 1 else ""
        return f"{self.encoder}{many}" + ("" if self.coordinates else ", no coordinates")

    @property
    def slug(self) -> str:
        """What its folder is called."""
        return f"{self.encoder}-{self.tokens}-{'xy' if self.coordinates else 'no_coor'}"


ENCODERS = (
    *((encoder, tokens) for encoder in ("geo", "mean", "roi", "mask_embed") for tokens in (1, 4)),
    ("none", 1),
)
NAMES = {f"{name}-{tokens}" if tokens > 1 else name: (name, tokens) for name, tokens in ENCODERS}
# Without region tokens and without coordinates a question says nothing of its region.
VARIANTS = tuple(
    Variant(encoder, tokens, coordinates)
    for encoder, tokens in ENCODERS
    for coordinates in (True, False)
    if coordinates or encoder != "none"
)


def slices_of(predictions: Sequence[Prediction]) -> Iterator[tuple[str, Prediction]]:
    """Yield each answer once for every slice that its question belongs to."""
    boxes: dict[str, set[Box]] = defaultdict(set)
    for item in predictions:
        boxes[item.picture].add(Box(*item.question_regions[0].bounds_xyxy()))
    for item in predictions:
        region = item.question_regions[0]
        box = Box(*region.bounds_xyxy())
        yield "all", item
        if isinstance(region, Point):
            yield "points", item
            continue
        if not isinstance(region, Box):
            yield "free-form", item
        if any(other != box and overlap(box, other) > NESTED_IOU for other in boxes[item.picture]):
            yield "nested", item
        width, height = item.image_wh or (1, 1)
        x1, y1, x2, y2 = box.bounds_xyxy()
        share = (x2 - x1) * (y2 - y1) / (width * height)
        if share < TINY:
            yield "tiny", item
        if share > LARGE:
            yield "large", item


def overlap(first: Box, second: Box) -> float:
    """Return the IoU of two boxes."""
    return float(box_iou([first.bounds_xyxy()], [second.bounds_xyxy()])[0, 0])


def ask(
    model_folder: Path, files: Sequence[Path], images: Path, *, coordinates: bool, limit: int | None
) -> dict:
    """Return accuracy and number of questions by slice."""
    model, processor = load_model(model_folder)
    options = replace(default_options(processor), no_coor=not coordinates)
    questions: list[Question] = [
        question
        for file in files
        for question in questions_from(read_records(file))
        if question.kind == "referring" and len(used_regions(question.question)) == 1
    ][:limit]
    predictions: list[Prediction] = []
    for window in windows_of(questions, batch_size=32):
        for batch in answer_window(
            model, processor, window, image_folder=images, batch_size=32, max_new_tokens=24, options=options
        ):
            predictions += batch
    hits: dict[str, list[float]] = defaultdict(list)
    for name, item in slices_of(predictions):
        hits[name].append(float(item.text.strip().lower() == item.reference.strip().lower()))
    return {name: {"accuracy": statistics.mean(each), "questions": len(each)} for name, each in hits.items()}


def write_rows(files: Sequence[Path], path: Path) -> int:
    """Write a row for each picture, with all questions about one region of it; return their number."""
    rows: dict[str, Record] = {}
    for record in (record for file in files for record in read_records(file)):
        picture = record.images[0].path
        for question, reply in zip(record.turns[::2], record.turns[1::2], strict=True):
            if len(question.regions) != 1 or reply.regions:
                continue
            asked = replace(question, text=question.text.removeprefix("<image>\n"))
            earlier = rows[picture].turns if picture in rows else ()
            if not earlier:
                asked = replace(asked, text=f"<image>\n{asked.text}")
            rows[picture] = replace(record, id=picture, turns=(*earlier, asked, reply))
    return write_records(path, rows.values())


def starting_point(variant: Variant, folder: Path) -> None:
    """Write the packaged model with a fresh region encoder."""
    model, processor = load_model("shapes-base", dtype=torch.float32)
    regions = RegionSettings(
        encoder=variant.encoder, tokens=variant.tokens, points=POINTS, sub_points=SUB_POINTS
    )
    wrap(model.base, processor.tokenizer, regions).save_pretrained(folder)
    processor.settings = replace(
        processor.settings,
        region_token=None if variant.encoder == "none" else processor.settings.region_token,
        region_points=POINTS,
        tokens_per_region=variant.tokens,
    )
    processor.save_pretrained(folder)


def train(words: Sequence[str], run: Path) -> None:
    """Train one model, unless it is there; a run that was cut off goes on."""
    if not (run / "final").is_dir() and mustela(["train", *words, "--output_dir", str(run)]):
        sys.exit(f"{run}: the training failed.")


def measure(variant: Variant, seed: int, arguments: argparse.Namespace) -> dict:
    """Train and ask one variant with one seed; return the scores of each data set by slice."""
    runs, shapes = Path(arguments.runs), Path(arguments.shapes)
    done = Path(arguments.scores) / f"{variant.slug}-{seed}.json"
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    names = ("start", "shapes", "cells")
    start, run, after = (runs / f"{variant.slug}-{seed}-{name}" for name in names)
    common = ["--seed", str(seed), "--no_coor", str(not variant.coordinates).lower()]
    common += ["--per_device_train_batch_size", "8", "--warmup_steps", "10", "--save_strategy", "no"]
    # Presets and recipes end in time on slow machines; these are to be compared.
    common += ["--max_minutes", "none"]
    torch.manual_seed(seed)
    if not start.is_dir():
        starting_point(variant, start)
    words = ["shapes-new", "--model_name_or_path", str(start), "--max_steps", str(arguments.max_steps)]
    words += ["--data_path", str(runs / "shapes.jsonl"), "--image_folder", str(shapes / "images")]
    train([*words, *common], run)
    asked = {"coordinates": variant.coordinates, "limit": arguments.questions}
    files = [shapes / "val_freeform.json", shapes / "val.json"]
    scores = {"shapes": ask(run / "final", files, shapes / "images", **asked)}
    if arguments.cells is not None:
        cells = Path(arguments.cells)
        recipe = str(Path(__file__).parents[1] / "recipes" / "blood_cells.yaml")
        words = [recipe, "--model_name_or_path", str(run / "final"), "--max_steps", str(arguments.cell_steps)]
        words += ["--data_path", str(runs / "cells.jsonl"), "--image_folder", str(cells / "images")]
        train([*words, *common], after)
        scores["cells"] = ask(after / "final", [cells / "test.json"], cells / "images", **asked)
    for folder in (start, run, after):
        shutil.rmtree(folder, ignore_errors=True)
    part = done.with_suffix(".part")
    part.write_text(json.dumps(scores) + "\n", encoding="utf-8")
    part.rename(done)
    return scores


def chosen_variants(encoders: str, coordinates: str) -> list[Variant]:
    """Return the variants that the options ask for; exits where there are none."""
    names = [name for name in re.split(r"[,\s]+", encoders) if name]
    if not names or set(names) - set(NAMES):
        sys.exit(f"--encoders {encoders}: choose some of {','.join(NAMES)}.")
    wanted = {"with": (True,), "without": (False,), "both": (True, False)}[coordinates]
    chosen = [
        each
        for name in names
        for each in VARIANTS
        if (each.encoder, each.tokens) == NAMES[name] and each.coordinates in wanted
    ]
    if not chosen:
        sys.exit("Nothing to compare: without coordinates, none says nothing of a region.")
    return chosen


def keep_settings(scores: Path, settings: Mapping[str, object]) -> None:
    """Write down what the scores of a folder come from; exits where they come from something else."""
    scores.mkdir(parents=True, exist_ok=True)
    file, text = scores / "settings.json", json.dumps(settings, indent=1) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") != text:
        sys.exit(
            f"{scores} has scores with other settings, see {file}. Choose another --scores, or remove it."
        )
    file.write_text(text, encoding="utf-8")


def main() -> None:
    """Run all variants and seeds; write JSON, a page and a plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", default="data/shapes", help="what mustela data shapes wrote")
    parser.add_argument("--cells", help="folder of the blood cells; left out: shapes only")
    parser.add_argument("--runs", default="runs/region_encoders", help="where models are while they train")
    scores = "scores of finished runs, which aren't run again (default: %(default)s)"
    parser.add_argument("--scores", default="benchmarks/results/region_encoders", help=scores)
    parser.add_argument("--out", default="docs/about/region_encoders")
    names = "which, with commas; geo-4 has four tokens a region (default: %(default)s)"
    parser.add_argument("--encoders", default=",".join(NAMES), help=names)
    parser.add_argument("--coordinates", choices=["both", "with", "without"], default="both")
    parser.add_argument("--max_steps", type=int, default=120, help="on shapes, of eight pictures each")
    parser.add_argument("--cell_steps", type=int, default=80)
    parser.add_argument("--questions", type=int, help="ask at most so many of each data set")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    chosen = chosen_variants(arguments.encoders, arguments.coordinates)
    same = {
        "max_steps": arguments.max_steps,
        "cells": arguments.cells is not None,
        "cell_steps": arguments.cell_steps,
        "questions": arguments.questions,
        "points": POINTS,
        "sub_points": " and ".join(map(str, SUB_POINTS)),
    }
    keep_settings(Path(arguments.scores), same)
    runs = Path(arguments.runs)
    runs.mkdir(parents=True, exist_ok=True)
    shapes = [Path(arguments.shapes) / f"train_{name}.json" for name in ("refer", "freeform")]
    same["pictures"] = write_rows(shapes, runs / "shapes.jsonl")
    if arguments.cells is not None:
        write_rows([Path(arguments.cells) / "train.json"], runs / "cells.jsonl")
    results: dict[str, list[dict]] = defaultdict(list)
    for seed in range(arguments.seeds):
        for variant in chosen:
            results[variant.name].append(measure(variant, seed, arguments))
    out = Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    settings = {**same, "seeds": arguments.seeds}
    data = json.dumps({**settings, "results": results}, indent=1)
    out.with_suffix(".json").write_text(data + "\n", encoding="utf-8")
    command = shlex.join(["python", "benchmarks/region_encoders.py", *sys.argv[1:]])
    text = page(results, settings, command=command, plot_file=f"{out.name}.svg")
    out.with_suffix(".md").write_text(text, encoding="utf-8")
    out.with_suffix(".svg").write_text(plot(results), encoding="utf-8")
    print(table(results), answer(results), sep="\n")


if __name__ == "__main__":
    main()
