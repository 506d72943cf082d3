import json
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from mustela.data.record import ImageRef, Record
from mustela.errors import ConfigError, ImageError, RecordError
from mustela.evaluate import evaluate, read_predictions
from mustela.evaluate.answering import answer_window, windows_of
from mustela.evaluate.predictions import Prediction
from mustela.evaluate.questions import questions_from
from mustela.regions import Box

NAMES = ["evaluation.json", "metrics.json", "predictions.jsonl"]


def run(tiny, records, out: Path, images: Path, **changes) -> dict:
    settings = {"batch_size": 2, "max_new_tokens": 6, **changes}
    return evaluate(*tiny, records, out_dir=out, image_folder=images, **settings)


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES}


def test_an_evaluation_leaves_predictions_metrics_and_what_was_evaluated(
    tiny, records, image_folder, tmp_path
) -> None:
    metrics = run(tiny, records, tmp_path / "out", image_folder, about={"model": "tiny"})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == NAMES
    assert metrics == json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["questions"]["total"] == 7
    found = read_predictions(tmp_path / "out/predictions.jsonl")
    assert list(found) == [question.id for question in questions_from(records)]
    first = found["r0#0"]
    assert first.question == "What is <region>?"
    assert first.question_regions == (Box(4, 5, 30, 40),)
    assert first.image_wh == (64, 48)
    grounding = found["r0#2"]
    assert grounding.reference_boxes == ((4.0, 5.0, 30.0, 40.0),)
    assert grounding.reference == "a red star [62, 104, 468, 833]."
    assert grounding.reference_phrases == ("red star",)
    assert len({item.text for item in found.values()}) > 2


def test_the_answers_do_not_hang_on_the_batch(tiny, records, image_folder, tmp_path) -> None:
    for size in (1, 3, 7):
        run(tiny, records, tmp_path / str(size), image_folder, batch_size=size)
    texts = [
        [item.text for item in read_predictions(tmp_path / str(size) / "predictions.jsonl").values()]
        for size in (1, 3, 7)
    ]
    assert texts[0] == texts[1] == texts[2]


def test_the_same_evaluation_gives_the_same_bytes(tiny, records, image_folder, tmp_path) -> None:
    for name in ("a", "b"):
        torch.manual_seed(ord(name))
        run(tiny, records, tmp_path / name, image_folder)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_every_picture_is_encoded_once_in_a_window(tiny, records, image_folder, monkeypatch) -> None:
    model, processor = tiny
    encoded = []
    encode = type(model).encode_images
    monkeypatch.setattr(
        type(model),
        "encode_images",
        lambda self, **inputs: encoded.append(len(inputs["pixel_values"])) or encode(self, **inputs),
    )
    (window,) = windows_of(questions_from(records), batch_size=2)
    batches = answer_window(
        model, processor, window, image_folder=image_folder, batch_size=2, max_new_tokens=3
    )
    assert sum(len(batch) for batch in batches) == 7
    assert encoded == [3]


def test_windows_hold_whole_pictures(records) -> None:
    questions = questions_from(records * 4)
    windows = windows_of(questions, batch_size=2)
    pictures = [{question.picture for question in window} for window in windows]
    assert sum(len(window) for window in windows) == len(questions)
    assert sum(len(names) for names in pictures) == len(set().union(*pictures)) == 3


