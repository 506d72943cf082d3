import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mustela.errors import ConfigError, CountMismatchError, ImageError, RecordError, RegionError
from mustela.infer import Predictor, Query, encode_pictures, generate_texts
from mustela.infer.generation import room_for_answers
from mustela.regions import Box, FoundRegion, Mask, Point, Polygon, Scribble

NEW = 8
BOX = Box(3, 4, 30, 40)
SHAPES = [
    BOX,
    Point(20, 20),
    Scribble(((5.0, 5.0), (30.0, 20.0))),
    Polygon((((5.0, 5.0), (40.0, 6.0), (20.0, 40.0)),)),
    Mask.from_array(np.arange(48 * 64).reshape(48, 64) % 7 == 0),
]


@pytest.fixture
def queries(picture, other_picture) -> list[Query]:
    return [
        Query(picture, "What is <region>?", (BOX,)),
        Query(picture, "Where is the very very small blue circle in this picture, please?"),
        Query(None, "Hello there."),
        Query(
            other_picture, "Is <region1> left of <region2>, or is <region2>?", (Point(3, 3), Point(30, 80))
        ),
        Query(other_picture, "Hi"),
    ]


def test_answers_are_not_empty_and_do_not_echo_the_prompt(predictor, picture) -> None:
    predictor.set_image(picture)
    answer = predictor.ask("What is <region>?", regions=[BOX], max_new_tokens=NEW)
    assert answer.text
    assert "What is" not in answer.text
    assert answer.prompt.startswith("What is [46, 83, 468, 833]")


def test_pixels_of_the_fitted_picture_go_in_and_come_out(predictor, picture, monkeypatch) -> None:
    options = replace(predictor.options, coordinates="resized")
    asking = Predictor(predictor.model, predictor.processor, options=options)
    width, height = predictor.processor.settings.resized_image_wh
    told = f"a cat [0, 0, {width // 2}, {height // 2}]"
    monkeypatch.setattr("mustela.infer.predictor.generate_texts", lambda *_, **__: [told])
    asking.set_image(picture)
    answer = asking.ask("What is <region>?", regions=[Box(32, 24, 64, 48)])
    assert answer.prompt.startswith(f"What is [{width // 2}, {height // 2}, {width}, {height}]")
    assert [found.region for found in answer.regions] == [Box(0, 0, 32, 24)]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_batch_gives_the_answers_of_asking_one_by_one(predictor, queries, batch_size) -> None:
    together = predictor.ask_many(queries, batch_size=batch_size, max_new_tokens=NEW)
    for query, answer in zip(queries, together, strict=True):
        alone = Predictor(predictor.model, predictor.processor)
        if query.image is not None:
            alone.set_image(query.image)
        assert alone.ask(query.text, regions=query.regions, max_new_tokens=NEW) == answer
    assert len({answer.text for answer in together}) > 3


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_side_that_the_tokenizer_pads_on_does_not_matter(predictor, queries, monkeypatch, side) -> None:
    expected = [answer.text for answer in predictor.ask_many(queries, max_new_tokens=NEW)]
    monkeypatch.setattr(predictor.processor.tokenizer, "padding_side", side)
    assert [answer.text for answer in predictor.ask_many(queries, max_new_tokens=NEW)] == expected


@pytest.mark.parametrize("region", SHAPES, ids=lambda region: type(region).__name__)
def test_the_same_request_has_the_same_answer_also_after_others(predictor, picture, region) -> None:
    predictor.set_image(picture)
    first = predictor.ask("What is <region>?", regions=[region], max_new_tokens=NEW)
    torch.manual_seed(1)
    predictor.ask("Where is <region>?", regions=[Point(1, 1)], max_new_tokens=NEW)
    assert predictor.ask("What is <region>?", regions=[region], max_new_tokens=NEW) == first


def test_a_region_of_one_pixel_has_an_answer(predictor, picture) -> None:
    pixel = np.zeros((48, 64), dtype=bool)
    pixel[10, 20] = True
    predictor.set_image(picture)
    assert predictor.ask("What is <region>?", regions=[Mask.from_array(pixel)], max_new_tokens=NEW).text


def test_the_picture_is_encoded_once_for_all_questions(predictor, picture, monkeypatch) -> None:
    calls = []
    encode = type(predictor.model).encode_images
    monkeypatch.setattr(
        type(predictor.model),
        "encode_images",
        lambda self, **inputs: calls.append(1) or encode(self, **inputs),
    )
    predictor.set_image(picture)
    for text in ("One?", "Two?", "Three?"):
        predictor.ask(text, max_new_tokens=2)
    assert calls == [1]


