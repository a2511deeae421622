"""The small process that owns one job: it claims it, runs its command, outlives the submitter and records the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs import records
from jobs.files.expressions import render, resolve
from jobs.leftovers import MARKER, end_leftovers
from jobs.submit import job_folder
from workspace.assets import KINDS
from workspace.errors import StudioloError
from workspace.home import Workspace
from workspace.paths import write_atomically
from workspace.processes import own_identity
from workspace.runs import Run
from workspace.settings import Settings

GRACE = 10.0  # seconds between SIGTERM and SIGKILL
POLL = 0.05
# What a command sees of our environment: enough to find programs and speak a language, no secrets.
PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "CUDA_VISIBLE_DEVICES", "VIRTUAL_ENV")


def run_job(workspace: Workspace, name: str) -> None:
    """Run the job to its end, if nobody else has claimed it."""
    own = own_identity()
    claim = {"shim_pid": own.pid, "shim_started_at": own.started_at, "started_at": time.time()}
    if not records.move(workspace, name, old=("Queued",), new="Starting", **claim):
        return
    spec = records.get(workspace, name).spec
    status, code, error = "Failed", None, None
    try:
        with workspace.run("job", name=f"job-{name}", tags=spec["tags"], params=_literals(spec)) as run:
            records.move(workspace, name, old=("Starting", "CancelRequested"), new="Running", run_id=run.run_id)
            status, code = _run_command(workspace, name, spec, run)
            run.set_tags({"exit_code": str(code), "job_status": status})
            if status != "Completed":
                run.fail(f"the job {status.lower()} with exit code {code}")
    except StudioloError as problem:
        error = str(problem)
    finally:
        records.move(
            workspace,
            name,
            old=("Starting", "Running", "CancelRequested"),
            new=status,
            exit_code=code,
            error=error,
            ended_at=time.time(),
        )


def _run_command(workspace: Workspace, name: str, spec: Mapping[str, Any], run: Run) -> tuple[str, int]:
    folder = job_folder(workspace, name)
    code = folder / "code"
    code.mkdir(exist_ok=True)
    if spec["code"]:
        asset = workspace.assets.get("component", spec["code"])
        run.input(asset)
        shutil.copytree(workspace.assets.path(asset), code, dirs_exist_ok=True, copy_function=shutil.copyfile)
    values = _values(workspace, spec, folder, run)
    command = resolve(spec["command"], values)
    environment = _environment(workspace, name, spec, run)
    with (folder / "log.txt").open("ab", buffering=0) as log:
        process = subprocess.Popen(
            ["/bin/bash", "-c", command], cwd=code, env=environment, stdin=subprocess.DEVNULL,
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        ending = _await(workspace, name, process, spec["timeout"])
    end_leftovers(name)
    write_atomically(folder / "exit.json", json.dumps({"code": process.returncode, "ending": ending}))
    if ending == "Canceled":
        return "Canceled", process.returncode
    if process.returncode == 0 and ending == "Completed":
        for output in spec["outputs"]:
            run.output(workspace.assets.put("data", f"{name}-{output}", folder / "outputs" / output))
        return "Completed", 0
    return "Failed", process.returncode


def _await(workspace: Workspace, name: str, process: subprocess.Popen[bytes], timeout: float | None) -> str:
    deadline = None if timeout is None else time.monotonic() + timeout
    looked = 0.0
    while process.poll() is None:
        if deadline is not None and time.monotonic() > deadline:
            _end(process)
            return "TimedOut"
        if time.monotonic() - looked > 0.5:
            looked = time.monotonic()
            if records.get(workspace, name).status == "CancelRequested":
                _end(process)
                return "Canceled"
        time.sleep(POLL)
    return "Completed"


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _literals(spec: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in spec["inputs"].items() if not isinstance(value, dict)}


def _values(workspace: Workspace, spec: Mapping[str, Any], folder: Path, run: Run) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, value in spec["inputs"].items():
        if isinstance(value, dict):
            values[f"inputs.{key}"] = str(_input_path(workspace, key, value["path"], run))
        else:
            values[f"inputs.{key}"] = render(value)
    for output in spec["outputs"]:
        path = folder / "outputs" / output
        path.mkdir(parents=True, exist_ok=True)
        values[f"outputs.{output}"] = str(path)
    return values


def _input_path(workspace: Workspace, key: str, path: str, run: Run) -> Path:
    if path.startswith("azureml:"):
        kind = path.split(":")[1]  # azureml:model:NAME:1 beside azureml:NAME:1, which is data
        asset = workspace.assets.get(kind if path.count(":") == 3 and kind in KINDS else "data", path)
    else:
        asset = workspace.assets.put("data", f"{key}-{Path(path).stem}".lower(), Path(path))
    run.input(asset)
    return workspace.assets.path(asset)


def _environment(workspace: Workspace, name: str, spec: Mapping[str, Any], run: Run) -> dict[str, str]:
    environment = {key: os.environ[key] for key in PASSED if key in os.environ}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment | {
        **spec["environment_variables"],
        MARKER: name,
        "AZUREML_RUN_ID": run.run_id,
        "MLFLOW_RUN_ID": run.run_id,
        "STUDIOLO_HOME": str(workspace.home),
        "PYTHONUNBUFFERED": "1",
    }


if __name__ == "__main__":
    with Workspace.open(settings=Settings.from_environment()) as opened:
        run_job(opened, sys.argv[1])
