"""Training with kept features of a frozen tower against running the tower each time.

    python benchmarks/bench_features.py

From files to gradients: pictures of 640 x 480 (JPEG) are read, decoded, fitted to 336 and encoded by a
frozen tower of the size of ViT-S/14 (hidden 384, 12 layers), in front of a small language model (hidden
256, 4 layers), in batches of 4; or read, hashed, and their features taken from disk. An epoch is 4
records.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_train_step import LANGUAGE_MODEL
from measuring import RUNS, machine, take_turns, write
from PIL import Image
from transformers import set_seed

from data import SIZE_WH, WORDS, records
from mustela.data.collator import collate
from mustela.data.dataset import RecordDataset
from mustela.data.feature_cache import FeatureReader, FeatureWriter
from mustela.data.mixture import Mixture, Part, Source
from mustela.data.render import RenderOptions
from mustela.data.store import open_records
from mustela.model.build import ClassicSettings, RegionSettings, build_stand_in
from mustela.train.features import KeptFeatures

TOWER = {
    "model_type": "clip_vision_model",
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "image_size": 336,
    "patch_size": 14,
}
RECORDS = 4


def data_set(folder: Path) -> Mixture:
    """Write records and pictures, and open them."""
    noise = np.random.default_rng(0)
    content = list(records(RECORDS))
    for record in content:
        coarse = Image.fromarray(noise.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        coarse.resize(SIZE_WH, Image.Resampling.BICUBIC).save(folder / record["image"])
    path = folder / "records.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    store, _ = open_records(path, image_folder=folder, cache_dir=folder / "cache")
    if store is None:
        raise RuntimeError(f"{path} can't be read")
    return Mixture([Part(Source(str(path), str(folder)), store, np.arange(len(store)))])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    where = machine(arguments.threads)
    set_seed(0)
    model, processor = build_stand_in(
        LANGUAGE_MODEL,
        TOWER,
        [" ".join(WORDS) + " What is [1, 23, 456, 789]?"] * 20,
        version="v1",
        regions=RegionSettings(encoder="mean"),
        classic=ClassicSettings(image_wh=(336, 336), projector_type="mlp2x_gelu", select_layer=-2),
    )
    model.base.model.vision_tower.requires_grad_(False)
    model.train()
    losses: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        source = data_set(root)
        kept = root / "features" / "tower"
        shape = (24, 24, 384)
        writer = FeatureWriter(kept, root=kept.parent, max_bytes=10**9)
        features = KeptFeatures(model, writer)

        def side(label: str, reader: FeatureReader | None) -> Callable[[], None]:
            dataset = RecordDataset(source, processor, options=RenderOptions(), seed=0, features=reader)

            def epoch() -> None:
                model.zero_grad(set_to_none=True)
                samples = [dataset.sample(index) for index in range(len(dataset))]
                batch = features(collate(samples, pad_token_id=processor.pad_token_id))
                batch.pop("record")
                loss = model(**batch).loss
                loss.backward()
                losses[label] = float(loss.detach())

            return epoch

        sides = {"tower each time": side("tower each time", None)}
        sides["kept features"] = side("kept features", FeatureReader(kept, shape))
        times = take_turns(sides, runs=arguments.runs)
        writer.close()
        size = sum(path.stat().st_size for path in kept.glob("*.features"))
    first, second = (losses[label] for label in sides)
    rows = [
        {
            "side": label,
            "epoch_cpu_s": times[label].cpu_s,
            "epoch_wall_s": times[label].wall_s,
            "records_per_cpu_s": RECORDS / times[label].cpu_s,
            "times_faster_cpu": times["tower each time"].cpu_s / times[label].cpu_s,
            "loss": losses[label],
        }
        for label in sides
    ]
    notes = [
        f"The losses differ by {abs(first - second):.1e}, relative {abs(first - second) / first:.1e}.",
        f"A picture takes {size / RECORDS / 1e6:.2f} MB.",
    ]
    write("features", "Kept features of a frozen tower", machine=where, rows=rows, notes=notes)


if __name__ == "__main__":
    main()
