"""The process: loads the model while it already listens, serves until it is told to stop."""

from __future__ import annotations

import math
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from mustela.data.processor import MustelaProcessor
from mustela.errors import ConfigError
from mustela.model import MustelaForConditionalGeneration
from mustela.serve.app import make_app
from mustela.serve.fetching import Fetcher
from mustela.serve.limits import Limits
from mustela.serve.service import Service

__all__ = ["ServerOptions", "is_local", "serve"]

Loader = Callable[[], tuple[MustelaForConditionalGeneration, MustelaProcessor]]

_LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServerOptions:
    """How a server is reached, and by whom.

    Attributes:
        name: of the model, for clients.
        host: address to listen on.
        port: 0 for any free one.
        keys: API keys, one of which a client must send; none: everybody may ask.
        allowed_hosts: names by which it may be called, beside its own; none: any name, unless it listens to
            its own machine only.
        image_hosts: see `Fetcher`.
        image_folders: see `Fetcher`.
        log_requests: write a line with address, path and status of each request.
    """

    name: str
    host: str = "127.0.0.1"
    port: int = 8000
    keys: Sequence[str] = ()
    allowed_hosts: Sequence[str] = ()
    image_hosts: Sequence[str] = ()
    image_folders: Sequence[Path] = ()
    log_requests: bool = False


def is_local(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    return host in _LOCAL_NAMES or host.startswith("127.")


def serve(load: Loader, options: ServerOptions, limits: Limits, *, tell: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; what runs then is finished first.

    Args:
        load: gives the model and its processor; called in a thread, while the server already listens.
        options: how it is reached.
        limits: what requests may cost.
        tell: is called with lines for the person who started it.

    Raises:
        ConfigError: the address can't be listened on.
        MustelaError: the model can't be loaded.
    """
    service = Service(
        options.name,
        limits=limits,
        fetcher=Fetcher(
            hosts=tuple(options.image_hosts),
            folders=tuple(options.image_folders),
            max_bytes=limits.image_bytes,
        ),
    )
    with _listening(options) as listener:
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"http://{host}:{listener.getsockname()[1]}"
        tell(f"loading {options.name}; the page will be at {address}, for OpenAI's clients {address}/v1")
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(service, keys=options.keys, hosts=_names(options)),
                access_log=options.log_requests,
                # Warnings are of what clients send.
                log_level="info" if options.log_requests else "error",
                lifespan="off",
                ws="none",
                http="h11",
                server_header=False,
                timeout_graceful_shutdown=math.ceil(limits.seconds),
            )
        )
        failures: list[Exception] = []

        def start() -> None:
            try:
                service.start(*load())
                tell(f"ready: {address}")
            except Exception as error:  # noqa: BLE001
                failures.append(error)
                server.should_exit = True

        # Of files that clients send.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        threading.Thread(target=start, name="load", daemon=True).start()
        with _signals_end_here():
            server.run(sockets=[listener])
    if failures:
        raise failures[0]
    if not server.force_exit:
        service.close()


def _names(options: ServerOptions) -> Sequence[str] | None:
    if not options.allowed_hosts and not is_local(options.host):
        return None
    return (*_LOCAL_NAMES, options.host, *options.allowed_hosts)


@contextmanager
def _listening(options: ServerOptions) -> Iterator[socket.socket]:
    if not 0 <= options.port < 2**16:
        raise ConfigError(f"--port {options.port}: ports are 0 (any free one) to 65535.")
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server((options.host, options.port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"can't listen on --host {options.host} --port {options.port}: {error.strerror or error}. Choose"
            " another port, or 0 for any free one."
        ) from error
    with listener:
        yield listener


@contextmanager
def _signals_end_here() -> Iterator[None]:
    """Keep the server from sending itself the signal once more when it has stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