class StopError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("torn", [False, True])
def test_an_interrupted_evaluation_goes_on_where_it_was(tiny, records, image_folder, tmp_path, torn) -> None:
    run(tiny, records, tmp_path / "whole", image_folder)
    calls = []

    def stop_after_two_batches(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 2:
            raise StopError

    with pytest.raises(StopError):
        run(tiny, records, tmp_path / "cut", image_folder, progress=stop_after_two_batches)
    path = tmp_path / "cut/predictions.jsonl"
    assert path.read_bytes().count(b"\n") == 4
    if torn:
        path.write_bytes(path.read_bytes()[:-20])
    resumed = []
    run(
        tiny,
        records,
        tmp_path / "cut",
        image_folder,
        progress=lambda done, total: resumed.append((done, total)),
    )
    assert resumed[0] == ((4, 7) if torn else (6, 7))
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")


def test_a_finished_evaluation_asks_nothing_again(tiny, records, image_folder, tmp_path, monkeypatch) -> None:
    run(tiny, records, tmp_path, image_folder)
    before = files_of(tmp_path)
    monkeypatch.setattr(
        "mustela.evaluate.answering.generate_texts", lambda *_, **__: pytest.fail("asked again")
    )
    run(tiny, records, tmp_path, image_folder)
    assert files_of(tmp_path) == before


def test_predictions_of_another_model_or_other_questions_are_refused(
    tiny, records, image_folder, tmp_path
) -> None:
    model, _ = tiny
    run(tiny, records, tmp_path, image_folder)
    with pytest.raises(ConfigError, match=r"another evaluation \(questions_fingerprint"):
        run(tiny, records[:2], tmp_path, image_folder)
    with pytest.raises(ConfigError, match="max_new_tokens 6 instead of 7"):
        run(tiny, records, tmp_path, image_folder, max_new_tokens=7)
    weight = next(model.parameters())
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight += 1
        with pytest.raises(ConfigError, match="model_fingerprint"):
            run(tiny, records, tmp_path, image_folder)
        assert run(tiny, records, tmp_path, image_folder, overwrite=True)["questions"]["total"] == 7
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def test_a_model_in_training_is_left_as_it_was(tiny, records, image_folder, tmp_path) -> None:
    model, _ = tiny
    try:
        model.train()
        model.base.model.vision_tower.eval()
        modes = [module.training for module in model.modules()]
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        run(tiny, records, tmp_path, image_folder)
        assert torch.equal(torch.rand(3), expected)
        assert [module.training for module in model.modules()] == modes
    finally:
        model.eval()


def test_missing_pictures_name_the_question_and_the_remedy(tiny, records, tmp_path) -> None:
    with pytest.raises(ImageError, match=r'question "r0#0".*0\.png.*image_folder'):
        run(tiny, records, tmp_path / "out", tmp_path)


def test_a_folder_that_can_not_be_made_is_named(tiny, records, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file: the folder can't be made"):
        evaluate(*tiny, records, out_dir=tmp_path / "file")


def test_data_without_questions_is_an_error(tiny, tmp_path) -> None:
    with pytest.raises(RecordError, match="no question to evaluate"):
        run(tiny, [], tmp_path / "out", tmp_path)


def test_text_only_and_two_picture_records_are_asked_too(tiny, records, image_folder, tmp_path) -> None:
    text = Record(
        "text", (), (replace(records[0].turns[2], text="Hello?"), replace(records[0].turns[1], text="Hi."))
    )
    images = (ImageRef("0.png", (64, 48)), ImageRef("1.png", (64, 48)))
    both = Record("both", images, (records[0].turns[2], records[0].turns[3]))
    run(tiny, [text, both, records[0]], tmp_path / "out", image_folder)
    together = read_predictions(tmp_path / "out/predictions.jsonl")
    for record in (text, both):
        run(tiny, [record], tmp_path / record.id, image_folder)
        (alone,) = read_predictions(tmp_path / record.id / "predictions.jsonl").values()
        assert together[alone.question_id] == alone
    assert together["text#0"].image_wh is None


def _rank(rank: int, world: int, port: int, tiny, records, out: str, images: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world
    )
    try:
        run(tiny, records, Path(out), Path(images))
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(("count", "world"), [(21, 2), (5, 4)])
def test_several_processes_answer_every_question_once_and_score_as_one_does(
    tiny, records, image_folder, tmp_path, count, world
) -> None:
    pool = [replace(records[0], id=f"n{i}", images=(ImageRef(f"n{i}.png", (64, 48)),)) for i in range(count)]
    asked = [replace(record, turns=record.turns[:2]) for record in pool]
    for record in asked:
        shutil.copy(image_folder / "0.png", image_folder / record.images[0].path)
    run(tiny, asked, tmp_path / "one", image_folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = (world, port, tiny, asked, str(tmp_path / "many"), str(image_folder))
    torch.multiprocessing.start_processes(_rank, args=arguments, nprocs=world, start_method="fork")
    lines = (tmp_path / "many/predictions.jsonl").read_text().splitlines()
    assert len(lines) == len({json.loads(line)["question_id"] for line in lines}) == count
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")


def test_the_file_alone_gives_the_metrics_again(tiny, records, image_folder, tmp_path) -> None:
    from mustela.evaluate import score_predictions

    metrics = run(tiny, records, tmp_path, image_folder)
    found: list[Prediction] = list(read_predictions(tmp_path / "predictions.jsonl").values())
    assert score_predictions(found) == metrics
