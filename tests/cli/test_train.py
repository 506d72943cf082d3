"""`mustela train` from the command line."""

from __future__ import annotations

import json

import pytest
import yaml
from tests.evaluate.benchmarks.conftest import picture, write_lines

from mustela.cli.main import main
from mustela.data.shapes import write_shapes

RECIPE = {
    "from_scratch": {
        "language_model": {
            "model_type": "llama",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            "tie_word_embeddings": True,
        },
        "vision_tower": {
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
        },
        "tokenizer": {"vocab_size": 350},
    },
    "version": "chatml",
    "region_encoder": "mean",
    "region_points": 16,
    "resized_image_h": 32,
    "resized_image_w": 32,
    "model_max_length": 700,
    "max_steps": 2,
    "logging_steps": 1,
    "use_cpu": True,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "eval_records": 1,
    "eval_max_new_tokens": 4,
    "eval_pictures": 2,
}


def write_pope(root):
    picture(root / "COCO_val2014_1.jpg")
    lines = [
        {"question_id": n, "image": "COCO_val2014_1.jpg", "text": "Is there a dog?", "label": "yes"}
        for n in range(3)
    ]
    write_lines(root / "coco_pope_random.json", lines)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--eval_benchmarks", "pope_random:5"], "--eval_strategy"),
        (["--eval_benchmarks", "pope_random:5", "--eval_strategy", "steps"], "0 values"),
        (
            ["--eval_benchmarks", "dlc_bench", "--eval_benchmark_root", "pope", "--eval_strategy", "steps"],
            "a judge takes no part",
        ),
        (
            [
                "--eval_benchmarks",
                "refcoco_val:9",
                "--eval_benchmark_root",
                "pope",
                "--eval_strategy",
                "steps",
            ],
            "lacks files of RefCOCO",
        ),
    ],
)
def test_slices_of_benchmarks_are_checked_before_anything_is_loaded(
    options, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_pope(tmp_path / "pope")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    assert main(["train", "tiny.yaml", "--eval_strategy", "no", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_benchmarks_alone_are_asked_without_held_out_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shapes("shapes", train=4, val=0)
    write_pope(tmp_path / "pope")
    recipe = {
        **RECIPE,
        "data_path": ["shapes/train_refer.json"],
        "image_folder": ["shapes/images"],
        "eval_benchmarks": ["pope_random:2"],
        "eval_benchmark_root": ["pope"],
    }
    recipe.pop("eval_data_path", None)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert main(["train", "tiny.yaml", "--eval_strategy", "steps"]) == 0
    log = [json.loads(line) for line in (tmp_path / "runs/tiny/log.jsonl").read_text("utf-8").splitlines()]
    assert any("eval_pope_random_accuracy" in line for line in log)
    assert not any("eval_loss" in line for line in log)


def test_help_lists_flags_of_all_three_groups(capsys):
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    for flag in (
        "--region_encoder",
        "--data_multiple [",
        "--data_path",
        "--lora_r [64]",
        "--warmup_steps",
        "presets:",
    ):
        assert flag.removesuffix(" [") in text


def test_a_misspelt_flag_ends_with_the_nearest_name(capsys):
    assert main(["train", "--learning_rte", "1"]) == 2
    assert "Did you mean 'learning_rate'?" in capsys.readouterr().err


def test_missing_data_ends_with_one_message(capsys, tmp_path):
    status = main(
        [
            "train",
            "--model_name_or_path",
            "x/y",
            "--data_path",
            "no.json",
            "--output_dir",
            str(tmp_path / "run"),
        ]
    )
    assert status == 2
    assert "no.json: there is no such file" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_ends_with_numbers_pictures_and_a_report(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shapes("shapes", train=4, val=1)
    recipe = {
        **RECIPE,
        "data_path": ["shapes/train_refer.json"],
        "image_folder": ["shapes/images"],
        "eval_data_path": ["shapes/val.json"],
        "eval_benchmarks": ["pope_random:1"],
        "eval_benchmark_root": ["pope"],
    }
    write_pope(tmp_path / "pope")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert main(["train", "tiny.yaml", "--evaluation_strategy", "steps"]) == 0
    captured = capfd.readouterr()
    assert captured.err.count("--evaluation_strategy is called --eval_strategy now.") == 1
    run = tmp_path / "runs" / "tiny"
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    for name in (
        "referring_accuracy",
        "referring_macro_accuracy",
        "grounding_acc_50",
        "presence_accuracy",
        "parse_failure_rate",
    ):
        assert 0 <= metrics[name] <= 1
    assert (run / "report.html").stat().st_size > 10_000
    assert len(list((run / "pictures" / "000002").iterdir())) == 2
    log = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    assert any("eval_referring_accuracy" in line for line in log)
    assert any("eval_loss" in line for line in log)
    assert {line["eval_pope_random_accuracy"] for line in log if "eval_pope_random_accuracy" in line} <= {
        0.0,
        1.0,
    }
    assert any("eval_pope_random_parse_failure_rate" in line for line in log)
    # Again: nothing to train, and nothing to answer again.
    assert main(["train", "tiny.yaml"]) == 0
    assert "is finished" in capfd.readouterr().err
