"""The files of a repository: where they are, by redirects as the Hub's, and their content, whole or in parts."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.responses import FileResponse, RedirectResponse, Response

from catalog.hub_server.answers import Asked, commit_of
from catalog.hub_server.errors import HubError
from catalog.hub_server.shelf import HubFile, Repository


@dataclass(frozen=True, slots=True)
class Cdn:
    """Another address of this server, to which large files lead; the signed path is what lets one in."""

    address: str = ""
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def url(self, repository: Repository, file: HubFile) -> str:
        """Return where a file lies, for whoever has the address."""
        return (
            f"{self.address}/cdn/{quote(repository.id, safe='')}/{file.sha256}?Signature={self._sign(repository, file)}"
        )

    def content(self, asked: Asked, repository: Repository | None, sha256: str) -> Response:
        """Answer with a large file."""
        every = (file for commit in (repository.commits if repository else ()) for file in commit.files.values())
        file = next((each for each in every if each.sha256 == sha256), None)
        if not repository or not file or not hmac.compare_digest(self._sign(repository, file), asked.one("Signature")):
            raise HubError(403, "Access denied")
        return _sent(asked, file, {"Accept-Ranges": "bytes"})

    def _sign(self, repository: Repository, file: HubFile) -> str:
        return hmac.new(self.secret, f"{repository.id} {file.sha256}".encode(), hashlib.sha256).hexdigest()


def resolve(asked: Asked, repository: Repository, cdn: Cdn, *, cached: bool) -> Response:
    """Answer with a file, or with where it is: `revision/path` stand in the path.

    What git keeps is sent by way of `resolve-cache`, as the Hub does; what it does not keep lies at `cdn`, if there is
    one, and is sent at once where there is none.
    """
    commit = commit_of(repository, asked.segments[0])
    path = "/".join(asked.segments[1:])
    if (file := commit.files.get(path)) is None:
        raise HubError(404, "Entry not found", code="EntryNotFound", commit=commit.sha)
    headers = {"X-Repo-Commit": commit.sha, "Accept-Ranges": "bytes"}
    if file.sha256:
        headers |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        if cdn.address:
            return RedirectResponse(cdn.url(repository, file), 302, headers)
    elif not cached:
        where = f"/api/resolve-cache/models/{repository.id}/{commit.sha}/{quote(path)}"
        asked_for = quote(f"/{repository.id}/resolve/{asked.segments[0]}/{path}", safe="")
        return RedirectResponse(f"{where}?{asked_for}=&etag={quote(chr(34) + file.oid + chr(34))}", 307, headers)
    return _sent(asked, file, headers)


def _sent(asked: Asked, file: HubFile, headers: dict[str, str]) -> Response:
    etag = f'"{file.etag}"'
    if asked.request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers | {"ETag": etag})
    name = file.path.rsplit("/", 1)[-1]
    told = {"ETag": etag, "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}; filename=\"{quote(name)}\";"}
    return FileResponse(file.place, headers=headers | told, media_type="application/octet-stream")
