"""Peak memory of `mustela convert` on a generated checkpoint of more than 2 GB in several files (Linux).

    python benchmarks/bench_convert.py

Prediction: the tensors go through one at a time, so the peak is what Python, torch and transformers take by
themselves, the pages of the file that is being read (at most 134 MB and a tensor before it is opened anew),
and one tensor a few times (the largest has 131 MB). It must stay under twice the largest file, and it must
not grow with the number of files. A delta reads two checkpoints side by side.
"""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from sentencepiece import SentencePieceTrainer

HIDDEN, INNER, LAYERS, VOCABULARY = 2048, 5504, 18, 32000
VISION = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
FILES = 3
RESULT = Path(__file__).parent / "results" / "convert.json"
CHILD = """
import json, re, sys
from mustela.cli.main import main
import mustela.convert
# Not ru_maxrss, which begins with what the parent had.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = peak()
status = main(sys.argv[1:])
print(json.dumps({"before_kb": before, "peak_kb": peak()}))
sys.exit(status)
"""


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the original's language model, projector and region encoder."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}"
        found |= {f"{stem}.self_attn.{name}_proj.weight": (HIDDEN, HIDDEN) for name in "qkvo"}
        found |= {f"{stem}.mlp.{name}_proj.weight": (INNER, HIDDEN) for name in ("gate", "up")}
        found |= {f"{stem}.mlp.down_proj.weight": (HIDDEN, INNER)}
        found |= {f"{stem}.{name}_layernorm.weight": (HIDDEN,) for name in ("input", "post_attention")}
    found |= {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}
    width = VISION["hidden_size"]
    for name in ("model.mm_projector", "model.region_fea_adapter"):
        found |= {f"{name}.weight": (HIDDEN, width), f"{name}.bias": (HIDDEN,)}
    return found


def write_checkpoint(folder: Path, names: dict[str, tuple[int, ...]], *, suffix: str) -> int:
    """Write the tensors into files of about equal size; return the bytes of the largest file."""
    folder.mkdir(parents=True)
    total = sum(torch.Size(shape).numel() for shape in names.values())
    shards: list[dict[str, torch.Tensor]] = [{}]
    filled, places, stem = 0, {}, "pytorch_model" if suffix == ".bin" else "model"
    noise = torch.randn(2**20).half()
    largest = 0

    def flush() -> None:
        nonlocal largest
        file = folder / f"{stem}-{len(shards):05}-of-{FILES:05}{suffix}"
        (torch.save if suffix == ".bin" else save_file)(shards[-1], file)
        places.update(dict.fromkeys(shards[-1], file.name))
        largest = max(largest, file.stat().st_size)

    for name, shape in names.items():
        count = torch.Size(shape).numel()
        if filled > total / FILES:
            flush()
            shards[-1] = {}
            shards.append({})
            filled = 0
        shards[-1][name] = noise.repeat(-(-count // len(noise)))[:count].reshape(shape).clone()
        filled += count
    flush()
    index = {"metadata": {}, "weight_map": places}
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps(index))
    return largest


def write_rest(folder: Path) -> None:
    """Write configuration, tokenizer and vision tower of a Ferret folder."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    writer = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["where is the dog", "what is this region"] * 50), model_writer=writer,
        model_type="bpe", vocab_size=290, byte_fallback=True, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(writer.getvalue())
    config: dict[str, Any] = {
        "model_type": "ferret_llama", "hidden_size": HIDDEN, "intermediate_size": INNER,
        "num_hidden_layers": LAYERS, "num_attention_heads": 16, "vocab_size": VOCABULARY,
        "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    CLIPVisionModel(CLIPVisionConfig(image_size=56, patch_size=14, **VISION)).half().save_pretrained(
        folder / "vision_tower"
    )


def convert(arguments: list[str]) -> dict[str, float]:
    """Convert in a process of its own; return seconds and megabytes."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "convert", "ml-ferret", *arguments],
        check=True, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "before_mb": round(told["before_kb"] * 1024 / 1e6),
        "peak_mb": round(told["peak_kb"] * 1024 / 1e6),
    }


def main() -> None:
    """Generate, convert, compare with the bound, write the result."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        language = {
            name: shape for name, shape in shapes().items() if "mm_" not in name and "region" not in name
        }
        for kind, suffix in (("bin", ".bin"), ("safetensors", ".safetensors"), ("delta", ".bin")):
            source = root / kind
            largest = write_checkpoint(source, shapes(), suffix=suffix)
            write_rest(source)
            arguments = [str(source), str(root / "out")]
            if kind == "delta":
                largest = max(largest, write_checkpoint(root / "base", language, suffix=suffix))
                arguments += ["--base", str(root / "base"), "--delta"]
            total = sum(file.stat().st_size for file in source.glob(f"*{suffix}"))
            row = {
                "kind": kind,
                "files": FILES,
                "total_mb": round(total / 1e6),
                "largest_mb": round(largest / 1e6),
            }
            row |= convert(arguments)
            row["peak_over_largest"] = round(row["peak_mb"] / row["largest_mb"], 2)
            rows.append(row)
            print(row, flush=True)
            subprocess.run(["rm", "-r", str(source), str(root / "out")], check=True)
    content = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "rows": rows,
    }
    RESULT.write_text(json.dumps(content, indent=2) + "\n")
    if any(row["peak_over_largest"] >= 2 for row in rows):
        sys.exit("the peak is not under twice the largest file")


if __name__ == "__main__":
    main()
