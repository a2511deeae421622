"""Assets: named, versioned, content-hashed things that one area writes and another reads."""

from __future__ import annotations

import builtins
import json
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workspace.audit import Audit
from workspace.blobs import Blob, Blobs
from workspace.errors import Conflict, Invalid, NotFound, did_you_mean
from workspace.light_database import LightDatabase, Records, Row, Statements, from_json, to_json

KINDS = ("data", "model", "environment", "component", "flow", "prompt", "evalset", "report", "code")
LATEST = "latest"  # computed: the newest version that is not archived
FILENAME = "filename"  # the property that keeps what a single file was called

_OF_LABEL = "WHERE kind = :kind AND name = :name AND label = :label"
_OF_VERSION = "WHERE kind = :kind AND name = :name AND version = :version"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One version of a named thing. `labels` are those given to it; `latest` is computed and not among them.

    `properties` never change; `notes` are what people say of it, a description or tags, and may.
    """

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
    notes: Mapping[str, Any] = field(default_factory=dict)

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

    def __init__(self, database: LightDatabase, blobs: Blobs, audit: Audit, *, checkouts: Path) -> None:
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
        asset = self._database.transact(
            lambda statements: _put(statements, kind, name, version, known, blob), hold=(_subject(kind, name),)
        )
        if move and isinstance(content, Path):
            _remove(content)
        return asset

    def get(self, kind: str, ref: str) -> Asset:
        """Return the asset that "name", "name:3", "name@champion", "kind:name:3" or "azureml:name:3" means."""
        _check_kind(kind)
        reference = parse(kind, ref)
        if (found := _find(self._database, kind, reference)) is not None:
            return _asset(found, _labels(self._database, kind, reference.name))
        raise _missing(self._database, kind, reference)

    def list(self, kind: str | None = None, *, archived: bool = False, every_version: bool = False) -> list[Asset]:
        """Return the newest version of each asset by name, or every version; archived ones where asked for."""
        if kind is not None:
            _check_kind(kind)
        conditions = ["kind = :kind"] * (kind is not None) + ["archived_at IS NULL"] * (not archived)
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        query = f"SELECT * FROM assets {where}ORDER BY kind, name, id DESC"
        labels = _labels(self._database, kind)
        found = [_asset(row, labels) for row in self._database.rows(query, kind=kind)]
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
        with self._database.write(hold=(_subject(asset.kind, asset.name),)) as statements:
            before = statements.rows(f"SELECT version FROM asset_labels {_OF_LABEL}", **key)
            statements.change(f"DELETE FROM asset_labels {_OF_LABEL}", **key)
            statements.change(
                "INSERT INTO asset_labels (kind, name, label, version) VALUES (:kind, :name, :label, :version)",
                version=asset.version, **key,
            )  # fmt: skip
            self._audit.record(
                statements, "asset.label", f"{asset.kind}:{asset.name}@{label}",
                before={"version": before[0]["version"] if before else None}, after={"version": asset.version},
            )  # fmt: skip
        return self._again(asset)

    def unlabel(self, asset: Asset, label: str) -> Asset:
        """Take the label from this version; NotFound where it has no such label."""
        key = {"kind": asset.kind, "name": asset.name, "label": label, "version": asset.version}
        with self._database.write() as statements:
            if not statements.change(f"DELETE FROM asset_labels {_OF_LABEL} AND version = :version", **key):
                raise NotFound(f"{asset.ref} has no label {label!r}", hint=did_you_mean(label, asset.labels))
            subject = f"{asset.kind}:{asset.name}@{label}"
            self._audit.record(statements, "asset.unlabel", subject, before={"version": asset.version})
        return self._again(asset)

    def note(self, asset: Asset, notes: Mapping[str, Any]) -> Asset:
        """Keep what people say of a version, instead of what they said before: `note(asset, {"tags": {"a": "b"}})`."""
        known = _plain(notes)
        key = {"kind": asset.kind, "name": asset.name, "version": asset.version}
        with self._database.write() as statements:
            (row,) = statements.rows(f"SELECT notes FROM assets {_OF_VERSION}", **key)
            before = from_json(row["notes"])
            if before != known:
                statements.change(f"UPDATE assets SET notes = :notes {_OF_VERSION}", notes=to_json(known), **key)
                self._audit.record(statements, "asset.note", asset.ref, before=before, after=known)
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
        query = "SELECT * FROM assets WHERE kind = :kind AND digest = :digest ORDER BY id LIMIT 1"
        rows = self._database.rows(query, kind=kind, digest=f"sha256:{place.name}")
        return _asset(rows[0], _labels(self._database, kind, rows[0]["name"])) if rows else None

    def _set_archived(self, asset: Asset, *, archived: bool) -> Asset:
        key = {"kind": asset.kind, "name": asset.name, "version": asset.version}
        query = (
            f"UPDATE assets SET archived_at = :moment {_OF_VERSION} AND archived_at IS {'' if archived else 'NOT '}NULL"
        )
        with self._database.write() as statements:
            if statements.change(query, moment=time.time() if archived else None, **key):
                self._audit.record(statements, "asset.archive" if archived else "asset.restore", asset.ref)
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


def _put(
    statements: Statements, kind: str, name: str, version: str | None, properties: dict[str, Any], blob: Blob
) -> Asset:
    rows = _versions(statements, kind, name)
    labels = _labels(statements, kind, name)
    newest = next((row for row in rows if row["archived_at"] is None), None)
    if version is None and newest is not None and _same(newest, blob, properties):
        return _asset(newest, labels)
    if taken := next((row for row in rows if row["version"] == version), None):
        if _same(taken, blob, properties):
            return _asset(taken, labels)
        raise Conflict(
            f"{kind} {name}:{version} exists with other content or properties",
            hint="a version never changes: leave the version out to get the next one",
        )
    (row,) = statements.rows(
        "INSERT INTO assets (kind, name, version, digest, size, is_folder, properties, created_at) VALUES "
        "(:kind, :name, :version, :digest, :size, :is_folder, :properties, :now) RETURNING *",
        kind=kind, name=name, version=version or _next(rows), digest=blob.digest, size=blob.size,
        is_folder=blob.is_folder, properties=to_json(properties), now=time.time(),
    )  # fmt: skip
    return _asset(row, labels)


def _versions(records: Records, kind: str, name: str) -> builtins.list[Row]:
    return records.rows(
        "SELECT * FROM assets WHERE kind = :kind AND name = :name ORDER BY id DESC", kind=kind, name=name
    )


def _find(records: Records, kind: str, reference: Reference) -> Row | None:
    version = reference.version
    if reference.label not in (None, LATEST):
        key = {"kind": kind, "name": reference.name, "label": reference.label}
        given = records.rows(f"SELECT version FROM asset_labels {_OF_LABEL}", **key)
        if not given:
            return None
        version = given[0]["version"]
    which = "archived_at IS NULL" if version is None else "version = :version"
    query = f"SELECT * FROM assets WHERE kind = :kind AND name = :name AND {which} ORDER BY id DESC LIMIT 1"
    return next(iter(records.rows(query, kind=kind, name=reference.name, version=version)), None)


def _missing(records: Records, kind: str, reference: Reference) -> NotFound:
    versions = _versions(records, kind, reference.name)
    if not versions:
        names = records.rows("SELECT DISTINCT name FROM assets WHERE kind = :kind", kind=kind)
        hint = did_you_mean(reference.name, [row["name"] for row in names]) or f"there is no {kind} yet"
        return NotFound(f"no {kind} {reference.name!r}", hint=hint)
    if reference.version:
        what, known = f"version {reference.version!r}", [row["version"] for row in versions]
    elif reference.label not in (None, LATEST):
        labels = {label for found in _labels(records, kind, reference.name).values() for label in found}
        what, known = f"label {reference.label!r}", [LATEST, *sorted(labels)]
    else:
        hint = f"ask for one, as {reference.name}:{versions[0]['version']}, or restore it"
        return NotFound(f"every version of {kind} {reference.name!r} is archived", hint=hint)
    return NotFound(f"{kind} {reference.name!r} has no {what}", hint=f"known: {', '.join(known[:20])}")


def _labels(
    records: Records, kind: str | None, name: str | None = None
) -> dict[tuple[str, str, str], builtins.list[str]]:
    conditions = ["kind = :kind"] * (kind is not None) + ["name = :name"] * (name is not None)
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    query = f"SELECT * FROM asset_labels {where}ORDER BY label"
    found: dict[tuple[str, str, str], builtins.list[str]] = {}
    for row in records.rows(query, kind=kind, name=name):
        found.setdefault((row["kind"], row["name"], row["version"]), []).append(row["label"])
    return found


def _same(row: Row, blob: Blob, properties: Mapping[str, Any]) -> bool:
    kept = {key: value for key, value in from_json(row["properties"]).items() if key != FILENAME}
    given = {key: value for key, value in properties.items() if key != FILENAME}
    return bool(row["digest"] == blob.digest and bool(row["is_folder"]) == blob.is_folder) and kept == given


def _next(rows: Iterable[Row]) -> str:
    return str(max((int(row["version"]) for row in rows if row["version"].isdecimal()), default=0) + 1)


def _asset(row: Row, labels: Mapping[tuple[str, str, str], builtins.list[str]]) -> Asset:
    return Asset(
        kind=row["kind"],
        name=row["name"],
        version=row["version"],
        digest=row["digest"],
        size=row["size"],
        is_folder=bool(row["is_folder"]),
        properties=from_json(row["properties"]),
        created_at=row["created_at"],
        archived=row["archived_at"] is not None,
        notes=from_json(row["notes"]),
        labels=tuple(labels.get((row["kind"], row["name"], row["version"]), ())),
    )
