"""The Hub's HTTP API over a shelf, for reading: lists, infos, trees, refs, commits, files with redirects and ranges."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from catalog.hub_server import answers, files
from catalog.hub_server.errors import HubError, missing
from catalog.hub_server.limits import RateLimits
from catalog.hub_server.listing import Listing, cursor, fields_of, pick
from catalog.hub_server.shelf import Repository, Shelf

_EXPOSED = (
    "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,Accept-Ranges,Content-Range,"
    "X-Linked-Size,X-Linked-ETag"
)
_API = "api/models"
# What stands behind a repository's name, and who answers it.
_PARTS: dict[str, Callable[[answers.Asked, Repository], Response]] = {
    "tree": answers.tree,
    "paths-info": answers.paths_info,
    "refs": answers.refs,
    "commits": answers.commits,
    "treesize": answers.tree_size,
    "auth-check": answers.access,
}
_NO_GATE = ("revision",)  # told to everybody who may know of the repository
_FILES = ("resolve", "raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Who may come in: `who` names the holder of a token, if it is one; `is_open`: those without a token too."""

    who: Callable[[str], str | None] = lambda _token: None
    is_open: bool = True
    hosts: tuple[str, ...] = ()  # the names under which one may ask; none: all of them


@dataclass(frozen=True, slots=True)
class HubServer:
    """An ASGI app that answers as the Hub does. `cdn` is where large files lead."""

    shelf: Shelf
    doors: Doors = field(default_factory=Doors)
    limits: RateLimits = field(default_factory=RateLimits)
    cdn: files.Cdn = field(default_factory=files.Cdn)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        request = Request(scope, receive)
        body = await request.body() if request.method == "POST" else b""
        response = await run_in_threadpool(self._answer, request, body)
        response.headers.setdefault("X-Request-Id", str(uuid.uuid4()))
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        await response(scope, receive, send)

    def _answer(self, request: Request, body: bytes) -> Response:
        segments = [unquote(each) for each in _raw_path(request).strip("/").split("/")]
        bucket = "api" if segments[0] == "api" else "resolvers"
        reader, known = self._reader(request)
        allowed, headers = self.limits.take(bucket, reader or str(request.client and request.client.host))
        try:
            if not allowed:
                raise HubError(429, "We had to rate limit you: too many requests")
            if segments[0] != "cdn":
                self._admit(request, known=known)
            response = self._route(answers.Asked(request=request, segments=segments, reader=reader, body=body))
        except HubError as error:
            response = _refused(error)
        response.headers.update(headers)
        return response

    def _reader(self, request: Request) -> tuple[str, bool]:
        """Return who asks, and whether the token, if there is one, is right."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.casefold() != "bearer":
            return "", True
        name = self.doors.who(token.strip())
        return name or "", name is not None

    def _admit(self, request: Request, *, known: bool) -> None:
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        if self.doors.hosts and host not in self.doors.hosts:
            raise HubError(421, "This Hub is not asked under that name")
        if not known:
            raise HubError(401, "Invalid credentials in Authorization header")
        if not self.doors.is_open and "authorization" not in request.headers:
            raise HubError(401, "A token of this workspace is needed: set HF_TOKEN")

    def _route(self, asked: answers.Asked) -> Response:
        segments = asked.segments
        if segments[0] == "cdn" and len(segments) == 3:
            return self.cdn.content(asked, self.shelf.find(segments[1]), segments[2])
        if segments[:2] == ["api", "whoami-v2"]:
            return answers.who(asked)
        if segments[:2] == ["api", "models-tags-by-type"]:
            return answers.tags(asked, self.shelf)
        if segments[:3] == ["api", "resolve-cache", "models"]:
            return self._file(asked, segments[3:], cached=True)
        if segments[:2] == ["api", "models"]:
            return self._list(asked) if len(segments) == 2 else self._model(asked, segments[2:])
        if segments[0] != "api":
            return self._file(asked, segments, cached=False)
        raise HubError(404, "Sorry, we can't find the page you are looking for.")

    def _list(self, asked: answers.Asked) -> Response:
        listing = Listing.of(asked.query)
        page = self.shelf.page(listing, asked.reader)
        response = answers.json([pick(each, listing.fields) for each in page.models])
        if page.after is not None:
            query = [(name, value) for name, value in asked.query if name != "cursor"]
            response.headers["Link"] = answers.next_link(asked.request, [*query, ("cursor", cursor(page.after))])
        return response

    def _model(self, asked: answers.Asked, segments: list[str]) -> Response:
        name, rest = self._split(segments, (*_PARTS, *_NO_GATE))
        repository = self._named(asked, name)
        if repository.id != name:
            return _moved(asked, f"/{_API}/{name}", f"/{_API}/{repository.id}")
        if rest and rest[0] not in _NO_GATE:
            if rest[0] not in _PARTS:
                raise HubError(404, "Sorry, we can't find the page you are looking for.")
            answers.check_gate(repository, asked.reader)
            return _PARTS[rest[0]](asked.behind(rest[1:]), repository)
        return answers.info(
            asked, repository, rest[1] if len(rest) > 1 else "main", fields_of(asked.query, listed=False)
        )

    def _file(self, asked: answers.Asked, segments: list[str], *, cached: bool) -> Response:
        if cached:
            name, rest = self._split(segments, (), commit=True)
        else:
            name, rest = self._split(segments, _FILES)
            rest = rest[1:] if rest and rest[0] in _FILES else []
        if len(rest) < 2:
            raise HubError(404, "Sorry, we can't find the page you are looking for.")
        repository = self._named(asked, name)
        if repository.id != name:
            return _moved(asked, f"/{name}", f"/{repository.id}")
        answers.check_gate(repository, asked.reader)
        return files.resolve(asked.behind(rest), repository, self.cdn, cached=cached)

    def _split(self, segments: list[str], parts: tuple[str, ...], *, commit: bool = False) -> tuple[str, list[str]]:
        """Return a repository's name, of one segment or two, and what stands behind it."""
        alone = len(segments) == 1 or (segments[1] in parts if not commit else len(segments[1]) == 40)
        if alone and (len(segments) < 3 or not self._knows("/".join(segments[:2]))):
            return segments[0], segments[1:]
        return "/".join(segments[:2]), segments[2:]

    def _knows(self, name: str) -> bool:
        return self.shelf.find(name) is not None or bool(self.shelf.moved(name))

    def _named(self, asked: answers.Asked, name: str) -> Repository:
        found = self.shelf.find(name) or self.shelf.find(self.shelf.moved(name))
        if found is None or (found.private and asked.reader not in found.readers):
            raise missing(asked.reader)
        return found


def _raw_path(request: Request) -> str:
    """Return the path as it was sent: a revision may hold a quoted slash."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.decode("ascii", "replace").partition("?")[0]


def _moved(asked: answers.Asked, old: str, new: str) -> Response:
    target = new + _raw_path(asked.request)[len(old) :]
    query = asked.request.url.query
    return Response(status_code=307, headers={"Location": target + (f"?{query}" if query else "")})


def _refused(error: HubError) -> Response:
    body = orjson.dumps({"error": error.message}) if error.message else b""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if error.message:
        headers["X-Error-Message"] = error.message
    if error.code:
        headers["X-Error-Code"] = error.code
    if error.commit:
        headers["X-Repo-Commit"] = error.commit
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="Authentication required", charset="UTF-8"'
    return Response(body, error.status, headers)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
