"""`mustela serve`: answer over HTTP, and show a page to draw and ask on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mustela.cli.command import Subparsers, add_command
from mustela.cli.model_options import add_model_options, model_options
from mustela.cli.sizes import DTYPES
from mustela.errors import ConfigError, require

if TYPE_CHECKING:
    from mustela.data.processor import MustelaProcessor
    from mustela.model import MustelaForConditionalGeneration
    from mustela.serve.limits import Limits

__all__ = ["add_parser", "run"]

KEY_VARIABLE = "MUSTELA_API_KEY"

_DESCRIPTION = f"""\
Serve a model: a page to draw and ask on at the root, OpenAI's chat interface under /v1.

  mustela serve shapes-base

MODEL is a model's or adapter's folder, a run's folder, or the name of a model that comes with mustela.
A key that clients must send is taken from the environment variable {KEY_VARIABLE} or a file.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela serve`."""
    parser = add_command(
        subparsers,
        "serve",
        summary="answer over HTTP, with a page to draw and ask on",
        run=run,
        description=_DESCRIPTION,
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 for any free one (default: %(default)s)")
    parser.add_argument("--name", help="the model's name for clients (default: that of its folder)")
    add_model_options(parser)
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="of the weights (default: %(default)s)",
    )
    access = parser.add_argument_group("access")
    access.add_argument(
        "--api_key_file", metavar="FILE", help=f"keys, one a line, in place of {KEY_VARIABLE}"
    )
    access.add_argument(
        "--allowed_hosts",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names by which the server may be called beside its own, behind a proxy for example",
    )
    access.add_argument(
        "--image_hosts",
        nargs="+",
        default=[],
        metavar="HOST",
        help="hosts whose pictures are fetched, *.example.org for those below (default: none)",
    )
    access.add_argument(
        "--image_folders",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="folders whose pictures are read by file:// addresses (default: none)",
    )
    access.add_argument(
        "--log_requests", action="store_true", help="write a line a request: address, path, status"
    )
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another value for a limit, such as seconds=60; a wrong name shows them all",
    )


def run(args: argparse.Namespace) -> None:
    """Serve until interrupted."""
    require("fastapi", extra="serve")
    require("uvicorn", extra="serve")
    require("prometheus_client", extra="serve")
    from transformers.utils.logging import disable_progress_bar

    from mustela.model import load_model, resolve_model_path
    from mustela.serve.server import ServerOptions, is_local, serve

    folder = Path(resolve_model_path(args.model))
    keys = _keys(args.api_key_file)
    options = ServerOptions(
        name=args.name or _name(args.model),
        host=args.host,
        port=args.port,
        keys=keys,
        allowed_hosts=args.allowed_hosts,
        image_hosts=args.image_hosts,
        image_folders=[_folder(each) for each in args.image_folders],
        log_requests=args.log_requests,
    )
    limits = _limits(args.limit)
    if not keys and not is_local(args.host):
        _tell(f"whoever reaches {args.host} can use this server: set {KEY_VARIABLE} to ask for a key")
    disable_progress_bar()

    def load() -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
        import torch

        return load_model(folder, dtype=torch.__dict__[args.dtype], **model_options(args))

    serve(load, options, limits, tell=_tell)


def _tell(line: str) -> None:
    print(f"mustela: {line}", flush=True)


def _name(model: str) -> str:
    path = Path(model)
    return (path.parent.name if path.name == "final" else path.name) or model


def _keys(file: str | None) -> list[str]:
    if file is None:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        return [key] if key else []
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--api_key_file {file}: can't be read ({error}).") from error
    keys = [line.strip() for line in lines if line.strip()]
    if not keys:
        raise ConfigError(f"--api_key_file {file}: holds no key. Write one a line.")
    return keys


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ConfigError(f"--image_folders {path}: is no folder.")
    return path


def _limits(settings: Sequence[str]) -> Limits:
    from mustela.serve.limits import Limits

    known = {field.name: field.default for field in fields(Limits)}
    given: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in known:
            listed = ", ".join(f"{key}={default}" for key, default in known.items())
            raise ConfigError(f"--limit {setting}: the limits are {listed}.")
        try:
            given[name] = float(value) if isinstance(known[name], float) else int(value)
        except ValueError:
            raise ConfigError(f"--limit {setting}: {value!r} is no number.") from None
    return Limits(**given)
