"""Region encoders against each other: referring accuracy with and without coordinates, over seeds.

    python benchmarks/region_encoders.py --shapes data/shapes --cells DIR --out docs/about/region_encoders

Each variant trains the same tiny model from nothing on shapes, with the same questions and settings; with
`--cells`, it then goes on with blood cells (a folder of train.json, test.json and images/). Held-out
questions are counted by what they show: free-form regions, nested ones (another asked region of the picture
has almost the same box), tiny and large ones. Every finished run leaves its scores in `--runs`: the same
command goes on after an interruption and doesn't train again what is done.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from mustela.data import read_records
from mustela.evaluate import Prediction, Question, questions_from
from mustela.evaluate.answering import answer_window, windows_of
from mustela.evaluate.questions import used_regions
from mustela.infer.query import default_options
from mustela.model import load_model
from mustela.regions import Box, Point, box_iou

TINY, LARGE = 0.01, 0.08
NESTED_IOU = 0.5


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


def train(settings: Sequence[str], run: Path) -> None:
    """Train one model, unless it is there; a run that was cut off goes on."""
    if not (run / "final").is_dir():
        command = [sys.executable, "-m", "mustela", "train", *settings, "--output_dir", str(run)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def measure(variant: Variant, seed: int, arguments: argparse.Namespace) -> dict:
    """Train and ask one variant with one seed; return the scores of each data set by slice."""
    runs, shapes = Path(arguments.runs), Path(arguments.shapes)
    done = runs / f"{variant.slug}-{seed}.json"
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    no_coor = str(not variant.coordinates).lower()
    common = ["--seed", str(seed), "--eval_strategy", "no", "--per_device_train_batch_size", "16"]
    run = runs / f"{variant.slug}-{seed}-shapes"
    stages = [
        "--stages.short.data_path",
        *(str(shapes / f"train_{name}.json") for name in ("refer", "freeform")),
    ]
    stages += ["--stages.short.max_steps", str(arguments.steps)]
    stages += ["--stages.sentences.data_path", str(shapes / "train_freeform.json")]
    stages += ["--stages.sentences.max_steps", str(arguments.steps), "--no_coor", no_coor]
    encoder = ["--region_encoder", variant.encoder, "--tokens_per_region", str(variant.tokens)]
    data = ["--image_folder", str(shapes / "images"), "--eval_data_path", str(shapes / "val_freeform.json")]
    train(["shapes-tiny", *encoder, *data, "--eval_records", "1", *common, *stages], run)
    asked = {"coordinates": variant.coordinates, "limit": arguments.questions}
    files = [shapes / "val_freeform.json", shapes / "val.json"]
    scores = {"shapes": ask(run / "final", files, shapes / "images", **asked)}
    if arguments.cells is not None:
        cells, after = Path(arguments.cells), runs / f"{variant.slug}-{seed}-cells"
        recipe = str(Path(__file__).parents[1] / "recipes" / "blood_cells.yaml")
        more = ["--model_name_or_path", str(run / "final"), "--no_coor", no_coor]
        more += ["--max_steps", str(arguments.cell_steps), "--data_path", str(cells / "train.json")]
        train([recipe, *more, "--image_folder", str(cells / "images"), *common], after)
        scores["cells"] = ask(after / "final", [cells / "test.json"], cells / "images", **asked)
        shutil.rmtree(after)
    shutil.rmtree(run)
    part = done.with_suffix(".part")
    part.write_text(json.dumps(scores) + "\n", encoding="utf-8")
    part.rename(done)
    return scores


def columns_of(results: dict[str, list[dict]]) -> list[tuple[str, str]]:
    """Return the pairs of data set and slice that any run has."""
    order = ("all", "points", "free-form", "nested", "tiny", "large")
    found = {(data, name) for runs in results.values() for run in runs for data in run for name in run[data]}
    return sorted(found, key=lambda pair: (pair[0] != "shapes", order.index(pair[1])))


def table(results: dict[str, list[dict]], seeds: int) -> str:
    """Return the Markdown table: mean and range over seeds."""
    columns = columns_of(results)
    first = next(iter(results.values()))[0]
    heads = [
        f"{data}: {name} ({first.get(data, {}).get(name, {'questions': 0})['questions']})"
        for data, name in columns
    ]
    lines = [
        f"Share of right answers; mean and range over {seeds} seeds; numbers of questions in brackets.",
        "",
        "| encoder | " + " | ".join(heads) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name, runs in results.items():
        cells = []
        for data, part in columns:
            values = [run[data][part]["accuracy"] for run in runs if part in run.get(data, {})]
            low_high = f"{min(values):.2f} to {max(values):.2f}" if values else ""
            cells.append(f"{statistics.mean(values):.2f} ({low_high})" if values else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(results: dict[str, list[dict]]) -> str:
    """Return an SVG: a row a variant, a panel a slice; a dot a seed, a bar the mean."""
    columns, left, panel, row, top = columns_of(results), 210, 110, 18, 40
    width, height = left + panel * len(columns) + 10, top + row * len(results) + 24
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        ' font-size="10"><rect width="100%" height="100%" fill="white"/>'
    ]
    for index, (data, part) in enumerate(columns):
        x0 = left + panel * index
        out.append(f'<text x="{x0}" y="16">{data}</text><text x="{x0}" y="29">{part}</text>')
        for line, runs in enumerate(results.values()):
            y = top + row * line
            values = [run[data][part]["accuracy"] for run in runs if part in run.get(data, {})]
            if not values:
                continue
            mean = statistics.mean(values) * (panel - 20)
            out.append(f'<rect x="{x0}" y="{y}" width="{mean:.1f}" height="11" fill="#9db8e8"/>')
            out += [
                f'<circle cx="{x0 + value * (panel - 20):.1f}" cy="{y + 5.5}" r="2" fill="#1d3f8a"/>'
                for value in values
            ]
        base = top + row * len(results)
        out.append(f'<path d="M{x0} {top - 4}V{base}H{x0 + panel - 20}" fill="none" stroke="#888"/>')
        out.append(
            f'<text x="{x0}" y="{base + 12}">0</text><text x="{x0 + panel - 24}" y="{base + 12}">1</text>'
        )
    out += [
        f'<text x="{left - 8}" y="{top + row * line + 9}" text-anchor="end">{escape(name)}</text>'
        for line, name in enumerate(results)
    ]
    return "\n".join([*out, "</svg>"]) + "\n"


def main() -> None:
    """Run all variants and seeds; write JSON, a Markdown table and a plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", default="data/shapes")
    parser.add_argument("--cells", help="folder of the blood cells; left out: shapes only")
    parser.add_argument("--runs", default="runs/region_encoders")
    parser.add_argument("--out", default="docs/about/region_encoders")
    parser.add_argument("--steps", type=int, default=1000, help="of each of the two stages on shapes")
    parser.add_argument("--cell_steps", type=int, default=500)
    parser.add_argument("--questions", type=int, help="ask at most so many of each data set")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", nargs="+", default=[each.slug for each in VARIANTS])
    arguments = parser.parse_args()
    chosen = [each for each in VARIANTS if each.slug in arguments.variants]
    Path(arguments.runs).mkdir(parents=True, exist_ok=True)
    results = {
        variant.name: [measure(variant, seed, arguments) for seed in range(arguments.seeds)]
        for variant in chosen
    }
    out = Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    settings = {"steps": arguments.steps, "cell_steps": arguments.cell_steps, "results": results}
    out.with_suffix(".json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    text = table(results, arguments.seeds)
    title = "# Region encoders against each other\n\n"
    picture = f"\n![Right answers by encoder and kind of region]({out.name}.svg)\n"
    out.with_suffix(".md").write_text(title + text + picture, encoding="utf-8")
    out.with_suffix(".svg").write_text(plot(results), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
