"""Pictures at addresses: only from hosts and folders that were allowed, never from private networks."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from mustela.serve.errors import ApiError, refused

__all__ = ["Fetcher", "resolve_host"]

_REDIRECTS = 3
_CHUNK = 64 * 1024
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def resolve_host(host: str, port: int) -> list[str]:
    """Return the addresses of a host."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Fetcher:
    """Gets the bytes of pictures.

    Attributes:
        hosts: names of hosts whose pictures are fetched by http and https; "*.example.org" means those below.
        folders: folders whose files are read by file:// addresses.
        max_bytes: the largest file.
        seconds: the longest time for one file.
        resolve: finds the addresses of a host.
    """

    hosts: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    max_bytes: int = 20 * 2**20
    seconds: float = 10.0
    resolve: Callable[[str, int], Sequence[str]] = resolve_host

    def fetch(self, url: str) -> bytes:
        """Return the file at an address.

        Raises:
            ApiError: it isn't allowed, isn't there, or is too large.
        """
        parts = _split(url)
        if parts.scheme in ("http", "https") and self.hosts:
            return self._download(parts)
        if parts.scheme == "file" and self.folders:
            return self._read(parts)
        raise refused(
            "pictures are sent as data URLs (data:image/png;base64,...); this server fetches no files"
            f"{' and no other addresses' if self.hosts or self.folders else ' and no addresses'}.",
            code="address_not_allowed",
            param="messages",
        )

    def _read(self, parts: SplitResult) -> bytes:
        # Links lead to where they lead: what counts is where the file really is.
        try:
            real = Path(unquote(parts.path)).resolve()
        except (OSError, ValueError, RuntimeError):
            real = Path()
        allowed = any(real.is_relative_to(folder.resolve()) for folder in self.folders)
        if parts.netloc not in ("", "localhost") or not allowed or not real.is_file():
            raise refused(
                "there is no such file in the folders that this server reads.",
                code="address_not_allowed",
                param="messages",
            )
        if real.stat().st_size > self.max_bytes:
            raise _too_large(self.max_bytes)
        try:
            return real.read_bytes()
        except OSError as error:
            raise refused("the file can't be read.", code="address_not_allowed", param="messages") from error

    def _download(self, parts: SplitResult) -> bytes:
        deadline = time.monotonic() + self.seconds
        for _ in range(_REDIRECTS + 1):
            try:
                answer = self._get(parts, deadline)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise _unreachable() from error
            if isinstance(answer, bytes):
                return answer
            parts = _split(urljoin(parts.geturl(), answer))
            if parts.scheme not in ("http", "https"):
                raise refused("a picture's address leads elsewhere.", code="address_not_allowed")
        raise refused("a picture's address leads from one to the next.", code="address_not_allowed")

    def _get(self, parts: SplitResult, deadline: float) -> bytes | str:
        """Return the file, or the address that it leads to."""
        host = (parts.hostname or "").rstrip(".").lower()
        if not self._allows(host) or parts.username or parts.password:
            raise refused(
                "pictures of that host are not fetched by this server.",
                code="address_not_allowed",
                param="messages",
            )
        connection = self._connect(parts.scheme, host, parts.port, deadline)
        try:
            target = parts.path or "/"
            target += f"?{parts.query}" if parts.query else ""
            connection.request("GET", target, headers={"accept": "image/*", "user-agent": "mustela"})
            with connection.getresponse() as response:
                if response.status in (301, 302, 303, 307, 308):
                    return response.getheader("location") or ""
                if response.status != 200:
                    raise _unreachable()
                return self._body(response, deadline)
        finally:
            connection.close()

    def _body(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        content = bytearray()
        while chunk := response.read1(_CHUNK):
            content += chunk
            if len(content) > self.max_bytes:
                raise _too_large(self.max_bytes)
            if time.monotonic() > deadline:
                raise _unreachable()
        return bytes(content)

    def _allows(self, host: str) -> bool:
        return any(
            host == name or (name.startswith("*.") and host.endswith(name[1:]))
            for name in (name.lower() for name in self.hosts)
        )

    def _connect(
        self, scheme: str, host: str, port: int | None, deadline: float
    ) -> http.client.HTTPConnection:
        """Connect to an address that was checked; the name is not looked up a second time."""
        port = port or (443 if scheme == "https" else 80)
        addresses = self.resolve(host, port)
        # One private address among them is enough: which one is taken is not ours to say later.
        if not addresses or not all(_is_public(address) for address in addresses):
            raise refused(
                "pictures of that host are not fetched: its address is not a public one.",
                code="address_not_allowed",
                param="messages",
            )
        timeout = max(0.1, deadline - time.monotonic())
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        raw = socket.create_connection((addresses[0], port), timeout=timeout)
        if scheme == "https":
            try:
                raw = ssl.create_default_context().wrap_socket(raw, server_hostname=host)
            except OSError:
                raw.close()
                raise
        connection.sock = raw
        return connection


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None and not _is_public(str(inner)):
            return False
    return found.is_global and not found.is_multicast


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise refused("a picture's address is malformed.", code="invalid_image", param="messages") from error
    return parts


def _unreachable() -> ApiError:
    return refused("a picture's address gave no picture.", code="address_unreachable", param="messages")


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(
        413,
        f"a picture has more than {max_bytes} bytes; send a smaller one.",
        code="image_too_large",
        param="messages",
    )
