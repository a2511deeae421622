"""Traces sent on: of flows that were tried and served into MLflow in the background, of runs where somebody asks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import flows
from flows.results import LineRecord
from flows.serve import log as serve_log
from flows.serve.log import Served
from workspace import Workspace, tracking
from workspace.errors import Invalid, NotFound, Unavailable
from workspace.paths import locked, write_atomically
from workspace.runs import RunRecord

if TYPE_CHECKING:
    from flows.otel import Origin, Told

Target = Literal["mlflow", "otlp"]
TARGETS = ("mlflow", "otlp")
AT_ONCE = 100  # lines that are sent together
MOST = 500  # requests that are carried at one look; what is left waits for the next
KIND = "traces"  # the experiment in MLflow
_CARRIED = ".carried.json"
_TIMEOUT = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Sent:
    """So many lines were sent by now."""

    lines: int


def of_run(record: RunRecord, number: int | None = None) -> Iterator[tuple[Origin, LineRecord]]:
    """Yield the lines of a flow run, or one of them, with where they come from."""
    from flows.otel import Origin

    if record.kind != "flow":
        raise NotFound(f"run {record.name!r} is of kind {record.kind!r}: only runs of flows have traces")
    for line in flows.lines(record):
        if number is not None and line.number != number:
            continue
        began = min((node.started_at for node in line.nodes if node.started_at), default=record.started_at)
        yield Origin(
            id=f"{record.run_id}/{line.number}", flow=_flow_name(record),
            digest=str(record.params.get("flow_digest") or ""), kind="batch", started_at=began,
            duration=line.duration, run_id=record.run_id,
        ), line  # fmt: skip


def _flow_name(record: RunRecord) -> str:
    _, _, rest = str(record.params.get("flow") or "").partition(":")
    return rest.rpartition(":")[0] or rest or "flow"


def of_request(request: Served) -> tuple[Origin, LineRecord] | None:
    """Return a request's line with where it comes from, None where no flow ran."""
    from flows.otel import Origin

    if request.line is None:
        return None
    return Origin(
        id=f"{request.id}/{request.ts}", flow=request.flow, digest=request.digest,
        kind="test" if request.path == serve_log.TEST else "request", started_at=request.ts,
        duration=request.duration, traceparent=request.traceparent,
    ), request.line  # fmt: skip


def send(workspace: Workspace, told: Iterable[Told], *, to: str) -> Iterator[Sent]:
    """Send lines and requests to MLflow or to an OpenTelemetry collector, and yield how many were sent.

    Sent twice they are one. Raises Invalid for another target or a collector that refuses, Unavailable where nobody
    answers.
    """
    check(to)
    deliver = _to_otlp() if to == "otlp" else _to_mlflow(workspace)
    count = 0
    iterator = iter(told)
    while part := list(islice(iterator, AT_ONCE)):
        deliver(part)
        count += len(part)
        yield Sent(count)


def check(to: str | None) -> None:
    """Raise Invalid for a target that is none, or whose address is not known: before anything runs."""
    if to is not None and to not in TARGETS:
        raise Invalid(f"no such place for traces: {to!r}", hint="mlflow or otlp")
    if to == "otlp":
        collector(os.environ)


def carry(workspace: Workspace, *, most: int = MOST) -> int:
    """Bring requests and tests that are new into MLflow, at most so many, and return how many there were."""
    from flows import otel

    files = serve_log.log_files(workspace.home)
    mark = workspace.home / "spool" / serve_log.FOLDER / _CARRIED
    if not files or not _is_behind(files, _read_mark(mark)):
        return 0
    with locked(workspace.home / "mlflow.lock"):
        done = _read_mark(mark)
        found: list[tuple[Origin, LineRecord]] = []
        for path in files:
            if not path.exists():
                continue  # it was rotated away meanwhile
            for request, place in serve_log.read_from(path, min(done.get(path.name, 0), path.stat().st_size)):
                if len(found) >= most:
                    break
                if otel.recorded(request.traceparent) and (each := of_request(request)):
                    found.append(each)
                done[path.name] = place
        for _ in send(workspace, found, to="mlflow"):
            pass
        kept = {path.name for path in files}
        write_atomically(mark, json.dumps({name: place for name, place in done.items() if name in kept}))
    return len(found)


def _is_behind(files: list[Path], done: dict[str, int]) -> bool:
    return any(path.exists() and path.stat().st_size > done.get(path.name, 0) for path in files)


def _read_mark(mark: Path) -> dict[str, int]:
    try:
        found: dict[str, int] = json.loads(mark.read_text())
        return found
    except (OSError, ValueError):
        return {}  # telling a trace again changes nothing


def _to_mlflow(workspace: Workspace) -> Any:
    from flows import otel

    store = tracking.store_of(workspace)
    place = tracking.experiment_id(store, tracking.experiment_of(workspace, KIND))
    from mlflow.entities.span import Span
    from mlflow.exceptions import MlflowException

    def deliver(part: list[Told]) -> None:
        spans = [Span.from_otel_proto(span) for each in part for span in otel.spans_of(each)]
        try:
            store.log_spans(place, spans)
        except MlflowException as error:
            raise Unavailable(f"MLflow takes no traces: {error}", hint="they stay where they are") from error

    return deliver


def _to_otlp() -> Any:
    import httpx

    from flows import otel

    url, headers = collector(os.environ)

    def deliver(part: list[Told]) -> None:
        body = otel.request(part).SerializeToString()
        try:
            answer = httpx.post(
                url, content=body, headers={**headers, "content-type": "application/x-protobuf"}, timeout=_TIMEOUT
            )
        except httpx.HTTPError as error:
            raise Unavailable(f"no collector at {url}: {error}", hint="OTEL_EXPORTER_OTLP_ENDPOINT") from error
        if answer.status_code >= 300:
            raise Invalid(f"the collector at {url} answered {answer.status_code}: {answer.text[:200]}")

    return deliver


def names_collector(environment: Any) -> bool:
    """Whether OpenTelemetry's variables say that traces go to a collector."""
    return any(environment.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("TRACES_ENDPOINT", "ENDPOINT"))


def collector(environment: Any) -> tuple[str, dict[str, str]]:
    """Return where traces go and with which headers, as OpenTelemetry's own variables say.

    Raises Invalid where none does: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
    """
    url = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    if not url and (base := environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")):
        url = f"{base.rstrip('/')}/v1/traces"
    if urlsplit(url).scheme not in ("http", "https"):
        hint = "export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318"
        raise Invalid("OTEL_EXPORTER_OTLP_ENDPOINT names no collector", hint=hint)
    protocol = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        raise Invalid(f"traces are sent as http/protobuf, not {protocol!r}", hint="OTEL_EXPORTER_OTLP_PROTOCOL")
    said = environment.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or environment.get("OTEL_EXPORTER_OTLP_HEADERS", "")
    pairs = (each.partition("=") for each in said.split(",") if "=" in each)
    return url, {name.strip().lower(): value.strip() for name, _, value in pairs}
