"""Fetching and sending where an address leads that somebody else wrote: to the public internet only, in bounded time.

Who can say where a server fetches from can reach what only that server reaches. So a name is looked up once, all its
addresses must be public ones, and the connection is made to the very address that was looked at, at each redirect
anew. Proxies of the environment are not used: they would look the name up themselves.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from workspace.errors import Denied, Invalid, NotFound, Unavailable
from workspace.paths import writing

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

Write = Callable[[bytes], object]

REDIRECTS = 5
LARGEST = 50_000_000  # bytes
TIMEOUT = 30.0  # seconds, for all of it
_CHUNK = 1 << 16
_SHOWN = 500  # bytes of an answer that nobody needs
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was at an address: `url` is where it was found in the end, `type` what the server calls it.

    `etag` is the server's name for this very content; `unchanged`: it is still what was known by that name.
    """

    url: str
    type: str
    content: bytes
    etag: str = ""
    unchanged: bool = False


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, also where it stands inside an IPv6 address.

    >>> is_public(ipaddress.ip_address("::ffff:127.0.0.1"))
    False
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local or address in _NAT64_LOCAL:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host; raises OSError where it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]


@dataclass(frozen=True, slots=True)
class Posted:
    """What a server said to what it was sent: its status, and the beginning of its words."""

    status: int
    words: str


def check(
    url: str,
    *,
    allows: Callable[[Address], bool] = is_public,
    looks_up: Callable[[str, int], Sequence[Address]] = resolve,
) -> None:
    """Raise what asking a URL would raise by its address alone; one whose host nobody knows now may be known later."""
    parts = _split(url)
    with suppress(Unavailable):
        _addresses(parts, allows, looks_up)


def pinned(
    url: str,
    *,
    allows: Callable[[Address], bool] = is_public,
    looks_up: Callable[[str, int], Sequence[Address]] = resolve,
) -> str:
    """Return the host of a URL with its addresses, looked up and looked at once, as libcurl is told them.

    Nothing where the host is an address itself: nobody looks that up.

    >>> pinned("https://example.org/", looks_up=lambda host, port: [ipaddress.ip_address("93.184.215.14")])
    'example.org:443:93.184.215.14'
    """
    parts = _split(url)
    found = _addresses(parts, allows, looks_up)
    if [str(each) for each in found] == [parts.hostname]:
        return ""
    said = dict.fromkeys(f"[{each}]" if each.version == 6 else str(each) for each in found)
    return f"{parts.hostname}:{_port(parts)}:{','.join(said)}"


def post(
    url: str,
    body: bytes,
    *,
    headers: Mapping[str, str],
    timeout: float = TIMEOUT,
    allows: Callable[[Address], bool] = is_public,
    looks_up: Callable[[str, int], Sequence[Address]] = resolve,
) -> Posted:
    """Send a body and return what is answered, whatever its status; a redirect is an answer and is not followed.

    Raises Invalid for an address that is not public, Unavailable where nobody answers within `timeout` seconds.
    """
    parts = _split(url)
    deadline = time.monotonic() + timeout
    connection = _connection(parts, _addresses(parts, allows, looks_up)[0], deadline)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with _Limit(connection, deadline) as limit:
        try:
            connection.request("POST", path, body=body, headers={"User-Agent": "studiolo", **headers})
            response = connection.getresponse()
            return Posted(response.status, response.read(_SHOWN).decode("utf-8", "replace"))
        except (OSError, http.client.HTTPException, ValueError) as error:
            if limit.reached:
                raise Unavailable(f"{_shown(url)} took longer than {timeout:g} seconds") from None
            what = str(error) or type(error).__name__
            raise Unavailable(f"{_shown(url)} does not take it: {what[:200]}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How much may be fetched, in which time and from where."""

    largest: int = LARGEST
    timeout: float = TIMEOUT
    allows: Callable[[Address], bool] = is_public
    looks_up: Callable[[str, int], Sequence[Address]] = resolve


def get(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    largest: int = LARGEST,
    timeout: float = TIMEOUT,
    allows: Callable[[Address], bool] = is_public,
    looks_up: Callable[[str, int], Sequence[Address]] = resolve,
) -> Fetched:
    """Fetch a URL, redirects followed; `headers` go to the first server only.

    Raises Invalid for an address that is not public and for what is larger than `largest` bytes; NotFound, Denied and
    Unavailable where the server has nothing, does not let us in, or does not answer within `timeout` seconds.
    """
    content = bytearray()
    rules = Rules(largest=largest, timeout=timeout, allows=allows, looks_up=looks_up)
    found = _fetch(url, headers or {}, rules, content.extend)
    return replace(found, content=bytes(content))


def download(url: str, target: Path, rules: Rules, *, etag: str = "") -> Fetched:
    """Fetch a URL into a file; what is there stays as it is where this raises, and where it is `unchanged`."""
    headers = {"If-None-Match": etag} if etag else {}
    with writing(target), tempfile.TemporaryDirectory(dir=target.parent, prefix=".coming-") as folder:
        coming = Path(folder) / "content"
        with coming.open("wb") as file:
            found = _fetch(url, headers, rules, file.write)
        if not found.unchanged:
            coming.replace(target)
    return found


def _fetch(url: str, headers: Mapping[str, str], rules: Rules, write: Write) -> Fetched:
    deadline = time.monotonic() + rules.timeout
    first = _origin(_split(url))
    for _ in range(REDIRECTS + 1):
        parts = _split(url)
        sent = headers if _origin(parts) == first else {}
        connection = _connection(parts, _addresses(parts, rules.allows, rules.looks_up)[0], deadline)
        with _Limit(connection, deadline) as limit:
            try:
                found = _ask(connection, parts, sent, _Sink(rules.largest, write), limit)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if limit.reached:
                    raise Unavailable(f"{_shown(url)} took longer than {rules.timeout:g} seconds") from None
                what = str(error) or type(error).__name__
                raise Unavailable(f"{_shown(url)} cannot be fetched: {what[:200]}") from None
        if isinstance(found, Fetched):
            return found
        url = urljoin(url, found)
    raise Invalid(f"{_shown(url)} comes after more than {REDIRECTS} redirects")


@dataclass(slots=True)
class _Sink:
    """Where content goes, and how much of it there may be."""

    largest: int
    write: Write
    size: int = 0


def _ask(
    connection: http.client.HTTPConnection, parts: SplitResult, headers: Mapping[str, str], sink: _Sink, limit: _Limit
) -> Fetched | str:
    """Return what is there, or where it is instead."""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "studiolo", **headers}
    connection.request("GET", path, headers=sent)
    response = connection.getresponse()
    url = parts._replace(fragment="").geturl()
    if response.status in (301, 302, 303, 307, 308):
        if not (target := response.headers.get("Location")):
            raise Unavailable(f"{_shown(url)} leads somewhere else and does not say where")
        return str(target)
    if response.status == 304 and "If-None-Match" in headers:
        return Fetched(url, "", b"", headers["If-None-Match"], unchanged=True)
    if response.status in (404, 410):
        raise NotFound(f"there is nothing at {_shown(url)}", hint="check the address")
    if response.status in (401, 403):
        told = f"{_shown(url)} is not open to us: it answers {response.status} {response.reason}"
        raise Denied(told, hint="check the address and the credentials")
    if response.status != 200:
        raise Unavailable(f"{_shown(url)} answers {response.status} {response.reason}")
    too_large = Invalid(f"{_shown(url)} is larger than {sink.largest:,} bytes")
    if response.length is not None and response.length > sink.largest:
        raise too_large
    while chunk := response.read1(_CHUNK):
        sink.size += len(chunk)
        if sink.size > sink.largest:
            raise too_large
        sink.write(chunk)
    if limit.reached:
        raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return Fetched(url, response.headers.get_content_type(), b"", response.headers.get("ETag", ""))


