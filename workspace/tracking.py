"""Runs carried into MLflow under their own ids; carried again after a crash, nothing is missing and nothing double."""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select, update

from workspace.errors import MissingExtra, Unavailable
from workspace.light_database import number
from workspace.paths import locked
from workspace.run_names import reserved_experiment
from workspace.tables import assets, edges, metrics, runs
from workspace.tracking_models import MODEL, register

if TYPE_CHECKING:
    from mlflow.store.tracking.abstract_store import AbstractStore

    from workspace.home import Workspace

RUN_ID = "studiolo.run_id"  # the tag by which a run is found where MLflow gives the ids
EXPERIMENT = "studiolo.experiment"  # the tag that names the experiment of a run
_CARRIED = "studiolo.metrics_carried"  # the tag that says which metric was the last
_ARTIFACTS = "studiolo.artifacts_carried"
_SQL = ("sqlite:", "postgresql", "mysql", "mssql")
_METRICS, _WORDS = 900, 90  # in one request: MLflow takes 1000 metrics, 100 params and 100 tags, 1000 in all
_DATASETS = ("data", "evalset")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Story:
    """All that MLflow is told about a run, but for its metrics."""

    row: Any
    experiment: str
    artifacts: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    datasets: tuple[tuple[str, str], ...]  # (reference, digest)


def tracking_uri(workspace: Workspace) -> str:
    """Return where MLflow keeps the runs: `MLFLOW_TRACKING_URI`, else a SQLite file in the workspace."""
    return workspace.settings.mlflow_tracking_uri or f"sqlite:///{workspace.home / 'mlflow.db'}"


def artifact_root(workspace: Workspace) -> Path:
    """Return where MLflow puts what others log to it; our runs keep their artifacts where they are."""
    return workspace.home / "mlartifacts"


def experiment_of(workspace: Workspace, kind: str) -> str:
    """Return the experiment of a kind of run: "support-bot/flow", after the folder that the workspace is in."""
    home = workspace.home
    project = home.parent.name if home.name.startswith(".") else home.name
    return f"{project or 'studiolo'}/{kind}"


def carry(workspace: Workspace) -> int:
    """Bring every run that changed since the last time into MLflow and return how many there were.

    Seconds, for MLflow's import; at once where nothing changed. One process does it at a time.
    """
    workspace.spool.ingest()
    workspace.runs.settle()
    if not _waiting(workspace):
        return 0
    with locked(workspace.home / "mlflow.lock"):
        waiting = _waiting(workspace)  # another process may have carried them meanwhile
        store = store_of(workspace) if waiting else None
        troubles = [trouble for run_id in waiting if store and (trouble := _carry_run(workspace, store, run_id))]
    if troubles:
        what = f"{len(troubles)} of {len(waiting)} runs could not be carried into MLflow: {troubles[0]}"
        raise Unavailable(what, hint="they stay where they are; `studiolo sync` tries again")
    return len(waiting)


def _waiting(workspace: Workspace) -> list[str]:
    query = select(runs.c.run_id).where(runs.c.changed > runs.c.carried).order_by(runs.c.started_at)
    with workspace.database.read() as connection:
        return list(connection.scalars(query))


def store_of(workspace: Workspace) -> AbstractStore:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # it is tried again anyway
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking._tracking_service.utils import _get_store
    except ImportError:
        raise MissingExtra("MLflow is not installed", hint="pip install 'studiolo[studio]'") from None
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)  # no talk of its tables
    uri = tracking_uri(workspace)
    try:
        store: AbstractStore = _get_store(uri, artifact_root(workspace).as_uri())
        store.search_experiments(max_results=1)
    except MlflowException as error:
        hint = "is MLFLOW_TRACKING_URI right, and the server running?"
        raise Unavailable(f"MLflow does not answer: {_first_line(error)}", hint=hint) from error
    return store


