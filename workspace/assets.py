"""Assets: named, versioned, content-hashed things that one area writes and another reads."""

from __future__ import annotations

import builtins
import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from workspace.audit import Audit
from workspace.blobs import Blob, Blobs
from workspace.database import Database
from workspace.errors import Conflict, Invalid, NotFound, did_you_mean
from workspace.tables import asset_labels, assets

KINDS = ("data", "model", "environment", "component", "flow", "prompt", "evalset", "report", "code")
LATEST = "latest"  # computed: the newest version that is not archived
FILENAME = "filename"  # the property that keeps what a single file was called

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One version of a named thing. `labels` are those given to it; `latest` is computed and not among them."""

    kind: str
    name: str
    version: str
    digest: str
    size: int
    is_folder: bool
    properties: Mapping[str, Any]
    created_at: float
    archived: bool
    labels: tuple[str, ...]

    @property
    def ref(self) -> str:
        """What lineage and people call it: "data:questions:1"."""
        return f"{self.kind}:{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class Reference:
    """What a person wrote: a name with a version, a label, or neither."""

    name: str
    version: str | None = None
    label: str | None = None


class Assets:
    """The assets of one workspace; rows in its database, content in its blobs."""

    def __init__(self, database: Database, blobs: Blobs, audit: Audit, *, checkouts: Path) -> None:
        self._database = database
        self._blobs = blobs
        self._audit = audit
        self._checkouts = checkouts

    def put(
        self,
        kind: str,
        name: str,
        content: Path | bytes | Blob,
        *,
        version: str | None = None,
        properties: Mapping[str, Any] | None = None,
        share: bool = False,
        move: bool = False,
    ) -> Asset:
        """Store content under the next whole number, or `version`, and return the asset.

        What equals the newest version, in content and properties, is that version again. A version never changes:
        other content under a taken one is a Conflict. `share=True` says that nobody writes to the source again: its
        bytes are linked, not copied; `move=True` that it may be consumed as well. A blob is content that is kept.
        """
        _check_kind(kind)
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name!r} cannot name an asset", hint="letters, digits, '.', '_' and '-', 255 at most")
        if version is not None and not _VERSION.fullmatch(version):
            raise Invalid(f"{version!r} cannot be a version", hint="letters, digits, '.', '_' and '-', 64 at most")
        known = _plain(properties or {})
        if isinstance(content, Path) and not content.is_dir():
            known.setdefault(FILENAME, content.name)
        blob = content if isinstance(content, Blob) else self._blobs.add(content, share=share or move)
        asset = self._database.transact(lambda connection: self._put(connection, kind, name, version, known, blob))
        if move and isinstance(content, Path):
            _remove(content)
        return asset

    def get(self, kind: str, ref: str) -> Asset:
        """Return the asset that "name", "name:3", "name@champion", "kind:name:3" or "azureml:name:3" means."""
        _check_kind(kind)
        reference = parse(kind, ref)
        with self._database.read() as connection:
            if (found := _find(connection, kind, reference)) is not None:
                return _asset(found, _labels(connection, kind, reference.name))
            raise _missing(connection, kind, reference)

    def list(self, kind: str | None = None, *, archived: bool = False, every_version: bool = False) -> list[Asset]:
        """Return the newest version of each asset by name, or every version; archived ones where asked for."""
        query = select(assets).order_by(assets.c.kind, assets.c.name, assets.c.id.desc())
        if kind is not None:
            _check_kind(kind)
            query = query.where(assets.c.kind == kind)
        if not archived:
            query = query.where(assets.c.archived_at.is_(None))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            labels = _labels(connection, kind)
        found = [_asset(row, labels) for row in rows]
        if every_version:
            return found
        newest: dict[tuple[str, str], Asset] = {}
        for asset in found:
            newest.setdefault((asset.kind, asset.name), asset)
        return [*newest.values()]

    def label(self, asset: Asset, label: str) -> Asset:
        """Give the label to this version and take it from the one that had it: `label(asset, "champion")`."""
        if label == LATEST or not _NAME.fullmatch(label[:64]) or len(label) > 64:
            raise Invalid(
                f"{label!r} cannot be given", hint="'latest' is always the newest; else letters, digits, '._-'"
            )
        key = {"kind": asset.kind, "name": asset.name, "label": label}
        with self._database.write() as connection:
            self._database.hold(connection, _subject(asset.kind, asset.name))
            before = connection.scalar(select(asset_labels.c.version).filter_by(**key))
            connection.execute(delete(asset_labels).filter_by(**key))
            connection.execute(insert(asset_labels).values(**key, version=asset.version))
            subject = f"{asset.kind}:{asset.name}@{label}"
            self._audit.record(
                connection, "asset.label", subject, before={"version": before}, after={"version": asset.version}
            )
        return self._again(asset)

    def unlabel(self, asset: Asset, label: str) -> Asset:
        """Take the label from this version; NotFound where it has no such label."""
        key = {"kind": asset.kind, "name": asset.name, "label": label, "version": asset.version}
        with self._database.write() as connection:
            if not connection.execute(delete(asset_labels).filter_by(**key)).rowcount:
                raise NotFound(f"{asset.ref} has no label {label!r}", hint=did_you_mean(label, asset.labels))
            subject = f"{asset.kind}:{asset.name}@{label}"
            self._audit.record(connection, "asset.unlabel", subject, before={"version": asset.version})
        return self._again(asset)

    def archive(self, asset: Asset) -> Asset:
        """Hide a version from lists and from `latest`; asked for by version or label it still answers."""
        return self._set_archived(asset, archived=True)

    def restore(self, asset: Asset) -> Asset:
        """Take an archived version back."""
        return self._set_archived(asset, archived=False)

    def path(self, asset: Asset) -> Path:
        """Return the content as a file or folder, made on first use; only for reading: its bytes are shared."""
        place = self._checkouts / asset.digest.removeprefix("sha256:")
        if not asset.is_folder:
            place = place / Path(str(asset.properties.get(FILENAME) or asset.name)).name
        return self._blobs.materialise(Blob(asset.digest, asset.size, asset.is_folder), place)

    def at(self, kind: str, place: Path) -> Asset | None:
        """Return the first version whose content `path` has put in this place; None where the place is no such one."""
        if place.resolve().parent != self._checkouts.resolve():
            return None
        query = select(assets).filter_by(kind=kind, digest=f"sha256:{place.name}").order_by(assets.c.id).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).first()
            return None if row is None else _asset(row, _labels(connection, kind, row.name))

    def _put(
        self, connection: Connection, kind: str, name: str, version: str | None, properties: dict[str, Any], blob: Blob
    ) -> Asset:
        self._database.hold(connection, _subject(kind, name))
        rows = connection.execute(_versions(kind, name)).all()
        labels = _labels(connection, kind, name)
        newest = next((row for row in rows if row.archived_at is None), None)
        if version is None and newest is not None and _same(newest, blob, properties):
            return _asset(newest, labels)
        if taken := next((row for row in rows if row.version == version), None):
            if _same(taken, blob, properties):
                return _asset(taken, labels)
            raise Conflict(
                f"{kind} {name}:{version} exists with other content or properties",
                hint="a version never changes: leave the version out to get the next one",
            )
        row = {
            "kind": kind,
            "name": name,
            "version": version or _next(rows),
            "digest": blob.digest,
            "size": blob.size,
            "is_folder": blob.is_folder,
            "properties": properties,
            "created_at": time.time(),
        }
        return _asset(connection.execute(insert(assets).values(**row).returning(assets)).one(), labels)

    def _set_archived(self, asset: Asset, *, archived: bool) -> Asset:
        statement = update(assets).filter_by(kind=asset.kind, name=asset.name, version=asset.version)
        statement = statement.where(assets.c.archived_at.is_(None) if archived else assets.c.archived_at.is_not(None))
        with self._database.write() as connection:
            if connection.execute(statement.values(archived_at=time.time() if archived else None)).rowcount:
                self._audit.record(connection, "asset.archive" if archived else "asset.restore", asset.ref)
        return self._again(asset)

    def _again(self, asset: Asset) -> Asset:
        return self.get(asset.kind, asset.ref)


def parse(kind: str, ref: str) -> Reference:
    """Read what a person wrote: `parse("data", "azureml:questions@latest")`."""
    text = ref.removeprefix("azureml:")
    named, at, label = text.partition("@")
    parts = named.split(":")
    if len(parts) == (2 if at else 3) and parts[0] in KINDS:
        if parts[0] != kind:
            raise Invalid(f"{ref!r} is not of kind {kind!r}", hint=f"it names a {parts[0]}")
        parts = parts[1:]
    name, version = parts[0], parts[1] if len(parts) == 2 else None
    if not name or len(parts) > 2 or (at and (version or not label)) or version == "":
        raise Invalid(f"{ref!r} is no asset reference", hint="name, name:version or name@label")
    return Reference(name, version, label or None)


def _plain(properties: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(properties), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise Invalid(
            f"the properties cannot be kept as JSON: {error}", hint="text, numbers, lists, mappings"
        ) from None
    return plain


def _remove(source: Path) -> None:
    if source.is_dir():
        shutil.rmtree(source)
    else:
        source.unlink()


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise Invalid(f"no asset kind {kind!r}", hint=did_you_mean(kind, KINDS))


def _subject(kind: str, name: str) -> str:
    return f"asset {kind}:{name}"


def _versions(kind: str, name: str) -> Any:
    return select(assets).filter_by(kind=kind, name=name).order_by(assets.c.id.desc())


def _find(connection: Connection, kind: str, reference: Reference) -> Row[Any] | None:
    query, version = _versions(kind, reference.name), reference.version
    if reference.label not in (None, LATEST):
        given = select(asset_labels.c.version).filter_by(kind=kind, name=reference.name, label=reference.label)
        version = connection.scalar(given)
        if version is None:
            return None
    query = query.where(assets.c.archived_at.is_(None)) if version is None else query.filter_by(version=version)
    row: Row[Any] | None = connection.execute(query.limit(1)).first()
    return row


def _missing(connection: Connection, kind: str, reference: Reference) -> NotFound:
    versions = connection.execute(_versions(kind, reference.name)).all()
    if not versions:
        names = connection.scalars(select(assets.c.name).filter_by(kind=kind).distinct())
        hint = did_you_mean(reference.name, names) or f"there is no {kind} yet"
        return NotFound(f"no {kind} {reference.name!r}", hint=hint)
    if reference.version:
        what, known = f"version {reference.version!r}", [row.version for row in versions]
    elif reference.label not in (None, LATEST):
        given = select(asset_labels.c.label).filter_by(kind=kind, name=reference.name)
        what, known = f"label {reference.label!r}", [LATEST, *connection.scalars(given)]
    else:
        hint = f"ask for one, as {reference.name}:{versions[0].version}, or restore it"
        return NotFound(f"every version of {kind} {reference.name!r} is archived", hint=hint)
    return NotFound(f"{kind} {reference.name!r} has no {what}", hint=f"known: {', '.join(known[:20])}")


def _labels(
    connection: Connection, kind: str | None, name: str | None = None
) -> dict[tuple[str, str, str], builtins.list[str]]:
    query = select(asset_labels).order_by(asset_labels.c.label)
    if kind is not None:
        query = query.filter_by(kind=kind)
    if name is not None:
        query = query.filter_by(name=name)
    found: dict[tuple[str, str, str], builtins.list[str]] = {}
    for row in connection.execute(query):
        found.setdefault((row.kind, row.name, row.version), []).append(row.label)
    return found


def _same(row: Row[Any], blob: Blob, properties: Mapping[str, Any]) -> bool:
    kept = {key: value for key, value in row.properties.items() if key != FILENAME}
    given = {key: value for key, value in properties.items() if key != FILENAME}
    return bool(row.digest == blob.digest and row.is_folder == blob.is_folder) and kept == given


def _next(rows: Any) -> str:
    return str(max((int(row.version) for row in rows if row.version.isdecimal()), default=0) + 1)


def _asset(row: Row[Any], labels: Mapping[tuple[str, str, str], builtins.list[str]]) -> Asset:
    return Asset(
        kind=row.kind,
        name=row.name,
        version=row.version,
        digest=row.digest,
        size=row.size,
        is_folder=row.is_folder,
        properties=row.properties,
        created_at=row.created_at,
        archived=row.archived_at is not None,
        labels=tuple(labels.get((row.kind, row.name, row.version), ())),
    )
