"""Tiny ready bases of random numbers, one of each family, with processors made of their own classes."""

from __future__ import annotations

from collections.abc import Callable

from tests.model.tiny_gemma import gemma3, gemma4
from tests.model.tiny_molmo import molmo2
from tests.model.tiny_native import glm4v, glm46v, qwen2_5_vl, qwen2_vl, qwen3_5, qwen3_vl
from tests.model.tiny_parts import TinyBase
from tests.model.tiny_pixtral import mistral3, pixtral
from tests.model.tiny_squares import (
    idefics3,
    internvl,
    llava,
    llava_next,
    llava_onevision,
    paligemma,
    smolvlm,
    vipllava,
)

BASES: dict[str, Callable[[], TinyBase]] = {
    make.__name__: make
    for make in (
        llava,
        pixtral,
        vipllava,
        llava_next,
        llava_onevision,
        qwen2_vl,
        qwen2_5_vl,
        qwen3_vl,
        qwen3_5,
        glm4v,
        glm46v,
        idefics3,
        smolvlm,
        paligemma,
        gemma3,
        gemma4,
        internvl,
        mistral3,
        molmo2,
    )
}
