from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mustela.data.json_stream import stream_json
from mustela.errors import RecordError

BOM = b"\xef\xbb\xbf"
A, B = {"id": "a", "n": [1, 2.5]}, {"id": "b", "t": '{"[,é'}


def values(path: Path, **kwargs: int) -> list[object]:
    items = list(stream_json(path, **kwargs))
    assert [item.fault for item in items if item.fault] == []
    return [item.value for item in items]


def text_of(kind: str) -> bytes:
    a, b = json.dumps(A), json.dumps(B, ensure_ascii=False)
    return {
        "lines": f"{a}\n{b}\n",
        "lines without a final newline": f"{a}\n{b}",
        "CRLF and blank lines": f"{a}\r\n\r\n  \r\n{b}\r\n",
        "array": f"[{a},{b}]",
        "pretty array": json.dumps([A, B], indent=2, ensure_ascii=False),
        "array with blanks round it": f"\r\n [ \r\n{a}\r\n , {b} ] \r\n",
    }[kind].encode()


KINDS = [
    "lines",
    "lines without a final newline",
    "CRLF and blank lines",
    "array",
    "pretty array",
    "array with blanks round it",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mark", [b"", BOM], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x"])
def test_content_and_not_the_name_decides_how_a_file_is_read(
    tmp_path: Path, kind: str, mark: bytes, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(mark + text_of(kind))
    assert values(path) == [A, B]


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("kind", ["array", "pretty array", "array with blanks round it"])
def test_chunk_size_changes_nothing(tmp_path: Path, kind: str, chunk_size: int) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text_of(kind))
    assert values(path, chunk_size=chunk_size) == [A, B]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(
    records=st.lists(st.dictionaries(st.text(max_size=5), json_values, max_size=4), max_size=5),
    chunk_size=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_any_array_is_read_as_json_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[object],
    chunk_size: int,
    indent: int | None,
    ascii_only: bool,
) -> None:
    path = tmp_path_factory.mktemp("any") / "x.json"
    path.write_text(json.dumps(records, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    assert values(path, chunk_size=chunk_size) == records


@pytest.mark.parametrize("content", [b"", b"  \r\n", BOM, b"[]", b" [ ] "])
def test_empty_files_hold_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert values(path) == []


def test_a_broken_line_is_named_and_the_next_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(BOM + b'{"id":"a"}\r\n\r\n{"id":"b",\r\n{"id":"c"}\r\n')
    first, broken, last = stream_json(path)
    assert first.value == {"id": "a"}
    assert (broken.line, broken.last) == (3, False)
    assert broken.fault is not None
    assert "property name" in broken.fault
    assert (last.line, last.value) == (4, {"id": "c"})


@pytest.mark.parametrize("chunk_size", [3, 1 << 20])
@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ('[\n{"id": "a"},\n{"id": "b",\n}]', 3, "line 4"),
        ('[\n{"id": "a"}\n{"id": "b"}]', 3, "expected ',' or ']'"),
        ('[\n{"id": "a"},\n{"id": "b"', 3, "line 3"),
        ('[\n{"id": "a"},\n{"id": "b', 3, "Unterminated string"),
        ('[{"id": "a"}', 1, "the end of the file"),
        ('[{"id": "a"}]\n{"id": "b"}', 2, "after the closing"),
    ],
)
def test_a_broken_array_names_line_and_reason_and_ends(
    tmp_path: Path, content: str, line: int, reason: str, chunk_size: int
) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    *good, broken = stream_json(path, chunk_size=chunk_size)
    assert [item.value for item in good] == [{"id": "a"}]
    assert broken.last
    assert broken.line == line
    assert broken.fault is not None
    assert reason in broken.fault


def test_an_early_fault_does_not_read_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('[{"id": 1 2},' + '{"id": "a"},' * 100_000, encoding="utf-8")
    (broken,) = stream_json(path, chunk_size=256)
    assert broken.last


@pytest.mark.parametrize("content", [b'{"id": "\xff"}', b'[{"id": "\xff"}]'])
def test_text_that_is_not_utf8_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    (broken,) = stream_json(path)
    assert broken.fault is not None
    assert "byte 0xff" in broken.fault
    assert "UTF-8" in broken.fault


def test_utf16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[]", encoding="utf-16")
    (broken,) = stream_json(path)
    assert "UTF-16" in str(broken.fault)


@pytest.mark.parametrize("content", ["[" * 100_000, "[" + '{"a":' * 100_000])
def test_deep_nesting_is_a_fault_and_no_crash(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    (broken,) = stream_json(path)
    assert broken.fault is not None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"nowhere\.json"):
        list(stream_json(tmp_path / "nowhere.json"))
