"""Connections to public addresses only: a feed's address is untrusted input.

A name is resolved once, every address it has is judged, and the connection goes to the judged
address, not to the name: a second look-up could answer otherwise (DNS rebinding). httpx asks this
transport again for every redirect, so a public page cannot lead to a private one.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence

import httpx

Resolve = Callable[[str, int], Sequence[str]]


class RefusedAddressError(httpx.RequestError):
    """The host is not public and not allowed by name."""


def resolve(host: str, port: int) -> list[str]:
    """The numeric addresses of a host, in the system's order.

    Raises httpx.ConnectError where the name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"{host} is not known to the name server ({error})") from None
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


class PublicTransport(httpx.BaseTransport):
    """Wraps a transport; every request's host must resolve to public addresses only.

    allow: hosts, or host:port, that may be private. A host with one private address among public
    ones is refused: which one is used would be chance.
    """

    def __init__(
        self, inner: httpx.BaseTransport, allow: Sequence[str] = (), resolver: Resolve = resolve
    ) -> None:
        self._inner = inner
        self._allow = frozenset(name.lower().strip("[]") for name in allow)
        self._resolve = resolver

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme not in ("http", "https"):
            raise RefusedAddressError(f"{url.scheme}: addresses are not fetched", request=request)
        host = url.host.lower().rstrip(".")
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = list(self._resolve(host, port))
        if not addresses:
            raise httpx.ConnectError(f"{host} has no address", request=request)
        if host not in self._allow and f"{host}:{port}" not in self._allow:
            for address in addresses:
                if not is_public(address):
                    raise RefusedAddressError(
                        f"{host} is the private address {address}; list {host!r} under "
                        "[news.fetch] allow_hosts if it is meant",
                        request=request,
                    )
        # The judged address is dialled; the name stays in the Host header, in TLS's SNI and in the
        # certificate check. A new request: the client resolves relative redirects by the old one.
        dialled = httpx.Request(
            request.method,
            url.copy_with(host=addresses[0]),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )
        return self._inner.handle_request(dialled)

    def close(self) -> None:
        self._inner.close()
