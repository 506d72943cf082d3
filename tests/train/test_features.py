"""Runs that keep the features of a frozen vision tower."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image, ImageOps
from transformers import CLIPVisionModel

from mustela.data import dataset as dataset_module
from mustela.errors import ConfigError
from mustela.model.classic import ClassicModel

TWO_EPOCHS = {"max_steps": -1, "num_train_epochs": 2, "save_strategy": "no"}


@pytest.fixture
def counted(monkeypatch):
    """Counts pictures that are decoded and encoded."""
    decoded, encoded = [], []
    load, encode = dataset_module.load_image, ClassicModel._encode
    monkeypatch.setattr(dataset_module, "load_image", lambda *a, **k: (decoded.append(1), load(*a, **k))[1])

    def counting(self, tower, config, pixel_values, **kwargs):
        encoded.extend(pixel_values)
        return encode(self, tower, config, pixel_values, **kwargs)

    monkeypatch.setattr(ClassicModel, "_encode", counting)

    def count() -> tuple[int, int]:
        found = len(decoded), len(encoded)
        decoded.clear()
        encoded.clear()
        return found

    return count


def values(runs, name):
    return [loss for *_, loss in runs.losses(name)]


@pytest.mark.slow
def test_later_epochs_neither_decode_nor_encode(runs, classic, counted):
    recipe = {**classic, **TWO_EPOCHS}
    runs("plain", recipe)
    plain = counted()
    assert plain == (30, 30)
    cached = {**recipe, "cache_vision_features": str(runs.root / "cache")}
    runs("first", cached)
    # Twelve pictures of fifteen records, some of them met again before they were kept.
    decoded, encoded = counted()
    assert 12 <= decoded <= 15
    assert encoded == decoded
    runs("second", cached)
    assert counted() == (0, 0)
    # Kept features are those of the tower, rounded; new ones are rounded alike.
    assert values(runs, "second") == values(runs, "first")
    assert values(runs, "first") == pytest.approx(values(runs, "plain"), abs=1e-3)


@pytest.mark.slow
def test_a_changed_picture_or_tower_is_seen(runs, classic, counted, shapes, tmp_path, parts_on_disk):
    images, tower = tmp_path / "images", tmp_path / "tower"
    shutil.copytree(shapes / "images", images)
    shutil.copytree(parts_on_disk[1], tower)
    recipe = {
        **classic,
        **TWO_EPOCHS,
        "image_folder": [str(images)],
        "vision_tower": str(tower),
        "cache_vision_features": str(runs.root / "cache"),
    }
    runs("first", recipe, ["--packing", "True", "--per_device_train_batch_size", 1])
    assert 12 <= counted()[1] <= 15
    picture = sorted(images.iterdir())[0]
    ImageOps.invert(Image.open(picture).convert("RGB")).save(picture)
    runs("picture", recipe, ["--dataloader_num_workers", 2])
    assert counted()[1] in (0, 1)
    model = CLIPVisionModel.from_pretrained(tower)
    next(model.parameters()).data += 1
    model.save_pretrained(tower)
    runs("tower", recipe)
    assert 12 <= counted()[1] <= 15
    assert len(list((runs.root / "cache").iterdir())) == 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"freeze_vision_tower": False, "tune_mm_mlp_adapter": False}, "freeze_vision_tower is off"),
        ({"augment_flip": 0.5}, "augment_"),
        ({"image_aspect_ratio": "anyres"}, "anyres"),
        ({"mm_vision_select_feature": "cls_patch"}, "cls_patch"),
        ({"cache_vision_features_gb": 0}, "cache_vision_features_gb is a size above 0"),
    ],
)
def test_what_would_change_features_is_refused(runs, classic, settings, told):
    with pytest.raises(ConfigError, match=f"cache_vision_features.*{told}|{told}"):
        runs("run", {**classic, **settings, "cache_vision_features": str(runs.root / "cache")})
