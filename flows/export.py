"""A run as the files that prompt flow leaves: outputs.jsonl, inputs.jsonl, metrics.json, error.json and their like."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from flows.results import COMPLETED, FAILED, LOG, LineRecord, NodeRecord, last_lines
from workspace.paths import write_atomically, writing
from workspace.runs import RunRecord

OURS = ("lines.", "tokens.")  # metrics that are not the flow's own
OUTPUTS, INPUTS, METRICS, ERROR = "outputs.jsonl", "inputs.jsonl", "metrics.json", "error.json"
_PLACE = re.compile(r"\(([^()\s]+\.py):(\d+)\)$")
_NO_NAME = re.compile(r"[/\\\0]")  # what would lead to another folder
_IN_MEMORY = 100  # errors that are shown with the run; the file holds all


def export(record: RunRecord, folder: Path, *, snapshot: Path | None = None, node_artifacts: bool = False) -> Path:
    """Write a run into a folder and return it; memory does not grow with the number of lines.

    `outputs.jsonl` has the completed lines in order, `inputs.jsonl` every line whose inputs could be read, and
    `flow_outputs/output.jsonl` is the first once more. `snapshot` is the flow's folder at the time. With
    `node_artifacts` each node of each line is a file, as prompt flow writes it: only for those who ask.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    completed = failed = 0
    first: str | None = None
    with ExitStack() as stack:
        outputs, inputs, errors = (stack.enter_context(_written(folder / name)) for name in (OUTPUTS, INPUTS, ERROR))
        for line in last_lines(record.directory / LOG):
            if line.inputs or line.nodes:
                _write(inputs, {**line.inputs, "line_number": line.number})
            if line.status == COMPLETED:
                completed += 1
                _write(outputs, {"line_number": line.number, **(line.outputs or {})})
            elif line.status == FAILED:
                first = first or said_by(line)
                errors.write(", " if failed else _OPENED)
                errors.write(json.dumps(line_error(line), ensure_ascii=False, default=repr))
                failed += 1
            if node_artifacts:
                _write_nodes(record, line, folder / "node_artifacts")
        if failed:
            errors.write(_closed(failed, completed + failed, first))
    for name, kept in ((OUTPUTS, True), (INPUTS, True), (ERROR, failed > 0)):
        part = folder / f"{name}.part"
        part.replace(folder / name) if kept else part.unlink()
    if not failed:
        (folder / ERROR).unlink(missing_ok=True)
    _link(folder / OUTPUTS, folder / "flow_outputs" / "output.jsonl")
    write_atomically(folder / METRICS, json.dumps(metrics(record)))
    write_atomically(folder / "meta.json", json.dumps({"batch_size": 1}))
    _link(record.directory / "worker.log", folder / "logs.txt")
    if snapshot is not None:
        shutil.copytree(snapshot, folder / "snapshot", dirs_exist_ok=True)
    return folder


def metrics(record: RunRecord) -> dict[str, float]:
    """Return what the flow itself has reported; our own counts are not among it."""
    return {key: value for key, value in record.metrics.items() if not key.startswith(OURS) and key != "cost"}


def error(record: RunRecord) -> dict[str, Any] | None:
    """Return why a run or its first lines failed, in prompt flow's words; None where nothing did."""
    if record.error and not record.metrics.get("lines.failed"):
        return {"message": record.error, "code": "SystemError", "innerError": None, "additionalInfo": []}
    if not record.metrics.get("lines.failed"):
        return None
    count = int(record.metrics["lines.failed"])
    total = count + int(record.metrics.get("lines.completed", 0))
    shown = []
    for line in last_lines(record.directory / LOG):
        if line.status == FAILED:
            shown.append(line_error(line))
            if len(shown) == _IN_MEMORY:
                break
    first = shown[0]["error"]["message"] if shown else record.error
    found: dict[str, Any] = json.loads(_OPENED + ", ".join(map(_dump, shown)) + _closed(count, total, first))
    return {"message": found.pop("message"), **found}


