"""Resources: named things that lie elsewhere, such as datastores and computes, kept with their secrets sealed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from workspace.audit import Audit
from workspace.database import Database
from workspace.errors import NotFound, did_you_mean
from workspace.secrets import Secrets
from workspace.tables import resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What may be shown of a resource: all but what its secrets are."""

    kind: str
    name: str
    spec: Mapping[str, Any]
    secret_names: tuple[str, ...]
    created_at: float
    updated_at: float


class Resources:
    """The resources of one workspace: `workspace.resources.get("datastore", "lake")`."""

    def __init__(self, database: Database, audit: Audit, secrets: Secrets) -> None:
        self._database = database
        self._audit = audit
        self._secrets = secrets

    def put(self, kind: str, name: str, spec: Mapping[str, Any], *, secrets: Mapping[str, str]) -> Resource:
        """Keep a resource, in place of the one of that name where there is one."""
        sealed = {key: self._secrets.seal(value) for key, value in secrets.items()}

        def work(connection: Connection) -> Resource:
            self._database.hold(connection, f"resource {kind}:{name}")
            before, now = _row(connection, kind, name), time.time()
            values = {"spec": dict(spec), "secrets": sealed, "updated_at": now}
            if before is None:
                connection.execute(insert(resources).values(kind=kind, name=name, created_at=now, **values))
            else:
                connection.execute(update(resources).filter_by(kind=kind, name=name).values(**values))
            after = _resource(_found(connection, kind, name))
            known = None if before is None else _noted(_resource(before))
            verb = "create" if before is None else "update"
            self._audit.record(connection, f"{kind}.{verb}", f"{kind}:{name}", before=known, after=_noted(after))
            return after

        return self._database.transact(work)

    def get(self, kind: str, name: str) -> Resource:
        """Return a resource; the key of the secrets is not needed."""
        with self._database.read() as connection:
            return _resource(_found(connection, kind, name))

    def find(self, kind: str, name: str) -> Resource | None:
        """Return a resource, or None where there is none of that name."""
        with self._database.read() as connection:
            row = _row(connection, kind, name)
            return None if row is None else _resource(row)

    def list(self, kind: str) -> list[Resource]:
        """Return the resources of a kind by name."""
        with self._database.read() as connection:
            found = connection.execute(select(resources).filter_by(kind=kind).order_by(resources.c.name))
            return [_resource(row) for row in found]

    def secrets_of(self, resource: Resource) -> dict[str, str]:
        """Return the secrets of a resource, opened for whoever uses it now."""
        with self._database.read() as connection:
            sealed = _found(connection, resource.kind, resource.name).secrets
        return {key: self._secrets.unseal(value) for key, value in sealed.items()}

    def delete(self, kind: str, name: str) -> None:
        """Forget a resource; NotFound where there is none."""

        def work(connection: Connection) -> None:
            before = _resource(_found(connection, kind, name))
            connection.execute(delete(resources).filter_by(kind=kind, name=name))
            self._audit.record(connection, f"{kind}.delete", f"{kind}:{name}", before=_noted(before))

        self._database.transact(work)


def _row(connection: Connection, kind: str, name: str) -> Row[Any] | None:
    return connection.execute(select(resources).filter_by(kind=kind, name=name)).first()


def _found(connection: Connection, kind: str, name: str) -> Row[Any]:
    if (row := _row(connection, kind, name)) is not None:
        return row
    known = connection.scalars(select(resources.c.name).filter_by(kind=kind)).all()
    raise NotFound(f"no {kind} {name!r}", hint=did_you_mean(name, known) or f"make one: studiolo {kind} create -f FILE")


def _resource(row: Row[Any]) -> Resource:
    return Resource(
        kind=row.kind,
        name=row.name,
        spec=row.spec,
        secret_names=tuple(row.secrets),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _noted(resource: Resource) -> dict[str, Any]:
    return {"spec": dict(resource.spec), "secrets": list(resource.secret_names)}
