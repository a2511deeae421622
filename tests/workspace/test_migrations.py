"""A workspace of an older release is brought up to date, and what it holds is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, select, text

import workspace.migrations
from workspace.database import Database, sqlite_url
from workspace.home import Workspace
from workspace.migrations import HEAD, migrate, revision_of
from workspace.tables import connections, metadata


def at(database: Database, revision: str) -> None:
    """Bring the schema of a database to a revision, up or down."""
    with database.write() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(workspace.migrations.__file__).parent))
        current = revision_of(connection)
        (command.downgrade if current and revision < current else command.upgrade)(config, revision)


@pytest.mark.parametrize("revision", ["0001"])
def test_a_workspace_of_an_older_release_keeps_its_records(any_workspace: Workspace, revision: str) -> None:
    database = any_workspace.database
    at(database, revision)
    with database.write() as connection:
        connection.execute(text("INSERT INTO asset_labels VALUES ('data', 'rows', 'prod', '1')"))
    migrate(database)
    with database.read() as connection:
        assert revision_of(connection) == HEAD
        assert connection.scalar(text("SELECT version FROM asset_labels")) == "1"
        assert connection.execute(select(connections)).all() == []


def test_the_first_release_had_no_connections(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "x.db"))
    at(database, "0001")
    with database.read() as connection:
        assert not inspect(connection).has_table("connections")


def test_a_new_database_has_the_tables_that_the_migrations_lead_to(any_workspace: Workspace) -> None:
    database = any_workspace.database
    with database.read() as connection:
        made = _shape(connection)
    assert len(made) > 10
    with database.write() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    at(database, "head")
    with database.read() as connection:
        assert _shape(connection) == made


def _shape(connection: Connection) -> dict[str, object]:
    seen = inspect(connection)
    return {
        name: (
            [{**column, "type": repr(column["type"])} for column in seen.get_columns(name)],
            seen.get_pk_constraint(name),
            sorted(seen.get_unique_constraints(name), key=str),
            sorted(seen.get_indexes(name), key=str),
        )
        for name in seen.get_table_names()
    }
