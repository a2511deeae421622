"""Fetching data that URLs name, once: what was fetched lies in the person's cache and is asked for again only if newer.

http and https go through the one client for egress. Public blobs of Azure (`wasbs:`, `abfss:`) are https in the end.
For what needs credentials, and for the other protocols that are known here, fsspec has packages.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from jobs.data import hub_files
from jobs.data.datastores import Remote
from workspace import egress
from workspace.errors import Denied, Invalid, MissingExtra, NotFound, StudioloError, Unavailable
from workspace.paths import locked, plain_name, write_atomically, writing
from workspace.settings import Settings, cache_folder

if TYPE_CHECKING:
    from workspace.egress import Address

PATIENCE = 3600.0  # seconds for one file
KEPT = 7 * 86400.0  # seconds that content stays after newer has come: jobs read it in place
LARGEST = 200_000_000_000  # bytes of one file
_AZURE = re.compile(
    r"(?P<scheme>wasbs?|abfss?|az)://(?P<container>[^@/]+)@(?P<account>[^./]+)\.(?:blob|dfs)\.(?P<domain>[^/]+)/?"
    r"(?P<path>.*)"
)
_BLOB_HOST = re.compile(r"[^./]+\.blob\.[^/]+")
_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs",
    "wasbs": "adlfs", "wasb": "adlfs", "sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol", "hdfs": "pyarrow",
    "adl": "adlfs",
}  # fmt: skip
# Where a folder is a beginning of names: nothing is made for it, least of all a bucket whose name was mistyped.
_OBJECTS = frozenset(_PACKAGES) - {"sftp", "ssh", "smb", "hdfs"}
_KNOWN = ("https", "git+https", *_PACKAGES)
_FOUND = "found.json"  # it is as old as what it tells is known to be right
_AGES = ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
# Whose errors may come out of a file system beside those of the operating system, and what they say of no key or right.
_THEIRS = frozenset({"botocore", "aiobotocore", "azure", "gcsfs", "google", "aiohttp", "paramiko", "smbprotocol"})
_SHUT = re.compile(r"(?i)credential|authenticat|authoriz|denied|forbidden|InvalidAccessKey|Signature|\b40[13]\b")
_ENTRY = re.compile(r"<Name>([^<]+)</Name>")
_MARKER = re.compile(r"<NextMarker>([^<]+)</NextMarker>")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """What tells whether something has changed since it was fetched, what it is called, and where it lies."""

    url: str
    name: str = ""
    etag: str = ""
    folder: str = "content"


def fetch(settings: Settings, remote: Remote) -> Path:
    """Return a file or folder with what is at a URL; it is only for reading.

    Where the source does not answer, what was fetched before is used, and that is said; where it lets us in no more,
    it is not used. What is on the Hub comes by its own client, and lies in its own cache.
    """
    if remote.url.startswith("hf://"):
        return hub_files.fetch(settings, remote.url)
    place = cache_folder() / "data" / key(remote.url)
    with writing(place):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(place / "lock"):
        known = _known(place)
        if settings.offline:
            return _kept(place, known, remote.url)
        try:
            found = _fetched(settings, remote, place, known)
        except Unavailable as problem:
            if known is None:
                raise
            _log.warning("what was fetched %s is used: %s", _age(place), problem)
            return _kept(place, known, remote.url)
        except Denied as problem:
            if known is None:
                raise
            hint = f"{problem.hint or 'check the credentials'}; STUDIOLO_OFFLINE=1 uses what was fetched {_age(place)}"
            raise Denied(problem.message, hint=hint) from None
        os.utime(place / _FOUND)
        return _kept(place, found, remote.url)


def key(url: str) -> str:
    """Return what a URL is called in the cache."""
    return hashlib.sha256(url.encode()).hexdigest()[:40]


def _known(place: Path) -> Sign | None:
    try:
        known = Sign(**json.loads((place / _FOUND).read_text()))
    except FileNotFoundError:
        return None
    return known if (place / known.folder / known.name).exists() else None


def _kept(place: Path, sign: Sign | None, url: str) -> Path:
    if sign is None:
        hint = "say in data_map.yml where it is on this machine, or unset STUDIOLO_OFFLINE"
        raise Unavailable(f"{shown(url)} was not fetched before, and nothing is fetched offline", hint=hint)
    return place / sign.folder / sign.name


def _age(place: Path) -> str:
    seconds = max(1.0, time.time() - (place / _FOUND).stat().st_mtime)
    size, called = next(each for each in _AGES if seconds >= each[0])
    return f"{seconds / size:.0f} {called} ago"


def _fetched(settings: Settings, remote: Remote, place: Path, known: Sign | None) -> Sign:
    """Bring what is new; where nothing is, what is known stays."""
    scheme = remote.url.partition("://")[0].lower()
    if remote.url.startswith("git+"):
        from jobs.data.git import clone

        with _incoming(place) as incoming:
            commit = clone(remote.url, incoming / "code", allows=_allowed(settings))
            return _accept(place, incoming, Sign(url=shown(remote.url), name="code", etag=commit))
    if scheme in ("http", "https"):
        return _by_http(settings, remote.url, place, known)
    if (azure := _AZURE.fullmatch(remote.url)) and not set(remote.options) - {"account_name", "sas_token"}:
        token = remote.options.get("sas_token", "")
        path = quote(unquote(azure["path"]))
        url = f"https://{azure['account']}.blob.{azure['domain']}/{azure['container']}/{path}"
        return _by_http(settings, f"{url}?{token.lstrip('?')}" if token else url, place, known)
    return _by_fsspec(remote, scheme, place, known)


def _by_http(settings: Settings, url: str, place: Path, known: Sign | None) -> Sign:
    rules = egress.Rules(largest=LARGEST, timeout=PATIENCE, allows=_allowed(settings))
    parts = urlsplit(url)
    name = _name(unquote(parts.path))
    is_blob = _BLOB_HOST.fullmatch(parts.netloc) is not None
    with _incoming(place) as incoming:
        try:
            if parts.path.endswith("/") and is_blob:
                raise NotFound("a folder of blobs")
            found = egress.download(url, incoming / name, rules, etag=known.etag if known else "")
        except NotFound:
            if not is_blob:
                raise
            return _accept(place, incoming, _folder_of_blobs(url, incoming / name, rules))
        if found.unchanged and known is not None:
            return known
        return _accept(place, incoming, Sign(url=_bare(url), name=name, etag=found.etag))


def _folder_of_blobs(url: str, target: Path, rules: egress.Rules) -> Sign:
    """Fetch the blobs whose names begin with a path; the container lets everybody list it, or this fails."""
    parts = urlsplit(url)
    container, _, prefix = parts.path.strip("/").partition("/")
    prefix = f"{unquote(prefix).rstrip('/')}/" if prefix else ""
    base = f"{parts.scheme}://{parts.netloc}/{container}"
    (target.parent / ".list").mkdir(exist_ok=True)
    signs = hashlib.sha256()
    count, marker = 0, ""
    while True:
        asked = f"{base}?restype=container&comp=list&prefix={quote(prefix)}&marker={quote(marker)}"
        listing = target.parent / ".list" / "page.xml"
        egress.download(f"{asked}&{parts.query}" if parts.query else asked, listing, rules)
        text = listing.read_text(encoding="utf-8-sig")
        for name in map(unescape, _ENTRY.findall(text)):
            path = _under(target, name.removeprefix(prefix))
            found = egress.download(f"{base}/{quote(name)}{'?' + parts.query if parts.query else ''}", path, rules)
            signs.update(f"{name}\0{found.etag}\n".encode())
            count += 1
        if not (more := _MARKER.search(text)):
            break
        marker = unescape(more[1])
    shutil.rmtree(target.parent / ".list")
    if not count:
        raise NotFound(f"there is nothing at {shown(url)}", hint="check the address")
    return Sign(url=_bare(url), name=target.name, etag=signs.hexdigest())


def _by_fsspec(remote: Remote, scheme: str, place: Path, known: Sign | None) -> Sign:
    system, path = file_system(remote, scheme)
    with _reaching(remote.url):
        system.invalidate_cache()  # it remembers what it has listed, for as long as this process lives
        is_folder = system.isdir(path)
        if not is_folder and not system.exists(path):
            raise NotFound(f"there is nothing at {shown(remote.url)}", hint="check the address")
        names = [name for name in system.find(path) if not name.endswith("/")] if is_folder else [path]
        digest = hashlib.sha256()
        for name in sorted(names):
            digest.update(f"{name}\0{system.ukey(name)}\n".encode())
        sign = Sign(url=_bare(remote.url), name=_name(path), etag=digest.hexdigest())
        if known is not None and known.etag == sign.etag:
            return known
        with _incoming(place) as incoming:
            target = incoming / sign.name
            for name in names:
                inside = name.removeprefix(path.rstrip("/")).lstrip("/")
                system.get_file(name, str(_under(target, inside) if is_folder else target))
            return _accept(place, incoming, sign)


def file_system(remote: Remote, scheme: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it."""
    import fsspec

    url = remote.url
    # fsspec has protocols for files of this machine and for whatever it reaches, and chains of them.
    if "::" in url or scheme not in (*_PACKAGES, "memory"):
        raise Invalid(f"{shown(url)} is of no protocol that is known here", hint=f"known: {', '.join(_KNOWN)}")
    if azure := _AZURE.fullmatch(url):
        url = f"abfs://{azure['container']}/{azure['path']}"
    options = dict(remote.options)
    if azure:
        options = {"account_name": azure["account"], **options}
        options["account_host"] = f"{options['account_name']}.blob.{azure['domain']}"
    try:
        if scheme in ("s3", "s3a") and "key" not in options and _is_nobody_to_s3():
            options["anon"] = True  # public buckets are open to nobody in particular
        system, path = fsspec.core.url_to_fs(url, **options)
    except ImportError:
        package = _PACKAGES[scheme]
        raise MissingExtra(f"{scheme}:// needs the package {package}", hint=f"pip install {package}") from None
    except ValueError as error:
        hint = f"known: {', '.join(_KNOWN)}"
        raise Invalid(f"{shown(remote.url)} cannot be fetched: {error}", hint=hint) from None
    return system, str(path)


