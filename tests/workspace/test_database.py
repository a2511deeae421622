from __future__ import annotations

import multiprocessing
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text

from workspace.database import Database, sqlite_url
from workspace.errors import Conflict, Invalid, StudioloError, Unavailable
from workspace.home import Workspace
from workspace.migrations import HEAD, migrate, revision_of
from workspace.settings import Settings
from workspace.tables import endpoints, metadata

FORK = multiprocessing.get_context("fork")


def endpoint(name: str) -> dict[str, object]:
    return {
        "name": name,
        "traffic": {"a": 90, "b": 10},
        "properties": {"é": [1, None]},
        "created_at": 0.1,
        "updated_at": 2e9,
        "kind": "online",
        "mirror": {"b": 5},
    }


def names(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.scalars(select(endpoints.c.name)))


def test_what_was_written_is_read_back_exactly(any_workspace: Workspace) -> None:
    with any_workspace.database.write() as connection:
        connection.execute(insert(endpoints).values(**endpoint("chat")))
    with any_workspace.database.read() as connection:
        assert connection.execute(select(endpoints)).one()._asdict() == endpoint("chat")


def test_a_write_that_fails_leaves_nothing(any_workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), any_workspace.database.write() as connection:  # noqa: PT012
        connection.execute(insert(endpoints).values(**endpoint("chat")))
        raise ZeroDivisionError
    assert names(any_workspace.database) == set()