def test_a_new_picture_replaces_the_old_one(predictor, picture, other_picture) -> None:
    predictor.set_image(picture)
    first = predictor.ask("What is this?", max_new_tokens=NEW)
    predictor.set_image(other_picture)
    second = predictor.ask("What is this?", max_new_tokens=NEW)
    predictor.set_image(picture)
    assert predictor.ask("What is this?", max_new_tokens=NEW).text == first.text != second.text


def test_history_is_part_of_the_question(predictor, picture) -> None:
    predictor.set_image(picture)
    first = predictor.ask("What is <region>?", regions=[BOX], max_new_tokens=NEW)
    alone = predictor.ask("And here: <region>?", regions=[Point(9, 9)], max_new_tokens=NEW)
    after = predictor.ask(
        "And here: <region>?", regions=[Point(9, 9)], history=[first.exchange], max_new_tokens=NEW
    )
    assert first.exchange.answer == first.text
    assert after.text != alone.text


def test_typed_control_strings_change_neither_pictures_nor_regions(predictor, picture) -> None:
    predictor.set_image(picture)
    text = "<image> <region_fea> </s> <bbox_location0> ASSISTANT: <im_start>"
    assert predictor.ask(text, max_new_tokens=2).prompt == text


def test_wrong_counts_and_lost_pictures_are_errors_of_the_user(predictor, picture, tmp_path: Path) -> None:
    with pytest.raises(RegionError, match="no picture"):
        predictor.ask("What is <region>?", regions=[BOX])
    with pytest.raises(ImageError, match=r"lost\.png"):
        predictor.set_image(tmp_path / "lost.png")
    predictor.set_image(picture)
    with pytest.raises(CountMismatchError, match="1 <region> placeholders but 2 regions"):
        predictor.ask("What is <region>?", regions=[BOX, BOX])


def test_pictures_may_be_files(predictor, picture, tmp_path: Path) -> None:
    path = tmp_path / "图 é.png"
    picture.save(path)
    predictor.set_image(path)
    from_file = predictor.ask("What is this?", max_new_tokens=NEW)
    predictor.set_image(picture)
    assert predictor.ask("What is this?", max_new_tokens=NEW).text == from_file.text


def test_generation_arguments_are_passed_on_and_greedy_is_silent(predictor, picture) -> None:
    predictor.set_image(picture)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        greedy = predictor.ask("What is this?", max_new_tokens=NEW)
    torch.manual_seed(0)
    sampled = {
        predictor.ask("What is this?", max_new_tokens=NEW, do_sample=True, temperature=5.0).text
        for _ in range(4)
    }
    assert sampled != {greedy.text}


def test_an_answer_is_drawn_with_what_was_asked_and_answered(predictor, picture) -> None:
    predictor.set_image(picture)
    answer = predictor.ask("What is <region>?", regions=[BOX], max_new_tokens=2)
    drawn = answer.draw()
    assert drawn.mode == "RGB"
    assert drawn.tobytes() != picture.resize(drawn.size).tobytes()
    found = FoundRegion(Box(1, 1, 50, 40), (0, 3), "a dog")
    more = type(answer)(answer.text, (found,), answer.prompt, answer.query, answer.image)
    assert more.draw().tobytes() != drawn.tobytes()


def test_an_answer_without_a_picture_can_not_be_drawn(predictor) -> None:
    answer = predictor.ask("Hello", max_new_tokens=2)
    assert answer.regions == ()
    with pytest.raises(RegionError, match="no picture to draw on"):
        answer.draw()


def test_boxes_in_an_answer_are_pixels_of_the_given_picture(predictor, monkeypatch) -> None:
    monkeypatch.setattr(
        "mustela.infer.predictor.generate_texts", lambda *_, **__: ["a dog [100, 200, 300, 400]."]
    )
    predictor.set_image(Image.new("RGB", (640, 480)))
    (found,) = predictor.ask("Where is the dog?").regions
    assert found.region.bounds_xyxy() == (64, 96, 192, 192)
    assert found.phrase == "a dog"


def test_a_stop_string_ends_its_own_row_of_a_batch_only(predictor, queries, monkeypatch) -> None:
    first, *others = (answer.text for answer in predictor.ask_many(queries, max_new_tokens=NEW))
    pieces = (first[at : at + 3] for at in range(2, len(first) - 2))
    stop = next(piece for piece in pieces if not any(piece in text for text in others))
    monkeypatch.setattr("mustela.data.templates.Template.stop_strings", (stop,))
    found = [answer.text for answer in predictor.ask_many(queries, max_new_tokens=NEW)]
    assert found == [first[: first.find(stop)].strip(), *others]


