"""COCO, CVAT, Label Studio and LabelMe: what can't be used is reported, and never taken for absent."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.data.formats.samples import COCO, LABEL_STUDIO, LABELME, write

from mustela.data.check import CheckOptions
from mustela.data.formats import FORMATS, Scene, Source
from mustela.data.formats.source import Found
from mustela.data.tasks.placed import place_scene
from mustela.errors import RecordError
from mustela.regions import Mask

DOG = {"id": 7, "image_id": 1, "category_id": 18, "bbox": [10, 20, 30, 24]}
RESULT: Mapping[str, Any] = LABEL_STUDIO[0]["annotations"][0]["result"][0]  # type: ignore[index]


def read(name: str, path: Path) -> tuple[list[Scene], list[str]]:
    """Return the scenes that a format's reader finds, and the faults."""
    found: list[Found] = list(FORMATS[name].read(Source(path)))
    return [each.value for each in found if isinstance(each.value, Scene)], [
        each.fault for each in found if each.fault is not None
    ]


def place(scene: Scene) -> tuple[frozenset[str], str]:
    """Return the names that aren't asked for, and what is reported."""
    placed, faults = place_scene(scene, CheckOptions(), folder=None, names={}, file="x", line=None)
    assert placed is not None
    return placed.partial, "\n".join(fault.message for fault in faults)


def pixels(scene: Scene) -> list[list[int]]:
    """Return (y, x) of the pixels of the mask of the first object."""
    assert scene.size_wh is not None
    found: list[list[int]] = np.argwhere(
        Mask.from_rle(scene.things[0].region["mask"]).raster(scene.size_wh)
    ).tolist()
    return found


def coco(folder: Path, **changes: Any) -> tuple[list[Scene], list[str]]:
    return read("coco", write(folder / "x", {**COCO, "annotations": [DOG], **changes}))


@pytest.mark.parametrize(("image", "annotation"), [("1", 1), (1, "1"), (1.0, 1)])
def test_coco_ids_are_compared_as_text(image: Any, annotation: Any, tmp_path: Path) -> None:
    images = [{**COCO["images"][0], "id": image}]
    (scene,), faults = coco(
        tmp_path, images=images, annotations=[{**DOG, "image_id": annotation, "category_id": "18"}]
    )
    assert ([thing.name for thing in scene.things], faults) == (["dog"], [])
    assert scene.complete


def test_coco_annotations_of_no_picture_are_reported_and_nothing_is_denied(tmp_path: Path) -> None:
    (first, second), (fault,) = coco(tmp_path, annotations=[DOG, {**DOG, "image_id": 5}])
    assert "1 in all: 5." in fault
    assert (first.complete, second.complete, second.exhaustive) == (True, False, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [COCO["images"][0], COCO["images"][0]]}, "the id 1 is that of the picture in line"),
        ({"images": [{**COCO["images"][0], "id": [1]}]}, r"'id' is \[1\]. It is a number or a text"),
        ({"annotations": [{**DOG, "image_id": None}]}, "'image_id' is None. It is a number or a text"),
        ({"categories": [{"id": 18, "name": None}]}, "the name of category 18 is None. It is a text"),
    ],
)
def test_coco_ids_and_names_that_cannot_be_used(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecordError, match=message):
        coco(tmp_path, **changes)


@pytest.mark.parametrize("annotation", [{"segmentation": []}, {"segmentation": None}, {}, {"bbox": None}])
def test_coco_object_without_a_region_is_reported_and_not_denied(
    annotation: dict[str, Any], tmp_path: Path
) -> None:
    (scene, _), faults = coco(tmp_path, annotations=[{"image_id": 1, "category_id": 18, **annotation}])
    assert faults == []
    partial, reported = place(scene)
    assert partial == {"dog"}
    assert "neither a bbox nor a segmentation" in reported


@pytest.mark.parametrize("category", [99, None, [18]])
def test_coco_object_of_an_unknown_category_may_be_anything(category: Any, tmp_path: Path) -> None:
    (scene, other), (fault,) = coco(tmp_path, annotations=[DOG, {**DOG, "id": 8, "category_id": category}])
    assert f"annotation 8 of picture 1: no entry of 'categories' has its category_id {category}" in fault
    assert [thing.name for thing in scene.things] == ["dog"]
    assert (scene.exhaustive, scene.complete, other.complete) == (False, False, True)


