"""Whole folders: every way they may lie there, and that the result computes the same."""

from __future__ import annotations

import fnmatch
import json
import os
import pickle
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tests.convert.originals import (
    PREFIX,
    Files,
    ferret_config,
    golden,
    language_config,
    numbers,
    write_ferret,
    write_tokenizer,
    write_tower,
    write_weights,
)
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from mustela.cli.main import main
from mustela.convert import ConversionOptions, convert_ferret, convert_llava
from mustela.convert.writing import write_weights as stream
from mustela.errors import CheckpointError
from mustela.model import MustelaForConditionalGeneration, load_model
from mustela.model.settings import RegionSettings

LANGUAGE = ("model.embed_tokens", "model.layers", "model.norm", "lm_head")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The tensors of a plain conversion of the tiny model."""
    folder = tmp_path_factory.mktemp("reference")
    convert_ferret(write_ferret(folder / "original", files="bin"), folder / "ours")
    return load_file(folder / "ours" / "model.safetensors")


def is_language(name: str) -> bool:
    return name.startswith(LANGUAGE)


def same(folder: Path, reference: dict[str, Tensor], *, tolerance: float = 0.0) -> None:
    found: dict[str, Tensor] = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    assert found.keys() == reference.keys()
    for name, tensor in reference.items():
        torch.testing.assert_close(found[name], tensor, atol=tolerance, rtol=0, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize("files", ["bin shards", "safetensors", "safetensors shards"])
def test_files_may_lie_there_in_any_way(tmp_path: Path, reference: dict[str, Tensor], files: Files) -> None:
    convert_ferret(write_ferret(tmp_path / "original", files=files), tmp_path / "ours")
    same(tmp_path / "ours", reference)


@pytest.mark.parametrize("tower", ["subfolder", "elsewhere"])
def test_the_vision_tower_may_lie_elsewhere(tmp_path: Path, reference: dict[str, Tensor], tower: str) -> None:
    source = write_ferret(tmp_path / "original", tower=tower)  # type: ignore[arg-type]
    if tower == "elsewhere":
        with pytest.raises(CheckpointError, match=r"--vision_tower DIR, a folder with openai/clip"):
            convert_ferret(source, tmp_path / "ours")
    place = tmp_path / "original-tower" if tower == "elsewhere" else None
    convert_ferret(source, tmp_path / "ours", ConversionOptions(vision_tower=place))
    same(tmp_path / "ours", reference)


def test_files_of_old_versions_of_torch_are_read(tmp_path: Path, reference: dict[str, Tensor]) -> None:
    source = write_ferret(tmp_path / "original", files="bin")
    file = source / "pytorch_model.bin"
    torch.save(torch.load(file), file, _use_new_zipfile_serialization=False)
    convert_ferret(source, tmp_path / "ours")
    same(tmp_path / "ours", reference)


def test_settings_of_the_original_are_kept(tmp_path: Path) -> None:
    done = convert_ferret(write_ferret(tmp_path / "original"), tmp_path / "ours")
    model, processor = load_model(tmp_path / "ours", device="cpu")
    config = model.config
    assert (config.sampling_geometry, config.sampler_pooler_mode) == ("original", "max")
    assert (config.region_token_id, config.region_encoder) == (511, "geo")
    assert config.base_config.vision_feature_layer == -2
    assert processor.template.name == "v1"
    assert processor.settings.point_clamp == "last_pixel"
    assert processor.settings.sampling_geometry == "original"
    assert processor.settings.resized_image_wh == (56, 56)
    assert model.generation_config.eos_token_id == [2]
    report = json.loads((tmp_path / "ours" / "conversion.json").read_text())
    assert done.counts["copied"] == len(report["tensors"]) - 2
    assert done.counts["copied, 1 rows added"] == 2
    aggregate = report["tensors"]["region_encoder.stages.0.aggregate.weight"]
    assert aggregate["from"] == ["checkpoint: model.region_geo_sampler.agg_projector_list.0.net.0.weight"]
    # Loading anew must not bring the added tokens' ids into another order.
    assert processor.tokenizer.convert_tokens_to_ids(["<region_fea>", "<image>"]) == [511, 512]


def test_large_models_are_written_in_shards(tmp_path: Path, reference: dict[str, Tensor]) -> None:
    source = write_ferret(tmp_path / "original")
    convert_ferret(source, tmp_path / "ours", ConversionOptions(shard_bytes=200_000))
    assert len(list((tmp_path / "ours").glob("model-*.safetensors"))) > 2
    same(tmp_path / "ours", reference)
    loaded = MustelaForConditionalGeneration.from_pretrained(tmp_path / "ours")
    assert torch.equal(loaded.state_dict()["base.lm_head.weight"], reference["base.lm_head.weight"])


def test_another_dtype(tmp_path: Path) -> None:
    source = write_ferret(tmp_path / "original")
    convert_ferret(source, tmp_path / "ours", ConversionOptions(dtype=torch.bfloat16))
    saved = load_file(tmp_path / "ours" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_delta_is_added_to_its_base_with_the_rows_of_new_tokens(
    tmp_path: Path, reference: dict[str, Tensor]
) -> None:
    state = numbers("state", "geo")
    base, delta = {}, {}
    for name, value in state.items():
        rows = 511 if name.startswith(("model.embed_tokens", "lm_head")) else None
        if is_language(name):
            base[name] = torch.randn(value.shape)[:rows]
        delta[name] = value.clone()
        if name in base:
            delta[name][:rows] -= base[name]
    vicuna = tmp_path / "vicuna"
    vicuna.mkdir()
    write_weights(vicuna, base, "bin shards", shards=2)
    source = write_ferret(tmp_path / "delta", state=delta)
    options = ConversionOptions(base=vicuna, delta=True)
    done = convert_ferret(source, tmp_path / "ours", options)
    same(tmp_path / "ours", reference, tolerance=1e-6)
    assert any("added to the base, rows from 511 on as they are" in how for how in done.counts)
    del base["model.layers.1.mlp.up_proj.weight"]
    write_weights(vicuna, base, "bin shards", shards=2)
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.up_proj\.weight \(in the base\)"):
        convert_ferret(source, tmp_path / "again", options)


def write_lora(folder: Path) -> tuple[Path, Path, dict[str, Tensor]]:
    """A LoRA folder on a base language model; returns both, and the weights that they make together."""
    whole = dict(numbers("state", "geo"))
    base = {name: value for name, value in whole.items() if is_language(name)}
    others = {
        f"base_model.model.{name}": v for name, v in whole.items() if "mm_proj" in name or "geo" in name
    }
    factors = {}
    for layer in (0, 1):
        for module in ("q_proj", "v_proj"):
            weight = f"model.layers.{layer}.self_attn.{module}.weight"
            a, b = torch.randn(4, 64) * 0.1, torch.randn(64, 4) * 0.1
            factors[f"base_model.model.{weight.replace('.weight', '.lora_A.weight')}"] = a
            factors[f"base_model.model.{weight.replace('.weight', '.lora_B.weight')}"] = b
            whole[weight] = base[weight] + 2.0 * b @ a
    vicuna, lora = folder / "vicuna", folder / "lora"
    vicuna.mkdir()
    lora.mkdir()
    (vicuna / "config.json").write_text(json.dumps(language_config()))
    write_weights(vicuna, base, "bin")
    torch.save(factors, lora / "adapter_model.bin")
    torch.save(others, lora / "non_lora_trainables.bin")
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    (lora / "adapter_config.json").write_text(json.dumps(settings))
    (lora / "config.json").write_text(json.dumps(ferret_config("geo")))
    write_tokenizer(lora)
    vision = "model.vision_tower.vision_tower."
    tower = {name.removeprefix(vision): v for name, v in whole.items() if name.startswith(vision)}
    write_tower(lora / "vision_tower", tower)
    return lora, vicuna, whole


def test_adapters_of_another_base_are_refused(tmp_path: Path) -> None:
    lora, vicuna, _ = write_lora(tmp_path)
    factors = torch.load(lora / "adapter_model.bin")
    name = "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"
    torch.save({**factors, name: torch.zeros(60, 4)}, lora / "adapter_model.bin")
    for way in ("merge", "adapter"):
        with pytest.raises(CheckpointError, match=r"v_proj.*\[60, 4\].*another base"):
            convert_ferret(lora, tmp_path / "ours", ConversionOptions(base=vicuna, lora=way))  # type: ignore[arg-type]
    torch.save({key: v for key, v in factors.items() if key != name}, lora / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="lacks its other half"):
        convert_ferret(lora, tmp_path / "ours", ConversionOptions(base=vicuna))
    moved = {key.replace("layers.1", "layers.7"): value for key, value in factors.items()}
    torch.save(moved, lora / "adapter_model.bin")
    for way in ("merge", "adapter"):
        with pytest.raises(CheckpointError, match=r"adapter:.*layers\.7.*no place"):
            convert_ferret(lora, tmp_path / "ours", ConversionOptions(base=vicuna, lora=way))  # type: ignore[arg-type]
    torch.save(factors, lora / "adapter_model.bin")
    settings = json.loads((lora / "adapter_config.json").read_text())
    (lora / "adapter_config.json").write_text(json.dumps({**settings, "r": 8}))
    with pytest.raises(CheckpointError, match=r"lora_A.*\[4, 64\].*r = 8"):
        convert_ferret(lora, tmp_path / "ours", ConversionOptions(base=vicuna))


def answer(model: torch.nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    ids = torch.tensor([[1, *[512] * 16, 40, 511, 60, 7]])
    points = torch.rand(1, 512, 2, generator=generator)
    pixels = golden()["in.pixel_values"][:1]
    with torch.no_grad():
        logits: Tensor = model(
            input_ids=ids, pixel_values=pixels, region_points=points, region_image=torch.tensor([0])
        ).logits
    return logits[..., :512]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_lora_folders_become_merged_weights_or_an_adapter(tmp_path: Path) -> None:
    lora, vicuna, whole = write_lora(tmp_path)
    with pytest.raises(CheckpointError, match="LoRA adapter: give --base DIR"):
        convert_ferret(lora, tmp_path / "merged")
    convert_ferret(lora, tmp_path / "merged", ConversionOptions(base=vicuna))
    convert_ferret(lora, tmp_path / "plain", ConversionOptions(base=vicuna, lora="adapter"))
    convert_ferret(write_ferret(tmp_path / "whole", state=whole), tmp_path / "expected")
    expected = load_file(tmp_path / "expected" / "model.safetensors")
    same(tmp_path / "merged", expected, tolerance=1e-6)
    model, _ = load_model(tmp_path / "plain", device="cpu")
    before = answer(model)
    merged = answer(load_model(tmp_path / "merged", device="cpu")[0])
    assert (before - merged).abs().max() > 1e-3
    adapted = PeftModel.from_pretrained(model, tmp_path / "plain" / "adapter")
    torch.testing.assert_close(answer(adapted.eval()), merged, atol=1e-5, rtol=0)
    # It is an adapter's folder of ours as well, and moves with its base.
    moved = (tmp_path / "plain").rename(tmp_path / "elsewhere") / "adapter"
    ours, processor = load_model(moved, device="cpu")
    torch.testing.assert_close(answer(ours), merged, atol=1e-5, rtol=0)
    assert ours.adapter is not None
    assert (ours.adapter.lora.r, ours.adapter.lora.scaling, len(ours.adapter.lora.targets)) == (4, 2.0, 4)
    assert processor.template.name == "v1"
    with pytest.raises(CheckpointError, match="isn't there"):
        load_model(shutil.copytree(moved, tmp_path / "alone"), device="cpu")


def ready_llava(folder: Path) -> LlavaForConditionalGeneration:
    """A tiny LLaVA in transformers' own layout."""
    tiny = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        image_size=56, patch_size=14,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=520, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    config = LlavaConfig(text_config=text, vision_config=tiny, image_token_index=511, vision_feature_layer=-2)
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    write_tokenizer(folder, region=False)
    (folder / "added_tokens.json").write_text(json.dumps({"<image>": 511}))
    return model


