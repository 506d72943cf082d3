"""mustela models in lmms-eval, for the general benchmarks that run there.

lmms-eval finds them by the entry point `lmms_eval.models`:

    python -m lmms_eval --model mustela --model_args pretrained=runs/mine/final --tasks mme,textvqa_val

This module is imported by lmms-eval only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from lmms_eval.api.model import lmms
from PIL import Image

from mustela.constants import IMAGE_PLACEHOLDER
from mustela.data.record import ImageRef, Record, Turn
from mustela.errors import ConfigError
from mustela.evaluate.answering import prepare
from mustela.evaluate.questions import Question
from mustela.infer import default_options, generate_texts
from mustela.model.loading import load_model
from mustela.regions import load_image

_PASSED = ("do_sample", "temperature", "top_p", "num_beams")


class Mustela(lmms):
    """A model of mustela as lmms-eval asks for it: pictures and text in, text out."""

    def __init__(
        self,
        pretrained: str,
        *,
        batch_size: int | str = 1,
        device: str | None = None,
        dtype: str = "float32",
        max_new_tokens: int = 256,
        **unknown: Any,
    ) -> None:
        super().__init__()
        if unknown:
            raise ConfigError(f"--model_args: mustela has no {', '.join(sorted(unknown))}.")
        self.accelerator = Accelerator()
        self._rank = self.accelerator.process_index
        self._world_size = self.accelerator.num_processes
        place = device if device and self._world_size == 1 else str(self.accelerator.device)
        kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
        if dtype not in kinds:
            raise ConfigError(f"--model_args: dtype is {dtype!r}. It is one of: {', '.join(kinds)}.")
        model, self.processor = load_model(pretrained, device=place, dtype=kinds[dtype])
        self.model = model.eval()
        self.options = default_options(self.processor)
        self.batch_size = int(batch_size)
        self.max_new_tokens = max_new_tokens

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Return the answers to requests in their order; ends at a request's `until`."""
        prepared = [self._prepare(request.args) for request in requests]
        # Prompts of about the same length and kind together; answers don't hang on it.
        order = sorted(range(len(requests)), key=lambda n: (prepared[n][1], prepared[n][2], str(n)))
        answers = [""] * len(requests)
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            for same in _alike(batch, prepared):
                settings = dict(requests[same[0]].args[1])
                generation = {name: settings[name] for name in _PASSED if name in settings}
                if not generation.get("do_sample"):
                    generation = {"num_beams": generation.get("num_beams", 1)}
                texts = generate_texts(
                    self.model,
                    self.processor,
                    [prepared[place][0] for place in same],
                    max_new_tokens=int(settings.get("max_new_tokens", self.max_new_tokens)),
                    **generation,
                )
                for place, text in zip(same, texts, strict=True):
                    answers[place] = _until(text, settings.get("until"))
        return answers

    def _prepare(self, args: Sequence[Any]) -> tuple[Mapping[str, torch.Tensor], int, str]:
        """Return a request's encoded prompt, its number of pictures, and its settings as text."""
        context, settings, doc_to_visual, doc_id, task, split = args
        images = [_picture(visual) for visual in doc_to_visual(self.task_dict[task][split][doc_id])]
        text = f"{IMAGE_PLACEHOLDER}\n" * len(images) + str(context).replace(IMAGE_PLACEHOLDER, "").strip()
        record = Record(
            str(doc_id),
            tuple(ImageRef(f"{place}", image.size) for place, image in enumerate(images)),
            (Turn("user", text), Turn("assistant", "")),
        )
        question = Question(str(doc_id), "text", record, 0)
        asked = prepare(question, self.processor, images, options=self.options)
        return asked.sample, len(images), repr(sorted(dict(settings).items()))

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Refuse tasks that compare likelihoods."""
        raise NotImplementedError("mustela answers with text; choose tasks that generate.")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refuse tasks of several rounds."""
        raise NotImplementedError("mustela in lmms-eval answers single questions only.")


def _alike(batch: Sequence[int], prepared: Sequence[tuple[Any, int, str]]) -> list[list[int]]:
    """Part a batch where the number of pictures or the settings change."""
    groups: dict[tuple[int, str], list[int]] = {}
    for place in batch:
        groups.setdefault(prepared[place][1:], []).append(place)
    return list(groups.values())


def _picture(visual: Any) -> Image.Image:
    if not isinstance(visual, Image.Image):
        raise ConfigError(f"mustela reads pictures; the task gives a {type(visual).__name__} (a video?).")
    return load_image(visual)


def _until(text: str, ends: str | Sequence[str] | None) -> str:
    for end in [ends] if isinstance(ends, str) else ends or ():
        if end:
            text = text.split(end, 1)[0]
    return text.strip()
