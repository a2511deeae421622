"""What the Hub tells of a repository: its info, its files, its branches, its commits, and who asks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from catalog.hub_server.errors import HubError
from catalog.hub_server.listing import MOST, Listing, pick
from catalog.hub_server.shelf import MAIN, Commit, HubFile, Repository, Shelf

_POINTER = 134  # bytes: about what git keeps of a file that is elsewhere
_KINDS = {"license": "license", "dataset": "dataset", "arxiv": "arxiv", "doi": "doi", "region": "region"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, read: the segments of its path, who asks, and what was sent."""

    request: Request
    segments: list[str]
    reader: str
    body: bytes = b""

    @property
    def query(self) -> list[tuple[str, str]]:
        """The pairs of the query string, in order."""
        return parse_qsl(self.request.url.query, keep_blank_values=True)

    def one(self, name: str, default: str = "") -> str:
        """Return a value of the query."""
        return dict(self.query).get(name, default)

    def says(self, name: str) -> bool:
        """Whether a flag of the query is set."""
        return self.one(name).casefold() in ("true", "1")

    def behind(self, segments: Sequence[str]) -> Asked:
        """Return the same request with the rest of its path."""
        return replace(self, segments=list(segments))


def json(value: Any, **headers: str) -> Response:
    """Return an answer in JSON."""
    return Response(orjson.dumps(value), headers={"Content-Type": "application/json; charset=utf-8", **headers})


def next_link(request: Request, query: Sequence[tuple[str, str]]) -> str:
    """Return the header that leads to the next page."""
    address = request.url.replace(query=urlencode(query))
    return f'<{address}>; rel="next"'


def check_gate(repository: Repository, reader: str) -> None:
    """Raise what the Hub says to those who may not see the files."""
    if repository.disabled:
        raise HubError(403, "Access to this resource is disabled.")
    if not repository.gated or (reader and reader in repository.readers):
        return
    what = f"Access to model {repository.id} is restricted"
    if not reader:
        raise HubError(
            401,
            f"{what}. You must have access to it and be authenticated to access it. Please log in.",
            code="GatedRepo",
        )
    where = f"Visit https://huggingface.co/{repository.id} to ask for access."
    raise HubError(403, f"{what} and you are not in the authorized list. {where}", code="GatedRepo")


def commit_of(repository: Repository, revision: str) -> Commit:
    """Return the commit that a revision names."""
    if (found := repository.commit(revision)) is None:
        raise HubError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
    return found


def info(asked: Asked, repository: Repository, revision: str, fields: Sequence[str]) -> Response:
    """Tell of a model as a whole."""
    commit = commit_of(repository, revision)
    told = repository.told() | {
        "sha": commit.sha,
        "siblings": [_sibling(asked, each) for each in commit.files.values()],
    }
    if fields:
        told = pick(told, fields)
    return json(told)


def tree(asked: Asked, repository: Repository) -> Response:
    """Tell the files and folders, a page of them."""
    revision, path = asked.segments[0] if asked.segments else MAIN, "/".join(asked.segments[1:]).strip("/")
    commit = commit_of(repository, revision)
    entries = [*_entries(asked, commit, path, recursive=asked.says("recursive"))]
    if path and not entries:
        raise HubError(404, f"{path} does not exist on {revision}", code="EntryNotFound", commit=commit.sha)
    given = asked.one("limit", str(MOST))
    most = max(1, min(int(given) if given.isdecimal() else MOST, 100 if asked.says("expand") else MOST))
    start = int(asked.one("cursor", "0")) if asked.one("cursor", "0").isdecimal() else 0
    response = json(entries[start : start + most])
    if start + most < len(entries):
        query = [(name, value) for name, value in asked.query if name != "cursor"]
        response.headers["Link"] = next_link(asked.request, [*query, ("cursor", str(start + most))])
    return response


def paths_info(asked: Asked, repository: Repository) -> Response:
    """Tell of some paths; those that are not there are left out."""
    commit = commit_of(repository, asked.segments[0] if asked.segments else MAIN)
    if asked.request.headers.get("content-type", "").startswith("application/json"):
        wanted = orjson.loads(asked.body).get("paths", [])
        expand = bool(orjson.loads(asked.body).get("expand"))
    else:
        form = parse_qsl(asked.body.decode("utf-8", "replace"))
        wanted = [value for name, value in form if name == "paths"]
        expand = dict(form).get("expand", "").casefold() == "true"
    every = {each["path"]: each for each in _entries(asked, commit, "", recursive=True, expand=expand)}
    return json([every[path.strip("/")] for path in wanted if path.strip("/") in every])


