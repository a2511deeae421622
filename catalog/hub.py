"""The Hub as it is set up on this machine, asked politely: it says how often it may be asked, and we keep to it."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import orjson

from workspace.errors import Denied, Invalid, NotFound, StudioloError, Unavailable

MOST_BYTES = 64_000_000  # of one answer
_SPARE = 1  # requests that are left for others at this address
_REDIRECTS = 5
# Of /api/models/AUTHOR/NAME/… and /AUTHOR/NAME/resolve/…
_NAMED = re.compile(r"^(?:/api/models)?/([\w.-]+/[\w.-]+|[\w.-]+)(?:/|$)")
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_SYNC = "the catalog holds what was synced before and the models of this machine (`studiolo models list`)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """Where the Hub is and who asks it: HF_ENDPOINT, HF_TOKEN (or what `hf auth login` has kept), HF_HUB_OFFLINE."""

    endpoint: str
    token: str = field(default="", repr=False)
    offline: bool = False

    @classmethod
    def of_person(cls) -> Hub:
        """Read what huggingface_hub reads, as every other tool of Hugging Face does."""
        from huggingface_hub import constants, get_token

        return cls(endpoint=constants.ENDPOINT, token=get_token() or "", offline=constants.HF_HUB_OFFLINE)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what is elsewhere is not the Hub."""
        return origin(self.endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often what fails is tried again, and how long one waits: `first` seconds, doubled, `longest` at most."""

    tries: int = 6
    first: float = 1.0
    longest: float = 60.0
    answer: float = 120.0  # seconds for one answer, however slowly it comes


@dataclass(frozen=True, slots=True)
class Waiting:
    """The next request comes in `seconds`."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the Hub has said: `value` out of its JSON, and where the next page is."""

    value: Any
    following: str | None
    headers: Mapping[str, str]


class Asking:
    """A conversation with the Hub: `with Asking(hub) as asking: for event in asking.get(url): …`, the answer last."""

    def __init__(self, hub: Hub, patience: Patience | None = None) -> None:
        if hub.offline:
            raise Unavailable(
                f"HF_HUB_OFFLINE is set, so {hub.endpoint} is not asked: {_SYNC}",
                hint="unset HF_HUB_OFFLINE, then `studiolo catalog sync`",
            )
        self._hub = hub
        self._patience = patience or Patience()
        self._wait = 0.0  # seconds before the next request, as the last answer has said
        headers = {"User-Agent": "studiolo", "Accept": "application/json"}
        if hub.token:
            headers["Authorization"] = f"Bearer {hub.token}"
        # Proxies and certificates come from the environment, as in every client of the Hub.
        self._client = httpx.Client(headers=headers, timeout=30.0)

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, url: str) -> Iterator[Waiting | Answer]:
        """Yield what is waited for, and the answer at the end. Raises one of our errors that says what is wrong."""
        failure: StudioloError | None = None
        for attempt in range(self._patience.tries):
            if self._wait:
                yield Waiting(self._wait, "the Hub's rate limit" if failure is None else str(failure))
                time.sleep(self._wait)
                self._wait = 0.0
            try:
                response, body = self._fetch(url)
            except (httpx.TransportError, TimeoutError) as error:
                failure = _unreachable(url, error)
                self._wait = self._pause(attempt)
                continue
            if response.status_code in _AGAIN:
                failure = Unavailable(f"{_shown(url)} answers {response.status_code}", hint="try again later")
                self._wait = max(self._wait, self._pause(attempt))
                continue
            yield self._answer(url, response, body)
            return
        assert failure is not None  # noqa: S101 - only failures come here
        raise failure

    def _fetch(self, url: str) -> tuple[httpx.Response, bytes]:
        deadline = time.monotonic() + self._patience.answer
        for _ in range(_REDIRECTS + 1):
            with self._client.stream("GET", url) as response:
                self._note(response)
                if response.is_redirect:
                    url = self._same(urljoin(url, response.headers.get("Location", "")), "redirects")
                    continue
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MOST_BYTES:
                        raise Unavailable(f"{_shown(url)} sends more than {MOST_BYTES:,} bytes", hint=_check())
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"it took longer than {self._patience.answer:g} seconds")
                return response, bytes(body)
        raise Unavailable(f"{_shown(url)} comes after more than {_REDIRECTS} redirects", hint=_check())

    def _answer(self, url: str, response: httpx.Response, body: bytes) -> Answer:
        if response.status_code != 200:
            raise refused(url, response)
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        try:
            value = orjson.loads(body)
        except ValueError:
            what = "a page for people" if "html" in kind else "no JSON"
            raise Unavailable(
                f"{_shown(url)} answers with {what}", hint=_check("a network that asks to sign in?")
            ) from None
        following = response.links.get("next", {}).get("url")
        if following is not None:
            following = self._same(urljoin(url, following), "goes on")
        return Answer(value, following, response.headers)

    def _same(self, url: str, verb: str) -> str:
        """Return an address that stays at the Hub; the token must not go elsewhere."""
        if origin(url) != self._hub.origin:
            scheme, host, port = origin(url)
            raise Unavailable(
                f"{self._hub.endpoint} {verb} at {scheme}://{host}:{port}, which is not the Hub", hint=_check()
            )
        return url

    def _note(self, response: httpx.Response) -> None:
        """Learn from the headers whether the next request has to wait."""
        if (seconds := seconds_to_wait(response)) is not None:
            self._wait = seconds

    def _pause(self, attempt: int) -> float:
        most = min(self._patience.longest, self._patience.first * 2**attempt)
        return float(most * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back at once


def seconds_to_wait(response: httpx.Response) -> float | None:
    """Return how long the next request has to wait, as the Hub says: until its window ends where none are left."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    limit = parse_ratelimit_headers(response.headers)
    if limit is not None and (limit.remaining <= _SPARE or response.status_code == 429):
        return float(limit.reset_in_seconds) + 1.0
    if response.status_code == 429 and response.headers.get("Retry-After", "").isdecimal():
        return float(response.headers["Retry-After"])
    return None


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port: `origin("https://huggingface.co/x") == ("https", "huggingface.co", 443)`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Invalid(f"{_shown(url)} is no address", hint="check HF_ENDPOINT") from None
    return parts.scheme, parts.hostname or "", port or (443 if parts.scheme == "https" else 80)


def refused(url: str, response: httpx.Response) -> StudioloError:
    """Return what it means that the Hub says no."""
    words, code = response.headers.get("X-Error-Message", "")[:300], response.headers.get("X-Error-Code", "")
    told = f"{_shown(url)} answers {response.status_code}" + (f": {words}" if words else "")
    named = _NAMED.search(urlsplit(url).path)
    repo = named[1] if named and not named[1].startswith("api/") else ""
    if code == "GatedRepo":
        page = urljoin(url, f"/{repo}")
        hint = f"ask for access at {page}, then set HF_TOKEN or sign in with `hf auth login`"
        return Denied(f"{repo} is given only to those who have asked for it", hint=hint)
    # Without a token the Hub says of what is not there that it may not be seen, and sends no code.
    if repo and (code == "RepoNotFound" or (response.status_code == 401 and words.startswith("Invalid username"))):
        what = f"no model {repo!r} at {urljoin(url, '/').rstrip('/')}, or none that this token may see"
        return NotFound(what, hint="check the spelling; private models need HF_TOKEN")
    if response.status_code == 400:
        return Invalid(told)
    if response.status_code == 404:
        return NotFound(told, hint=_check())
    if response.status_code in (401, 403):
        return Denied(told, hint="check HF_TOKEN, or sign in with `hf auth login`")
    return Unavailable(told, hint="try again later")


def _unreachable(url: str, error: Exception) -> Unavailable:
    why = " ".join(str(error).split())[:200] or type(error).__name__
    told = f"{_shown(url)} cannot be read: {why}; {_SYNC}"
    return Unavailable(told, hint="check the network, HTTPS_PROXY and HF_ENDPOINT, then `studiolo catalog sync`")


def _check(why: str = "") -> str:
    return f"check HF_ENDPOINT and the proxy{f' ({why})' if why else ''}"


def _shown(url: str) -> str:
    return url.partition("?")[0][:200]
