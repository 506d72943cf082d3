"""Where the time of a step goes: marks in forward and backward pass, read afterwards.

A mark says which part begins. Inputs and outputs of parts go through an identity whose backward marks too, so
that the backward pass is split like the forward one. On a GPU marks are events in its stream: nothing waits.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mustela.model import MustelaForConditionalGeneration

REST = "rest"


class Clock:
    """Marks of one step; `spans` sums up the time between them by part.

    Args:
        device: where the step runs.
        read: what to read in place of the time: a counter of operations, say.
    """

    def __init__(self, device: torch.device, read: Callable[[], float] = time.perf_counter) -> None:
        self.read = read
        self.on_gpu = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []

    def mark(self, part: str) -> None:
        """Say which part begins."""
        self._marks.append((part, self._now()))

    def _now(self) -> Any:
        if not self.on_gpu:
            return self.read()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def spans(self) -> dict[str, float]:
        """End the last part and return the seconds of each."""
        self.mark(REST)
        if self.on_gpu:
            torch.cuda.synchronize()
        found: dict[str, float] = defaultdict(float)
        for (part, start), (_, end) in zip(self._marks[:-1], self._marks[1:], strict=True):
            found[part] += start.elapsed_time(end) / 1e3 if self.on_gpu else end - start
        return dict(found)


class _Border(torch.autograd.Function):
    """An identity that marks when the gradient comes through."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, mark: Callable[[], None]) -> Tensor:
        ctx.mark = mark
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.mark()
        return gradients[0], None


@contextmanager
def marked(model: MustelaForConditionalGeneration, clock: Clock) -> Iterator[None]:
    """Let a model's parts mark themselves on a clock.

    Behind the language model's last layer begins `head_and_loss`, in both directions; what lies between parts
    (placing features among embeddings, masks) is `rest`.
    """
    base: Any = model.base.model
    inside = {"vision_tower": base.vision_tower, "projector": base.multi_modal_projector}
    if model.region_encoder is not None:
        inside["region_encoder"] = model.region_encoder
    handles = []
    for part, module in inside.items():
        handles.append(module.register_forward_pre_hook(_begin(clock, part)))
        handles.append(module.register_forward_hook(_end(clock, part)))
    lm: nn.Module = base.language_model
    handles.append(lm.register_forward_pre_hook(_enter(clock), with_kwargs=True))
    handles.append(lm.register_forward_hook(_leave(clock)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _begin(clock: Clock, part: str) -> Callable[..., None]:
    return lambda *_: clock.mark(part)


def _end(clock: Clock, part: str) -> Callable[..., Any]:
    def end(_: nn.Module, __: Any, output: Any) -> Any:
        clock.mark(REST)
        if isinstance(output, Tensor) and output.requires_grad:
            return _Border.apply(output, lambda: clock.mark(part))
        return None

    return end


def _enter(clock: Clock) -> Callable[..., Any]:
    def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        clock.mark("language_model")
        embedded = kwargs["inputs_embeds"]
        if embedded.requires_grad:
            embedded = _Border.apply(embedded, lambda: clock.mark(REST))
        return args, {**kwargs, "inputs_embeds": embedded}

    return enter


def _leave(clock: Clock) -> Callable[..., Any]:
    def leave(_: nn.Module, __: Any, output: Any) -> Any:
        clock.mark("head_and_loss")
        hidden = output.last_hidden_state
        if hidden.requires_grad:
            output.last_hidden_state = _Border.apply(hidden, lambda: clock.mark("language_model"))
        return output

    return leave