def line_error(line: LineRecord) -> dict[str, Any]:
    """Return why one line failed, as an entry of error.json."""
    node = _failed_node(line)
    kind, _, message = ((node.error if node else line.error) or "").partition(": ")
    place = _PLACE.search(message)
    details = {
        "type": kind, "message": message, "traceback": None, "filename": place[1] if place else None,
        "lineno": int(place[2]) if place else None, "name": None,
    }  # fmt: skip
    return {
        "line_number": line.number,
        "error": {
            "message": said_by(line),
            "messageFormat": "Execution failure in '{node_name}'." if node else "",
            "messageParameters": {"node_name": node.name} if node else {},
            "referenceCode": "Tool/__pf_main__" if node else "Executor",
            "code": "UserError",
            "innerError": {"code": "ToolExecutionError" if node else "InputTypeError", "innerError": None},
            "additionalInfo": [{"type": "ToolExecutionErrorDetails", "info": details}] if node else [],
        },
    }


def said_by(line: LineRecord) -> str:
    """Return why a line failed, in one sentence."""
    node = _failed_node(line)
    if node is None or node.error is None:
        return line.error or ""
    kind, colon, message = node.error.partition(": ")
    return f"Execution failure in '{node.name}': ({kind}) {message}" if colon else node.error


def _failed_node(line: LineRecord) -> NodeRecord | None:
    return next((node for node in line.nodes if node.status == FAILED), None)


def _write_nodes(record: RunRecord, line: LineRecord, folder: Path) -> None:
    for node in line.nodes:
        place = folder / (_NO_NAME.sub("_", node.name) if node.name.strip(".") else "_")
        place.mkdir(parents=True, exist_ok=True)
        text = _dump(_node_artifact(record, line, node))
        (place / f"{line.number:09}.jsonl").write_text(text, encoding="utf-8")


def _node_artifact(record: RunRecord, line: LineRecord, node: NodeRecord) -> dict[str, Any]:
    started, ended = _moment(node.started_at), _moment(node.ended_at)
    prompt, completion = node.tokens
    system: dict[str, Any] = {"duration": round(node.ended_at - node.started_at, 6)}
    if any(node.tokens):
        system |= {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    info = {
        "node": node.name, "flow_run_id": record.name, "run_id": f"{record.name}_{node.name}_{line.number}",
        "status": node.status, "inputs": dict(node.inputs), "output": node.output, "metrics": None,
        "error": {"message": node.error} if node.error else None, "parent_run_id": f"{record.name}_{line.number}",
        "start_time": f"{started}Z", "end_time": f"{ended}Z", "index": line.number, "api_calls": [],
        "logs": {"stdout": "", "stderr": ""}, "result": node.output,
        "system_metrics": system,
    }  # fmt: skip
    return {
        "NodeName": node.name, "line_number": line.number, "run_info": info, "start_time": started, "end_time": ended,
        "status": node.status,
    }  # fmt: skip


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def _written(path: Path) -> IO[str]:
    return path.with_name(f"{path.name}.part").open("w", encoding="utf-8", errors="surrogatepass")


def _write(file: IO[str], value: Mapping[str, Any]) -> None:
    file.write(f"{_dump(value)}\n")


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=repr)


def _link(source: Path, target: Path) -> None:
    """Have a file under a second name; a copy where the disk cannot do that."""
    if not source.exists() or (target.exists() and target.samefile(source)):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _closed(failed: int, total: int, first: str | None) -> str:
    message = f"Failed to run {failed}/{total} lines. First error message is: {first}"
    rest = {
        "message": message, "messageFormat": "", "messageParameters": {}, "referenceCode": "Runtime",
        "code": "UserError",
        "innerError": {"code": "SDKError", "innerError": {"code": "BulkRunException", "innerError": None}},
    }  # fmt: skip
    return f"]}}}}], {_dump(rest)[1:]}"


# The list of errors is written as the lines are read, so it stands first.
_OPENED = '{"additionalInfo": [{"type": "BulkRunErrors", "info": {"errors": ['