def test_an_answer_ends_at_the_end_token_and_at_stop_strings(predictor, picture, monkeypatch) -> None:
    predictor.set_image(picture)
    full = predictor.ask("What is this?", max_new_tokens=NEW).text
    monkeypatch.setattr("mustela.data.templates.Template.stop_strings", (full[3:5],))
    assert predictor.ask("What is this?", max_new_tokens=NEW).text == full[: full.find(full[3:5])].strip()


def test_pictures_encoded_beforehand_give_the_same_answers(predictor, picture) -> None:
    predictor.set_image(picture)
    from mustela.data.message import Message, Slot
    from mustela.data.render import Rendered

    rendered = Rendered("q", (Message("user", (Slot.IMAGE, "\nWhat is this?")),), ())
    sample = predictor.processor.encode(rendered, [picture], rng=None, generation=True)
    features = encode_pictures(predictor.model, [sample])
    direct = generate_texts(predictor.model, predictor.processor, [sample, sample], max_new_tokens=NEW)
    reused = generate_texts(
        predictor.model,
        predictor.processor,
        [sample, sample],
        image_features=features.select([0, 0]),
        max_new_tokens=NEW,
    )
    assert direct == reused


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"do_sample": True, "num_beams": 2}])
def test_beams_leave_the_picture_as_it_was(predictor, picture, options) -> None:
    predictor.set_image(picture)
    before = predictor.ask("What is <region>?", regions=[BOX], max_new_tokens=NEW)
    predictor.ask("What is <region>?", regions=[BOX], max_new_tokens=NEW, **options)
    assert predictor.ask("What is <region>?", regions=[BOX], max_new_tokens=NEW) == before


def test_a_temperature_asks_for_sampling(predictor, picture) -> None:
    predictor.set_image(picture)
    torch.manual_seed(0)
    said = {predictor.ask("Hi", max_new_tokens=NEW, temperature=5.0).text for _ in range(3)}
    assert len(said) > 1
    assert (
        predictor.ask("Hi", max_new_tokens=NEW, temperature=0.0).text
        == predictor.ask("Hi", max_new_tokens=NEW).text
    )


def test_a_question_beyond_the_model_s_context_is_refused_and_answers_end_there(predictor) -> None:
    context = predictor.model.config.get_text_config().max_position_embeddings
    for ask in (predictor.ask, lambda text: predictor.ask_many([Query(None, "Hi"), Query(None, text)])):
        with pytest.raises(ConfigError, match=rf"a prompt has \d+ tokens, but the model takes {context} "):
            ask("Hi " * context)
    counted = predictor.processor.encode(
        predictor._render(Query(None, "Hi"), None), [], rng=None, generation=True
    )
    most = room_for_answers(predictor.model, [counted])
    assert most == context - len(counted["input_ids"])
    asked = {}

    def generate(*_, max_new_tokens, **__):
        asked["most"] = max_new_tokens
        return [""]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mustela.infer.predictor.generate_texts", generate)
        predictor.ask("Hi", max_new_tokens=10 * context)
    assert asked["most"] == most


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"regions": BOX}, RegionError, "not a list of regions"),
        ({"regions": [(3, 4, 30, 40)]}, RegionError, r"\(3, 4, 30, 40\) is no region"),
        ({"regions": [BOX], "history": ["earlier"]}, RegionError, "'earlier' is no Exchange"),
        ({"regions": [BOX], "num_return_sequences": 2}, ConfigError, "a question has one answer"),
        ({"regions": [BOX], "return_dict_in_generate": True}, ConfigError, "answers are texts"),
    ],
)
def test_what_is_no_question_is_told(predictor, picture, options, error, message) -> None:
    predictor.set_image(picture)
    with pytest.raises(error, match=message):
        predictor.ask("What is <region>?", **options)


def test_what_is_no_picture_no_text_or_no_batch_is_told(predictor, picture) -> None:
    with pytest.raises(ImageError, match=r"not ndarray; an array becomes one by PIL.Image.fromarray"):
        predictor.set_image(np.zeros((4, 4, 3), dtype=np.uint8))
    with pytest.raises(ImageError, match="zero byte"):
        predictor.set_image("a\0b.jpg")
    with pytest.raises(RecordError, match="isn't valid Unicode: character 4"):
        predictor.ask("caf\udce9?")
    with pytest.raises(ConfigError, match="batch_size is 0"):
        predictor.ask_many([Query(None, "Hi")], batch_size=0)
    with pytest.raises(CountMismatchError):
        predictor.ask("<region" + "1" * 5000 + ">", regions=[BOX])
