"""The workspace: one folder (and perhaps a PostgreSQL database) with everything a project has made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from workspace.blobs import Blobs
from workspace.errors import Unavailable
from workspace.filesystems import close_to_others, is_network
from workspace.light_database import DATABASE, HEAD, LightDatabase
from workspace.paths import locked
from workspace.settings import Settings

# SQLAlchemy takes a quarter of a second: what needs it is imported when it is first used.
if TYPE_CHECKING:
    from workspace.assets import Assets
    from workspace.audit import Audit
    from workspace.database import Database
    from workspace.ledger import Table
    from workspace.lineage import Lineage
    from workspace.nodes import Node
    from workspace.resources import Resources
    from workspace.runs import Run, Runs
    from workspace.secrets import Secrets
    from workspace.spool import Spool
    from workspace.tokens import Tokens

_PRIVATE = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "token", "blobs", "checkouts", "runs", "spool", "services")


class Workspace:
    """Everything that is kept, and the words for it: `workspace.assets.get("data", "questions")`."""

    def __init__(self, settings: Settings, database: Database | None = None) -> None:
        self.settings = settings
        if database is not None:
            self.database = database

    @classmethod
    def open(cls, where: Path | str | None = None, *, settings: Settings | None = None) -> Workspace:
        """Open the workspace in a folder, made on first use, and bring its tables up to date.

        `where` is that folder, else it is `settings.home`. The records are in SQLite in the folder, or in
        PostgreSQL where `where` is its URL or `settings.database_url` is set.
        """
        settings = settings or Settings.from_environment()
        if isinstance(where, str) and "://" in where:
            settings = replace(settings, database_url=where)
        elif where is not None:
            settings = replace(settings, home=Path(where))
        home = settings.home.expanduser().absolute()
        settings = replace(settings, home=home)
        _prepare(home)
        # Two that open a new folder at once would both make its tables.
        workspace = cls(settings)
        with locked(home / "open.lock"):
            if not _is_up_to_date(workspace):
                from workspace.migrations import migrate

                migrate(workspace.database)
        workspace.blobs.clean()
        return workspace

    @property
    def home(self) -> Path:
        """The folder, as an absolute path."""
        return self.settings.home

    @cached_property
    def database(self) -> Database:
        """The records."""
        from workspace.database import Database, sqlite_url

        return Database(self.settings.database_url or sqlite_url(self.home / DATABASE))

    @cached_property
    def light(self) -> LightDatabase:
        """The same records by plain SQL: what jobs are told by, since each has a process that must be light."""
        return LightDatabase.of(self.settings)

    @cached_property
    def assets(self) -> Assets:
        """Named and versioned content."""
        from workspace.assets import Assets

        return Assets(self.light, self.blobs, self.audit, checkouts=self.home / "checkouts")

    @cached_property
    def blobs(self) -> Blobs:
        """Content by its digest."""
        return Blobs(self.home / "blobs")

    @cached_property
    def tokens(self) -> Tokens:
        """Who may come in."""
        from workspace.tokens import Tokens

        return Tokens(self.database, self.audit, self.home)

    @cached_property
    def secrets(self) -> Secrets:
        """What is kept so that only this person can read it."""
        from workspace.secrets import Secrets

        return Secrets(self.settings)

    @cached_property
    def resources(self) -> Resources:
        """Named things that lie elsewhere: datastores, computes, registries."""
        from workspace.resources import Resources

        return Resources(self.database, self.audit, self.secrets)

    @cached_property
    def audit(self) -> Audit:
        """Who did what."""
        from workspace.audit import Audit

        return Audit(self.light)

    @cached_property
    def runs(self) -> Runs:
        """What was executed."""
        from workspace.runs import Runs

        return Runs(self.light, self.spool, folder=self.home / "runs")

    @cached_property
    def lineage(self) -> Lineage:
        """What came from what."""
        from workspace.lineage import Lineage

        return Lineage(self.database)

    @cached_property
    def spool(self) -> Spool:
        """This process's inbox for events."""
        from workspace.spool import Spool

        return Spool(self.home / "spool", self.light)

    def run(
        self,
        kind: str,
        *,
        name: str | None = None,
        inputs: Sequence[Node | str] = (),
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[Run]:
        """Record an execution: `with workspace.run("flow", inputs=[data]) as run: run.output(asset)`."""
        return self.runs.start(kind, name=name, inputs=inputs, params=params, tags=tags)

    def sql(self, query: str, *, limit: int = 10_000) -> Table:
        """Ask the ledger, a read model of the records that no query can change."""
        from workspace import ledger

        return ledger.sql(self, query, limit=limit)

    def close(self) -> None:
        """Close what this process holds open; the workspace opens it again when it is used again."""
        if "spool" in self.__dict__:
            self.spool.close()
        if "light" in self.__dict__:
            self.light.close()
        if "database" in self.__dict__:
            self.database.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_up_to_date(workspace: Workspace) -> bool:
    """Whether the tables are those of this Studiolo, as far as that can be told quickly."""
    light = workspace.light
    return light.is_sqlite and light.path.exists() and not is_network(light.path.parent) and light.revision() == HEAD


def _prepare(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        close_to_others(home)
        for name in _PRIVATE:
            if (home / name).exists():
                close_to_others(home / name)
        # Nobody means to commit a workspace.
        if not (home / ".gitignore").exists():
            (home / ".gitignore").write_text("*\n")
    except FileExistsError:
        raise Unavailable(f"{home} is a file, not a folder", hint="set STUDIOLO_HOME to a folder") from None
    except OSError as error:
        raise Unavailable(
            f"cannot use the workspace {home}: {error.strerror}", hint="run `studiolo doctor`, or set STUDIOLO_HOME"
        ) from error
