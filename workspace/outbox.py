"""The outbox: what has changed and may concern somebody, written by the database in the transaction that changes it.

Triggers do it, so that whoever writes (a shim by plain SQL, a service, a command) cannot forget to, and no crash comes
between a change and its word. While there are no event rules nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watch:
    """One trigger: on what, where `when` holds, and what is written of it."""

    name: str
    on: str  # "INSERT ON jobs"
    when: str
    topic: str
    subject: str
    before: str = "NULL"
    after: str = "NULL"


_WATCHES = (
    _Watch(name="tell_job_added", on="INSERT ON jobs", when="NEW.name IS NOT NULL",
           topic="'job'", subject="NEW.name", after="NEW.status"),
    _Watch(name="tell_job_changed", on="UPDATE OF status ON jobs", when="OLD.status <> NEW.status",
           topic="'job'", subject="NEW.name", before="OLD.status", after="NEW.status"),
    _Watch(name="tell_asset_added", on="INSERT ON assets", when="NEW.kind IN ('model', 'data')",
           topic="'asset'", subject="NEW.kind || ':' || NEW.name || ':' || NEW.version"),
    _Watch(name="tell_deployment_added", on="INSERT ON deployments", when="NEW.name IS NOT NULL",
           topic="'deployment'", subject="NEW.endpoint || '/' || NEW.name", after="NEW.model"),
    _Watch(name="tell_deployment_changed", on="UPDATE OF model ON deployments", when="OLD.model <> NEW.model",
           topic="'deployment'", subject="NEW.endpoint || '/' || NEW.name", before="OLD.model", after="NEW.model"),
    _Watch(name="tell_rollout_changed", on="UPDATE OF state ON rollouts", when="OLD.state <> NEW.state",
           topic="'rollout'", subject="NEW.id", before="OLD.state", after="NEW.state"),
    _Watch(name="tell_firing_failed", on="UPDATE OF status ON firings", when="NEW.status = 'failed'",
           topic="'firing'", subject="NEW.schedule || '/' || NEW.key"),
)  # fmt: skip
_INSERT = "INSERT INTO changes (topic, subject, before, after, ts)"
_ANY_RULE = "EXISTS (SELECT 1 FROM event_rules)"


def create(connection: Connection) -> None:
    """Make the triggers; the tables are there."""
    make = _sqlite if connection.dialect.name == "sqlite" else _postgres
    for watch in _WATCHES:
        for statement in make(watch):
            connection.exec_driver_sql(statement)


def drop(connection: Connection) -> None:
    """Remove the triggers."""
    is_sqlite = connection.dialect.name == "sqlite"
    for watch in _WATCHES:
        table = "" if is_sqlite else f" ON {watch.on.rpartition(' ')[2]}"
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {watch.name}{table}")
        if not is_sqlite:
            connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {watch.name}()")


def _values(watch: _Watch, now: str) -> str:
    return f"{watch.topic}, {watch.subject}, {watch.before}, {watch.after}, {now}"


def _sqlite(watch: _Watch) -> tuple[str, ...]:
    values = _values(watch, "(julianday('now') - 2440587.5) * 86400.0")
    return (
        f"CREATE TRIGGER {watch.name} AFTER {watch.on} WHEN {watch.when} AND {_ANY_RULE} "
        f"BEGIN {_INSERT} VALUES ({values}); END",
    )


def _postgres(watch: _Watch) -> tuple[str, ...]:
    values = _values(watch, "extract(epoch FROM clock_timestamp())")
    return (
        f"CREATE OR REPLACE FUNCTION {watch.name}() RETURNS trigger LANGUAGE plpgsql AS $tell$ BEGIN "
        f"{_INSERT} SELECT {values} WHERE {_ANY_RULE}; RETURN NULL; END $tell$",
        f"CREATE TRIGGER {watch.name} AFTER {watch.on} FOR EACH ROW WHEN ({watch.when}) "
        f"EXECUTE FUNCTION {watch.name}()",
    )
