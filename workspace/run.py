"""One run while it runs: what it logs is in the database when the call returns."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from workspace import environment
from workspace.errors import Invalid, StudioloError
from workspace.light_database import LightDatabase, Row, Statements, from_json, to_json
from workspace.nodes import Node, add_edges, ref
from workspace.paths import safe_join, write_atomically
from workspace.run_events import WORDS, lineage_event
from workspace.run_names import refuse_names
from workspace.spool import Spool

_LONGEST_ERROR = 4_000


class Run:
    """A run in the hands of the process that conducts it; made by `workspace.run` and `workspace.runs.resume`."""

    def __init__(
        self, database: LightDatabase, spool: Spool, *, run_id: str, kind: str, name: str, directory: Path
    ) -> None:
        self._database = database
        self._spool = spool
        self._failure: str | None = None
        self._pause: str | None = None
        self.run_id = run_id
        self.kind = kind
        self.name = name
        self.directory = directory

    @property
    def ref(self) -> str:
        """What lineage calls it."""
        return f"run:{self.run_id}"

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record what the run was asked to do; a parameter is written once and never changes."""
        refuse_names(params)
        given = plain_params(params)

        def work(statements: Statements) -> None:
            known = self._column(statements, "params")
            for key, value in given.items():
                if known.get(key, value) != value:
                    hint = "parameters never change: log what changes as a metric or tag"
                    raise Invalid(f"parameter {key!r} is {known[key]!r} already, not {value!r}", hint=hint)
            self._update(statements, params=to_json(known | given))

        self._database.transact(work, durable=False)

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record numbers; each call adds one point to the history of each key."""
        refuse_names(values)
        now = time.time()
        rows = [
            {"run_id": self.run_id, "key": key, "step": step, "value": _number(key, value), "ts": now}
            for key, value in values.items()
        ]

        def work(statements: Statements) -> None:
            statements.change_many(
                "INSERT INTO metrics (run_id, key, step, value, ts) VALUES (:run_id, :key, :step, :value, :ts)", rows
            )
            self._update(statements)

        if rows:  # numbered in the order of commit, as events are
            self._database.transact(work, durable=False, hold=("metrics",))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record words about the run; a tag set again has the new value."""
        refuse_names(tags)
        given = {key: str(value) for key, value in tags.items()}

        def work(statements: Statements) -> None:
            self._update(statements, tags=to_json(self._column(statements, "tags") | given))

        self._database.transact(work, durable=False)

    def log_artifact(self, name: str, content: bytes | str | Path) -> Path:
        """Keep a file (or a folder, given by its path) under `name` in the run's artifacts and return where it is."""
        target = safe_join(self.directory / "artifacts", name)
        if not isinstance(content, Path):
            write_atomically(target, content)
        elif content.is_dir():
            shutil.copytree(content, target, dirs_exist_ok=True)
        elif content.resolve() != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(content, target)
        self._database.transact(self._update, durable=False)
        return target

    def input(self, thing: Node | str) -> None:
        """Tell that the run reads an asset or another run."""
        self._connect(ref(thing), self.ref)

    def output(self, thing: Node | str) -> None:
        """Tell that the run made an asset."""
        self._connect(self.ref, ref(thing))

    def fail(self, error: str) -> None:
        """Let the run end as FAILED though the block ends well: a child process failed, every row did."""
        self._failure = error

    def pause(self, reason: str) -> None:
        """Let the run end as PAUSED: it waits for a person and goes on with `workspace.runs.resume`."""
        self._pause = reason

    @contextmanager
    def conducted(self) -> Iterator[None]:
        """Record the block's environment, start, end and the way it ended."""
        # Git and nvidia-smi may take a while: nobody waits for them unless the run is shorter than they are.
        observer = threading.Thread(target=self._observe, name=f"environment of {self.name}", daemon=True)
        observer.start()
        status, error = "FINISHED", None
        try:
            self._tell("START", [], [])
            yield
            if self._failure is not None:
                status, error = "FAILED", self._failure
            elif self._pause is not None:
                status, error = "PAUSED", self._pause
        except (KeyboardInterrupt, GeneratorExit) as stop:
            status, error = "KILLED", "interrupted" if isinstance(stop, KeyboardInterrupt) else "not read to its end"
            raise
        except SystemExit as leave:
            if leave.code not in (None, 0):
                status, error = "FAILED", f"exit code {leave.code}"
            raise
        except BaseException as problem:
            status, error = "FAILED", _described(problem)
            raise
        finally:
            observer.join()
            self._end(status, error)

    def _observe(self) -> None:
        found = environment.describe(Path.cwd())
        try:
            self._database.transact(
                lambda statements: self._update(statements, environment=to_json(found)), durable=False
            )
        except StudioloError:
            return  # a run is not lost for want of its description; its end will meet the same trouble and say so

    def _end(self, status: str, error: str | None) -> None:
        text = None if error is None else error[:_LONGEST_ERROR].replace("\0", "")

        def work(statements: Statements) -> list[Row]:
            self._update(statements, status=status, ended_at=time.time(), error=text)
            return statements.rows("SELECT source, target FROM edges WHERE run_id = :run", run=self.run_id)

        pairs = [(row["source"], row["target"]) for row in self._database.transact(work)]
        inputs = sorted(source for source, target in pairs if target == self.ref)
        outputs = sorted(target for source, target in pairs if source == self.ref)
        self._tell(WORDS[status], inputs, outputs)

    def _tell(self, what: str, inputs: list[str], outputs: list[str]) -> None:
        event = lineage_event(what, run_id=self.run_id, kind=self.kind, name=self.name, inputs=inputs, outputs=outputs)
        self._spool.append("lineage", event, run_id=self.run_id, durable=what != "START")

    def _connect(self, source: str, target: str) -> None:
        def work(statements: Statements) -> None:
            add_edges(statements, self.run_id, [(source, target)])
            self._update(statements)

        self._database.transact(work)

    def _column(self, statements: Statements, name: Literal["params", "tags"]) -> dict[str, Any]:
        # Counted first, so that on PostgreSQL who reads next waits for what we write.
        statements.change("UPDATE runs SET changed = changed + 1 WHERE run_id = :run", run=self.run_id)
        (row,) = statements.rows("SELECT params, tags FROM runs WHERE run_id = :run", run=self.run_id)
        return dict(from_json(row[name]))

    def _update(self, statements: Statements, **values: Any) -> None:
        columns = "".join(f", {column} = :{column}" for column in values)
        statements.change(
            f"UPDATE runs SET changed = changed + 1{columns} WHERE run_id = :run",
            run=self.run_id, **values,
        )  # fmt: skip


def plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as JSON keeps them: numbers, truths and text as they are, all else as text."""
    return {key: _plain_param(value) for key, value in params.items()}


def _plain_param(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value.replace("\0", "�") if isinstance(value, str) else value
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def _number(key: str, value: float) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise Invalid(f"metric {key!r} must be a number, not {value!r}") from None
    return None if math.isnan(found) else found


def _described(problem: BaseException) -> str:
    text = str(problem)
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__
