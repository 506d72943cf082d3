"""Region encoders against each other: referring accuracy on free-form and nested shapes, over seeds.

    python benchmarks/region_encoders.py --data data/shapes --out benchmarks/results/region_encoders

Each encoder trains the same tiny model from nothing on the same questions with the same settings; the
held-out questions come in pairs about two objects that share almost the same box, so that a box alone gets
one of two right. Points are reported apart: their coordinates do tell the objects apart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from mustela.evaluate import read_predictions

ENCODERS = ("geo", "mean", "roi", "none")


def train_and_ask(encoder: str, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Train one model and return its accuracy by kind of region, and its training seconds."""
    data, run = Path(arguments.data), Path(arguments.runs) / f"{encoder}-{seed}"
    command = [
        *(sys.executable, "-m", "mustela", "train", "shapes-tiny"),
        *("--output_dir", str(run), "--region_encoder", encoder, "--seed", str(seed)),
        *("--image_folder", str(data / "images"), "--eval_data_path", str(data / "val_freeform.json")),
        *("--stages.refer.data_path", str(data / "train_refer.json")),
        *("--stages.refer.max_steps", str(arguments.steps // 2)),
        *("--stages.detect.data_path", str(data / "train_refer.json"), str(data / "train_freeform.json")),
        *("--stages.detect.max_steps", str(arguments.steps // 2)),
        *("--stages.mix.data_path", str(data / "train_freeform.json")),
        *("--stages.mix.max_steps", str(arguments.steps)),
        *("--stages.mix.eval_strategy", "no"),
    ]
    if encoder == "none":
        command += ["--region_points", "1"]
    began = time.monotonic()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    right: dict[str, list[float]] = {}
    for prediction in read_predictions(run / "predictions.jsonl").values():
        kind = type(prediction.question_regions[0]).__name__.lower()
        hit = float(prediction.text.strip().lower() == prediction.reference.strip().lower())
        right.setdefault(kind, []).append(hit)
        if kind != "point":
            right.setdefault("all but points", []).append(hit)
    return {**{kind: statistics.mean(hits) for kind, hits in right.items()}, "seconds": seconds}


def main() -> None:
    """Run all encoders and seeds; write JSON and a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="data/shapes")
    parser.add_argument("--runs", default="runs/region_encoders")
    parser.add_argument("--out", default="benchmarks/results/region_encoders")
    parser.add_argument("--steps", type=int, default=500, help="of the last stage; the first two have half")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS))
    arguments = parser.parse_args()
    results = {
        encoder: [train_and_ask(encoder, seed, arguments) for seed in range(arguments.seeds)]
        for encoder in arguments.encoders
    }
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    out = Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    about = {"machine": machine, "steps": arguments.steps, "results": results}
    out.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    columns = sorted({key for runs in results.values() for run in runs for key in run})
    lines = [
        f"Accuracy on held-out free-form pairs; mean and range over {arguments.seeds} seeds ({machine}).",
        "",
        "| encoder | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for encoder, runs in results.items():
        cells = []
        for column in columns:
            values = [run[column] for run in runs]
            digits = 0 if column == "seconds" else 3
            mean, low, high = statistics.mean(values), min(values), max(values)
            cells.append(f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
        lines.append(f"| {encoder} | " + " | ".join(cells) + " |")
    out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
