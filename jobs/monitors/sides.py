"""Where the data of a run of a monitor is, and of which time: each side of each signal as a table."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from jobs.files.monitor import Monitor, Segment, Signal
from jobs.monitors import components, frames
from jobs.monitors.frames import Frame
from jobs.monitors.job import Source, sources, target_of
from jobs.monitors.measures import Skip
from jobs.monitors.windows import Span, production_span, reference_span
from jobs.parents import Family
from jobs.spec import BoundInput
from workspace.errors import Invalid

REFERENCE = "reference_data"


class Sides:
    """The data of one run: what was read once is there for all signals."""

    def __init__(
        self, family: Family, database: duckdb.DuckDBPyConnection, monitor: Monitor, *, at: float, size: float
    ) -> None:
        self.family = family
        self.database = database
        self.monitor = monitor
        self._at, self._size = at, size
        self._known: dict[tuple[Any, ...], Frame] = {}
        self._tables = (f"t{number}" for number in itertools.count())
        self._laid = tempfile.TemporaryDirectory(dir=Path.cwd())

    def of(self, name: str, signal: Signal) -> dict[str, Frame]:
        """Return the data of a signal by what the file calls it; reading it may be Skip or Invalid."""
        found: dict[str, Frame] = {}
        long = self._size
        for source in sources(signal):
            span = self._span(source, long)
            if not source.key.startswith(REFERENCE) and span is not None:
                long = span.end - span.start
            found[source.key] = self._frame(name, source, span)
        segment: Segment | None = getattr(signal, "data_segment", None)
        if segment is not None and segment.feature_name:
            found = {key: self._segment(frame, segment) for key, frame in found.items()}
        return found

    def table(self) -> str:
        """Return a name for one more table."""
        return next(self._tables)

    def laid(self, key: str, frame: Frame) -> dict[str, Any]:
        """Return a frame as an input that a component reads."""
        return components.laid(self.database, frame, Path(self._laid.name) / key)

    def _span(self, source: Source, long: float) -> Span | None:
        window = getattr(source.data, "data_window", None)
        if source.key.startswith(REFERENCE):
            return reference_span(window, long, self._at, collected=source.is_collected)
        return production_span(window, self._size, self._at)

    def _frame(self, name: str, source: Source, span: Span | None) -> Frame:
        place, called = self._place(name, source)
        component = getattr(source.data, "pre_processing_component", None)
        if component:
            place = components.made_ready(self.family, f"{name}.{source.key}", component, place=place, span=span)
            called, span = f"{called}, made ready by {component}", None
        timestamp = columns_of(source.data).get("timestamp")
        key = (place, span, timestamp)
        if key not in self._known:
            self._known[key] = frames.load(
                self.database, self.table(), place, span=span, timestamp=timestamp, source=called
            )
        return self._known[key]

    def _place(self, name: str, source: Source) -> tuple[Path, str]:
        """Return where data lies, and what it is called."""
        key = f"{name}.{source.key}"
        bound = self.family.spec.inputs.get(key)
        if not isinstance(bound, BoundInput):
            raise Skip("no data is named, and no deployment: write `input_data`, or `endpoint_deployment_id`")
        return self.family.given(key), bound.asset or bound.path

    def _segment(self, frame: Frame, segment: Segment) -> Frame:
        if segment.feature_name not in frame.columns:
            return frame
        copy = frames.copied(self.database, frame, self.table())
        return frames.keep_segment(self.database, copy, str(segment.feature_name), segment.feature_values)


def columns_of(data: Any) -> Mapping[str, str]:
    """Return what a file says that columns mean: `prediction`, `correlation_id`, `target_column`, `timestamp` …"""
    return {} if data is None else {str(key): str(value) for key, value in data.data_column_names.items()}


def judge_of(sides: Sides, connection_id: str | None, properties: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the connection of a judge, and the model behind it; Skip where the file names none."""
    from jobs.assets import connections

    if not connection_id:
        raise Skip("nobody judges: name a connection to a chat model as `connection_id`")
    found = connections.opened(sides.family.workspace, connection_id.rpartition("/")[2])
    model = properties.get("model_deployment_name") or (found.get("metadata") or {}).get("model")
    if not model:
        hint = "write `properties: {model_deployment_name: …}` in the signal"
        raise Invalid(f"no model is said for connection {found['name']!r}", hint=hint)
    return found, str(model)


def task_of(monitor: Monitor) -> str | None:
    """Return what the model that is watched does."""
    said = monitor.monitoring_target.ml_task if monitor.monitoring_target else None
    return None if said is None else said.lower()


def subject_of(monitor: Monitor, schedule: str) -> str:
    """Return what is watched, for people."""
    found = target_of(monitor)
    model = monitor.monitoring_target.model_id if monitor.monitoring_target else None
    return "/".join(found) if found else str(model) if model else schedule
