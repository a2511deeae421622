"""Bring a database to the newest schema; importing alembic (0.4 s) only where there is something to do."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from workspace.database import Database
from workspace.errors import Conflict

HEAD = "0003"


def revision_of(connection: Connection) -> str | None:
    """Return the schema revision of the database, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def migrate(database: Database) -> None:
    """Upgrade the schema to HEAD in one transaction; Conflict where a newer Studiolo has written the database."""
    with database.read() as connection:
        if revision_of(connection) == HEAD:
            return
    with database.write() as connection:
        database.hold(connection, "migrations")
        # Somebody else may have been faster.
        if revision_of(connection) != HEAD:
            _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    current = revision_of(connection)
    try:
        ScriptDirectory.from_config(config).get_revision(current or "base")
    except CommandError:
        raise Conflict(
            f"the database has schema {current!r}, newer than this Studiolo knows ({HEAD})",
            hint="update Studiolo, or open another workspace",
        ) from None
    command.upgrade(config, "head")
