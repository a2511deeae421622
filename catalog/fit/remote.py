"""A model at the Hub, known from a few kilobytes of it: at most three questions, never the weights."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urljoin

import httpx

from catalog.fit import headers
from catalog.fit.headers import Weights
from catalog.fit.keys import parsed
from catalog.hub import Hub, origin, refused
from workspace.errors import Invalid, NotFound, Unavailable

MOST_BYTES = 64_000  # of all answers together
MOST_REQUESTS = 3
TIMEOUT = 30.0  # seconds for one answer, however slowly it comes
_REDIRECTS = 5
_EXPANDED = ("sha", "safetensors", "gguf", "gated", "siblings")
_INDEX_START = 512  # bytes of an index in which its total stands
_REVISION = re.compile(r"^[0-9a-f]{40}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """What a repository says of a model: at which revision, its configuration, its weights; what it took to know it."""

    repo: str
    revision: str
    config: Mapping[str, Any]
    weights: Weights | None
    file: str = ""
    requests: int = 0
    read: int = 0


def look(hub: Hub, repo: str, *, revision: str = "main", file: str = "") -> Remote:
    """Return what the Hub says of a model; `file` names one of several GGUF files, or a word in its name.

    Raises NotFound, Denied (with where to ask for access), Invalid for what is no model, and Unavailable for a Hub
    that cannot be reached or does not answer as the Hub does.
    """
    if hub.offline:
        raise Unavailable(
            f"HF_HUB_OFFLINE is set, so {hub.endpoint} is not asked",
            hint="unset it, or give a folder or a model of here",
        )
    with _asking(hub) as asking:
        return asking.look(repo, revision, file)


@contextmanager
def _asking(hub: Hub) -> Iterator[_Asking]:
    sent = {"User-Agent": "studiolo", "Accept-Encoding": "identity"}
    # Proxies and certificates come from the environment, as in every client of the Hub.
    with httpx.Client(headers=sent, timeout=TIMEOUT) as client:
        yield _Asking(hub, client)


@dataclass(slots=True)
class _Asking:
    hub: Hub
    client: httpx.Client
    requests: int = 0
    read: int = 0
    deadline: float = field(default_factory=lambda: time.monotonic() + MOST_REQUESTS * TIMEOUT)

    def look(self, repo: str, revision: str, file: str) -> Remote:
        name = quote(repo, safe="/")
        expanded = "&".join(f"expand={each}" for each in _EXPANDED)
        about = self._object(f"/api/models/{name}/revision/{quote(revision, safe='')}?{expanded}")
        found = str(about.get("sha") or revision)
        if not _REVISION.match(found):
            raise Unavailable(f"{self.hub.endpoint} names no revision of {repo}", hint=_check())
        files = [str(each.get("rfilename")) for each in about.get("siblings") or () if isinstance(each, dict)]
        base = f"/{name}/resolve/{found}/"
        config: Mapping[str, Any] = {}
        ggufs = [each for each in files if each.endswith(".gguf")]
        if "config.json" in files and not (file and ggufs):
            config = parsed(self._get(f"/{name}/raw/{found}/config.json"), f"config.json of {repo}")
        weights, chosen = self._weights(about, files, base), ""
        if not config and ggufs:
            chosen = _chosen(ggufs, file, repo)
            content, size = self._part(base + quote(chosen), MOST_BYTES - self.read - 1000)
            weights = headers.gguf(content, size=size, where=f"{chosen} of {repo}")
            config = weights.config
        if not config:
            raise Invalid(f"{repo} has neither config.json nor GGUF files", hint="is it an adapter, or a data set?")
        return Remote(
            repo=repo,
            revision=found,
            config=config,
            weights=weights,
            file=chosen,
            requests=self.requests,
            read=self.read,
        )

    def _weights(self, about: Mapping[str, Any], files: list[str], base: str) -> Weights | None:
        """Return what the Hub counts; where it has not, what a file's first bytes say."""
        told = about.get("safetensors")
        counts = told.get("parameters") if isinstance(told, dict) else None
        if isinstance(counts, dict) and counts:
            return headers.counted(counts)
        if "model.safetensors.index.json" in files:
            content, _ = self._part(f"{base}model.safetensors.index.json", _INDEX_START)
            found = re.search(rb'"total_size"\s*:\s*(\d+)', content)
            return Weights(size=int(found[1])) if found else None
        if "model.safetensors" in files:
            content, size = self._part(f"{base}model.safetensors", min(48_000, MOST_BYTES - self.read - 1000))
            length = headers.header_length(content, "model.safetensors")
            if len(content) < length + 8:
                return Weights(size=size - length - 8)
            return headers.safetensors(content, "model.safetensors")
        return None

    def _object(self, path: str) -> Mapping[str, Any]:
        return parsed(self._get(path), f"{self.hub.endpoint}{path.partition('?')[0]}")

    def _get(self, path: str) -> bytes:
        return self._fetch(path, {})[0]

    def _part(self, path: str, most: int) -> tuple[bytes, int]:
        """Return the first bytes of a file, and how large it is."""
        return self._fetch(path, {"Range": f"bytes=0-{most - 1}"}, most)

    def _fetch(self, path: str, sent: Mapping[str, str], most: int = 0) -> tuple[bytes, int]:
        url = self.hub.endpoint.rstrip("/") + path
        self.requests += 1
        if self.requests > MOST_REQUESTS:
            raise Invalid(f"{self.hub.endpoint} cannot be asked in {MOST_REQUESTS} questions")
        for _ in range(_REDIRECTS + 1):
            asked = dict(sent)
            ours = origin(url) == self.hub.origin
            if ours and self.hub.token:  # it goes to no other server
                asked["Authorization"] = f"Bearer {self.hub.token}"
            if not ours and not sent:
                raise Unavailable(f"{self.hub.endpoint} leads to {_host(url)}, which is not the Hub", hint=_check())
            try:
                with self.client.stream("GET", url, headers=asked) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers.get("Location", ""))
                        continue
                    return self._body(url, response, most)
            except (httpx.TransportError, TimeoutError) as error:
                why = " ".join(str(error).split())[:200] or type(error).__name__
                raise Unavailable(f"{_shown(url)} cannot be read: {why}", hint=_check()) from None
        raise Unavailable(f"{_shown(url)} comes after more than {_REDIRECTS} redirects", hint=_check())

    def _body(self, url: str, response: httpx.Response, most: int) -> tuple[bytes, int]:
        if response.status_code not in (200, 206):
            raise refused(url, response)
        body, room = bytearray(), most or MOST_BYTES - self.read
        for chunk in response.iter_raw():
            body += chunk
            if time.monotonic() > self.deadline:
                raise TimeoutError(f"it took longer than {TIMEOUT:g} seconds")
            if len(body) > room:
                if most:  # a server that knows no ranges sends all of it
                    break
                raise Invalid(f"{_shown(url)} is larger than a description of a model: {len(body):,} bytes and more")
        self.read += len(body)
        if not most and "html" in response.headers.get("Content-Type", "") and body.lstrip()[:1] == b"<":
            raise Unavailable(
                f"{_shown(url)} answers with a page for people", hint=_check("a network that asks to sign in?")
            )
        whole = response.headers.get("Content-Range", "").rpartition("/")[2] or response.headers.get(
            "Content-Length", ""
        )
        return bytes(body[: most or None]), int(whole) if whole.isdecimal() else len(body)


def _chosen(files: list[str], wanted: str, repo: str) -> str:
    """Return the file of that name, or the one whose name holds the word; of several, a usual one."""
    fitting = [each for each in files if wanted.casefold() in each.casefold()]
    if not fitting:
        raise NotFound(f"{repo} has no GGUF file {wanted!r}", hint=f"it has {', '.join(files[:12])}")
    usual = [each for each in fitting if "q4_k_m" in each.casefold()]
    return (usual or fitting)[0]


def _host(url: str) -> str:
    scheme, host, port = origin(url)
    return f"{scheme}://{host}:{port}"


def _shown(url: str) -> str:
    return url.partition("?")[0][:200]


def _check(why: str = "") -> str:
    return f"check the network, HTTPS_PROXY and HF_ENDPOINT{f' ({why})' if why else ''}"
