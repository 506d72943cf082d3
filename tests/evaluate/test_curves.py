import json
from pathlib import Path

from mustela.evaluate.curves import read_curves


def test_without_a_log_there_is_nothing_to_draw(tmp_path: Path) -> None:
    curves = read_curves(tmp_path / "log.jsonl")
    assert not curves
    assert curves.steps == 0


def test_a_log_with_a_torn_line_gives_its_curves_and_stages_follow_one_another(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    entries = [
        {"stage": stage, "step": step, "loss": 3 - step / 10, "learning_rate": 1e-3}
        for stage in ("refer", "mixture")
        for step in range(1, 11)
    ]
    entries.append(
        {"stage": "mixture", "step": 10, "eval_loss": 1.0, "eval_referring_accuracy": 0.5, "time": 1.0}
    )
    entries.append({"step": "not a number"})
    entries.append({"stage": "mixture", "step": 10, "loss": None, "eval_grounding_acc_50": float("nan")})
    log.write_text("\n".join(json.dumps(entry) for entry in entries) + '\n{"step": 11, "lo', encoding="utf-8")
    curves = read_curves(log)
    assert curves.steps == 20
    assert "refer" in curves.loss
    assert "held out" in curves.loss
    assert "referring" in curves.accuracy
    assert "50%" in curves.accuracy
    assert curves.learning_rate
    assert curves.learning_rate_wide


def test_the_main_figures_of_benchmarks_are_drawn(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    names = ("flickr30k_test_merged_r_1", "lvis_open_val_semantic_iou", "coco_detection_val2017_ap")
    log.write_text(json.dumps({"step": 1} | {f"eval_{name}": 0.5 for name in names}) + "\n", encoding="utf-8")
    drawn = read_curves(log).accuracy
    assert all(name in drawn for name in ("merged r 1", "semantic iou", "val2017 ap"))


def test_one_stage_has_no_shading(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n', encoding="utf-8")
    curves = read_curves(log)
    assert "stage" not in curves.loss
    assert curves.accuracy == ""