def _carry_run(workspace: Workspace, store: AbstractStore, run_id: str) -> str | None:
    """Carry one run and return None, or what MLflow says against it: the others go on."""
    from mlflow.exceptions import MlflowException

    story = _read(workspace, run_id)
    try:
        theirs = _place(store, story, is_sql=tracking_uri(workspace).startswith(_SQL))
        if theirs is not None:  # else somebody deleted it there, and deleted it stays
            known = dict(store.get_run(theirs).data.tags)
            _log_words(store, theirs, story)
            _log_metrics(workspace, store, theirs, run_id, after=int(known.get(_CARRIED, 0)))
            _log_datasets(store, theirs, story)
            if (left := story.row.tags.get(MODEL)) and theirs == run_id:  # a remote registry cannot read our disk
                register(workspace, tracking_uri(workspace), theirs, left)
            if theirs != run_id:
                _finish_remote(workspace, store, theirs, story, known)
    except MlflowException as error:
        return f"{story.row.name}: {_first_line(error)}"
    seen = update(runs).where(runs.c.run_id == run_id, runs.c.carried < story.row.changed)
    with workspace.database.write(durable=False) as connection:
        connection.execute(seen.values(carried=story.row.changed))
    return None


def _read(workspace: Workspace, run_id: str) -> Story:
    node = f"run:{run_id}"
    with workspace.database.read() as connection:
        row = connection.execute(select(runs).where(runs.c.run_id == run_id)).one()
        told = connection.execute(select(edges.c.source, edges.c.target).where(edges.c.run_id == run_id)).all()
        inputs = tuple(sorted(edge.source for edge in told if edge.target == node))
        outputs = tuple(sorted(edge.target for edge in told if edge.source == node))
        datasets = []
        for reference in inputs:
            kind, _, name_and_version = reference.partition(":")
            name, _, version = name_and_version.partition(":")
            mine = (assets.c.kind == kind) & (assets.c.name == name) & (assets.c.version == version)
            if kind in _DATASETS and (digest := connection.scalar(select(assets.c.digest).where(mine))):
                datasets.append((reference, digest))
    artifacts = workspace.runs.folder / run_id / "artifacts"
    # A job names its own experiment: MLflow's clients refuse to go on with a run of another one than they are told.
    experiment = row.tags.get(EXPERIMENT) or experiment_of(workspace, row.kind)
    return Story(row, experiment, artifacts, inputs, outputs, tuple(datasets))


def _place(store: AbstractStore, story: Story, *, is_sql: bool) -> str | None:
    """Make the run in MLflow if it is not there, with the same id where that can be; None where it was deleted."""
    place = experiment_id(store, story.experiment)
    return _place_in_sql(store, story, place) if is_sql else _place_remote(store, story, place)


def experiment_id(store: AbstractStore, name: str) -> str:
    found = store.get_experiment_by_name(name)
    if found is None:
        return _made_as_reserved(store, name) or str(store.create_experiment(name))
    if found.lifecycle_stage == "deleted":
        store.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _made_as_reserved(store: Any, name: str) -> str | None:
    """Make an experiment under the id that jobs were told for it; None where that is taken, or not ours to choose."""
    from mlflow.store.tracking.dbmodels.models import SqlExperiment

    if not hasattr(store, "ManagedSessionMaker"):
        return None
    wanted, now = reserved_experiment(name), _milliseconds(time.time())
    with store.ManagedSessionMaker(read_only=False) as session:
        if session.get(SqlExperiment, wanted) is not None:
            return None
        made = SqlExperiment(
            experiment_id=wanted, name=name, lifecycle_stage="active", creation_time=now, last_update_time=now,
            artifact_location=store._get_artifact_location(wanted),
        )  # fmt: skip
        session.add(store._with_workspace_field(made))
    return str(wanted)


def _place_in_sql(store: Any, story: Story, experiment_id: str) -> str | None:
    # MLflow's own `create_run` invents an id: the row is written as it writes it, through its session and model.
    from mlflow.store.tracking.dbmodels.models import SqlRun

    row = story.row
    with store.ManagedSessionMaker(read_only=False) as session:
        found = session.get(SqlRun, row.run_id)
        if found is not None and found.lifecycle_stage == "deleted":
            return None
        if found is None:
            found = SqlRun(
                run_uuid=row.run_id, experiment_id=int(experiment_id), artifact_uri=story.artifacts.as_uri(),
                source_type="LOCAL", source_name=row.kind, entry_point_name="", source_version="", user_id=_user(),
                start_time=_milliseconds(row.started_at), deleted_time=None, lifecycle_stage="active",
            )  # fmt: skip
            session.add(found)
        found.name, found.status = row.name, _STATUSES.get(row.status, row.status)
        found.end_time = None if row.ended_at is None else _milliseconds(row.ended_at)
    return str(row.run_id)