def test_opening_a_database_again_leaves_the_first_its_locks(tmp_path: Path) -> None:
    first = Database(sqlite_url(tmp_path / "a.db"))
    with first.write() as connection:
        connection.execute(text("CREATE TABLE kept (number INTEGER)"))
    Database(first.url).close()
    code = (
        f"import sqlite3; c = sqlite3.connect({str(tmp_path / 'a.db')!r}); c.execute('SELECT * FROM kept'); c.close()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "a.db-wal").exists()  # whoever closes last deletes it, and the other process was not the last
    with first.write() as connection:
        connection.execute(text("INSERT INTO kept VALUES (1)"))
    first.close()
    assert not (tmp_path / "a.db-wal").exists()


def test_a_reader_sees_no_half_of_a_write_and_does_not_wait(any_workspace: Workspace) -> None:
    with any_workspace.database.write() as connection:
        connection.execute(insert(endpoints).values(**endpoint("chat")))
        assert names(any_workspace.database) == set()
    assert names(any_workspace.database) == {"chat"}


def test_eight_processes_write_at_once_and_every_row_is_kept(any_workspace: Workspace) -> None:
    database = any_workspace.database
    writers = [FORK.Process(target=_write_many, args=(database, number)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 8
    assert names(database) == {f"{number}-{row}" for number in range(8) for row in range(25)}


def _write_many(database: Database, number: int) -> None:
    for row in range(25):
        with database.write(durable=row % 2 == 0) as connection:
            connection.execute(select(func.count()).select_from(endpoints))
            connection.execute(insert(endpoints).values(**endpoint(f"{number}-{row}")))


def test_a_connection_is_not_carried_over_a_fork(any_workspace: Workspace) -> None:
    database = any_workspace.database
    names(database)
    ours = _connections(database)
    queue = FORK.SimpleQueue()
    child = FORK.Process(target=lambda: queue.put((names(database), _connections(database))))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert not queue.empty()
    assert names(database) == set()
    assert queue.get()[1] != ours
    assert _connections(database) == ours


def _connections(database: Database) -> object:
    with database.read() as connection:
        if database.is_sqlite:
            return id(connection.connection.dbapi_connection)
        return connection.scalar(text("SELECT pg_backend_pid()"))


def test_a_deadlock_is_tried_again_until_both_are_done(any_workspace: Workspace) -> None:
    database = any_workspace.database
    with database.write() as connection:
        connection.execute(insert(endpoints), [endpoint("a"), endpoint("b")])
    writers = [FORK.Process(target=_touch_both, args=(database, order)) for order in ("ab", "ba")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    with database.read() as connection:
        assert set(connection.scalars(select(endpoints.c.updated_at))) == {2e9 + 40}


def _touch_both(database: Database, order: str) -> None:
    def work(connection: object) -> None:
        for name in order:
            connection.execute(  # type: ignore[attr-defined]
                endpoints.update().where(endpoints.c.name == name).values(updated_at=endpoints.c.updated_at + 1)
            )

    for _ in range(20):
        database.transact(work)


def test_the_migrations_give_exactly_the_tables_we_declare(any_workspace: Workspace) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with any_workspace.database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert revision_of(connection) == HEAD


def test_head_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    import workspace.migrations

    config = Config()
    config.set_main_option("script_location", str(Path(workspace.migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_database_of_a_newer_release_is_refused_with_a_hint(any_workspace: Workspace) -> None:
    with any_workspace.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="newer than this Studiolo") as refused:
        migrate(any_workspace.database)
    assert refused.value.hint == "update Studiolo, or open another workspace"


def test_processes_that_open_a_new_workspace_at_once_all_find_it_whole(tmp_path: Path) -> None:
    openers = [FORK.Process(target=_open, args=(tmp_path / "home",)) for _ in range(6)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(60)
    assert [opener.exitcode for opener in openers] == [0] * 6


def _open(home: Path) -> None:
    Workspace.open(settings=Settings(home=home)).tokens.local()


def test_sqlite_is_durable_where_asked_and_keeps_a_write_ahead_log(workspace: Workspace) -> None:
    with workspace.database.write() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA busy_timeout")) == 30_000
    with workspace.database.write(durable=False) as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 1


def test_the_database_is_readable_by_its_owner_only_from_the_first_moment(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "x.db"))
    with database.write() as connection:
        connection.execute(text("CREATE TABLE t (x INT)"))
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("x.db*")}
    assert modes == {0o600}


def test_a_writer_that_never_gets_its_turn_says_so(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "x.db"), patience=0.05)
    migrate(database)
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="busy too long"), database.write():
        pass
    with pytest.raises(Unavailable, match="busy too long"):
        database.transact(lambda connection: connection.execute(text("SELECT 1")))
    other.close()


def test_a_full_disk_is_named_and_the_rows_before_are_kept(workspace: Workspace) -> None:
    with workspace.database.write() as connection:
        connection.execute(insert(endpoints).values(**endpoint("before")))
        pages = connection.scalar(text("PRAGMA page_count"))
        connection.execute(text(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(Unavailable, match="the disk is full") as full, workspace.database.write() as connection:
        connection.execute(insert(endpoints), [endpoint(f"{number:0200}") for number in range(500)])
    assert "nothing that was written is lost" in str(full.value.hint)
    assert names(workspace.database) == {"before"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"this is a text of more than sixteen bytes" * 99, "not a database"), (None, "cannot be opened")],
)
def test_a_file_that_is_no_database_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content) if content else path.mkdir()
    with pytest.raises(Unavailable, match=reason) as refused:
        migrate(Database(sqlite_url(path)))
    assert str(path) in str(refused.value)


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    database = Database("postgresql://ada:s3cret@127.0.0.1:9/none")
    with pytest.raises(Unavailable, match="cannot reach the database") as refused, database.read():
        pass
    assert "s3cret" not in f"{refused.value} {refused.value.hint}"


@pytest.mark.postgres
def test_a_wrong_password_is_told_without_showing_it(postgres_url: str) -> None:
    wrong = postgres_url.replace("correct-horse", "wrong-horse")
    with pytest.raises(Unavailable, match="password authentication failed") as refused, Database(wrong).read():
        pass
    assert "horse" not in str(refused.value)


@pytest.mark.parametrize("url", ["mysql://host/x", "no url", "postgresql+asyncpg://host/x"])
def test_a_database_we_do_not_speak_to_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        Database(url)
    assert "postgresql+psycopg://" in str(refused.value.hint)


def test_a_mistake_in_our_own_sql_stays_a_bug_with_its_traceback(any_workspace: Workspace) -> None:
    with pytest.raises(Exception, match="nonsense") as bug, any_workspace.database.read() as connection:
        connection.execute(text("SELECT nonsense"))
    assert not isinstance(bug.value, StudioloError)
