"""The data report: complete counts, and lists that stay short."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mustela.data.check import CheckOptions
from mustela.data.faults import Fault, Severity
from mustela.data.reading import read_checked
from mustela.data.report import DataReport, FileReport
from mustela.errors import RecordError


def fault(kind: str, record_id: str, *, severity: Severity = "error", line: int | None = 1) -> Fault:
    return Fault(kind, severity, "f.json", line, record_id, 0, "value", "is odd.", "Mend it.")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (fault("a", "r1"), 'f.json:1 record "r1", turn 0, value: is odd. Mend it.'),
        (fault("a", "r1", line=None), 'f.json record "r1", turn 0, value: is odd. Mend it.'),
        (Fault("a", "error", "f.json", 3, "", None, "", "is odd.", ""), "f.json:3: is odd."),
    ],
)
def test_a_fault_is_one_line_of_place_message_and_remedy(given: Fault, text: str) -> None:
    assert str(given) == text


def test_records_and_faults_are_counted_apart() -> None:
    report = FileReport("f.json")
    report.add_record([], kept=True, turns=2, regions=1)
    report.add_record([fault("a", "r1"), fault("a", "r1"), fault("b", "r1")], kept=False)
    report.add_record([fault("c", "r2", severity="warning")], kept=True, turns=4, regions=3)
    report.add_record([fault("a", "", line=9)], kept=False)
    assert (report.read, report.kept, report.skipped, report.repaired) == (4, 2, 2, 1)
    assert (report.turns, report.regions) == (6, 4)
    assert report.skipped_ids == ["r1", "line 9"]
    assert (report.faults["a"].count, report.faults["a"].records) == (3, 2)
    assert report.faults["a"].ids == ["r1", "line 9"]
    assert (report.count("error"), report.count("warning")) == (4, 1)
    assert report.lines("warning") == [str(fault("c", "r2", severity="warning"))]


def test_lists_end_and_counts_go_on() -> None:
    report = FileReport("f.json")
    for number in range(10_050):
        report.add_record([fault("a", f"r{number}")], kept=False)
    counted = report.faults["a"]
    assert (report.skipped, counted.count, counted.records) == (10_050, 10_050, 10_050)
    assert (len(report.skipped_ids), len(counted.ids), len(counted.examples)) == (10_000, 10_000, 100)


def test_a_report_survives_json() -> None:
    report = FileReport("f.json", "images")
    report.add_record([fault("a", "r1")], kept=False)
    assert FileReport.from_json(json.loads(json.dumps(asdict(report)))) == report


def test_the_file_adds_up_all_data_files(tmp_path: Path) -> None:
    report = DataReport([FileReport("a.json"), FileReport("b.json")])
    report.files[0].add_record([], kept=True)
    report.files[1].add_record([fault("a", "half \ud800 é")], kept=False)
    report.files[1].add_record([fault("b", "r2", severity="warning")], kept=True)
    report.write(tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [content[name] for name in ("read", "kept", "skipped", "repaired")] == [3, 2, 1, 1]
    assert [file["path"] for file in content["files"]] == ["a.json", "b.json"]
    assert content["files"][1]["skipped_ids"] == ["half \ud800 é"]


def test_warnings_alone_raise_nothing() -> None:
    report = DataReport([FileReport("a.json")])
    report.files[0].add_record([fault("b", "r2", severity="warning")], kept=True)
    assert not report.has_errors
    report.raise_for_errors()
    assert "0 with errors, 1 repaired" in report.summary()


def test_one_pass_lists_the_faults_of_a_whole_file(tmp_path: Path) -> None:
    turns: list[dict[str, Any]] = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "ok"}]
    bad: dict[str, list[dict[str, Any]]] = {
        "backwards": [turns[1], turns[0], turns[1]],
        "twice": [turns[0], turns[0], turns[1]],
        "nothing": [],
        "empty": [turns[0], {"from": "gpt", "value": ""}],
        "null": [turns[0], {"from": "gpt", "value": None}],
    }
    records: list[dict[str, Any]] = [{"id": f"good{n}", "conversations": turns} for n in range(4)]
    records.append({"id": "system", "conversations": [{"from": "system", "value": "Be brief."}, *turns]})
    records += [{"id": name, "conversations": conversation} for name, conversation in bad.items()]
    path = tmp_path / "f.jsonl"
    path.write_text("\n".join([*map(json.dumps, records[::-1]), '{"id": "cut",']), encoding="utf-8")
    report = DataReport([FileReport(str(path))])
    read = list(read_checked(path, CheckOptions(images="none"), report=report.files[0]))
    assert sorted(report.files[0].skipped_ids) == sorted([*bad, "line 11"])
    assert next(item.record.system for item in read if item.record is not None) == "Be brief."
    with pytest.raises(RecordError) as error:
        report.raise_for_errors()
    text = str(error.value)
    assert "6 of 11 records" in text
    for name in bad:
        assert f'record "{name}"' in text
    assert f"{path}:11: " in text
