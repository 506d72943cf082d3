"""The page's files as they lie: each is used, nothing comes from elsewhere, the policy lets all in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

import mustela
from mustela.regions import region_from_json

PAGE = Path(mustela.__file__).parent / "serve" / "page"
FILES = sorted(path for path in PAGE.rglob("*") if path.is_file() and path.suffix != ".pyc")
TEXTS = [path for path in FILES if path.suffix in {".html", ".css", ".js", ".json", ".svg"}]
HTML = (PAGE / "index.html").read_text(encoding="utf-8")
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in PAGE.glob("*.js")}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_a_file_names_no_other_address_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    addresses = set(re.findall(r"\w+://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert addresses == set()
    assert text.count("\n") <= 300


def test_the_policy_lets_everything_in() -> None:
    # No style or script inside the page, no handlers in attributes.
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]*\ssrc=)", HTML)
    for name, text in SCRIPTS.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function|setAttribute\(\"style", text
        ), name


def test_every_script_is_reached_and_every_name_exists() -> None:
    assert re.findall(r'<script[^>]*src="page/([^"]+)"', HTML) == ["app.js"]
    imported = {name for text in SCRIPTS.values() for name in re.findall(r'from "\./([^"]+)"', text)}
    assert imported | {"app.js"} == set(SCRIPTS)
    for name, text in SCRIPTS.items():
        for names, source in re.findall(r'import \{([^}]+)\} from "\./([^"]+)"', text):
            for each in names.split(","):
                exported = each.split(" as ")[0].strip()
                assert re.search(
                    rf"export (?:async )?(?:function\*?|class|const) {exported}\b", SCRIPTS[source]
                ), f"{name}: {exported}"


def test_every_id_that_a_script_or_label_names_is_in_the_page() -> None:
    ids = re.findall(r'\sid="([^"]+)"', HTML)
    assert len(ids) == len(set(ids))
    wanted = {name for text in SCRIPTS.values() for name in re.findall(r'byId\("([^"]+)"\)', text)}
    wanted |= {name for text in SCRIPTS.values() for name in re.findall(r'\bon\("([^"]+)"', text)}
    wanted |= set(re.findall(r'(?:href="#|for=")([^"]+)"', HTML))
    wanted |= {
        name
        for names in re.findall(r'aria-(?:describedby|labelledby)="([^"]+)"', HTML)
        for name in names.split()
    }
    assert wanted - set(ids) == set()


def test_the_page_names_only_files_that_exist() -> None:
    named = set(re.findall(r'(?:href|src)="page/([^"]+)"', HTML))
    assert {name for name in named if not (PAGE / name).is_file()} == set()
    known = {path.relative_to(PAGE).as_posix() for path in FILES}
    examples = json.loads((PAGE / "examples/examples.json").read_text(encoding="utf-8"))
    used = (
        named
        | set(SCRIPTS)
        | {"index.html", "examples/examples.json"}
        | {f"examples/{e['file']}" for e in examples}
    )
    assert known == used


def test_examples_are_right_and_small() -> None:
    examples = json.loads((PAGE / "examples/examples.json").read_text(encoding="utf-8"))
    for example in examples:
        path = PAGE / "examples" / example["file"]
        assert path.stat().st_size < 50_000
        with Image.open(path) as image:
            assert list(image.size) == example["size"]
        width, height = example["size"]
        regions = [region_from_json(value) for value in example["regions"]]
        for region in regions:
            x1, y1, x2, y2 = region.bounds_xyxy()
            assert x1 >= 0
            assert y1 >= 0
            assert x2 <= width
            assert y2 <= height
        numbers = sorted({int(number) for number in re.findall(r"\[region (\d+)\]", example["question"])})
        assert numbers == list(range(1, len(regions) + 1))