def send(remote: Remote, source: Path) -> None:
    """Put a file or folder at a URL that can be written to."""
    scheme = remote.url.partition("://")[0].lower()
    if scheme in ("http", "https"):
        raise Invalid(f"nothing can be written to {shown(remote.url)}", hint="name a datastore or a folder")
    system, path = file_system(remote, scheme)
    with _reaching(remote.url):
        files = [each for each in sorted(source.rglob("*")) if each.is_file()] if source.is_dir() else [source]
        for each in files:
            target = f"{path.rstrip('/')}/{each.relative_to(source).as_posix()}" if source.is_dir() else path
            if scheme not in _OBJECTS:
                system.makedirs(target.rpartition("/")[0], exist_ok=True)
            system.put_file(str(each), target)


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Turn what stops a file system into an error of ours, whichever package the file system is of."""
    try:
        yield
    except StudioloError:
        raise
    except FileNotFoundError:
        raise NotFound(f"there is nothing at {shown(url)}", hint="check the address") from None
    except PermissionError as error:
        raise Denied(f"{shown(url)} is not open to us: {error}", hint="check the credentials and the rights") from None
    except OSError as error:
        raise _unavailable(url, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _THEIRS:
            raise
        if _SHUT.search(f"{type(error).__name__} {error}"):
            hint = "check the credentials and the rights"
            raise Denied(f"{shown(url)} is not open to us: {_first(error)}", hint=hint) from None
        raise _unavailable(url, error) from error


def _unavailable(url: str, error: Exception) -> Unavailable:
    hint = "check the address and the network"
    return Unavailable(f"{shown(url)} cannot be reached: {_first(error)}", hint=hint)


def _first(error: Exception) -> str:
    """Return the first line of what a package says; Azure's says the whole answer."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _is_nobody_to_s3() -> bool:
    """Whether this machine knows no key of S3: in no variable, no file, from no service."""
    from botocore.session import get_session

    return get_session().get_credentials() is None


