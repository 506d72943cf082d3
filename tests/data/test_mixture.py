from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mustela.data.check import CheckOptions
from mustela.data.mixture import Mixture, choose, load_mixture, make_sources
from mustela.data.report import DataReport
from mustela.errors import ConfigError, RecordError


def write(path: Path, *ids: str, bad: tuple[str, ...] = ()) -> str:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "ok"}]
    records = [{"id": name, "conversations": turns if name not in bad else []} for name in ids]
    path.write_text(json.dumps(records), encoding="utf-8")
    return str(path)


def mix(tmp_path: Path, paths: list[str], *, seed: int = 0, **lists: list[float]) -> Mixture:
    mixture, _ = load_mixture(make_sources(paths, **lists), cache_dir=tmp_path / "cache", seed=seed)
    return mixture


def ids(mixture: Mixture) -> list[str]:
    return [mixture[index][0].id for index in range(len(mixture))]


def test_whole_copies_and_a_share_without_repeats(tmp_path: Path) -> None:
    a = write(tmp_path / "a.json", *(f"a{n}" for n in range(10)))
    b = write(tmp_path / "b.json", *(f"b{n}" for n in range(10)))
    found = ids(mix(tmp_path, [a, b], data_multiple=[2.3, 0.2]))
    counts = {name: found.count(name) for name in found}
    assert sorted(counts[f"a{n}"] for n in range(10)) == [2] * 7 + [3] * 3
    assert [counts[name] for name in counts if name.startswith("b")] == [1, 1]
    assert len(found) == 25


