"""Connections to public addresses only: a feed's address is untrusted input.

A name is resolved once, every address it has is judged, and the connection goes to the judged
address, not to the name: a second look-up could answer otherwise (DNS rebinding). This happens at
each connection, so also for each redirect: a public page cannot lead to a private one. The name
stays in the Host header, in TLS's SNI and in the certificate check.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import certifi
import httpcore
import httpx

Resolve = Callable[[str, int], Sequence[str]]
FEEDS_ALLOWED = "list {host!r} under [news.fetch] allow_hosts if it is meant"


class RefusedAddressError(httpx.RequestError):
    """The host is not public and not allowed by name."""


def resolve(host: str, port: int) -> list[str]:
    """The numeric addresses of a host, in the system's order.

    Raises httpcore.ConnectError where the name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise httpcore.ConnectError(f"the name {host} is not known") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Globally routable, also when an IPv4 address hides in an IPv6 one (mapped, 6to4, NAT64)."""
    try:
        parsed = ipaddress.ip_address(address.split("%", 1)[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in ipaddress.IPv6Network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not parsed.is_multicast


class _TimedStream(httpcore.NetworkStream):
    """A connection with one deadline for all it does: a server that sends a byte every few seconds
    keeps within every single time limit and would never end."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def _left(self, timeout: float | None) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the answer took too long")
        return left if timeout is None else min(timeout, left)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._left(timeout))
        return _TimedStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class PublicBackend(httpcore.NetworkBackend):
    """Connects to hosts all of whose addresses are public, or that are allowed by name.

    A host with one private address among public ones is refused: which one is used would be
    chance. seconds: how long a connection may live. way_out: what a refusal advises, of {host}.
    """

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        seconds: float = 30.0,
        resolver: Resolve = resolve,
        way_out: str = FEEDS_ALLOWED,
    ) -> None:
        self._inner = httpcore.SyncBackend()
        self._allow = frozenset(name.lower().strip("[]") for name in allow)
        self._seconds = seconds
        self._resolve = resolver
        self._way_out = way_out

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        deadline = time.monotonic() + self._seconds
        address = self._judged(host.lower().rstrip("."), port)
        stream = self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
        return _TimedStream(stream, deadline)

    def _judged(self, host: str, port: int) -> str:
        addresses = self._resolve(host, port)
        if host not in self._allow and f"{host}:{port}" not in self._allow:
            for address in addresses:
                if not is_public(address):
                    raise RefusedAddressError(
                        f"{host} is the private address {address}; "
                        + self._way_out.format(host=host)
                    )
        return addresses[0]


class PublicTransport(httpx.HTTPTransport):
    """httpx's own transport on a PublicBackend; every request gets a connection of its own."""

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        seconds: float = 30.0,
        resolver: Resolve = resolve,
        way_out: str = FEEDS_ALLOWED,
    ) -> None:
        super().__init__(trust_env=False)
        # httpx has no public way to hand a network backend to its pool.
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(cafile=certifi.where()),
            max_keepalive_connections=0,
            network_backend=PublicBackend(
                allow, seconds=seconds, resolver=resolver, way_out=way_out
            ),
        )