@contextmanager
def _incoming(place: Path) -> Iterator[Path]:
    with writing(place), tempfile.TemporaryDirectory(dir=place, prefix="incoming-") as temporary:
        yield Path(temporary)


def _accept(place: Path, incoming: Path, sign: Sign) -> Sign:
    """Put what has come where it is kept; who reads the old content meanwhile finds it for days."""
    content = place / f"content-{secrets.token_hex(4)}"
    content.mkdir(mode=0o700)
    (incoming / sign.name).rename(content / sign.name)
    if (known := _known(place)) is not None:
        os.utime(place / known.folder)
    sign = replace(sign, folder=content.name)
    write_atomically(place / _FOUND, json.dumps(asdict(sign)))
    for old in place.glob("content*"):
        if old != content and time.time() - old.stat().st_mtime > KEPT:
            shutil.rmtree(old)
    return sign


def _allowed(settings: Settings) -> Callable[[Address], bool]:
    """What may be fetched from: the public internet, and hosts inside that the settings name."""
    inside: set[Address] = set()
    for host in filter(None, (each.strip() for each in settings.data_hosts.split(","))):
        try:
            inside.update(egress.resolve(host, 443))
        except OSError:
            continue  # a host that has gone away opens nothing
    return lambda address: egress.is_public(address) or address in inside


def _name(path: str) -> str:
    return plain_name(path.rstrip("/").rpartition("/")[2].lstrip(".-"))


def _under(folder: Path, name: str) -> Path:
    from workspace.paths import safe_join

    path = safe_join(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def _bare(url: str) -> str:
    return url.partition("?")[0]


def shown(url: str) -> str:
    """Return a URL for a message, without what may be secret in it."""
    bare = _bare(url)
    scheme, separator, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    is_azure = _AZURE.fullmatch(bare) is not None
    return repr(f"{scheme}{separator}{host if is_azure else host.rpartition('@')[2]}{slash}{path}")


def options_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fsspec is told of a connection with its secrets: an access key of S3, an account's key."""
    credentials = said.get("credentials") or {}
    if said.get("type") == "s3" and "access_key_id" in credentials:
        return {"key": credentials["access_key_id"], "secret": credentials.get("secret_access_key")}
    return {key: credentials[key] for key in ("account_key", "sas_token") if key in credentials}
