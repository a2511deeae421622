"""Runs as prompt flow's commands and its client know them: made from ours, shown in its words."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flows
from flows import export, run_file
from studiolo import pf_config, run_keeping
from studiolo.flow_batches import Asked
from workspace import Workspace
from workspace.errors import Invalid, NotFound, StudioloError
from workspace.paths import write_atomically
from workspace.runs import RunRecord

STATUS = {"RUNNING": "Running", "FINISHED": "Completed", "FAILED": "Failed", "KILLED": "Canceled", "PAUSED": "Paused"}
FAILED_OUTPUT = "(Failed)"
_DISPLAY, _ABOUT, _DATA, _BASE, _OUTPUT = "pf.display_name", "pf.description", "pf.data", "pf.run", "pf.output_path"
_FOLDER = "flow.folder"
_OURS = ("pf.", "flow.", run_keeping.ARCHIVED)


class Run:
    """A run: `name`, `status`, `display_name`, `tags`, `properties` and when it was, as `PFClient` gives it."""

    def __init__(
        self, flow: Any = None, name: str | None = None, data: Any = None, variant: str | None = None, run: Any = None,
        column_mapping: Mapping[str, Any] | None = None, display_name: str | None = None,
        description: str | None = None, tags: Mapping[str, str] | None = None, **others: Any,
    ) -> None:  # fmt: skip
        self.flow, self.name, self.data, self.variant = flow, name, data, variant
        self.run = run.name if isinstance(run, Run) else run
        self.column_mapping = dict(column_mapping or {})
        self.display_name, self.description, self.tags = display_name, description, dict(tags or {})
        self.environment_variables: dict[str, str] = dict(others.get("environment_variables") or {})
        self.connections: dict[str, dict[str, Any]] = dict(others.get("connections") or {})
        self.init: dict[str, Any] = dict(others.get("init") or {})
        self.resume_from = others.get("resume_from")
        self.record: RunRecord | None = None
        self.status = "NotStarted"

    @classmethod
    def of(cls, record: RunRecord) -> Run:
        """Return a run that is on record."""
        mapping = record.params.get("column_mapping") or {}
        made = cls(
            flow=record.tags.get(_FOLDER) or record.params.get("flow"),
            name=record.name,
            data=record.tags.get(_DATA),
            variant=record.params.get("variant") or None,
            run=record.tags.get(_BASE),
            column_mapping=json.loads(mapping) if isinstance(mapping, str) else mapping,
            display_name=record.tags.get(_DISPLAY) or record.name,
            description=record.tags.get(_ABOUT) or None,
            tags={key: value for key, value in record.tags.items() if not key.startswith(_OURS)},
        )
        made.record = record
        made.status = STATUS.get(record.status, record.status)
        return made

    @property
    def created_on(self) -> datetime | None:
        """Return when it began."""
        return datetime.fromtimestamp(self.record.started_at, UTC) if self.record else None

    @property
    def start_time(self) -> datetime | None:
        """Return when it began."""
        return self.created_on

    @property
    def end_time(self) -> datetime | None:
        """Return when it was over."""
        ended = self.record.ended_at if self.record else None
        return datetime.fromtimestamp(ended, UTC) if ended else None

    @property
    def output_path(self) -> Path | None:
        """Return the folder with its files."""
        if self.record is None:
            return None
        return Path(self.record.tags.get(_OUTPUT) or self.record.directory)

    @property
    def properties(self) -> dict[str, Any]:
        """Return where it was and what it took."""
        if self.record is None:
            return {}
        found = self.record.metrics
        tokens = {key: int(found.get(f"tokens.{key}", 0)) for key in ("prompt", "completion")}
        return {
            "flow_path": str(self.flow),
            "output_path": str(self.output_path),
            **({"column_mapping": self.column_mapping} if self.column_mapping else {}),
            **({"nodes.variant": self.variant} if self.variant else {}),
            "system_metrics": {
                "total_tokens": sum(tokens.values()),
                "prompt_tokens": tokens["prompt"],
                "completion_tokens": tokens["completion"],
                "duration": round(self.record.duration, 6),
            },
        }

    def shown(self, *, errors: bool = True) -> dict[str, Any]:
        """Return what `pf run show` prints; `errors=False` leaves out which lines failed and how."""
        error = export.error(self.record) if self.record else None
        if error is not None and not errors:
            error = {key: value for key, value in error.items() if key != "additionalInfo"}
        return {
            "name": self.name,
            "created_on": self.created_on.isoformat() if self.created_on else None,
            "status": self.status,
            "display_name": self.display_name,
            "description": self.description,
            "tags": self.tags or None,
            "properties": self.properties,
            "flow_name": Path(str(self.flow)).stem,
            "data": self.data,
            **({"run": self.run} if self.run else {}),
            "output": str(self.output_path / "flow_outputs") if self.output_path else None,
            **({"error": error} if error else {}),
        }

    _to_dict = shown  # what scripts call

    def __repr__(self) -> str:
        return f"Run(name={self.name!r}, status={self.status!r})"


def asked_for(
    asked: Asked, *, display_name: str | None = None, description: str | None = None
) -> tuple[Asked, tuple[str, ...]]:
    """Return what to run, named as prompt flow would, and warnings about its run YAML."""
    given = run_file.read(asked.file) if asked.file else run_file.RunFile()
    flow = asked.flow or given.flow
    variant = asked.variant or given.variant
    resume = asked.resume or given.resume_from
    name = asked.name or given.name or run_file.default_name(flow or str(resume), variant)
    shown = display_name or given.display_name
    data, base = asked.data or given.data, asked.run or given.run
    tags = {
        _DISPLAY: run_file.display_name(shown, run=name, variant=variant) if shown else None,
        _ABOUT: description or given.description or None,
        _DATA: str(data.absolute()) if data else None,
        _BASE: base,
    }
    return (
        replace(asked, name=name, tags={**asked.tags, **{key: value for key, value in tags.items() if value}}),
        given.warnings,
    )


def run(workspace: Workspace, asked: Asked) -> Iterator[flows.Started | flows.LineDone | flows.Finished]:
    """Run what was asked for and write its files where prompt flow's readers look."""
    from studiolo import flow_batches

    for event in flow_batches.run(workspace, asked):
        if isinstance(event, flows.Finished):
            write_files(workspace, workspace.runs.get(event.run_id))
        yield event


