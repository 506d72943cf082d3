"""A whole model of the original, through the converter: loss, logits, gradients and generated text."""

from __future__ import annotations

import pytest
import torch
from tests.convert.originals import Variant, facts, golden, numbers, write_ferret
from torch import Tensor

from mustela.convert import convert_ferret
from mustela.convert.names import our_name
from mustela.model import MustelaForConditionalGeneration, load_model
from mustela.model.region_encoders import geo
from mustela.regions import Mask

IMAGE, PATCHES = -200, 16


@pytest.fixture(scope="module", params=["geo", "mean"])
def variant(request: pytest.FixtureRequest) -> Variant:
    chosen: Variant = request.param
    return chosen


@pytest.fixture(scope="module")
def model(variant: Variant, tmp_path_factory: pytest.TempPathFactory) -> MustelaForConditionalGeneration:
    folder = tmp_path_factory.mktemp(f"ferret-{variant}")
    convert_ferret(write_ferret(folder / "original", variant), folder / "ours")
    return load_model(folder / "ours", device="cpu")[0]


@pytest.fixture(autouse=True)
def _distances_of_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours as near as each other are picked by rounding noise, so the distances are taken alike."""

    def nearest(anchors: Tensor, points: Tensor, count: int) -> Tensor:
        distance = -2 * anchors @ points.transpose(1, 2)
        distance += anchors.square().sum(-1)[..., None]
        distance += points.square().sum(-1)[:, None]
        return distance.topk(count, dim=-1, largest=False, sorted=False).indices

    monkeypatch.setattr(geo, "nearest_points", nearest)


def region_points() -> tuple[Tensor, Tensor]:
    """All pixels of each mask, x before y as the original lists them, and the image of each region.

    The text-only sample has no image in ours, so the images are 0, 1 and 2.
    """
    points, image = [], []
    for number, masks in enumerate(facts()["masks_hw_rle"]):
        for rle in masks:
            height, width = rle["size"]
            mask = torch.from_numpy(Mask.from_rle(rle).raster((width, height)))
            points.append(mask.T.nonzero().float() / torch.tensor([width, height]))
            image.append(min(number, 2))
    return torch.stack(points), torch.tensor(image)


def expanded(ids: Tensor, labels: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """One sample with its image token once for each patch, padded on the right: ids, labels, mask."""
    new_ids, new_labels = [], []
    for index, label in zip(ids.tolist(), labels.tolist(), strict=True):
        times = PATCHES if index == IMAGE else 1
        new_ids += [512 if index == IMAGE else index] * times
        new_labels += [-100 if index == IMAGE else label] * times
    rest = length - len(new_ids)
    mask = torch.tensor([1] * len(new_ids) + [0] * rest)
    return torch.tensor(new_ids + [0] * rest), torch.tensor(new_labels + [-100] * rest), mask


def batch() -> dict[str, Tensor]:
    samples = [
        expanded(ids[: int(mask.sum())], labels[: int(mask.sum())], 37)
        for ids, labels, mask in zip(
            golden()["in.input_ids"], golden()["in.labels"], golden()["in.attention_mask"], strict=True
        )
    ]
    ids, labels, mask = (torch.stack(each) for each in zip(*samples, strict=True))
    points, image = region_points()
    return {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": mask,
        "pixel_values": golden()["in.pixel_values"][[0, 1, 3]],
        "region_points": points,
        "region_image": image,
    }


def difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max())


def test_inputs_are_laid_out_as_there() -> None:
    ours = batch()
    assert torch.equal(ours["labels"], golden()["out.labels"].long())
    assert torch.equal(ours["attention_mask"], golden()["out.attention_mask"].long())


def test_logits(model: MustelaForConditionalGeneration, variant: Variant, parity) -> None:
    inputs = batch()
    inputs.pop("labels")
    with torch.no_grad():
        logits = model(**inputs).logits
    real = inputs["attention_mask"].bool()
    expected = numbers("out", variant)["logits"][real]
    largest = difference(logits[real][:, :512], expected)
    parity.add(f"tiny model, {variant}: logits", cases=expected.shape[0], difference=largest)
    assert largest < 1e-4
    assert (logits[..., 512:] == -torch.inf).all()


def test_loss_and_gradients(model: MustelaForConditionalGeneration, variant: Variant, parity) -> None:
    model.zero_grad()
    loss = model(**batch()).loss
    loss.backward()
    away = abs(float(loss.detach()) - float(numbers("out", variant)["loss"]))
    parity.add(f"tiny model, {variant}: loss", difference=away)
    assert away < 1e-4
    gradients = numbers("grad", variant)
    assert len(gradients) >= 8
    for name, expected in gradients.items():
        found = model.get_parameter(our_name(name)).grad
        found = found[: len(expected)].reshape(expected.shape)
        relative = difference(found, expected) / float(expected.abs().max())
        parity.add(f"tiny model, {variant}: gradients, relative", difference=relative)
        assert relative < 1e-4, name


@pytest.mark.parametrize("variant", ["geo"], indirect=True)
def test_generated_ids(model: MustelaForConditionalGeneration, parity) -> None:
    prompt, generated = facts()["prompt"], facts()["generated"]
    ids, _, mask = expanded(torch.tensor(prompt), torch.tensor(prompt), len(prompt) + PATCHES - 1)
    points, image = region_points()
    found = model.generate(
        ids[None],
        attention_mask=mask[None],
        pixel_values=golden()["in.pixel_values"][:1],
        region_points=points[:2],
        region_image=image[:2],
        max_new_tokens=len(generated) - len(prompt),
        do_sample=False,
        eos_token_id=None,
    )
    new = found[0, len(ids) :].tolist()
    wrong = sum(a != b for a, b in zip(new, generated[len(prompt) :], strict=True))
    parity.add("tiny model, geo: generated ids", cases=len(new), difference=wrong)
    assert wrong == 0


@pytest.mark.parametrize("variant", ["geo"], indirect=True)
@pytest.mark.parametrize(
    ("rows", "pictures", "what"),
    [([2], [], "loss_text_only"), ([1, 2], [1], "loss_without_regions")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_loss_of_batches_without_regions(
    model: MustelaForConditionalGeneration, rows: list[int], pictures: list[int], what: str, parity
) -> None:
    whole = batch()
    inputs = {name: whole[name][rows] for name in ("input_ids", "labels", "attention_mask")}
    if pictures:
        inputs["pixel_values"] = whole["pixel_values"][pictures]
    with torch.no_grad():
        away = abs(float(model(**inputs).loss) - facts()[what])
    parity.add("tiny model, geo: loss", difference=away)
    assert away < 1e-4
