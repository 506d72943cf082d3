"""Checking whole files: every fault once, in one process or several, and what is suspicious."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.data.formats.samples import SAMPLES, picture, write

from mustela.data.check import CheckOptions
from mustela.data.inspection import Inspection, inspect_files
from mustela.errors import RecordError


def record(name: str, answer: str = "a dog", box: Any = (10, 20, 40, 44), **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is <bbox_location0>?"},
            {"from": "gpt", "value": answer},
        ],
        "image": f"{name}.jpg", "image_w": 64, "image_h": 48, "box_x1y1x2y2": [[list(box)], []], **more,
    }  # fmt: skip


def inspect(*files: Path, **options: Any) -> Inspection:
    return inspect_files([(str(file), None) for file in files], CheckOptions(**options))


def kinds(inspection: Inspection) -> set[str]:
    return {each.kind for each in inspection.suspicions}


def test_clean_file_has_no_fault_and_nothing_suspicious(tmp_path: Path) -> None:
    inspection = inspect(write(tmp_path / "x", [record(str(n), f"thing {n}") for n in range(30)]))
    assert inspection.suspicions == []
    assert (inspection.reports[0].kept, inspection.reports[0].skipped) == (30, 0)
    assert "Ferret JSON" in inspection.reports[0].format


def test_processes_find_what_one_finds(tmp_path: Path) -> None:
    records = [record(str(n), box=(10, 20, 5 if n % 7 == 0 else 40, 44)) for n in range(400)]
    file = write(tmp_path / "x", records)
    one, two = (inspect_files([(str(file), None)], CheckOptions(), workers=workers) for workers in (1, 2))
    assert one.reports == two.reports
    assert one.surveys == two.surveys
    assert one.suspicions == two.suspicions


@pytest.mark.parametrize(
    ("records", "kind", "options"),
    [
        ([record(str(n), f"a {n}", (40, 30, 12, 14)) for n in range(20)], "boxes.xywh", {}),
        ([record(str(n), f"a {n}", (10, 20, 90, 44)) for n in range(20)], "boxes.reach_out", {}),
        ([record(str(n), f"a {n}", (100, 200, 900, 990), image_w=2000, image_h=2000) for n in range(20)],
         "boxes.norm1000", {}),
        ([record("1", box=(10, 20, 12, 44))], "boxes.tiny", {}),
        ([record(str(n), "yes" if n % 4 else "no") for n in range(30)], "answers.one", {}),
        ([record(str(n), "cat" if n < 300 else f"animal {n % 30}") for n in range(700)], "answers.skew", {}),
    ],
)  # fmt: skip
def test_suspicious(records: list[Any], kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    assert kinds(inspect(write(tmp_path / "x", records), **options)) == {kind}


def test_picture_of_training_in_the_test_is_found_under_another_name(tmp_path: Path) -> None:
    for name, size in (("1", (64, 48)), ("2", (60, 48))):
        picture(tmp_path / f"{name}.jpg", size)
    (tmp_path / "3.jpg").write_bytes((tmp_path / "1.jpg").read_bytes())
    train = write(tmp_path / "train", [record("1"), record("2", image_w=60)])
    test = write(tmp_path / "test", [record("3")])
    inspection = inspect_files([(str(train), str(tmp_path)), (str(test), str(tmp_path))], CheckOptions())
    assert [each.kind for each in inspection.suspicions] == ["pictures.shared"]
    assert "1 pictures are also in" in str(inspection.suspicions[0])


def test_picture_that_does_not_open_is_a_fault(tmp_path: Path) -> None:
    whole = picture(tmp_path / "1.jpg", (640, 480)).read_bytes()
    (tmp_path / "1.jpg").write_bytes(whole[: len(whole) // 2])
    file = write(tmp_path / "x", [record("1", image_w=640, image_h=480)])
    inspection = inspect_files([(str(file), str(tmp_path))], CheckOptions(images="decode"))
    assert set(inspection.reports[0].faults) == {"image.unreadable"}


@pytest.mark.parametrize("name", ["osprey", "shikra", "swift", "chat"])
def test_other_conversations_are_checked_as_they_are(name: str, tmp_path: Path) -> None:
    inspection = inspect(SAMPLES[name](tmp_path))
    assert inspection.reports[0].faults == {}
    assert inspection.reports[0].kept >= 1


def test_conversations_with_their_pictures_inside_are_checked_and_captions_are_told(tmp_path: Path) -> None:
    file = SAMPLES["webdataset"](tmp_path)
    inspection = inspect(file)
    (report,) = inspection.reports
    assert (report.read, report.kept) == (2, 1)
    (example,) = report.faults["turns.empty"].examples
    assert "a caption and no conversation" in example
    assert "mustela data convert" in example
    assert len(inspection.surveys[0].pictures) == 1


@pytest.mark.parametrize("name", ["coco", "voc"])
def test_annotations_are_pointed_to_the_conversion(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=f"mustela data convert --from {name} --annotations"):
        inspect(SAMPLES[name](tmp_path))


def test_pictures_of_every_bad_kind_are_listed(tmp_path: Path) -> None:
    from PIL import Image

    whole = picture(tmp_path / "half.jpg", (640, 480)).read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.jpg").write_text("<html>404</html>", encoding="utf-8")
    (tmp_path / "nothing.jpg").write_bytes(b"")
    Image.new("1", (20000, 10000)).save(tmp_path / "bomb.jpg", "PNG")
    picture(tmp_path / "good.jpg")
    names = ("half", "page", "nothing", "bomb", "good")
    records = [record(name, image_w=None, image_h=None) for name in names]
    file = write(tmp_path / "x", records)
    inspection = inspect_files([(str(file), str(tmp_path))], CheckOptions(images="decode"))
    (report,) = inspection.reports
    assert report.skipped_ids == ["half", "page", "nothing", "bomb"]
    examples = report.faults["image.unreadable"].examples
    assert all(f"{name}.jpg" in text for name, text in zip(names[:4], examples, strict=True))