def _split(url: str) -> SplitResult:
    """Return the parts of a URL, in which no reader could see another host than we do."""
    if any(character <= " " or character in "\\\x7f" for character in url):
        raise Invalid(f"{_shown(url)} is no address", hint="write spaces as %20")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"{_shown(url)} is no address: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise Invalid(f"{_shown(url)} cannot be fetched", hint="use http: or https:")
    if parts.username is not None or parts.password is not None:
        raise Invalid("the address names a user", hint="leave out what stands before the @")
    if not parts.hostname or port == 0:
        raise Invalid(f"{_shown(url)} names no host")
    if not url.isascii():
        return parts._replace(path=_ascii(parts.path), query=_ascii(parts.query), fragment="")
    return parts


def _ascii(text: str) -> str:
    return quote(text, safe="".join(chr(code) for code in range(33, 127)))


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", _port(parts)


def _addresses(
    parts: SplitResult, allows: Callable[[Address], bool], looks_up: Callable[[str, int], Sequence[Address]]
) -> Sequence[Address]:
    host = parts.hostname or ""
    try:
        found = looks_up(host, _port(parts))
    except (OSError, UnicodeError, ValueError):
        raise Unavailable(f"no host {host[:200]!r} is known", hint="check the address and the network") from None
    # One address of its own among public ones is how a name reaches inside.
    if not found or not all(allows(address) for address in found):
        raise Invalid(
            f"{host[:200]!r} is an address inside this machine or its network: it is not fetched from",
            hint="download it yourself and give the file",
        )
    return found


def _connection(parts: SplitResult, address: Address, deadline: float) -> _Pinned:
    left = max(0.001, deadline - time.monotonic())
    host, port = parts.hostname or "", _port(parts)
    if parts.scheme == "https":
        return _PinnedTLS(host, port, timeout=left, address=address)
    return _Pinned(host, port, timeout=left, address=address)


class _Pinned(http.client.HTTPConnection):
    """A connection to a host at the one address that was looked at."""

    def __init__(self, host: str, port: int, *, timeout: float, address: Address) -> None:
        super().__init__(host, port, timeout=timeout)
        self._address = str(address)
        self.opened: socket.socket | None = None  # also when `sock` has gone to the answer

    def connect(self) -> None:
        self.sock = self.opened = socket.create_connection((self._address, self.port), self.timeout)


class _PinnedTLS(_Pinned):
    """The same with TLS: the certificate must be the host's."""

    default_port = 443

    def connect(self) -> None:
        super().connect()
        context = ssl.create_default_context()
        self.sock = self.opened = context.wrap_socket(self.sock, server_hostname=self.host)


class _Limit:
    """Ends a connection when the time is over, however slowly it speaks."""

    def __init__(self, connection: _Pinned, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._end)
        self._timer.daemon = True

    @property
    def reached(self) -> bool:
        """Whether the time is over; the connection's own patience may end a moment before the timer's."""
        return time.monotonic() >= self._deadline

    def __enter__(self) -> _Limit:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._connection.close()

    def _end(self) -> None:
        if self._connection.opened is not None:
            with suppress(OSError):  # it has ended by itself
                self._connection.opened.shutdown(socket.SHUT_RDWR)


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address carries, in any of the ways there are."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _COMPATIBLE or address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _shown(url: str) -> str:
    """Return an address for a message, without what may be secret in it."""
    text = url.partition("?")[0]
    return repr(text if len(text) <= 200 else f"{text[:200]}…")
