"""The connections of a workspace: made, changed, shown without their secrets, and opened for a flow that uses them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection as Transaction
from sqlalchemy import Row, delete, insert, select, update

from flows.connection_files import changed, document
from flows.connections import (
    ASKED,
    KINDS,
    LOCAL_NAMES,
    MASK,
    Connection,
    is_missing,
    kind_of,
    make,
    resolve_environment,
)
from workspace import Workspace
from workspace.errors import Conflict, Invalid, NotFound, Unavailable, did_you_mean
from workspace.tables import connections

Ask = Callable[[str], str]  # asks the person for the secret of this name


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What may be shown of a connection: all but what its secrets are."""

    name: str
    type: str
    configs: Mapping[str, str]
    secret_names: tuple[str, ...]
    created_at: float
    updated_at: float

    def shown(self) -> dict[str, Any]:
        """Return it in the fields of its file, as prompt flow shows a connection."""
        fields = document(self.name, self.type, self.configs, dict.fromkeys(self.secret_names, MASK))
        return {
            "name": self.name,
            "module": KINDS[self.type].module,
            "created_date": _date(self.created_at),
            "last_modified_date": _date(self.updated_at),
            **fields,
        }


def create(workspace: Workspace, connection: Connection, *, ask: Ask | None = None) -> Stored:
    """Keep a connection, in place of the one of that name where there is one.

    A missing secret is the old one of that name, else `ask` is asked; `<user-input>` always asks.
    """
    if connection.name in LOCAL_NAMES:
        hint = "it means the local gateway; take another name"
        raise Invalid(f"a connection cannot be called {connection.name!r}", hint=hint)
    return _keep(workspace, connection, ask)


def update_connection(workspace: Workspace, name: str, changes: Mapping[str, str], *, ask: Ask | None = None) -> Stored:
    """Set fields of a connection: `{"api_base": "…"}`, of a custom one `{"configs.endpoint": "…"}` as well."""
    old = show(workspace, name)
    for fixed in ("name", "type"):
        if fixed in changes:
            hint = "delete it and create another"
            raise Invalid(f"the {fixed} of a connection does not change", hint=hint)
    fields = changed(old.shown(), changes)
    return _keep(workspace, make(name, kind_of(old.type), fields), ask, must_be_there=True)


def show(workspace: Workspace, name: str) -> Stored:
    """Return a connection without its secrets; the key is not needed."""
    with workspace.database.read() as transaction:
        return _stored(_row(transaction, name))


def list_connections(workspace: Workspace) -> list[Stored]:
    """Return all connections by name, without their secrets."""
    with workspace.database.read() as transaction:
        return [_stored(row) for row in transaction.execute(select(connections).order_by(connections.c.name))]


def get(workspace: Workspace, name: str) -> Connection:
    """Return a connection ready for use: its secrets opened, `${env:NAME}` filled in."""
    with workspace.database.read() as transaction:
        row = _row(transaction, name)
    try:
        secrets = {key: workspace.secrets.unseal(sealed) for key, sealed in row.secrets.items()}
    except Unavailable as error:
        raise Unavailable(f"connection {name!r}: {error.message}", hint=error.hint) from None
    return resolve_environment(Connection(name=row.name, type=row.type, configs=row.configs, secrets=secrets))


def delete_connection(workspace: Workspace, name: str) -> None:
    """Forget a connection; NotFound where there is none."""

    def work(transaction: Transaction) -> None:
        old = _stored(_row(transaction, name))
        transaction.execute(delete(connections).where(connections.c.name == name))
        workspace.audit.record(transaction, "connection.delete", f"connection:{name}", before=_noted(old))

    workspace.database.transact(work)


def _keep(workspace: Workspace, connection: Connection, ask: Ask | None, *, must_be_there: bool = False) -> Stored:
    """Seal what is new and write it, over the old where there is one; what is missing stays as it was sealed."""
    with workspace.database.read() as transaction:
        found = transaction.execute(select(connections).where(connections.c.name == connection.name)).first()
    old: Mapping[str, str] = found.secrets if found is not None and found.type == connection.type else {}
    # Asked and sealed before the transaction: people take their time.
    sealed = {
        key: None if _is_kept(value, key in old) else workspace.secrets.seal(_given(connection.name, key, value, ask))
        for key, value in connection.secrets.items()
    }

    def work(transaction: Transaction) -> Stored:
        workspace.database.hold(transaction, "connections")
        row = transaction.execute(select(connections).where(connections.c.name == connection.name)).first()
        if row is None and must_be_there:
            raise NotFound(f"no connection {connection.name!r}", hint="it was deleted meanwhile")
        return _write(workspace, transaction, connection, row, sealed)

    return workspace.database.transact(work)


def _write(
    workspace: Workspace,
    transaction: Transaction,
    connection: Connection,
    row: Row[Any] | None,
    sealed: Mapping[str, str | None],
) -> Stored:
    old = row.secrets if row is not None and row.type == connection.type else {}
    if any(value is None and key not in old for key, value in sealed.items()):
        raise Conflict(f"somebody else changed connection {connection.name!r} meanwhile", hint="try again")
    now = time.time()
    values = {
        "type": connection.type,
        "configs": dict(connection.configs),
        "secrets": {key: old[key] if value is None else value for key, value in sealed.items()},
        "created_at": now if row is None else row.created_at,
        "updated_at": now,
    }
    if row is None:
        transaction.execute(insert(connections).values(name=connection.name, **values))
    else:
        transaction.execute(update(connections).where(connections.c.name == connection.name).values(**values))
    stored = _stored(_row(transaction, connection.name))
    workspace.audit.record(
        transaction,
        "connection.create" if row is None else "connection.update",
        f"connection:{connection.name}",
        before=None if row is None else _noted(_stored(row)),
        after={**_noted(stored), "new_secrets": sorted(key for key, value in sealed.items() if value is not None)},
    )
    return stored


def _is_kept(value: str, has_old: bool) -> bool:
    return has_old and is_missing(value) and value != ASKED


def _given(name: str, key: str, value: str, ask: Ask | None) -> str:
    if not is_missing(value):
        return value
    answer = ask(key) if ask else ""
    if is_missing(answer):
        raise Invalid(f"connection {name!r} has no value for {key}", hint=f"give it: --set {key}=…")
    return answer


def _row(transaction: Transaction, name: str) -> Row[Any]:
    row = transaction.execute(select(connections).where(connections.c.name == name)).first()
    if row is None:
        known = transaction.scalars(select(connections.c.name)).all()
        hint = did_you_mean(name, known) or "make one: studiolo connection create --file connection.yaml"
        raise NotFound(f"no connection {name!r}", hint=hint)
    return row


def _stored(row: Row[Any]) -> Stored:
    return Stored(
        name=row.name,
        type=row.type,
        configs=row.configs,
        secret_names=tuple(row.secrets),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _noted(stored: Stored) -> dict[str, Any]:
    return {"type": stored.type, "configs": dict(stored.configs), "secrets": list(stored.secret_names)}


def _date(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat()
