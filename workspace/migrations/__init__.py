"""Bring a database to the newest schema; importing alembic (0.4 s) only where there is something to do."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from workspace.database import Database
from workspace.errors import Conflict
from workspace.light_database import HEAD as HEAD
from workspace.tables import metadata


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
        if revision_of(connection) == HEAD:
            return
        if inspect(connection).get_table_names():
            _upgrade(connection)
        else:
            _create(connection)


def _create(connection: Connection) -> None:
    """Make the tables of a new database as they are now; a test holds that the migrations lead to the same ones."""
    metadata.create_all(connection)
    connection.execute(
        text(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


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