def write_files(workspace: Workspace, record: RunRecord, *, node_artifacts: bool = False) -> Path:
    """Write a run's files into the folder that `run.output_path` names, else into the run's own."""
    wanted = pf_config.get(workspace.home, "run.output_path")
    folder = record.directory
    if wanted:
        flow = record.tags.get(_FOLDER, ".")
        folder = Path(str(wanted).replace("${flow_directory}", flow)).expanduser().absolute() / record.name
        run_keeping.describe(workspace, record.run_id, {_OUTPUT: str(folder)})
    flow_ref = record.params.get("flow")
    snapshot = workspace.assets.path(workspace.assets.get("flow", flow_ref)) if flow_ref else None
    return export.export(record, folder, snapshot=snapshot, node_artifacts=node_artifacts)


def get(workspace: Workspace, name: str) -> Run:
    """Return a run of a flow; raises NotFound where there is none of this name."""
    return Run.of(record_of(workspace, name))


def record_of(workspace: Workspace, name: str) -> RunRecord:
    """Return the record of a run of a flow; raises NotFound where there is none of this name."""
    record = workspace.runs.get(name)
    if record.kind != "flow":
        raise NotFound(f"{name!r} is a run of kind {record.kind!r}, not of a flow", hint=f"studiolo runs show {name}")
    return record


def list_runs(
    workspace: Workspace, *, limit: int | None = 50, archived: bool = False, active: bool = True
) -> list[Run]:
    """Return runs of flows, the newest first: those in the archive, those outside it, or both."""
    found: list[Run] = []
    for record in each_run(workspace):
        if archived if run_keeping.is_archived(record) else active:
            found.append(Run.of(record))
        if limit is not None and len(found) >= limit:
            break
    return found


def each_run(workspace: Workspace) -> Iterator[RunRecord]:
    """Yield the runs of flows, the newest first."""
    size = 200
    for offset in range(0, 1 << 30, size):
        page = workspace.runs.list(kind="flow", limit=size, offset=offset)
        yield from page
        if len(page) < size:
            return