def test_the_share_follows_the_seed(tmp_path: Path) -> None:
    a = write(tmp_path / "a.json", *(f"a{n}" for n in range(50)))
    drawn = [ids(mix(tmp_path, [a], data_multiple=[0.2], seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize("multiple", [0, 0.5, 1, 1.0, 2.999, 3])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_as_many_as_the_multiple_says(multiple: float, count: int) -> None:
    chosen = choose(count, multiple, seed=0, position=0)
    assert len(chosen) == round(multiple * count)
    assert all(abs(n - multiple) < 1 for n in np.bincount(chosen, minlength=count))


def test_folders_one_for_all_or_one_each_or_beside_the_file(tmp_path: Path) -> None:
    paths = ["x/a.json", "y/b.json"]
    assert [s.image_folder for s in make_sources(paths)] == ["x", "y"]
    assert [s.image_folder for s in make_sources(paths, image_folder=["f"])] == ["f", "f"]
    assert [s.image_folder for s in make_sources(paths, image_folder=["f", "g"])] == ["f", "g"]
    assert [s.multiple for s in make_sources(paths)] == [1, 1]
    a, b = write(tmp_path / "a.json", "a"), write(tmp_path / "b.json", "b")
    mixture, _ = load_mixture(make_sources([a, b], image_folder=["f", "g"]), cache_dir=tmp_path / "cache")
    assert [mixture[n][1] for n in range(2)] == [Path("f"), Path("g")]


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"image_folder": ["f", "g"]}, "data_path has 3 entries, image_folder has 2"),
        ({"data_multiple": [1.0, 2.0]}, "data_path has 3 entries, data_multiple has 2"),
        ({"data_multiple": [1.0]}, "data_multiple has 1"),
        ({"data_multiple": [1.0, 2.0, -1.0]}, "-1.0"),
        ({"data_multiple": [1.0, 2.0, float("nan")]}, "nan"),
    ],
)
def test_lists_that_do_not_match_are_an_error(lists: dict[str, list[float]], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_sources(["a", "b", "c"], **lists)  # type: ignore[arg-type]
    assert words in str(error.value)


def test_no_file_is_an_error() -> None:
    with pytest.raises(ConfigError, match="data_path is empty"):
        make_sources([])


def test_the_faults_of_all_files_come_in_one_error(tmp_path: Path) -> None:
    a = write(tmp_path / "a.json", "a0", "a1", bad=("a1",))
    b = write(tmp_path / "b.json", "b0", "b1", bad=("b0", "b1"))
    with pytest.raises(RecordError) as error:
        load_mixture(make_sources([a, b]), cache_dir=tmp_path / "cache")
    for words in ("3 of 4 records", 'record "a1"', 'record "b0"', 'record "b1"', "on_bad_record"):
        assert words in str(error.value)


def test_bad_records_can_be_skipped_and_are_reported(tmp_path: Path) -> None:
    a = write(tmp_path / "a.json", "a0", "a1", "a2", bad=("a1",))
    mixture, report = load_mixture(make_sources([a]), cache_dir=tmp_path / "cache", on_bad_record="skip")
    assert ids(mixture) == ["a0", "a2"]
    report.write(tmp_path / "data_report.json")
    content = json.loads((tmp_path / "data_report.json").read_text(encoding="utf-8"))
    assert (content["read"], content["kept"], content["skipped"]) == (3, 2, 1)
    (file,) = content["files"]
    assert file["skipped_ids"] == ["a1"]
    assert file["faults"]["turns.empty"]["ids"] == ["a1"]
    assert "conversations is empty" in file["faults"]["turns.empty"]["examples"][0]


def test_a_broken_array_is_never_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"id": "a", ', encoding="utf-8")
    with pytest.raises(RecordError, match="beyond a syntax error"):
        load_mixture(make_sources([str(path)]), cache_dir=tmp_path / "cache", on_bad_record="skip")


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    a = write(tmp_path / "a.json", "a0", bad=("a0",))
    with pytest.raises(RecordError, match="no record is left"):
        load_mixture(make_sources([a]), cache_dir=tmp_path / "cache", on_bad_record="skip")
    with pytest.raises(ConfigError, match="'skip'"):
        load_mixture([], on_bad_record="ignore")  # type: ignore[arg-type]


def test_the_table_shows_what_was_mixed(tmp_path: Path) -> None:
    a = write(tmp_path / "a.json", *(f"a{n}" for n in range(10)))
    b = write(tmp_path / "b.json", *(f"b{n}" for n in range(10)))
    lines = mix(tmp_path, [a, b], data_multiple=[3, 1]).table().splitlines()
    assert [line.split()[-5:] for line in lines[1:3]] == [
        ["10", "3", "30", "75.0", "%"],
        ["10", "1", "10", "25.0", "%"],
    ]
    assert len({len(line.rstrip()) for line in lines[:3]}) == 1


def test_columns_follow_the_samples(tmp_path: Path) -> None:
    a = write(tmp_path / "a.json", "a0", "a1")
    assert mix(tmp_path, [a], data_multiple=[2]).column("characters").tolist() == [4] * 4


def test_indices_outside_are_refused(tmp_path: Path) -> None:
    mixture = mix(tmp_path, [write(tmp_path / "a.json", "a0")])
    for index in (-1, 1):
        with pytest.raises(IndexError):
            mixture[index]


def test_many_faults_are_counted_in_full_and_listed_in_part(tmp_path: Path) -> None:
    names = tuple(f"a{n}" for n in range(300))
    a = write(tmp_path / "a.json", *names, bad=names)
    options = CheckOptions()
    with pytest.raises(RecordError) as error:
        load_mixture(make_sources([a]), options=options, cache_dir=tmp_path / "cache")
    assert str(error.value).count("\n") < 30
    assert "... and 280 more errors" in str(error.value)


def test_a_summary_names_counts_and_faults(tmp_path: Path) -> None:
    a = write(tmp_path / "a.json", "a0", "a1", bad=("a1",))
    _, report = load_mixture(make_sources([a]), cache_dir=tmp_path / "cache", on_bad_record="skip")
    text = report.summary()
    assert "2 records read, 1 with errors, 0 repaired" in text
    assert "error turns.empty: 1 in 1 records" in text
    assert DataReport().summary() == ""
