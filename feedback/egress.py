"""Outgoing connections: one guard for import by URL, judge endpoints and webhooks.

A host name is resolved once, every address it resolves to is checked, and the connection goes to a checked address, so
a second look-up (DNS rebinding) cannot change the answer. Redirects are never followed. A deadline bounds the whole
exchange, because an HTTP client's own timeouts are per read and a slow drip of bytes passes all of them.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

Resolver = Callable[[str, int, float], Sequence[str]]

SCHEMES = frozenset({"http", "https"})
MOST_ADDRESSES_TRIED = 3
WRITE_SLICE = 16 * 1024
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Special-purpose blocks inside 2000::/3 that tunnel to, or stand for, something else (IANA registry; RFC 3056, 4380).
REFUSED_V6 = tuple(
    ipaddress.ip_network(block)
    for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20", "2620:4f:8000::/48")
)
REFUSED_V4 = tuple(ipaddress.ip_network(block) for block in ("192.88.99.0/24", "192.31.196.0/24", "192.52.193.0/24"))
ISATAP_MARKERS = frozenset({0x00005EFE, 0x02005EFE})


class EgressRefused(Exception):
    """This address may not be contacted from here."""


class HostNotFound(EgressRefused):
    """The host name could not be resolved."""


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock by which an exchange must be over."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline that lies `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left; negative once it has passed."""
        return self.at - time.monotonic()

    def clip(self, timeout: float | None) -> float:
        """The shorter of `timeout` and the time left, in seconds; at least 1 ms, as 0 means non-blocking."""
        left = max(self.remaining(), 0.001)
        return left if timeout is None else min(timeout, left)


def is_public_address(address: str) -> bool:
    """Whether a literal IP address is an ordinary one on the public internet.

    Private, loopback, link-local, shared, multicast, reserved and unspecified addresses are not, nor is an IPv6 form
    that carries such an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo, ISATAP). Text that is no address is not.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return _is_public_v4(parsed)
    return _is_public_v6(parsed)


def _is_public_v4(address: ipaddress.IPv4Address) -> bool:
    ordinary = address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
    return ordinary and not any(address in block for block in REFUSED_V4)


def _is_public_v6(address: ipaddress.IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return _is_public_v4(address.ipv4_mapped)
    if address in NAT64:
        return _is_public_v4(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in GLOBAL_UNICAST or any(address in block for block in REFUSED_V6):
        return False
    return (int(address) >> 32) & 0xFFFFFFFF not in ISATAP_MARKERS and address.is_global


def resolve_host(host: str, port: int, timeout: float) -> list[str]:
    """All addresses of `host`, in the resolver's order, within `timeout` seconds. Raises HostNotFound.

    getaddrinfo has no timeout of its own; it runs in a daemon thread that is left behind when it is too slow.
    """
    found: list[str] = []
    errors: list[OSError | UnicodeError] = []

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except (OSError, UnicodeError) as error:
            errors.append(error)

    thread = threading.Thread(target=look_up, name="resolve-host", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise HostNotFound(f"Looking up {host} took too long.")
    if errors or not found:
        raise HostNotFound(f"The host {host} could not be found.")
    return found


@dataclass(frozen=True)
class EgressPolicy:
    """What may be contacted: every public address, and the (host, port) pairs that the operator allow-listed."""

    allowed: frozenset[tuple[str, int]] = frozenset()
    resolve: Resolver = resolve_host

    @classmethod
    def from_entries(cls, entries: Iterable[str], resolve: Resolver = resolve_host) -> EgressPolicy:
        """A policy from `host:port` entries, for example `127.0.0.1:8001` or `[::1]:8001`. Raises ValueError."""
        return cls(frozenset(_parse_entry(entry) for entry in entries if entry.strip()), resolve)

    def addresses(self, host: str, port: int, timeout: float) -> tuple[str, ...]:
        """The addresses of host that may be connected to. Raises EgressRefused if even one of them may not."""
        name = _normal_host(host)
        found = tuple(self.resolve(name, port, timeout))
        if (name, port) in self.allowed:
            return found
        if not found or not all(is_public_address(address) for address in found):
            raise EgressRefused(f"{host}:{port} is an internal address and is not on the list of allowed endpoints.")
        return found


def _normal_host(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _parse_entry(entry: str) -> tuple[str, int]:
    host, separator, port = entry.strip().rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{entry!r} is not host:port.")
    return _normal_host(host), int(port)


def check_url(url: str, policy: EgressPolicy, timeout: float = 5.0) -> httpx.URL:
    """Validate a URL that a person typed, before it is stored. Raises EgressRefused with a sentence for that person.

    This is a courtesy: the connection itself is checked again by `GuardedTransport`.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise EgressRefused("This is not a valid URL.") from error
    if parsed.scheme not in SCHEMES:
        raise EgressRefused("The URL must start with http:// or https://.")
    if parsed.userinfo:
        raise EgressRefused("The URL must not contain a user name or password.")
    if not parsed.host:
        raise EgressRefused("The URL has no host.")
    policy.addresses(parsed.raw_host.decode("ascii"), _port_of(parsed), timeout)
    return parsed


