"""Records as samples: a function of seed, epoch and position, in any number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mustela.data.augment import Augmentation
from mustela.data.check import CheckOptions
from mustela.data.collator import Collator
from mustela.data.dataset import RecordDataset
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.data.render import RenderOptions
from mustela.errors import ImageError, RecordError, RegionError
from mustela.regions import Box


class Records(list):
    """Records in one folder."""

    def __init__(self, records: list[Record], folder: Path) -> None:
        super().__init__((record, folder) for record in records)


def record(name: str, *, question: str = "What is <bbox_location0>?", answer: str = "a red star") -> Record:
    region = RegionAnnotation(Box(5, 5, 45, 35))
    turns = (Turn("user", f"<image>\n{question}", (region,)), Turn("assistant", answer))
    return Record(name, (ImageRef(f"{name}.png", (64, 48)),), turns)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(6):
        pixels = np.random.default_rng(index).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    return tmp_path


@pytest.fixture
def dataset(folder, processor):
    def make(*names: str, records: tuple[Record, ...] = (), **options) -> RecordDataset:
        chosen = [record(name) for name in names or map(str, range(6))] if not records else list(records)
        settings = {"options": RenderOptions(), "seed": 3, **options}
        return RecordDataset(Records(chosen, folder), processor, **settings)

    return make


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def test_the_same_epoch_gives_the_same_samples_in_any_order(dataset):
    made = dataset(augmentation=Augmentation(0.5, 0.5, 0.2))
    made.set_epoch(4)
    forwards = [made[index] for index in range(6)]
    backwards = [made[index] for index in reversed(range(6))][::-1]
    assert all(equal(*pair) for pair in zip(forwards, backwards, strict=True))


def test_another_epoch_or_seed_draws_anew(dataset):
    made = dataset()
    first = [made[index]["region_points"] for index in range(6)]
    made.set_epoch(1)
    assert not any(torch.equal(made[index]["region_points"], first[index]) for index in range(6))
    other = dataset(seed=4)
    assert not any(torch.equal(other[index]["region_points"], first[index]) for index in range(6))


def test_point_or_box_is_drawn_for_training(dataset, processor):
    made = dataset()
    texts = set()
    for epoch in range(8):
        made.set_epoch(epoch)
        ids = made[0]["input_ids"]
        texts.add(processor.tokenizer.decode(ids).count(","))
    assert texts == {1, 3}


def test_without_training_nothing_is_drawn(dataset):
    made = dataset(
        train=False, options=RenderOptions(box_input="box"), augmentation=Augmentation(1.0, 1.0, 1.0)
    )
    first = made[0]
    made.set_epoch(9)
    assert equal(first, made[0])


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_workers_change_nothing(dataset, processor):
    made = dataset(augmentation=Augmentation(0.5, 0.5, 0.2))
    made.set_epoch(2)
    batches = [
        list(DataLoader(made, batch_size=4, num_workers=workers, collate_fn=Collator(processor.pad_token_id)))
        for workers in (0, 2)
    ]
    assert len(batches[0]) == len(batches[1]) == 2
    assert all(equal(*pair) for pair in zip(*batches, strict=True))


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_is_replaced_by_the_next_record_and_counted(dataset, workers, caplog):
    made = dataset("0", "broken", "2", "missing", on_bad_image="skip")
    samples = list(DataLoader(made, batch_size=None, num_workers=workers))
    assert equal(samples[1], made[2])
    assert equal(samples[3], made[0])
    assert made.skipped == {"too_long": 0, "bad_image": 2}
    if workers == 0:
        assert 'record "broken"' in caplog.text
        assert 'record "missing"' in caplog.text


def test_a_bad_image_is_an_error_that_names_record_and_file(dataset):
    with pytest.raises(ImageError, match=r'record "broken": .*broken\.png'):
        dataset("0", "broken")[1]


def test_a_path_that_leaves_the_folder_is_an_error(dataset):
    with pytest.raises(ImageError, match="leaves the image folder"):
        dataset("../0")[0]


def test_what_the_checks_allow_is_read_and_what_they_refuse_is_not(dataset, folder):
    elsewhere = str(folder / "0")
    with pytest.raises(ImageError, match="absolute"):
        dataset(elsewhere)[0]
    allowed = dataset(elsewhere, checks=CheckOptions(absolute_paths=True))[0]
    assert torch.equal(allowed["pixel_values"], dataset("0")[0]["pixel_values"])
    with pytest.raises(ImageError, match=r'record "0": .*1000'):
        dataset("0", checks=CheckOptions(max_image_pixels=1000))[0]


def test_a_record_that_is_too_long_is_replaced_and_counted_by_name(dataset, caplog):
    long = record("1", answer="a red star " * 40)
    made = dataset(records=(record("0"), long, record("2")), max_length=60)
    assert equal(made[1], made[2])
    assert made.skipped == {"too_long": 1, "bad_image": 0}
    assert 'record "1": the sample needs' in caplog.text
    assert "is 60" in caplog.text


def test_no_usable_record_at_all_is_an_error(dataset):
    with pytest.raises(RecordError, match="none of the 2 records gives a sample"):
        dataset("broken", "missing", on_bad_image="skip")[0]


def test_other_faults_name_the_record(dataset):
    region = RegionAnnotation(Box(100, 100, 120, 120))
    outside = Record(
        "0",
        record("0").images,
        (Turn("user", "<image>\n<bbox_location0>?", (region,)), Turn("assistant", "No.")),
    )
    with pytest.raises((RegionError, RecordError), match='record "0"'):
        dataset(records=(outside,), options=RenderOptions(box_input="box"))[0]
