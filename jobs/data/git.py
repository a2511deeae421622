"""Code from git: `git+https://host/repository.git@revision#subdirectory=folder`, as pip writes it."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote

from workspace import egress
from workspace.egress import Address
from workspace.errors import Denied, Invalid, NotFound, Unavailable

PATIENCE = 600.0  # seconds
# What git tells its hooks of the repository that they are in: we may run in one, and mean another repository.
_OF_A_REPOSITORY = frozenset({
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE",
})  # fmt: skip
_URL = re.compile(
    r"git\+(?P<scheme>https?|ssh|file)://(?:(?P<user>[^/@#]*)@)?(?P<place>[^/@#]*/[^#]+?)"
    r"(?:@(?P<revision>[^@#/:]+(?:/[^@#:]+)*))?(?:#(?P<rest>.*))?"
)


# What git says where a server lets nobody in, or nobody like us.
_DENIED = re.compile(
    r"Authentication failed|could not read (?:Username|Password)|Permission denied|returned error: 40[13]|Access denied"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What git is told of a server: `url` for messages, who asks, and the host with the addresses that were found."""

    url: str
    user: str = ""
    pinned: str = ""


def clone(
    url: str,
    target: Path,
    *,
    allows: Callable[[Address], bool] = egress.is_public,
    looks_up: Callable[[str, int], Sequence[Address]] = egress.resolve,
) -> str:
    """Put what a revision of a repository holds into a folder that is not there yet; return its commit."""
    match = _URL.fullmatch(url)
    if match is None:
        hint = "git+https://host/repository.git@revision#subdirectory=folder"
        raise Invalid(f"{_shown(url)} is no address of git", hint=hint)
    revision = match["revision"] or "HEAD"
    if revision.startswith("-"):
        raise Invalid(f"{revision!r} is no revision")
    user, repository = match["user"] or "", f"{match['scheme']}://{match['place']}"
    asked = _Asked(url=url)
    if match["scheme"].startswith("http"):
        asked = _Asked(url=url, user=user, pinned=egress.pinned(repository, allows=allows, looks_up=looks_up))
    elif user:
        repository = f"{match['scheme']}://{user}@{match['place']}"
    inside = parse_qs(match["rest"] or "").get(
        "subdirectory", [match["rest"] if "=" not in (match["rest"] or "") else ""]
    )
    whole = target.with_name(f".{target.name}-whole")
    _git(asked, "init", "--quiet", str(whole))
    # One revision without its history; some servers give that for names only.
    try:
        _git(asked, "-C", str(whole), "fetch", "--quiet", "--depth=1", "--", repository, revision)
    except Unavailable:
        heads = "+refs/heads/*:refs/remotes/origin/*"
        _git(asked, "-C", str(whole), "fetch", "--quiet", "--tags", "--", repository, heads)
        _git(asked, "-C", str(whole), "checkout", "--quiet", "--detach", revision)
    else:
        _git(asked, "-C", str(whole), "checkout", "--quiet", "--detach", "FETCH_HEAD")
    commit = _git(asked, "-C", str(whole), "rev-parse", "HEAD").strip()
    folder = (whole / (inside[0] or "")).resolve()
    if not folder.is_relative_to(whole.resolve()) or not folder.is_dir():
        raise NotFound(f"{_shown(url)} has no folder {inside[0]!r}", hint="check what stands after #subdirectory=")
    shutil.rmtree(whole / ".git")
    folder.rename(target)
    shutil.rmtree(whole, ignore_errors=True)
    return commit


def _git(asked: _Asked, *arguments: str) -> str:
    url = asked.url
    # No hooks, no helpers of the repository's choosing, no questions to somebody who is not there, and nobody else
    # asked than who was looked at: no redirect, no proxy that looks the name up, no second look (git 2.37 and newer).
    never = ["core.hooksPath=/dev/null", "protocol.ext.allow=never", "http.followRedirects=false", "http.proxy="]
    if asked.pinned:
        never.append(f"http.curloptResolve={asked.pinned}")
    line = ["git", *(word for each in never for word in ("-c", each)), *arguments]
    said_to = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C", **_as_header(asked.user)}
    around = {name: value for name, value in os.environ.items() if name not in _OF_A_REPOSITORY}
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=PATIENCE, check=False, errors="replace",
            env=around | said_to,
        )  # fmt: skip
    except FileNotFoundError:
        raise Unavailable("git is not on this machine", hint="install git, or name a folder") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{_shown(url)} took longer than {PATIENCE:g} seconds") from None
    if done.returncode:
        said = re.sub(r"://[^/@\s]+@", "://", done.stderr.strip())
        if _DENIED.search(said):
            hint = "check the address, and write who asks before the host: git+https://USER:TOKEN@host/…"
            raise Denied(f"{_shown(url)} is not open to us: {said[-300:]}", hint=hint)
        raise Unavailable(f"{_shown(url)} cannot be fetched: {said[-300:]}", hint="check the address and the revision")
    return done.stdout


def _as_header(user: str) -> dict[str, str]:
    """Return what lets git say who asks, by its environment: everybody may read its command line."""
    if not user:
        return {}
    name, _, password = user.partition(":")
    said = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    number = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    return {
        "GIT_CONFIG_COUNT": str(number + 1),
        f"GIT_CONFIG_KEY_{number}": "http.extraHeader",
        f"GIT_CONFIG_VALUE_{number}": f"Authorization: Basic {said}",
    }


def _shown(url: str) -> str:
    return repr(re.sub(r"://[^/@\s]+@", "://", url)[:200])
