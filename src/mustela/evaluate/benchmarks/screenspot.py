"""ScreenSpot and ScreenSpot-v2: where to click in a screenshot for an instruction.

Cheng et al. 2024, SeeClick; Wu et al. 2024, OS-ATLAS (v2, the corrected annotations). A click is right inside
the element's box, borders included. An answer with a box clicks its centre; the answer's first point or box
counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mustela.errors import RecordError
from mustela.evaluate.benchmarks.folder import Pictures, fill, need, read_json_lines
from mustela.evaluate.benchmarks.protocol import (
    Answer,
    Benchmark,
    Item,
    LoadOptions,
    Needed,
    Score,
    ScoreTools,
)
from mustela.evaluate.measure import measure
from mustela.regions import Point, image_size

_PLATFORMS = ("mobile", "desktop", "web")


def _load(suffix: str, root: Path, split: str, options: LoadOptions) -> list[Item]:
    pictures = Pictures(root)
    platforms = _PLATFORMS if split == "all" else (split,)
    items = []
    for platform in platforms:
        file = root / f"screenspot_{platform}{suffix}.json"
        for number, entry in enumerate(read_json_lines(file)):
            need(entry, ("img_filename", "bbox", "instruction", "data_type"), path=file, number=number)
            x, y, width, height = (float(value) for value in entry["bbox"])
            picture = pictures.path(str(entry["img_filename"]))
            kind, source = str(entry["data_type"]), str(entry.get("data_source", ""))
            items.append(
                Item(
                    id=f"{platform}-{number}",
                    kind="grounding",
                    picture=picture,
                    image_wh=image_size(root / picture) if (root / picture).is_file() else None,
                    question=fill(options.prompt, instruction=str(entry["instruction"])),
                    reference=str(entry["instruction"]),
                    boxes=((x, y, x + width, y + height),),
                    phrases=(str(entry["instruction"]),),
                    groups={
                        "platform and element": f"{platform} {kind}",
                        "platform": platform,
                        **({"source": source} if source else {}),
                    },
                )
            )
    return items


def click_of(answer: Answer) -> tuple[float, float] | None:
    """Return where an answer clicks, in pixels: its first point, or the centre of its first box."""
    if answer.missing:
        return None
    for found in answer.prediction.found().regions:
        if isinstance(found.region, Point):
            return found.region.x, found.region.y
        x1, y1, x2, y2 = found.region.bounds_xyxy()
        return (x1 + x2) / 2, (y1 + y2) / 2
    return None


def _score(answers: Sequence[Answer], tools: ScoreTools) -> Score:
    rows, failed = [], []
    for answer in answers:
        if len(answer.item.boxes) != 1:
            raise RecordError(f"question {answer.item.id!r} has no box to click into.")
        x1, y1, x2, y2 = answer.item.boxes[0]
        click = click_of(answer)
        failed.append(click is None)
        rows.append(
            {"click_accuracy": float(click is not None and x1 <= click[0] <= x2 and y1 <= click[1] <= y2)}
        )
    predictions = [answer.prediction for answer in answers]
    scores = [row["click_accuracy"] for row in rows]
    cells = [answer.item.groups["platform and element"] for answer in answers]
    figures = {
        "click_accuracy": measure(scores, predictions, seed=tools.seed),
        "macro_click_accuracy": measure(scores, predictions, classes=cells, seed=tools.seed),
    }
    note = "macro_click_accuracy is the mean over platform by text or icon, as in SeeClick's table."
    return Score(figures, rows, failed, notes=(note,))


def _benchmark(name: str, title: str, suffix: str, source: str, paper: str, size: str) -> Benchmark:
    def load(root: Path, split: str, options: LoadOptions) -> list[Item]:
        return _load(suffix, root, split, options)

    return Benchmark(
        name=name,
        title=title,
        measures="clicks into the element that an instruction means, on phones, desktops and the web",
        paper=paper,
        licence="Apache-2.0",
        size=size,
        splits=("all", *_PLATFORMS),
        files=(
            Needed(f"screenspot_*{suffix}.json", source),
            Needed("**/*.png | **/*.jpg", source, pictures=True),
        ),
        prompt="Where do I click to {instruction}?",
        load=load,
        score=_score,
        max_new_tokens=64,
    )


SCREENSPOT = _benchmark(
    "screenspot",
    "ScreenSpot",
    "",
    "https://github.com/njucckevin/SeeClick (screenspot_*.json and the folder of pictures)",
    "Cheng et al. 2024, SeeClick, arXiv:2401.10935",
    "1272 questions, about 1 GB",
)
SCREENSPOT_V2 = _benchmark(
    "screenspot_v2",
    "ScreenSpot-v2",
    "_v2",
    "https://huggingface.co/datasets/OS-Copilot/ScreenSpot-v2 (unpack screenspotv2_image.zip)",
    "Wu et al. 2024, OS-ATLAS, arXiv:2410.23218",
    "1272 questions, 1.33 GB (screenspotv2_image.zip)",
)
