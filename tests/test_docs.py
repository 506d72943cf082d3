"""The documentation says what the program does: links, commands, settings, records and snippets."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

from mustela.cli.main import build_parser
from mustela.config import resolve

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


DATA_COMMANDS = ("convert", "check", "view", "tokens", "stats", "shapes")


class Block(NamedTuple):
    """A fenced block of code: its page, line, language and text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match[2], textwrap.dedent(match[3]))
        for match in found
    ]


BLOCKS = [block for page in PAGES for block in blocks(page)]


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def commands() -> list[tuple[str, list[str]]]:
    found = []
    for block in of("bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["mustela"]:
                found.append((f"{block}: {' '.join(words[:3])}", words[1:]))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [target for target in targets if not re.match(r"https?:|mailto:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize(("where", "words"), commands(), ids=[where for where, _ in commands()])
def test_command_parses(where: str, words: list[str]) -> None:
    args = build_parser().parse_args(words)
    if args.command != "train":
        return
    from mustela.cli.processes import take_processes
    from mustela.config.training import all_fields

    flags = take_processes(args.arguments)[1]
    # The reader's own recipe does not exist here.
    if flags and flags[0].endswith(".yaml") and not (ROOT / flags[0]).exists():
        flags = flags[1:]
    resolve(flags, all_fields())


def test_every_flag_in_the_prose_exists() -> None:
    from mustela.config.renamed import RENAMED
    from mustela.config.training import all_fields

    known = {*all_fields(), *RENAMED, "help", "traceback", "num_processes"}
    known |= {
        "nproc_per_node",
        "nnodes",
        "standalone",
        "shutdown",
        "rdzv_backend",
        "rdzv_endpoint",
        "rdzv_id",
    }
    known |= {"config_file"}  # of accelerate launch
    known |= {"model_args", "tasks"}  # of lmms-eval
    # The beginnings of flags of docker, useradd, pip and vllm.
    known |= {
        "constraint",
        "create",
        "enable",
        "gpus",
        "interval",
        "model",
        "no",
        "read",
        "rm",
        "start",
        "stop",
    }
    known |= {"tmpfs", "uid"}
    helps = [
        subprocess.run([sys.executable, "-m", "mustela", *command, "--help"], capture_output=True, text=True)
        for command in (
            ["evaluate"],
            ["score"],
            ["benchmarks"],
            ["compare"],
            ["robustness"],
            ["ask"],
            ["bases"],
            ["serve"],
            ["chat"],
            ["merge"],
            *(["data", name] for name in DATA_COMMANDS),
            ["convert", "ml-ferret"],
            ["convert", "llava"],
            ["export"],
        )
    ]
    known |= {flag for done in helps for flag in re.findall(r"--(\w+)", done.stdout)}
    for script in (Path(__file__).parents[1] / "benchmarks").glob("*.py"):
        known |= set(re.findall(r'add_argument\("--(\w+)"', script.read_text(encoding="utf-8")))
    named = {
        flag
        for page in PAGES
        if page.name not in ("CONTRIBUTING.md", "CHANGELOG.md")
        for flag in re.findall(r"(?<![\w-])--([a-z]\w*)(?![\w.])", page.read_text(encoding="utf-8"))
    }
    assert named - known == set()


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_recipe_resolves(block: Block, tmp_path: Path) -> None:
    from mustela.config.training import all_fields

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(block.text, encoding="utf-8")
    resolve([str(recipe)], all_fields())


RECORDS = [block for block in of("json") if '"conversations"' in block.text]


@pytest.mark.parametrize("block", RECORDS, ids=str)
def test_record_is_read(block: Block, tmp_path: Path) -> None:
    from mustela.data import read_records

    file = tmp_path / "records.json"
    file.write_text(json.dumps([json.loads(block.text)]), encoding="utf-8")
    (record,) = read_records(file)
    assert sum(len(turn.regions) for turn in record.turns) > 0


# Not those that need a model or a server.
SNIPPETS = [
    block for block in of("python") if "from_pretrained" not in block.text and "OpenAI(" not in block.text
]


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_snippet_runs_and_gives_what_it_says(block: Block) -> None:
    names: dict[str, object] = {}
    for line in block.text.splitlines():
        code, _, said = line.partition("  # ")
        if not said:
            exec(line, names)
            continue
        value = eval(code, names)
        expected = said.strip()
        array = re.fullmatch(r"(\([\d, ]+\)) (\w+)", expected)
        shown = f"{getattr(value, 'shape', '')} {getattr(value, 'dtype', '')}" if array else repr(value)
        assert shown == expected


def test_chinese_first_screen_has_the_same_commands() -> None:
    english = {block.text for block in blocks(ROOT / "README.md") if block.language == "bash"}
    chinese = {block.text for block in blocks(ROOT / "README.zh.md") if block.language == "bash"}
    assert {without_comments(text) for text in english} == {without_comments(text) for text in chinese}


def without_comments(script: str) -> str:
    return "\n".join(line.split("#")[0].rstrip() for line in script.splitlines())


def test_every_make_target_in_the_documentation_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named - targets == set()


@pytest.mark.slow
def test_documentation_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the docs extra is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', home)
