"""Samples: image tokens, labels, region points, and what a too long conversation loses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mustela.constants import IGNORE_INDEX
from mustela.data.message import Message, Slot
from mustela.data.processor import MustelaProcessor
from mustela.data.render import Rendered, RenderedRegion
from mustela.data.rounds import SampleTooLongError
from mustela.errors import CheckpointError, CountMismatchError, RecordError
from mustela.regions import Box, Point

IMAGE, REGION = Slot.IMAGE, Slot.REGION


def conversation(*turns: tuple[str | Slot, ...], regions: tuple[RenderedRegion, ...] = ()) -> Rendered:
    roles = ("user", "assistant")
    return Rendered("r1", tuple(Message(roles[i % 2], turn) for i, turn in enumerate(turns)), regions)


def picture(size_wh: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.new("RGB", size_wh, "grey")


def supervised(processor: MustelaProcessor, sample: dict[str, torch.Tensor]) -> str:
    return str(processor.tokenizer.decode(sample["labels"][sample["labels"] != IGNORE_INDEX]))


def test_an_image_slot_becomes_as_many_tokens_as_features(processor):
    sample = processor.encode(conversation((IMAGE, "What is this?"), ("a red star.",)), [picture()])
    is_image = sample["input_ids"] == processor.image_token_id
    assert int(is_image.sum()) == 16
    assert is_image.nonzero().flatten().diff().eq(1).all()
    assert sample["pixel_values"].shape == (1, 3, 32, 32)
    assert sample["num_images"] == 1
    assert (sample["labels"][is_image] == IGNORE_INDEX).all()


def test_labels_are_the_answers_behind_expanded_images(processor):
    rendered = conversation(
        (IMAGE, "What is this?"),
        ("a red star.",),
        ("And ", IMAGE, "?"),
        ("a blue circle.",),
        ("No?",),
        ("Yes.",),
    )
    sample = processor.encode(rendered, [picture(), picture((20, 80))])
    assert supervised(processor, sample) == "a red star.<|end|>a blue circle.<|end|>Yes.<|end|>"
    known = sample["labels"] != IGNORE_INDEX
    assert torch.equal(sample["labels"][known], sample["input_ids"][known])
    assert int((sample["input_ids"] == processor.image_token_id).sum()) == 32


def test_a_text_has_no_image_tensors(processor):
    sample = processor.encode(conversation(("What is this?",), ("No.",)), [])
    assert set(sample) == {"input_ids", "labels", "num_images"}
    assert sample["num_images"] == 0


@pytest.mark.parametrize("template", ["compact", "v1", "chatml", "gemma"])
def test_prompt_of_a_generation_begins_the_training_ids(template, make_processor):
    processor = make_processor(template)
    region = (RenderedRegion(Box(0, 0, 9, 9)),)
    turns = ((IMAGE, "What is ", REGION, "?"), ("a red star.",))
    trained = processor.encode(conversation(*turns, regions=region), [picture()])
    prompt = processor.encode(conversation(*turns[:1], regions=region), [picture()], generation=True)
    assert "labels" not in prompt
    length = len(prompt["input_ids"])
    assert torch.equal(trained["input_ids"][:length], prompt["input_ids"])
    assert (trained["labels"][:length] == IGNORE_INDEX).all()
    assert (trained["labels"][length:] != IGNORE_INDEX).any()
    assert torch.equal(trained["region_points"], prompt["region_points"])


def test_digit_weights_stay_with_their_labels_behind_images(processor):
    rendered = conversation((IMAGE, "Where?"), ("It is [123, 87, 300, 4] 555.",))
    sample = processor.encode(rendered, [picture()], digit_weights=(1.0, 0.3, 0.03))
    weights = sample["label_weights"]
    assert weights.shape == sample["labels"].shape
    pieces = processor.tokenizer.convert_ids_to_tokens(sample["input_ids"].tolist())
    known = sample["labels"] != IGNORE_INDEX
    digits = [
        (piece.strip("Ġ"), round(float(w), 2))
        for piece, w, k in zip(pieces, weights, known, strict=True)
        if k
    ]
    digits = [(piece, weight) for piece, weight in digits if piece.isdigit()]
    assert digits[:4] == [("1", 1.0), ("2", 0.3), ("3", 0.03), ("8", 0.3)]
    assert digits[-3:] == [("5", 1.0)] * 3


def test_points_lie_on_the_region_in_the_stretched_picture(processor):
    rendered = conversation((IMAGE, REGION, "?"), ("No.",), regions=(RenderedRegion(Box(32, 12, 64, 24)),))
    points = processor.encode(rendered, [picture((64, 48))])["region_points"]
    assert points.shape == (1, 16, 2)
    assert points.dtype == torch.float32
    assert (points[..., 0] > 0.5).all()
    assert (points[..., 0] < 1).all()
    assert (points[..., 1] > 0.25).all()
    assert (points[..., 1] < 0.5).all()


def test_points_follow_the_padding(make_processor):
    processor = make_processor(image_aspect_ratio="pad")
    rendered = conversation((IMAGE, REGION, "?"), ("No.",), regions=(RenderedRegion(Box(0, 0, 64, 32)),))
    points = processor.encode(rendered, [picture((64, 32))])["region_points"][0]
    # 64 x 32 in the middle of 64 x 64: rows 0.25 to 0.75.
    assert (points[:, 1] > 0.25).all()
    assert (points[:, 1] < 0.75).all()
    assert points[:, 1].max() > 0.7
    assert points[:, 0].min() < 0.1
    assert points[:, 0].max() > 0.9


@pytest.mark.parametrize(
    ("geometry", "x", "y"), [("aligned", 20.5 / 64, 30.5 / 48), ("original", 20 / 64, 30 / 48)]
)
def test_original_geometry_names_a_pixel_by_its_corner(geometry, x, y, make_processor):
    processor = make_processor(sampling_geometry=geometry)
    region = RenderedRegion(Box(20, 30, 21, 31))
    rendered = conversation((IMAGE, REGION, "?"), ("No.",), regions=(region,))
    points = processor.encode(rendered, [picture((64, 48))])["region_points"][0]
    torch.testing.assert_close(points, torch.tensor([[x, y]]).expand(16, 2))


def test_points_are_the_same_each_time_unless_drawn(processor):
    rendered = conversation((IMAGE, REGION, "?"), ("No.",), regions=(RenderedRegion(Box(0, 0, 60, 40)),))

    def points(rng: np.random.Generator | None) -> torch.Tensor:
        return processor.encode(rendered, [picture()], rng=rng)["region_points"]

    assert torch.equal(points(None), points(None))
    assert torch.equal(points(np.random.default_rng(1)), points(np.random.default_rng(1)))
    assert not torch.equal(points(np.random.default_rng(1)), points(np.random.default_rng(2)))


def test_dropped_rounds_take_their_images_and_regions_along(processor):
    first = ((IMAGE, "What is ", REGION, "?"), ("a red star.",))
    second = ((IMAGE, REGION, " and ", REGION, "?"), ("Yes.",))
    regions = tuple(RenderedRegion(Box(0, 0, 9 + i, 9), image=image) for i, image in enumerate((0, 1, 1)))
    images = [picture(), picture((30, 30))]
    whole = processor.encode(conversation(*first, *second, regions=regions), images)
    short = processor.encode(conversation(*first, regions=regions[:1]), images[:1])
    limited = processor.encode(
        conversation(*first, *second, regions=regions), images, max_length=len(whole["input_ids"]) - 1
    )
    assert limited.keys() == short.keys()
    for name, value in short.items():
        assert torch.equal(limited[name], value), name
    fits = processor.encode(
        conversation(*first, *second, regions=regions), images, max_length=len(whole["input_ids"])
    )
    assert torch.equal(fits["input_ids"], whole["input_ids"])
    assert whole["region_image"].tolist() == [0, 1, 1]


def test_the_side_that_the_tokenizer_cuts_on_does_not_matter(processor, monkeypatch):
    turns = ((IMAGE, "What is this?"), ("a red star.",), (IMAGE, "And this?"), ("Yes.",))
    images = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    limit = len(processor.encode(conversation(*turns), images)["input_ids"]) - 1
    first = processor.encode(conversation(*turns[:2]), images[:1])
    monkeypatch.setattr(processor.tokenizer, "truncation_side", "left")
    cut = processor.encode(conversation(*turns), images, max_length=limit)
    assert cut.keys() == first.keys()
    for name, value in first.items():
        assert torch.equal(cut[name], value), name
    with pytest.raises(SampleTooLongError, match=r"is 12"):
        processor.encode(conversation(*turns), images, max_length=12)


def test_a_sample_that_cannot_fit_says_what_it_needs(processor):
    rendered = conversation((IMAGE, "What is this?"), ("a red star.",))
    needed = len(processor.encode(rendered, [picture()])["input_ids"])
    with pytest.raises(SampleTooLongError, match=f"needs {needed} ids.*model_max_length is 12"):
        processor.encode(rendered, [picture()], max_length=12)


def test_a_region_whose_picture_is_dropped_makes_the_sample_too_long(processor):
    turns = ((IMAGE, "What is ", REGION, "?"), ("a red star.",), (IMAGE, "?"), ("Yes.",))
    rendered = conversation(*turns, regions=(RenderedRegion(Box(0, 0, 9, 9), image=1),))
    images = [picture(), picture()]
    length = len(processor.encode(rendered, images)["input_ids"])
    with pytest.raises(SampleTooLongError, match=f"needs {length} ids"):
        processor.encode(rendered, images, max_length=length - 1)


@pytest.mark.parametrize(
    ("question", "images", "region_images", "message"),
    [
        ((IMAGE, "?"), 2, (), "1 image slots in the text but 2 images"),
        ((IMAGE, REGION, REGION), 1, (0,), "2 region slots in the text but 1 regions"),
        ((IMAGE, REGION), 1, (3,), "lies in image 3, but there are 1 images"),
    ],
)
def test_counts_that_disagree_are_named(processor, question, images, region_images, message):
    regions = tuple(RenderedRegion(Point(1, 1), image=image) for image in region_images)
    with pytest.raises(CountMismatchError, match=f'record "r1": .*{message}'):
        processor.encode(conversation(question, ("No.",), regions=regions), [picture()] * images)


def test_a_conversation_without_an_answer_teaches_nothing(processor):
    with pytest.raises(RecordError, match="nothing to learn"):
        processor.encode(conversation(("What is this?",)), [])


@pytest.mark.parametrize(
    "settings", [{}, {"sampling_geometry": "original", "mm_use_im_start_end": True}], ids=str
)
def test_saved_and_loaded_is_the_same(settings, tmp_path, make_processor):
    control = ["<im_start>", "<im_end>"]
    processor = make_processor(**settings)
    processor.tokenizer.add_tokens(control, special_tokens=True)
    processor.save_pretrained(tmp_path)
    loaded = MustelaProcessor.from_pretrained(tmp_path)
    assert loaded.settings == processor.settings
    assert loaded.template == processor.template
    rendered = conversation(
        (IMAGE, "What is ", REGION, "?"), ("No.",), regions=(RenderedRegion(Point(9, 9)),)
    )
    samples = [each.encode(rendered, [picture()]) for each in (processor, loaded)]
    assert samples[0].keys() == samples[1].keys()
    for name, value in samples[0].items():
        assert torch.equal(value, samples[1][name]), name


def test_a_folder_without_a_processor_says_what_was_looked_for(tmp_path):
    with pytest.raises(CheckpointError, match="no mustela processor: looked for"):
        MustelaProcessor.from_pretrained(tmp_path)


def test_decoded_answers_have_no_control_tokens(processor):
    ids = processor.tokenizer("<|assistant|> a red star.<|end|>")["input_ids"]
    assert processor.decode(ids) == "a red star."