def llava_logits(model: torch.nn.Module, image_id: int) -> Tensor:
    ids = torch.tensor([[1, 30, *[image_id] * 16, 40, 60, 7]])
    pixels = golden()["in.pixel_values"][:1]
    with torch.no_grad():
        logits: Tensor = model(input_ids=ids, pixel_values=pixels).logits
    return logits


def test_llava_in_transformers_layout_computes_the_same(tmp_path: Path, parity) -> None:
    theirs = ready_llava(tmp_path / "llava")
    convert_llava(tmp_path / "llava", tmp_path / "ours")
    ours, processor = load_model(tmp_path / "ours", device="cpu")
    assert processor.image_token_id == 511
    assert (ours.config.region_token_id, ours.config.sampling_geometry) == (512, "aligned")
    assert processor.template.name == "vicuna_v1"
    largest = float((llava_logits(ours, 511) - llava_logits(theirs, 511)).abs().max())
    parity.add("LLaVA of transformers, converted: logits", cases=21, difference=largest)
    assert largest < 1e-5


def test_llava_in_the_authors_layout_is_the_same_model(tmp_path: Path) -> None:
    theirs = ready_llava(tmp_path / "llava")
    authors = tmp_path / "authors"
    authors.mkdir()
    renamed = {}
    for name, value in load_file(tmp_path / "llava" / "model.safetensors").items():
        name = name.removeprefix("language_model.")
        name = name.replace("multi_modal_projector.linear_1", "model.mm_projector.0")
        name = name.replace("multi_modal_projector.linear_2", "model.mm_projector.2")
        name = name.replace("vision_tower.", "model.vision_tower.vision_tower.vision_model.")
        # Those of the authors' tokenizer have no <image>.
        renamed[name] = value[:511] if name in ("model.embed_tokens.weight", "lm_head.weight") else value
    write_weights(authors, renamed, "bin shards")
    write_tokenizer(authors, region=False)
    write_tower(authors / "vision_tower")
    config = ferret_config("geo", model_type="llava_llama", vocab_size=511, mm_projector_type="mlp2x_gelu")
    for key in ("im_region_fea_token", "region_geo_sampler", "region_fea_adapter", "sampler_pooler_mode"):
        config.pop(key)
    (authors / "config.json").write_text(json.dumps(config))
    convert_llava(authors, tmp_path / "ours", regions=RegionSettings(encoder="mean"))
    ours, processor = load_model(tmp_path / "ours", device="cpu")
    found = llava_logits(ours, processor.image_token_id)
    torch.testing.assert_close(found[..., :511], llava_logits(theirs, 511)[..., :511], atol=1e-5, rtol=0)
    assert (found[..., 511:] == -torch.inf).all()
    assert ours.config.region_encoder == "mean"


