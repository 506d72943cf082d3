"""Tiny models of random numbers, one of each kind of base, and samples for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    ProcessorMixin,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)

from mustela.data.collator import collate
from mustela.data.message import Message, Slot
from mustela.data.processor import MustelaProcessor
from mustela.data.render import Rendered, RenderedRegion
from mustela.model import MustelaForConditionalGeneration
from mustela.model.build import ClassicSettings, RegionSettings, build_from_nothing, build_on_base
from mustela.model.grids import sample_grids
from mustela.model.tokens import train_tokenizer
from mustela.regions import Box, Region

IMAGE, REGION = Slot.IMAGE, Slot.REGION
TEXTS = ["What is this? a red star [1, 2, 3, 4]. Where is the blue circle? Yes. No. Name it."] * 5
LAYERS = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
LANGUAGE_MODEL = {
    "model_type": "llama",
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    **LAYERS,
}
VISION_TOWER = {"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8, **LAYERS}
REGIONS = RegionSettings(encoder="geo", points=32, sub_points=(8, 4), neighbors=4)

QWEN_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums in one order, so that equal runs are equal to the bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class PicturesOnly(Qwen3VLProcessor):
    """Qwen3-VL's processor without its video part, which needs a library that the tests do without."""

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str | None = None) -> None:
        self.image_token = "<|image_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]


@dataclass(frozen=True)
class Pair:
    """A model, its processor, and what a test does with them."""

    model: MustelaForConditionalGeneration
    processor: MustelaProcessor

    def sample(
        self,
        *question: str | Slot,
        answer: str = "a red star.",
        images: Sequence[Image.Image] = (),
        regions: Sequence[Region | tuple[Region, int]] = (),
        generation: bool = False,
        **options: Any,
    ) -> dict[str, Tensor]:
        """Return a sample of one question; `regions` are of the first picture unless one is named."""
        messages = (Message("user", question), Message("assistant", (answer,)))
        placed = tuple(
            RenderedRegion(each[0], image=each[1]) if isinstance(each, tuple) else RenderedRegion(each)
            for each in regions
        )
        rendered = Rendered("record", messages[: 1 if generation else 2], placed)
        return self.processor.encode(rendered, images, generation=generation, **options)

    def batch(self, samples: Sequence[dict[str, Tensor]], side: str = "right") -> dict[str, Tensor]:
        return collate(samples, pad_token_id=self.processor.pad_token_id, padding_side=side)

    def four(self, *, generation: bool = False) -> list[dict[str, Tensor]]:
        """Return a text, a picture, a picture with one region, and one with three."""
        pictures = [noise(0), noise(1, (64, 40)), noise(2, (46, 60))]
        boxes = [Box(2, 3, 20, 30), Box(25, 1, 40, 22), Box(5, 20, 44, 39)]
        common: dict[str, Any] = {"generation": generation}
        return [
            self.sample("Name it.", answer="No.", **common),
            self.sample(IMAGE, "What is this?", images=pictures[:1], **common),
            self.sample(
                IMAGE,
                "What is ",
                REGION,
                "?",
                answer="Yes.",
                images=pictures[1:2],
                regions=boxes[:1],
                **common,
            ),
            self.sample(
                IMAGE,
                REGION,
                "What ",
                REGION,
                " is ",
                REGION,
                "?",
                images=pictures[2:],
                regions=boxes,
                **common,
            ),
        ]

    def answers(self, batch: dict[str, Tensor], **options: Any) -> list[list[int]]:
        """Return the new ids of a batch, 8 tokens each."""
        settings = {"do_sample": False, "max_new_tokens": 8, "eos_token_id": None, **options}
        ids = self.model.generate(**batch, **settings)
        return ids[:, batch["input_ids"].shape[1] :].tolist()