def refs(asked: Asked, repository: Repository) -> Response:
    """Tell branches, tags and, where asked for, pull requests."""
    told: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": []}
    if asked.says("include_prs"):
        told["pullRequests"] = []
    named = {f"refs/heads/{MAIN}": repository.commits[0].sha} | dict(repository.refs)
    for name, sha in named.items():
        kind = (
            "tags" if name.startswith("refs/tags/") else "pullRequests" if name.startswith("refs/pr/") else "branches"
        )
        if name.startswith("refs/") and kind in told:
            told[kind].append({"name": name.split("/", 2)[2], "ref": name, "targetCommit": sha})
    return json(told)


def commits(asked: Asked, repository: Repository) -> Response:
    """Tell what has become of the repository, the newest first."""
    revision = asked.segments[0] if asked.segments else MAIN
    newest = commit_of(repository, revision)
    all_of_them = repository.commits[repository.commits.index(newest) :]
    page, limit = (int(asked.one(name, default)) for name, default in (("p", "0"), ("limit", "50")))
    some = all_of_them[page * limit : (page + 1) * limit]
    told = [
        {"id": each.sha, "title": each.title, "message": "", "authors": [{"user": "studiolo"}], "date": each.date}
        for each in some
    ]
    response = json(told, **{"X-Total-Count": str(len(all_of_them))})
    if (page + 1) * limit < len(all_of_them):
        query = [(name, value) for name, value in asked.query if name != "p"]
        response.headers["Link"] = next_link(asked.request, [*query, ("p", str(page + 1))])
    return response


def tree_size(asked: Asked, repository: Repository) -> Response:
    """Tell how large a folder is."""
    commit = commit_of(repository, asked.segments[0] if asked.segments else MAIN)
    path = "/".join(asked.segments[1:]).strip("/")
    inside = (each for each in commit.files.values() if not path or f"{each.path}/".startswith(f"{path}/"))
    return json({"path": path, "size": sum(each.size for each in inside)})


def access(asked: Asked, _repository: Repository) -> Response:
    """Tell that the files may be read; that they may be written is never so here."""
    if asked.segments and asked.segments[0] == "write":
        raise HubError(403, "This Hub is for reading only")
    return json({})


def who(asked: Asked) -> Response:
    """Tell whose token it is."""
    if not asked.reader:
        raise HubError(401, "Invalid username or password.")
    token = {"displayName": asked.reader, "role": "read"}
    named = {"type": "user", "id": asked.reader, "name": asked.reader, "fullname": asked.reader, "orgs": []}
    return json({**named, "auth": {"type": "access_token", "accessToken": token}})


def tags(asked: Asked, shelf: Shelf) -> Response:
    """Tell the tags of all models, by what they are about."""
    found: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for told in shelf.page(Listing(), asked.reader).models:
        for tag in told.get("tags") or ():
            prefix = str(tag).partition(":")[0]
            kind = _KINDS.get(prefix) if ":" in tag else _kind(str(tag), told)
            found[kind or "other"][tag] = {
                "id": tag,
                "label": str(tag).partition(":")[2] or tag,
                "type": kind or "other",
            }
    wanted = asked.one("type")
    return json({kind: [*each.values()] for kind, each in found.items() if wanted in ("", kind)})


def _kind(tag: str, told: Mapping[str, Any]) -> str:
    if tag == told.get("pipeline_tag"):
        return "pipeline_tag"
    if tag == told.get("library_name"):
        return "library"
    return "language" if len(tag) == 2 else "other"


def _sibling(asked: Asked, file: HubFile) -> dict[str, Any]:
    told: dict[str, Any] = {"rfilename": file.path}
    if asked.says("blobs"):
        told |= {"size": file.size, "blobId": file.oid} | ({"lfs": _lfs(file, "sha256")} if file.sha256 else {})
    return told


def _lfs(file: HubFile, name: str) -> dict[str, Any]:
    return {name: file.sha256, "size": file.size, "pointerSize": _POINTER}


def _entries(
    asked: Asked, commit: Commit, path: str, *, recursive: bool, expand: bool | None = None
) -> Iterator[dict[str, Any]]:
    """Yield what lies in a folder: files, and each folder once."""
    expand = asked.says("expand") if expand is None else expand
    last = {"lastCommit": {"id": commit.sha, "title": commit.title, "date": commit.date}} if expand else {}
    seen: set[str] = set()
    for file in sorted(commit.files.values(), key=lambda each: each.path):
        if path and not file.path.startswith(f"{path}/"):
            continue
        inside = file.path[len(path) + 1 if path else 0 :].split("/")
        depths = range(1, len(inside)) if recursive else range(1, min(2, len(inside)))
        for depth in depths:
            folder = "/".join(([path] if path else []) + inside[:depth])
            if folder not in seen:
                seen.add(folder)
                yield {"type": "directory", "oid": commit.sha, "size": 0, "path": folder, **last}
        if recursive or len(inside) == 1:
            lfs = {"lfs": _lfs(file, "oid")} if file.sha256 else {}
            yield {"type": "file", "oid": file.oid, "size": file.size, "path": file.path, **lfs, **last}