def _place_remote(store: AbstractStore, story: Story, experiment_id: str) -> str | None:
    from mlflow.entities import RunTag, ViewType

    found = _find_remote(store, story.row.run_id, [experiment_id], ViewType.ALL)
    if found is None:
        # The tag comes with the run, so a crash right after cannot lead to a second one.
        tags = [RunTag(RUN_ID, story.row.run_id)]
        started = _milliseconds(story.row.started_at)
        found = store.create_run(experiment_id, _user(), started, tags, story.row.name)
    return None if found.info.lifecycle_stage == "deleted" else str(found.info.run_id)


def _find_remote(store: AbstractStore, run_id: str, experiments: Sequence[str], view: Any) -> Any:
    found = store.search_runs(list(experiments), f"tags.`{RUN_ID}` = '{run_id}'", view, max_results=1)
    return found[0] if found else None


_STATUSES = {"PAUSED": "SCHEDULED"}  # in MLflow's words


def _finish_remote(
    workspace: Workspace, store: AbstractStore, theirs: str, story: Story, known: Mapping[str, str]
) -> None:
    """Give what a row alone gives in SQL: artifacts, which a remote server cannot read from our disk, and the end."""
    from mlflow import MlflowClient
    from mlflow.entities import RunStatus, RunTag

    files = sorted(path for path in story.artifacts.rglob("*") if path.is_file())
    signs = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    listing = hashlib.sha256(json.dumps(signs).encode()).hexdigest()
    if files and known.get(_ARTIFACTS) != listing:
        MlflowClient(tracking_uri(workspace)).log_artifacts(theirs, str(story.artifacts))
        store.set_tag(theirs, RunTag(_ARTIFACTS, listing))
    ended = None if story.row.ended_at is None else _milliseconds(story.row.ended_at)
    store.update_run_info(
        theirs, RunStatus.from_string(_STATUSES.get(story.row.status, story.row.status)), ended, story.row.name
    )


def _log_words(store: AbstractStore, theirs: str, story: Story) -> None:
    from mlflow.entities import Param, RunTag

    params = [Param(key, _text(value)) for key, value in story.row.params.items()]
    tags = [RunTag(key, value) for key, value in _tags(story).items()]
    for part in _chunks(params, _WORDS):
        store.log_batch(theirs, [], part, [])
    for words in _chunks(tags, _WORDS):
        store.log_batch(theirs, [], [], words)


def _tags(story: Story) -> dict[str, str]:
    row = story.row
    git = row.environment.get("git") or {}
    told = {
        RUN_ID: row.run_id,
        "mlflow.runName": row.name,
        "mlflow.user": _user(),
        "mlflow.source.name": row.kind,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": git.get("commit"),
        "mlflow.source.git.branch": git.get("branch"),
        "studiolo.git.dirty": None if "dirty" not in git else str(git["dirty"]).lower(),
        "studiolo.kind": row.kind,
        "studiolo.error": row.error,
        "studiolo.inputs": json.dumps(story.inputs),
        "studiolo.outputs": json.dumps(story.outputs),
        "studiolo.python": row.environment.get("python"),
        "studiolo.packages": json.dumps(row.environment.get("packages") or {}),
        "studiolo.hardware": json.dumps(row.environment.get("hardware") or {}),
    }
    return {key: str(value) for key, value in told.items() if value is not None} | dict(row.tags)


def _log_metrics(workspace: Workspace, store: AbstractStore, theirs: str, run_id: str, *, after: int) -> None:
    from mlflow.entities import Metric, RunTag

    query = select(metrics).where(metrics.c.run_id == run_id, metrics.c.id > after).order_by(metrics.c.id)
    with workspace.database.read() as connection:
        rows = connection.execute(query).all()
    for part in _chunks(rows, _METRICS):
        points = [Metric(row.key, number(row.value), _milliseconds(row.ts), row.step) for row in part]
        # MLflow drops a point that it has already; the tag spares it the question.
        store.log_batch(theirs, points, [], [RunTag(_CARRIED, str(part[-1].id))])


def _log_datasets(store: AbstractStore, theirs: str, story: Story) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    tags = [InputTag("mlflow.data.context", "input")]
    inputs = [
        DatasetInput(
            Dataset(
                name=reference, digest=digest.removeprefix("sha256:")[:32], source_type="studiolo",
                source=json.dumps({"asset": reference, "digest": digest}),
            ),
            tags,
        )
        for reference, digest in story.datasets
    ]  # fmt: skip
    if inputs:
        store.log_inputs(theirs, inputs)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