def test_coco_null_is_missing(tmp_path: Path) -> None:
    image = {**COCO["images"][0], "width": None, "height": None, "neg_category_ids": None}
    (scene,), faults = coco(tmp_path, images=[image])
    assert (scene.size_wh, scene.absent, faults) == (None, frozenset(), [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": "wide"}, "width and height are 'wide' and 48"),
        ({"neg_category_ids": 3}, "neg_category_ids is 3. It is a list"),
    ],
)
def test_coco_picture_that_cannot_be_used_is_a_fault(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (_,), (fault,) = coco(tmp_path, images=[{**COCO["images"][0], **change}, COCO["images"][1]])
    assert message in fault


def cvat(folder: Path, content: str, name: str = "x") -> tuple[list[Scene], list[str]]:
    image = f'<image id="0" name="a.jpg" width="64" height="48">{content}</image>'
    return read("cvat", write(folder / name, f"<annotations>{image}</annotations>"))


def test_cvat_turned_boxes_and_ellipses_become_outlines(tmp_path: Path) -> None:
    (scene,), faults = cvat(
        tmp_path,
        '<box label="a" xtl="10" ytl="20" xbr="50" ybr="30" rotation="90"/>'
        '<ellipse label="b" cx="30" cy="20" rx="10" ry="4"/>'
        '<ellipse label="c" cx="30" cy="20" rx="10" ry="4" rotation="90"/>',
    )
    assert faults == []
    box, ellipse, turned = (thing.region["xyxy"] for thing in scene.things)
    np.testing.assert_allclose(box, [25, 5, 35, 45])
    np.testing.assert_allclose(ellipse, [20, 16, 40, 24])
    np.testing.assert_allclose(turned, [26, 10, 34, 30])
    assert len(scene.things[0].region["mask"][0]) == 8


@pytest.mark.parametrize("tag", ["cuboid", "skeleton", "splat"])
def test_cvat_other_shapes_are_reported_and_not_denied(tag: str, tmp_path: Path) -> None:
    (scene,), _ = cvat(tmp_path, f'<{tag} label="dog"/>')
    partial, reported = place(scene)
    assert partial == {"dog"}
    assert tag in reported


def test_cvat_tags_are_not_denied(tmp_path: Path) -> None:
    (scene,), _ = cvat(tmp_path, '<tag label="dog"/>')
    assert (scene.things, scene.partial) == ((), {"dog"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('<box label="dog" xtl="1" xbr="3" ybr="4"/>', "image 'a.jpg': <box label='dog'> has no ytl."),
        ('<box label="dog" xtl="1" ytl="?" xbr="3" ybr="4"/>', "ytl of <box> is '?'. It is a number"),
        ('<polygon label="dog" points="1,2;3"/>', "points of <polygon> is '1,2;3'"),
        ('<mask label="d" rle="a" left="0" top="0" width="1" height="1"/>', "no count of pixels"),
    ],
)
def test_cvat_broken_shape_says_what_is_wrong(content: str, message: str, tmp_path: Path) -> None:
    found, (fault,) = cvat(tmp_path, content)
    assert found == []
    assert message in fault


def test_cvat_video_says_what_to_export(tmp_path: Path) -> None:
    track = '<track id="0" label="dog"><box frame="0" xtl="1" ytl="2" xbr="3" ybr="4"/></track>'
    with pytest.raises(RecordError, match=r"tracks of a video.*'CVAT for images"):
        read("cvat", write(tmp_path / "x", f"<annotations><meta/>{track}</annotations>"))


def test_cvat_mask_is_cut_at_the_picture(tmp_path: Path) -> None:
    (scene,), _ = cvat(tmp_path, '<mask label="s" rle="0, 4" left="-1" top="47" width="2" height="2"/>')
    assert pixels(scene) == [[47, 0]]
    (scene,), _ = cvat(tmp_path, '<mask label="s" rle="0, 4" left="-5" top="0" width="2" height="2"/>', "y")
    assert place(scene)[0] == {"s"}


def studio(folder: Path, **changes: Any) -> tuple[list[Scene], list[str]]:
    return read("label_studio", write(folder / "x", [{**LABEL_STUDIO[0], **changes}]))


@pytest.mark.parametrize("annotations", [[], [{"was_cancelled": True, "result": [RESULT]}]])
def test_label_studio_task_without_annotation_is_no_negative(annotations: list[Any], tmp_path: Path) -> None:
    found, (fault,) = studio(tmp_path, annotations=annotations)
    assert found == []
    assert "task 1: it has no annotation that isn't cancelled" in fault


def test_label_studio_takes_the_first_annotation_that_is_not_cancelled(tmp_path: Path) -> None:
    annotations = [{"was_cancelled": True, "result": []}, {"result": [RESULT]}, {"result": []}]
    (scene,), faults = studio(tmp_path, annotations=annotations)
    assert ([thing.name for thing in scene.things], faults) == (["dog"], [])
    (scene,), _ = studio(tmp_path, annotations=[{"result": []}])
    assert scene.things == ()


def test_label_studio_region_without_size_is_reported_and_not_denied(tmp_path: Path) -> None:
    result = {key: value for key, value in RESULT.items() if key != "original_width"}
    (scene,), _ = studio(tmp_path, annotations=[{"result": [result]}])
    partial, reported = place(scene)
    assert partial == {"dog"}
    assert "missing: original_width" in reported


@pytest.mark.parametrize(
    ("data", "target", "image"),
    [
        ({"caption": "a dog and/or a cat", "image": "/data/upload/1/a.jpg"}, None, "a.jpg"),
        ({"image_id": "12/5", "image": "/data/upload/1/a.jpg"}, None, "a.jpg"),
        ({"caption": "yes/no", "image_id": "7", "photo": "s3://bucket/1/a.jpg"}, "img", "a.jpg"),
        ({"image": "/data/a.jpg", "second": "/data/b.jpg"}, "second", "b.jpg"),
        ({"image": "/data/a.jpg", "second": "/data/b.jpg"}, "$second", "b.jpg"),
        ({"image": "/data/a.jpg", "text": "one/two"}, "text", "a.jpg"),
        ({"thumb": "/data/t.jpg", "image_url": "/data/a.jpg"}, "img", "a.jpg"),
        ({"image": "https://b.example/x/a%20b.jpg?X-Sig=c/d&e=f"}, None, "a b.jpg"),
        ({"image": "/data/local-files/?d=set/a.jpg"}, None, "set/a.jpg"),
    ],
)
def test_label_studio_picture(data: dict[str, str], target: str | None, image: str, tmp_path: Path) -> None:
    result = RESULT if target is None else {**RESULT, "to_name": target}
    (scene,), faults = studio(tmp_path, data=data, annotations=[{"result": [result]}])
    assert (scene.image, faults) == (image, [])


def test_label_studio_task_of_several_pictures_is_a_scene_each(tmp_path: Path) -> None:
    data = {"left": "/data/a.jpg", "right": "/data/b.jpg"}
    results = [{**RESULT, "to_name": "left"}, {**RESULT, "to_name": "right"}, {**RESULT, "to_name": "right"}]
    found, _ = studio(tmp_path, data=data, annotations=[{"result": results}])
    assert [(scene.id, scene.image, len(scene.things)) for scene in found] == [
        ("1:left", "a.jpg", 1),
        ("1:right", "b.jpg", 2),
    ]
    found, (fault,) = studio(tmp_path, data={"image": "a.jpg"}, annotations=[{"result": results}])
    assert found == []
    assert "its results are for left, right, and 'data' has no 'left'" in fault


@pytest.mark.parametrize("data", [{"caption": "a/b"}, {"a": "x/1.jpg", "b": "x/2.jpg"}, {}])
def test_label_studio_picture_that_cannot_be_told_is_a_fault(data: dict[str, str], tmp_path: Path) -> None:
    found, (fault,) = studio(tmp_path, data=data)
    assert found == []
    assert "which is the picture's address can't be told" in fault


def labelme(folder: Path, *shapes: Any) -> tuple[list[Scene], list[str]]:
    return read("labelme", write(folder / "a.json", {**LABELME, "shapes": shapes}))


def mask_shape(left: int, top: int) -> dict[str, Any]:
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8)).save(file, "PNG")
    picture = base64.b64encode(file.getvalue()).decode()
    points = [[left, top], [left + 1, top + 1]]
    return {"label": "dog", "shape_type": "mask", "points": points, "mask": picture}


