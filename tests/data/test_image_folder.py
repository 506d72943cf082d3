from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mustela.data.image_folder import ImageFault, ImageFolder, locate_image
from mustela.errors import ImageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "img"
    (images / "sub").mkdir(parents=True)
    outside = tmp_path / "disk"
    outside.mkdir()
    for path in (images / "1.jpg", outside / "2.jpg"):
        Image.new("RGB", (8, 6)).save(path)
    (images / "link.jpg").symlink_to(outside / "2.jpg")
    (images / "inner.jpg").symlink_to(images / "1.jpg")
    (images / "linked").symlink_to(outside)
    return images


@pytest.mark.parametrize("path", ["1.jpg", "./1.jpg", "sub/../1.jpg", "sub//../1.jpg", "link.jpg"])
def test_paths_inside_the_folder_are_found(folder: Path, path: str) -> None:
    assert ImageFolder(folder).look(path) == (8, 6)


@pytest.mark.parametrize(
    "path", ["../../etc/hostname", "..", "sub/../../img/1.jpg", "/etc/hostname", "", "a\0b"]
)
def test_paths_that_leave_the_folder_are_refused(folder: Path, path: str) -> None:
    with pytest.raises(ImageError, match="image path") as error:
        locate_image(path, folder)
    assert repr(path) in str(error.value)
    found = ImageFolder(folder, check="none").look(path)
    assert isinstance(found, ImageFault)
    assert found.kind == "image.path"


def test_absolute_paths_need_a_setting(folder: Path) -> None:
    path = str(folder.parent / "disk" / "2.jpg")
    assert locate_image(path, folder, absolute_paths=True) == Path(path)
    with pytest.raises(ImageError, match="absolute_paths"):
        locate_image(path, folder)


@pytest.mark.parametrize(
    ("symlinks", "allowed"),
    [
        ("follow", {"1.jpg", "inner.jpg", "link.jpg", "linked/2.jpg"}),
        ("inside", {"1.jpg", "inner.jpg"}),
        ("refuse", {"1.jpg"}),
    ],
)
def test_links_are_followed_as_set(folder: Path, symlinks: Any, allowed: set[str]) -> None:
    looked = ImageFolder(folder, symlinks=symlinks)
    paths = ["1.jpg", "inner.jpg", "link.jpg", "linked/2.jpg"]
    assert {path for path in paths if not isinstance(looked.look(path), ImageFault)} == allowed


def test_the_wrong_case_is_named_with_the_full_path(folder: Path) -> None:
    if (folder / "1.JPG").exists():
        pytest.skip("the file system ignores case")
    found = ImageFolder(folder).look("1.JPG")
    assert isinstance(found, ImageFault)
    assert str(folder / "1.JPG") in found.message
    assert "'1.jpg'" in found.remedy


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    found = ImageFolder(tmp_path / "nowhere").look("1.jpg")
    assert isinstance(found, ImageFault)
    assert "Check the image folder" in found.remedy


def test_broken_files_are_found_by_decoding(folder: Path) -> None:
    whole = folder / "whole.jpg"
    Image.effect_noise((64, 64), 90).save(whole)
    (folder / "half.jpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "page.jpg").write_bytes(b"<html>404</html>")
    (folder / "empty.jpg").write_bytes(b"")
    Image.new("1", (20_000, 10_000)).save(folder / "bomb.png")
    names = ["half.jpg", "page.jpg", "empty.jpg", "bomb.png"]
    decoding = ImageFolder(folder, check="decode")
    for name in names:
        found = decoding.look(name)
        assert isinstance(found, ImageFault)
        assert found.kind == "image.unreadable"
        assert str(folder / name) in found.message
    assert ImageFolder(folder).look("half.jpg") == (64, 64)
    bomb = decoding.look("bomb.png")
    assert isinstance(bomb, ImageFault)
    assert "max_pixels" in bomb.message
    assert decoding.look("whole.jpg") == (64, 64)


def test_each_picture_is_looked_at_once(folder: Path) -> None:
    looked = ImageFolder(folder)
    assert looked.look("1.jpg") == (8, 6)
    (folder / "1.jpg").unlink()
    assert looked.look("1.jpg") == (8, 6)


def test_pictures_are_found_under_a_locale_without_unicode(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode("数据".encode())
    folder.mkdir()
    with (folder / os.fsdecode("图 片é.jpg".encode())).open("wb") as file:
        Image.new("RGB", (8, 6)).save(file, "JPEG")
    turns = [{"from": "human", "value": "<image>\n找到"}, {"from": "gpt", "value": "羊"}]
    record = {"id": "é", "image": "数据/图 片é.jpg", "conversations": turns}
    missing = {**record, "id": "羊", "image": "数据/没有.jpg"}
    (tmp_path / "x.jsonl").write_text(json.dumps(record) + "\n" + json.dumps(missing), encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; from mustela.data.mixture import *;"
        "from mustela.data.image_folder import locate_image; from mustela.regions import load_image;"
        "root = Path(sys.argv[1]); sources = make_sources([str(root / 'x.jsonl')]);"
        "mixture, report = load_mixture(sources, cache_dir=root / 'cache', on_bad_record='skip');"
        "record, folder = mixture[0]; assert len(mixture) == 1; report.write(root / 'report.json');"
        "assert load_image(locate_image(record.images[0].path, folder)).size == (8, 6);"
        "sys.stdout.buffer.write(record.images[0].path.encode('utf-8')); print(report.summary())"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().startswith("数据/图 片é.jpg")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["files"][0]["skipped_ids"] == ["羊"]
