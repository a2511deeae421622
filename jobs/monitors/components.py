"""Components of one's own in a monitor: what makes data ready, and what measures; each runs as a job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from jobs.assets import components
from jobs.data import places
from jobs.files import job_of
from jobs.files.monitor import CustomSignal
from jobs.files.ports import InputPort
from jobs.files.references import OutputPath
from jobs.monitors import frames
from jobs.monitors.frames import Frame
from jobs.monitors.measures import Found, Measure
from jobs.monitors.windows import Span, moment
from jobs.states import COMPLETED
from workspace.errors import Invalid, did_you_mean

if TYPE_CHECKING:
    from jobs.parents import Family

READY, METRICS = "preprocessed_input_data", "signal_metrics"  # the outputs that Azure ML asks for
DATA = "part-0.parquet"
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]")
_TABLE = f"type: mltable\npaths:\n  - file: ./{DATA}\ntransformations:\n  - read_parquet\n"


def made_ready(family: Family, step: str, component: str, *, place: Path, span: Span | None) -> Path:
    """Run a component that makes data ready; return where its table is."""
    given: dict[str, Any] = {"input_data": {"type": "uri_folder", "path": str(place)}}
    if span is not None:
        given |= {"data_window_start": moment(span.start), "data_window_end": moment(span.end)}
    return _ran(family, step, component, given, READY)


def custom(family: Family, name: str, signal: CustomSignal, given: Mapping[str, Any]) -> Found:
    """Run a component that measures; its table says metric_name, metric_value, and a group or threshold_value."""
    said: dict[str, Any] = dict(given)
    for each in signal.metric_thresholds:
        said[f"{each.metric_name}_threshold"] = each.threshold
    extra = signal.connection
    variables = {**extra.environment_variables, **extra.secret_config} if extra else {}
    place = _ran(family, name, str(signal.component_id), said, METRICS, variables=variables)
    with frames.open_database() as database:
        table = frames.load(database, "metrics", place, span=None, source=f"{METRICS} of {signal.component_id}")
        rows = database.execute("SELECT * FROM metrics").fetchall() if table.rows else []
    thresholds = {each.metric_name: each.threshold for each in signal.metric_thresholds}
    return Found(measures=[_measure(dict(zip(table.columns, row, strict=True)), thresholds) for row in rows])


def laid(database: duckdb.DuckDBPyConnection, frame: Frame, folder: Path) -> dict[str, Any]:
    """Write a table for a component to read; return it as an input."""
    folder.mkdir(parents=True, exist_ok=True)
    frames.write(database, frame, folder / DATA)
    (folder / "MLTable").write_text(_TABLE)
    return {"type": "uri_folder", "path": str(folder)}


def _ran(
    family: Family, step: str, component: str, given: Mapping[str, Any], output: str,
    variables: Mapping[str, str] | None = None,
) -> Path:  # fmt: skip
    """Run a component of the workspace to its end and return where its output is; Invalid where it fails."""
    ref = component if component.startswith("azureml:") else f"azureml:{component}"
    found = components.get(family.workspace, ref)
    if output not in found.outputs:
        raise Invalid(f"component {component} has no output {output!r}", hint=did_you_mean(output, found.outputs))
    inputs = {}
    for name, value in given.items():
        port = found.inputs.get(name)
        if port is not None and value is not None:
            inputs[name] = _fitting(port, value)
    doing: dict[str, Any] = {
        "component": ref,
        "inputs": inputs,
        "outputs": {output: f"${{{{parent.outputs.{output}}}}}"},
    }
    if variables:
        doing["environment_variables"] = dict(variables)
    plain = {"type": "pipeline", "display_name": step, "outputs": {output: {"type": "uri_folder"}},
             "settings": {"force_rerun": True}, "jobs": {"measure": doing}}  # fmt: skip
    child = family.child(_NO_NAME.sub("_", step), job_of(plain, Path(family.spec.folder)))
    (ended,) = family.ended([child.name])
    if ended.status != COMPLETED:
        raise Invalid(f"component {component} did not complete: {ended.error or ended.status}",
                      hint=f"studiolo job stream {ended.name}")  # fmt: skip
    return places.find(family.workspace, OutputPath(job=ended.name, output=output, path=""))


def _fitting(port: InputPort, value: Any) -> Any:
    """Return a value as its port takes it: texts are texts, and folders are of the port's type."""
    if isinstance(value, Mapping):
        return {**value, "type": port.type} if port.type in ("uri_folder", "mltable") else value
    return f"{value:g}" if port.type == "string" and isinstance(value, float) else value


def _measure(row: Mapping[str, Any], thresholds: Mapping[str, float | None]) -> Measure:
    name = row.get("metric_name", row.get("metric"))
    value = row.get("metric_value", row.get("value"))
    if name is None or value is None:
        hint = "columns metric_name and metric_value, and group or threshold_value where there are some"
        raise Invalid(f"the table of {METRICS} has {', '.join(row)}", hint=hint)
    limit = row.get("threshold_value")
    limit = thresholds.get(str(name)) if limit is None else float(limit)
    return Measure(metric=str(name), value=float(value), threshold=limit, feature=str(row.get("group") or ""))