@pytest.mark.parametrize(
    ("corner", "expected"),
    [
        ((4, 5), [[5, 5], [6, 4]]),
        ((-1, 5), [[5, 0]]),
        ((4, -1), [[0, 4]]),
        ((63, 5), [[6, 63]]),
        ((4, 47), [[47, 5]]),
    ],
)
def test_labelme_mask_is_cut_at_the_picture(
    corner: tuple[int, int], expected: list[list[int]], tmp_path: Path
) -> None:
    (scene,), faults = labelme(tmp_path, mask_shape(*corner))
    assert (pixels(scene), faults) == (expected, [])


@pytest.mark.parametrize("corner", [(-5, 5), (70, 5), (4, 60)])
def test_labelme_mask_outside_the_picture_is_reported(corner: tuple[int, int], tmp_path: Path) -> None:
    (scene,), _ = labelme(tmp_path, mask_shape(*corner))
    partial, reported = place(scene)
    assert partial == {"dog"}
    assert "outside" in reported


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"points": [[1, 2, 3]]}, "a point is [1, 2, 3]; it is [x, y]"),
        ({"points": []}, "points is []"),
        ({"shape_type": "circle", "points": [[1, 2]]}, "a circle has 1 points"),
        ({**mask_shape(1, 1), "mask": "AAAA"}, "its mask can't be read"),
    ],
)
def test_labelme_bad_shape_is_reported_by_its_index(
    shape: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (scene,), (fault,) = labelme(tmp_path, LABELME["shapes"][1], {"label": "dog", **shape})  # type: ignore[index]
    assert fault.startswith("shapes[1] ('dog'): ")
    assert message in fault
    assert [thing.name for thing in scene.things] == ["cat"]
    assert (scene.partial, scene.complete) == ({"dog"}, True)


def test_labelme_shape_without_a_label_may_be_anything(tmp_path: Path) -> None:
    (scene,), (fault,) = labelme(tmp_path, {"points": [[1, 2], [3, 4]]})
    assert fault.startswith("shapes[0] (None): ")
    assert (scene.complete, scene.exhaustive) == (False, False)