def test_kinds_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    ready_llava(tmp_path / "llava")
    with pytest.raises(CheckpointError, match="mustela convert llava"):
        convert_ferret(tmp_path / "llava", tmp_path / "ours")
    with pytest.raises(CheckpointError, match="mustela convert ml-ferret"):
        convert_llava(write_ferret(tmp_path / "ferret"), tmp_path / "ours")


def test_names_that_do_not_add_up_are_errors_unless_allowed(tmp_path: Path) -> None:
    state = dict(numbers("state", "geo"))
    state["model.something.weight"] = torch.zeros(2)
    state["elsewhere.bias"] = torch.zeros(2)
    state.pop("model.mm_projector.bias")
    state.pop("model.layers.1.mlp.up_proj.weight")
    source = write_ferret(tmp_path / "original", state=state)
    with pytest.raises(CheckpointError) as caught:
        convert_ferret(source, tmp_path / "ours")
    for name in ("model.something.weight", "elsewhere.bias", "projector.bias", "layers.1.mlp.up_proj.weight"):
        assert name in str(caught.value)
    allowed = ConversionOptions(
        allow_unread=("model.something.*", "elsewhere.bias"), allow_missing=("*projector.bias",)
    )
    with pytest.raises(CheckpointError) as caught:
        convert_ferret(source, tmp_path / "ours", allowed)
    assert "something" not in str(caught.value).partition("Allowed")[0]
    assert "projector.bias" not in str(caught.value).partition("Allowed")[0]
    assert "layers.1.mlp.up_proj.weight of the new model have no source" in str(caught.value)
    more = replace(allowed, allow_missing=("*projector.bias", "*.layers.1.mlp.up_proj.weight"))
    done = convert_ferret(source, tmp_path / "ours", more)
    assert done.counts["made fresh"] == 2
    assert done.ignored["checkpoint: model.something.weight"] == "allowed by name"
    assert not (tmp_path / "ours.part").exists()


