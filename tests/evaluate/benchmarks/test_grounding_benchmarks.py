"""Flickr30k Entities, ScreenSpot and Ref-L4 in miniature, figures worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from tests.evaluate.benchmarks.conftest import ScoreTexts, picture, values, write_json

from mustela.errors import RecordError
from mustela.evaluate.benchmarks import find_benchmark


@pytest.fixture
def flickr(tmp_path: Path) -> Path:
    """One picture, two sentences; two men (two boxes each) and a dog; boxes count from 1."""
    picture(tmp_path / "flickr30k-images" / "123.jpg")
    sentences, annotations = tmp_path / "Sentences", tmp_path / "Annotations"
    sentences.mkdir()
    annotations.mkdir()
    (sentences / "123.txt").write_text(
        "[/EN#1/people Two men] walk [/EN#2/animals a dog] .\n"
        "[/EN#3/scene A park] with [/EN#2/animals the dog] .\n"
    )
    boxes = {"1": [(1, 1, 11, 11), (31, 1, 41, 11)], "2": [(51, 11, 71, 31)]}
    objects = "".join(
        f"<object><name>{entity}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>"
        for entity, corners in boxes.items()
        for a, b, c, d in corners
    )
    (annotations / "123.xml").write_text(
        "<annotation><filename>123.jpg</filename><size><width>100</width><height>50</height></size>"
        f"{objects}</annotation>"
    )
    (tmp_path / "test.txt").write_text("123\n")
    return tmp_path


def test_flickr_questions(flickr: Path) -> None:
    first, second = find_benchmark("flickr30k").items(flickr)
    assert first.question == "What are the locations of Two men, a dog?"
    assert first.boxes == ((0, 0, 10, 10), (30, 0, 40, 10), (50, 10, 70, 30))
    assert first.phrases == ("Two men", "Two men", "a dog")
    # A phrase without a box is not asked for.
    assert second.question == "What are the locations of the dog?"
    whole = find_benchmark("flickr30k").items(flickr, prompt="Describe with boxes: {sentence}")
    assert whole[0].question == "Describe with boxes: Two men walk a dog ."


def test_flickr_any_and_merged(flickr: Path, score_texts: ScoreTexts) -> None:
    scored = score_texts(
        "flickr30k",
        flickr,
        {
            # The men: the first box is one of them (any: hit at 1), the second the hull 0..40 (merged: at 5).
            "123-0": "Two men [0, 0, 10, 10], [0, 0, 40, 10] and a dog [0, 0, 5, 5].",
            "123-1": "the dog [50, 10, 70, 30].",
        },
    )
    found = values(scored)
    # Three phrases: the men, the dog (missed), the dog (found).
    assert found["any_r_1"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["merged_r_1"] == pytest.approx(1 / 3, abs=1e-6)
    assert (
        found["merged_r_5"]
        == found["merged_r_10"]
        == found["merged_upper_bound"]
        == pytest.approx(2 / 3, abs=1e-6)
    )
    assert scored.metrics["figures"]["any_r_1"]["n"] == 3
    kinds = scored.metrics["details"]["phrase_kinds"]
    assert kinds["animals"]["phrases"] == 2
    assert kinds["animals"]["any_r_1"] == 0.5
    assert kinds["people"]["merged_r_1"] == 0.0


@pytest.fixture(params=["screenspot", "screenspot_v2"])
def screens(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    suffix = "_v2" if request.param.endswith("v2") else ""
    for platform in ("mobile", "desktop", "web"):
        picture(tmp_path / "imgs" / f"{platform}.png")
        entries = [
            {
                "img_filename": f"{platform}.png",
                "bbox": [10, 10, 20, 10],
                "instruction": "open",
                "data_type": "text",
            }
        ]
        if platform == "web":
            icon = {
                "bbox": [50, 20, 10, 10],
                "instruction": "close",
                "data_type": "icon",
                "data_source": "shop",
            }
            entries += [{"img_filename": "web.png", **icon}] * 2
        write_json(tmp_path / f"screenspot_{platform}{suffix}.json", entries)
    return request.param, tmp_path


def test_screenspot(screens: tuple[str, Path], score_texts: ScoreTexts) -> None:
    name, root = screens
    scored = score_texts(
        name,
        root,
        {
            "mobile-0": "click [30, 20]",  # the corner of the box counts as inside
            "desktop-0": "[0, 10, 40, 20]",  # a box clicks its centre, 20, 15
            "web-0": "[31, 15]",
            "web-1": "(55, 25)",
            "web-2": "nowhere",
        },
    )
    # Cells: mobile text 1, desktop text 1, web text 0, web icon 1 / 2.
    assert values(scored) == {"click_accuracy": 0.6, "macro_click_accuracy": 0.625}
    assert scored.metrics["parse_failures"] == 1
    assert scored.metrics["groups"]["platform"]["web"]["value"] == pytest.approx(1 / 3)
    assert [item.id for item in find_benchmark(name).items(root, split="web")] == ["web-0", "web-1", "web-2"]


def test_ref_l4(tmp_path: Path, score_texts: ScoreTexts) -> None:
    picture(tmp_path / "images" / "o365" / "a.jpg", (600, 400))
    boxes = {"v1": [0.0, 0.0, 100.0, 100.0], "v2": [0.0, 0.0, 300.0, 300.0], "v3": [0.0, 0.0, 200.0, 100.0]}
    rows = [
        {
            "id": key,
            "caption": f"the thing {key}",
            "bbox": box,
            "ori_category_id": "o365_1" if key == "v1" else "o365_2",
            "height": 400,
            "width": 600,
            "file_name": "a.jpg",
        }
        for key, box in boxes.items()
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "ref-l4-test.parquet")
    scored = score_texts(
        "ref_l4",
        tmp_path,
        {"v1": "[0, 0, 100, 100]", "v2": "[0, 0, 300, 240]", "v3": "[0, 0, 100, 100]"},
    )
    # IoU 1, 0.8 and 0.5: strictly above them are 10, 6 and none of 0.50 ... 0.95.
    found = values(scored)
    assert found["acc_50"] == found["acc_75"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["acc_90"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["macc"] == pytest.approx(1.6 / 3, abs=1e-6)
    assert found["class_average_macc"] == pytest.approx((1.0 + 0.3) / 2)
    assert "not as published" in scored.metrics["notes"][-1]
    sizes = {name: group["n"] for name, group in scored.metrics["groups"]["box size"].items()}
    assert sizes == {"small (< 128²)": 1, "medium": 1, "large (> 256²)": 1}


def test_ref_l4_merges_classes_by_the_table_of_its_authors(tmp_path: Path, score_texts: ScoreTexts) -> None:
    picture(tmp_path / "a.jpg", (600, 400))
    row = {"caption": "it", "bbox": [0.0, 0.0, 100.0, 100.0], "height": 400, "width": 600}
    kinds = {"v1": "refcoco_1", "v2": "o365_1", "v3": "o365_2"}
    rows = [{**row, "file_name": "a.jpg", "id": key, "ori_category_id": kind} for key, kind in kinds.items()]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "ref-l4-test.parquet")
    right = {"v1": "[0, 0, 100, 100]"}
    apart = values(score_texts("ref_l4", tmp_path, right))
    assert apart["class_average_acc_50"] == pytest.approx(1 / 3, abs=1e-6)
    scorer = tmp_path / "repository" / "ref_l4" / "evaluation.py"
    scorer.parent.mkdir(parents=True)
    scorer.write_text('raise SystemExit\nmapping_dict = {"refcoco_1": "o365_1"}\n')
    merged = score_texts("ref_l4", tmp_path, right)
    assert values(merged)["class_average_acc_50"] == pytest.approx((1 / 2 + 0) / 2)
    assert "by the authors' table" in merged.metrics["notes"][-1]
    scorer.write_text("mapping_dict = make()\n")
    with pytest.raises(RecordError, match=r"evaluation\.py: the table of classes can't be read"):
        score_texts("ref_l4", tmp_path, right)
    scorer.write_text("")
    with pytest.raises(RecordError, match="there is no mapping_dict"):
        score_texts("ref_l4", tmp_path, right)
