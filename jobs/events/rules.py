"""Event rules: which events are told, and to whom: a webhook, which can check the signature, or a command."""

from __future__ import annotations

import base64
import fnmatch
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from jobs.events.cloud import AZURE, OURS, TYPES, Event
from jobs.files.command import NAME
from jobs.folders import place_of
from workspace import egress
from workspace.errors import Conflict, Invalid, NotFound, did_you_mean
from workspace.home import Workspace
from workspace.tables import deliveries, event_rules

SECRET = "whsec_"  # noqa: S105  what begins every secret, as Standard Webhooks has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which events are told to whom. What is left empty restricts nothing; `subject` is a pattern as `models/*`.

    `inside` lets the webhook be on this machine or in its network. The command gets the event on its standard input.
    """

    name: str
    types: tuple[str, ...] = ()
    subject: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    webhook: str = ""
    inside: bool = False
    command: tuple[str, ...] = ()
    created_at: float = 0.0

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise Invalid(f"{self.name!r} cannot be the name of a rule", hint="letters, digits, '.', '_' and '-'")
        if bool(self.webhook) == bool(self.command):
            raise Invalid("a rule tells a webhook or a command", hint="--webhook URL, or -- PROGRAM ARGUMENT …")

    def allows(self, address: egress.Address) -> bool:
        """Whether its webhook may be at an address."""
        return self.inside or egress.is_public(address)

    def fits(self, event: Event) -> bool:
        """Whether an event is told."""
        return (
            (not self.types or event.type in self.types)
            and (not self.subject or fnmatch.fnmatchcase(event.subject, self.subject))
            and all(str(event.tags.get(key)) == value for key, value in self.tags.items())
        )


def create(workspace: Workspace, rule: Rule) -> str:
    """Keep a rule, and return the secret that signs what a webhook is sent; this is the only time it is shown."""
    rule = _checked(rule)
    secret = SECRET + base64.b64encode(secrets.token_bytes(32)).decode() if rule.webhook else ""
    spec = {key: value for key, value in asdict(rule).items() if key not in ("name", "created_at")}
    row = {"name": rule.name, "spec": spec, "place": place_of(workspace.home), "created_at": time.time(),
           "secret": workspace.secrets.seal(secret) if secret else None}  # fmt: skip

    def write(connection: Connection) -> None:
        workspace.database.hold(connection, "event rules")
        if connection.execute(select(event_rules.c.name).filter_by(name=rule.name)).first():
            raise Conflict(f"there is a rule {rule.name!r} already", hint=f"studiolo event-rule delete {rule.name}")
        connection.execute(insert(event_rules).values(row))
        workspace.audit.record(connection, "event-rule.create", f"event-rule:{rule.name}", after=spec)

    workspace.database.transact(write)
    return secret


def get(workspace: Workspace, name: str) -> Rule:
    """Return one rule."""
    known = {rule.name: rule for rule in listed(workspace)}
    if name not in known:
        raise NotFound(f"no event rule {name!r}", hint=did_you_mean(name, known) or "there is no rule yet")
    return known[name]


def listed(workspace: Workspace) -> list[Rule]:
    """Return the rules, by name."""
    with workspace.database.read() as connection:
        return all_of(connection)


def all_of(connection: Connection) -> list[Rule]:
    """Return the rules inside a transaction."""
    return [_rule(row) for row in connection.execute(select(event_rules).order_by(event_rules.c.name))]


def remove(workspace: Workspace, name: str) -> None:
    """Remove a rule and its log; what waits to be told is not told any more."""

    def write(connection: Connection) -> None:
        if not connection.execute(delete(event_rules).filter_by(name=name)).rowcount:
            raise NotFound(
                f"no event rule {name!r}", hint=did_you_mean(name, [each.name for each in all_of(connection)])
            )
        connection.execute(delete(deliveries).filter_by(rule=name))
        workspace.audit.record(connection, "event-rule.remove", f"event-rule:{name}")

    workspace.database.transact(write)


def secret_of(workspace: Workspace, name: str) -> str:
    """Return what signs what a rule's webhook is sent."""
    with workspace.database.read() as connection:
        sealed = connection.scalar(select(event_rules.c.secret).filter_by(name=name))
    return workspace.secrets.unseal(sealed) if sealed else ""


def type_of(word: str) -> str:
    """Return a type by its name, with or without what stands before it: `RunCompleted`."""
    for prefix in ("", AZURE, OURS):
        if f"{prefix}{word}" in TYPES:
            return f"{prefix}{word}"
    short = [each.rpartition(".")[2] for each in TYPES]
    raise Invalid(f"no event {word!r}", hint=did_you_mean(word, short))


def _checked(rule: Rule) -> Rule:
    """Return a rule whose types and program are named in full; one that could never be told is refused."""
    if rule.webhook:
        try:
            egress.check(rule.webhook, allows=rule.allows)
        except Invalid as problem:
            hint = problem.hint if rule.inside else "--inside lets it be on this machine or in its network"
            raise Invalid(problem.message, hint=hint) from None
    command = rule.command
    if command:
        found = shutil.which(command[0])
        if found is None:
            raise NotFound(f"no program {command[0]!r}", hint="name it by its whole path")
        command = (str(Path(found).absolute()), *command[1:])
    values = {each: getattr(rule, each) for each in ("name", "subject", "tags", "webhook", "inside")}
    return Rule(**values, types=tuple(map(type_of, rule.types)), command=command)


def _rule(row: Row[Any]) -> Rule:
    spec = row.spec
    return Rule(
        name=row.name, types=tuple(spec["types"]), subject=spec["subject"], tags=spec["tags"],
        webhook=spec["webhook"], inside=spec["inside"], command=tuple(spec["command"]), created_at=row.created_at,
    )  # fmt: skip