@pytest.mark.parametrize(
    ("gone", "patterns", "spread"),
    [
        ("model.region_geo_sampler.", ("region_encoder.*",), None),
        ("model.mm_projector.", ("*.multi_modal_projector.*",), None),
        ("model.layers.0.self_attn.q_proj.", ("*.q_proj.weight",), 0.02),
        ("model.norm.", ("*.language_model.norm.weight",), 0.0),
        (f"{PREFIX}vision_model.post_layernorm.", ("*.post_layernorm.*",), 0.0),
        (f"{PREFIX}vision_model.embeddings.", ("*.vision_tower.embeddings.*",), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_part_may_be_made_afresh_by_name(
    tmp_path: Path, reference: dict[str, Tensor], gone: str, patterns: tuple[str, ...], spread: float | None
) -> None:
    state = {name: v for name, v in numbers("state", "geo").items() if not name.startswith(gone)}
    source = write_ferret(tmp_path / "original", state=state)
    with pytest.raises(CheckpointError, match=r"--allow_missing|no projector"):
        convert_ferret(source, tmp_path / "ours")
    done = convert_ferret(source, tmp_path / "ours", ConversionOptions(allow_missing=patterns))
    found = load_file(tmp_path / "ours" / "model.safetensors")
    assert found.keys() == reference.keys()
    fresh = {name for name in found if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}
    fresh = {name for name in fresh if not torch.equal(found[name], reference[name])}
    assert 0 < len(fresh) <= done.counts["made fresh"]
    assert all(torch.equal(found[name], reference[name]) for name in found.keys() - fresh)
    for name in fresh:
        assert torch.isfinite(found[name]).all(), name
        if spread is not None:
            assert float(found[name].std()) == pytest.approx(spread, rel=0.1), name
    load_model(tmp_path / "ours", device="cpu")


def test_other_shapes_empty_tensors_and_lost_shards_are_named(tmp_path: Path) -> None:
    state = dict(numbers("state", "geo"))
    for name, value, message in (
        ("model.norm.weight", torch.zeros(63), r"norm\.weight is \[63\].*\[64\]"),
        ("model.norm.weight", torch.zeros(0), "without gathering"),
    ):
        folder = tmp_path / message[:3]
        source = write_ferret(folder / "original", state={**state, name: value})
        with pytest.raises(CheckpointError, match=message):
            convert_ferret(source, folder / "ours")
    next(source.glob("pytorch_model-00002*")).unlink()
    with pytest.raises(CheckpointError, match=r"lacks 1 of 3 files.*pytorch_model-00002"):
        convert_ferret(source, tmp_path / "ours")


class Harmful:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("place", ["checkpoint", "vision tower", "adapter", "beside the adapter", "base"])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, place: str) -> None:
    lora, vicuna, _ = write_lora(tmp_path)
    whole = write_ferret(tmp_path / "whole", files="bin", tower="subfolder")
    file = {
        "checkpoint": whole / "pytorch_model.bin",
        "vision tower": whole / "vision_tower" / "pytorch_model.bin",
        "adapter": lora / "adapter_model.bin",
        "beside the adapter": lora / "non_lora_trainables.bin",
        "base": vicuna / "pytorch_model.bin",
    }[place]
    with file.open("wb") as stream:
        pickle.dump({"w": Harmful(str(tmp_path / "harmed"))}, stream, protocol=2)
    (whole / "vision_tower" / "model.safetensors").unlink()
    source, base = (whole, None) if place in ("checkpoint", "vision tower") else (lora, vicuna)
    with pytest.raises(CheckpointError, match="run code"):
        convert_ferret(source, tmp_path / "ours", ConversionOptions(base=base))
    assert not (tmp_path / "harmed").exists()
    assert not (tmp_path / "ours").exists()


def killed_at_the_end(source: Path, folder: Path) -> NoReturn:
    """Convert, and be killed when all but the model's own configuration is written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "mustela.convert.conversion.write_report", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        )
        convert_ferret(source, folder)
    os._exit(0)


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_an_interrupted_conversion_leaves_nothing_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_ferret(tmp_path / "original")

    def interrupted(steps, folder: Path, **options):
        stream(steps[: len(steps) // 2], folder, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mustela.convert.conversion.write_weights", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert_ferret(source, tmp_path / "ours")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["original"]
    child = os.fork()
    if child == 0:
        killed_at_the_end(source, tmp_path / "ours")
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not (tmp_path / "ours").exists()
    assert (tmp_path / "ours.part" / "model.safetensors").is_file()
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "ours.part")
    convert_ferret(source, tmp_path / "ours")
    assert not (tmp_path / "ours.part").exists()
    load_model(tmp_path / "ours", device="cpu")
    with pytest.raises(CheckpointError, match="exists"):
        convert_ferret(source, tmp_path / "ours")


def test_the_region_token_must_be_the_one_of_the_configuration(tmp_path: Path) -> None:
    source = write_ferret(tmp_path / "original")
    (source / "added_tokens.json").unlink()
    with pytest.raises(CheckpointError, match=r"<region_fea> is token 511.*added_tokens\.json"):
        convert_ferret(source, tmp_path / "ours")


def test_the_command_reports_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_ferret(tmp_path / "original")
    target = tmp_path / "ours"
    words = [
        "convert",
        "ml-ferret",
        str(source),
        str(target),
        "--max_shard_size",
        "1MB",
        "--dtype",
        "float16",
    ]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "template: v1" in shown
    assert "conversion.json" in shown
    assert main(words) == 2
    assert "isn't an empty folder" in capsys.readouterr().err
    save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert main(["convert", "llava", str(tmp_path), str(tmp_path / "new")]) == 2
    assert "no config.json" in capsys.readouterr().err
