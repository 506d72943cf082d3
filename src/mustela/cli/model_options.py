"""The options of commands that load a model."""

from __future__ import annotations

import argparse
from typing import Any

from mustela.errors import ConfigError

__all__ = ["add_base_options", "add_model_options", "check_counts", "check_device", "model_options"]


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Declare where a model goes, how it is stored, and where its base lies."""
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: an accelerator if there is one)")
    parser.add_argument(
        "--bits",
        type=int,
        choices=(4, 8),
        help="store the language model in so many bits (default: in full; needs the quantization extra)",
    )
    add_base_options(parser)


def add_base_options(parser: argparse.ArgumentParser) -> None:
    """Declare where an adapter's base lies."""
    parser.add_argument(
        "--base", metavar="DIR", help="the base of an adapter, if no longer where it was in training"
    )
    parser.add_argument(
        "--base_vision_tower",
        metavar="DIR",
        help="the same for the vision tower, of an adapter on a language model and a vision tower",
    )


def model_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `load_model` that the options say.

    Raises:
        ConfigError: this machine has no such device.
    """
    from mustela.model.loading import quantisation_for

    check_device(args.device)
    return {
        "device": args.device,
        "base": args.base,
        "base_vision_tower": args.base_vision_tower,
        "quantisation": quantisation_for(args.model, args.bits),
    }


def check_counts(args: argparse.Namespace, *names: str) -> None:
    """Refuse counts below 1.

    Raises:
        ConfigError: one is; names the option.
    """
    for name in names:
        value = vars(args)[name]
        if value is not None and value < 1:
            raise ConfigError(f"--{name} is {value}. It is at least 1.")


def check_device(name: str | None) -> None:
    """Refuse a device that this machine hasn't got; None is any.

    Raises:
        ConfigError: there is no such device; says which there are.
    """
    if name is None:
        return
    import torch

    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    count = 0 if here is None else torch.accelerator.device_count()
    known = ["cpu"] if here is None else ["cpu", here.type, *(f"{here.type}:{i}" for i in range(count))]
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"--device {name}: is no device. This machine has {', '.join(known)}.") from None
    if device.type == "cpu":
        return
    if here is None or device.type != here.type or (device.index or 0) >= count:
        raise ConfigError(f"--device {name}: is not here. This machine has {', '.join(known)}.")