def noise(seed: int, size_wh: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, size=(size_wh[1], size_wh[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def shake(model: torch.nn.Module) -> None:
    """Give the weights numbers so large that answers depend on all that a model is given."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


def build_scratch(
    *, regions: RegionSettings = REGIONS, classic: ClassicSettings | None = None, **parts: dict[str, Any]
) -> Pair:
    """Build a classic composition from nothing; `parts` replace entries of the recipe."""
    recipe = {
        "tokenizer": {"vocab_size": 330},
        "language_model": LANGUAGE_MODEL,
        "vision_tower": VISION_TOWER,
        **parts,
    }
    settings = classic or ClassicSettings(image_wh=(32, 32))
    return Pair(*build_from_nothing(recipe, TEXTS, version="compact", regions=regions, classic=settings))


def qwen_base() -> tuple[Qwen3VLForConditionalGeneration, PicturesOnly]:
    """A tiny Qwen3-VL and its processor."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=330, control_tokens=QWEN_TOKENS, end_token="<|im_end|>")
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad")}
    config = Qwen3VLConfig(
        text_config={
            **LAYERS,
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]},
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "depth": 3,
            "num_heads": 2,
            "patch_size": 8,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )
    image_processor = Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, temporal_patch_size=2, min_pixels=16 * 16, max_pixels=64 * 64
    )
    base = Qwen3VLForConditionalGeneration(config)
    shake(base)
    return base, PicturesOnly(image_processor, tokenizer, chat_template=QWEN_TEMPLATE)


def qwen(folder: Path, *, regions: RegionSettings = REGIONS) -> Pair:
    """Give regions to a tiny Qwen3-VL that lies in a folder."""
    base, processor = qwen_base()
    base.save_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mustela.model.build.load_base_processor", lambda *_, **__: processor)
        return Pair(*build_on_base(folder, version="auto", regions=regions))


@pytest.fixture
def in_sdpa(classic_pair: Pair) -> Iterator[None]:
    """Give the shared model its attention back behind a test that changes it."""
    yield
    classic_pair.model.set_attn_implementation("sdpa")


@pytest.fixture(scope="session")
def classic_pair() -> Pair:
    pair = build_scratch()
    shake(pair.model)
    return Pair(pair.model.eval(), pair.processor)


@pytest.fixture(scope="session")
def qwen_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    pair = qwen(tmp_path_factory.mktemp("qwen"))
    shake(pair.model)
    return Pair(pair.model.eval(), pair.processor)


@pytest.fixture(params=["classic", "qwen3_vl"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """A model of each kind of base, not to be changed."""
    loaded: Pair = request.getfixturevalue("classic_pair" if request.param == "classic" else "qwen_pair")
    loaded.model.zero_grad(set_to_none=True)
    return loaded


@pytest.fixture(name="scratch")
def _scratch() -> Any:
    """Builds a classic composition from nothing."""

    def build(**options: Any) -> Pair:
        pair = build_scratch(**options)
        return Pair(pair.model.eval(), pair.processor)

    return build


@pytest.fixture(scope="session")
def as_pair() -> type[Pair]:
    return Pair


@pytest.fixture(scope="session")
def shaken() -> Any:
    """Gives weights large numbers, see `shake`."""

    def apply(model: torch.nn.Module) -> torch.nn.Module:
        shake(model)
        return model

    return apply


@pytest.fixture
def planted_patch() -> Any:
    """Changes one patch of a picture: only the feature at its place may change."""

    def check(pair: Pair, *, side: int, patches_wh: tuple[int, int] = (4, 4)) -> None:
        columns, rows = patches_wh
        grey = Image.new("RGB", (columns * side, rows * side), "grey")
        centres = [((c + 0.5) / columns, (r + 0.5) / rows) for r in range(rows) for c in range(columns)]
        points = torch.tensor(centres)[:, None]
        image = torch.zeros(len(centres), dtype=torch.long)

        def read(picture: Image.Image) -> Tensor:
            sample = pair.sample(IMAGE, "?", images=[picture])
            names = pair.model.family.image_inputs
            with torch.no_grad():
                grids = pair.model.encode_images(**{name: sample[name] for name in names}).grids
            assert grids.size_hw.tolist() == [[rows, columns]]
            return sample_grids(grids, points, image, geometry="aligned")

        before = read(grey)
        for index in range(len(centres)):
            row, column = divmod(index, columns)
            planted = grey.copy()
            planted.paste("red", (column * side, row * side, (column + 1) * side, (row + 1) * side))
            changed = (read(planted) - before).abs().amax((1, 2)) > 1e-5
            assert changed.nonzero().flatten().tolist() == [index]

    return check


@pytest.fixture
def noise_picture() -> Any:
    return noise


@pytest.fixture
def fresh_qwen() -> Any:
    """Gives regions to a tiny Qwen3-VL that it writes into a folder."""
    return qwen


@pytest.fixture
def qwen_folder(tmp_path: Path) -> Path:
    """A tiny Qwen3-VL as it lies on a disk, with its video part."""
    base, processor = qwen_base()
    base.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    file = tmp_path / "processor_config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content |= {
        "processor_class": "Qwen3VLProcessor",
        "video_processor": {"video_processor_type": "Qwen3VLVideoProcessor"},
    }
    file.write_text(json.dumps(content), encoding="utf-8")
    return tmp_path