def _port_of(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


class _DeadlineStream(httpcore.NetworkStream):
    """A socket whose every wait ends by the deadline, so that the sum of the waits does too."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._deadline.remaining() <= 0:
            raise httpcore.ReadTimeout("The deadline has passed.")
        return self._inner.read(max_bytes, self._deadline.clip(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), WRITE_SLICE):
            if self._deadline.remaining() <= 0:
                raise httpcore.WriteTimeout("The deadline has passed.")
            self._inner.write(buffer[start : start + WRITE_SLICE], self._deadline.clip(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        if self._deadline.remaining() <= 0:
            raise httpcore.ConnectTimeout("The deadline has passed.")
        stream = self._inner.start_tls(ssl_context, server_hostname, self._deadline.clip(timeout))
        return _DeadlineStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _GuardedBackend(httpcore.NetworkBackend):
    """Opens sockets to checked addresses only; the host name still serves for the Host header and for TLS."""

    def __init__(self, policy: EgressPolicy, deadline: Deadline) -> None:
        self._policy = policy
        self._deadline = deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._policy.addresses(host, port, self._deadline.clip(timeout))
        failure: Exception = httpcore.ConnectTimeout("The deadline has passed.")
        for address in addresses[:MOST_ADDRESSES_TRIED]:
            if self._deadline.remaining() <= 0:
                break
            try:
                stream = self._inner.connect_tcp(
                    address, port, self._deadline.clip(timeout), local_address, socket_options
                )
                return _DeadlineStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        raise EgressRefused("Unix sockets may not be contacted.")


# Most specific first: a subclass must be met before its parent.
_HTTPX_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.TimeoutException, httpx.TimeoutException),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.NetworkError, httpx.NetworkError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.ProtocolError, httpx.ProtocolError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
)


@contextmanager
def _as_httpx_errors(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except tuple(source for source, _ in _HTTPX_ERRORS) as error:
        target = next(target for source, target in _HTTPX_ERRORS if isinstance(error, source))
        raise target(str(error), request=request) from error


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx_errors(self._request):
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


class GuardedTransport(httpx.BaseTransport):
    """An httpx transport that connects only where the policy allows, and is over by the deadline."""

    def __init__(self, policy: EgressPolicy, deadline: Deadline) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=_ssl_context(),
            max_keepalive_connections=0,
            network_backend=_GuardedBackend(policy, deadline),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raises EgressRefused, or httpx.TransportError."""
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        outgoing = httpcore.Request(
            request.method, target, headers=request.headers.raw, content=request.stream, extensions=request.extensions
        )
        with _as_httpx_errors(request):
            reply = self._pool.handle_request(outgoing)
        body = _Body(reply.stream, request)
        return httpx.Response(reply.status, headers=reply.headers, stream=body, extensions=reply.extensions)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


def guarded_client(policy: EgressPolicy, deadline: Deadline, connect_timeout: float = 5.0) -> httpx.Client:
    """A client for one exchange: guarded, bounded by `deadline`, no redirects, no proxy or netrc from the environment.

    `Accept-Encoding: identity` is sent, because a compressed body can unfold past any limit on bytes read.
    """
    timeout = httpx.Timeout(max(deadline.remaining(), 0.001), connect=connect_timeout)
    return httpx.Client(
        transport=GuardedTransport(policy, deadline),
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
        headers={"Accept-Encoding": "identity"},
    )