def update(
    workspace: Workspace,
    name: str,
    *,
    display_name: str | None = None,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Run:
    """Change the words about a run; given tags replace the ones it has."""
    changed: dict[str, str | None] = {}
    if tags is not None:
        changed |= dict.fromkeys(get(workspace, name).tags)
        changed |= {key: str(value) for key, value in tags.items()}
    changed |= {_DISPLAY: display_name} if display_name is not None else {}
    changed |= {_ABOUT: description} if description is not None else {}
    if any(key.startswith(_OURS) for key in tags or {}):
        raise Invalid(f"a tag cannot begin with {' or '.join(_OURS)}")
    return Run.of(run_keeping.describe(workspace, name, changed))


def details(record: RunRecord, *, limit: int | None = 100) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and rows of a run's details: inputs, the line's number, outputs; failed lines say so."""
    inputs: dict[str, None] = {}
    outputs: dict[str, None] = {}
    found: list[flows.LineRecord] = []
    for line in flows.lines(record):
        if limit is not None and len(found) >= limit:
            break
        if not line.inputs and not line.nodes:
            continue
        inputs |= dict.fromkeys(line.inputs)
        outputs |= dict.fromkeys(line.outputs or {})
        found.append(line)
    columns = [f"inputs.{name}" for name in inputs] + ["inputs.line_number"] + [f"outputs.{name}" for name in outputs]
    rows = [
        [line.inputs.get(name) for name in inputs]
        + [line.number]
        + [line.outputs.get(name) if line.outputs is not None else FAILED_OUTPUT for name in outputs]
        for line in found
    ]
    return columns, rows


def details_frame(record: RunRecord, *, limit: int | None = 100) -> Any:
    """Return a run's details as a pandas table."""
    pandas: Any = importlib.import_module("pandas")  # half a second, for those who ask
    columns, rows = details(record, limit=limit)
    return pandas.DataFrame(rows, columns=columns)


def summary(found: Run) -> str:
    """Return what is said when a run is over."""
    took = found.end_time - found.start_time if found.end_time and found.start_time else None
    return (
        "======= Run Summary =======\n\n"
        f'Run name: "{found.name}"\nRun status: "{found.status}"\nStart time: "{found.start_time}"\n'
        f'Duration: "{took}"\nOutput path: "{found.output_path}"\n'
    )


def follow(workspace: Workspace, name: str, *, say: Callable[[str], None], pause: float = 0.5) -> Run:
    """Say what a run's code prints until the run is over."""
    record = workspace.runs.get(name)
    log = record.directory / "worker.log"
    place = 0
    while True:
        record = workspace.runs.get(record.run_id)
        if log.exists():
            with log.open("rb") as file:
                file.seek(place)
                new = file.read()
            place += len(new)
            if new:
                say(new.decode("utf-8", "replace"))
        if record.ended:
            return Run.of(record)
        time.sleep(pause)


def delete(workspace: Workspace, name: str) -> None:
    """Delete a run and all its files, also those that were written elsewhere."""
    found = get(workspace, name)
    run_keeping.delete_run(workspace, name)
    if found.output_path and found.output_path.name == found.name:
        shutil.rmtree(found.output_path, ignore_errors=True)


def visualize(workspace: Workspace, names: list[str], target: Path | None = None) -> Path:
    """Draw runs as one HTML page and return where it is; without a target, among the first one's files."""
    from flows import draw, graph

    records = [record_of(workspace, name) for name in names]
    if not records:
        raise Invalid("name at least one run")
    drawn = {}
    for record in records:
        if ref := record.params.get("flow"):
            with contextlib.suppress(StudioloError):  # a flow that is not there any more is drawn without arrows
                folder = workspace.assets.path(workspace.assets.get("flow", ref))
                drawn[record.run_id] = graph.load(folder, variant=record.params.get("variant") or None)
    target = target or records[0].directory / "artifacts" / "visualize.html"
    write_atomically(target, draw.page(records, drawn))
    return target


def write_details(columns: list[str], rows: list[list[Any]], path: Path) -> None:
    """Write a run's details as .csv or .jsonl."""
    text = io.StringIO()
    if path.suffix == ".csv":
        written = csv.writer(text)
        written.writerow(columns)
        written.writerows(rows)
    elif path.suffix == ".jsonl":
        for row in rows:
            text.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, default=str) + "\n")
    else:
        raise Invalid(f"{path.name!r} is no kind of table", hint="name it .csv or .jsonl")
    write_atomically(path, text.getvalue(), mode=0o644)
