"""What a shim does for an attempt that runs on a Ray cluster: it has a conductor follow it, and reads how it ended."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.command_process import Command
from jobs.ending import COLLECTED, REFUSED, TIMED_OUT
from jobs.folders import AttemptFolder, read_record
from jobs.leftovers import MARKER, end_marked
from jobs.parallel.elsewhere import CLUSTER
from jobs.ray import entry
from jobs.ray.conductor import OUTCOME, PLAN
from jobs.ray.files import CLAIM, ENTRY, EXIT, LAUNCH, LOG, STOP
from jobs.ray.task_driver import folder_of
from jobs.spec import Spec
from jobs.states import CANCELED, LOST
from workspace.errors import Invalid
from workspace.paths import write_atomically, writing

# What means something on this machine only.
_OURS = ("PATH", "HOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR", "USER", "LOGNAME", "STUDIOLO_HOME",
         "CUDA_VISIBLE_DEVICES", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN")  # fmt: skip

_NO_ROOM = {"cpus": 0, "gpus": 0, "memory": 0}  # it is the workers who need it


def submission(name: str, number: int) -> str:
    """Return what an attempt is called on a cluster: no two have the same name, and Ray runs none twice."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.{number}"


def conducted(spec: Spec, command: Command, folder: AttemptFolder) -> Command:
    """Return the command that has an attempt run on its cluster, in place of the one that runs it here."""
    ray, shared = dict(spec.ray or {}), bool(spec.ray and spec.ray["shared"])
    name, number = folder.path.parent.name, int(folder.path.name)
    stops = [str(folder.cancel), str(folder.path / STOP)] if shared else []
    line = list(command.line) if shared else ["bash", "-c", command.line[-1]]
    if spec.distribution and spec.distribution["type"] == "pytorch" and spec.distribution["nodes"] > 1:
        line = [sys.executable if shared else "python", *_trained(ray, folder, stops)]
        ray |= _NO_ROOM
    environment = _environment(command.environment, shared=shared)
    if ray.get("each") and (spec.environment is None or read_record(folder.python) is not None):  # in no container
        environment[CLUSTER] = json.dumps({"python": sys.executable, **ray["each"]})
        ray |= _NO_ROOM
    told = {
        "shared": shared,
        "called": submission(name, number),
        "root": str(folder.path),
        "line": line,
        "folder": str(command.folder),
        "environment": environment,
        "marker": f"{MARKER}={command.environment[MARKER]}",
        "grace": spec.grace,
        "log": str(folder.path / LOG),
        "exit": str(folder.path / EXIT),
        "claim": str(folder.path / CLAIM),
        "cancel": stops,
        "folders": [str(folder.code), *_places(spec, folder)],
        "back": {
            **{each.name: str(each) for each in (folder.outputs, folder.finished)},
            **{f"code/{each}": str(folder.code / each) for each in COLLECTED},
        },
    }
    together = ray["together"] and shared and line == list(command.line)
    plan = {
        **ray,
        "tasks": str(folder_of(folder.path.parent.parent.parent, ray["url"])) if together else "",
        "job": name,
        "submission": told["called"],
        "grace": spec.grace,
        "entrypoint": _entrypoint(folder) if shared else f"python entry.py {ENTRY}",
        "packages": [] if shared else _packages(spec, folder),
        "log_at": _size(folder.logs),
    }
    write_atomically(folder.path / ENTRY, json.dumps(told))
    write_atomically(folder.path / PLAN, json.dumps(plan))
    return followed(folder, 0)


def followed(folder: AttemptFolder, skip: int) -> Command:
    """Return the command that follows an attempt, from this byte of what it says on."""
    line = [sys.executable, "-P", "-m", "jobs.ray.conductor", str(folder.path), str(skip)]
    return Command(line=line, folder=folder.path, environment=dict(os.environ))


def known(folder: AttemptFolder) -> int:
    """Return how many bytes of what an attempt says are in its log already."""
    plan = read_record(folder.path / PLAN) or {}
    return max(0, _size(folder.logs) - int(plan.get("log_at", 0)))


def told_before(folder: AttemptFolder) -> dict[str, str]:
    """Return the environment that the command of an attempt was given."""
    return dict((read_record(folder.path / ENTRY) or {}).get("environment") or {})


def is_told(folder: AttemptFolder) -> bool:
    """Whether it is known how an attempt ended; else who followed it has died, and another one can."""
    return (folder.path / OUTCOME).exists()


def with_outcome(record: Mapping[str, Any], folder: AttemptFolder, marker: str) -> dict[str, Any]:
    """Return how an attempt ended, by what its conductor has found; nothing of it is left on this machine."""
    with writing(folder.path):
        (folder.path / STOP).touch(mode=0o600)  # where it runs still, for whatever reason
    end_marked(marker)
    (folder.path / LOG).unlink(missing_ok=True)  # the job's log has it
    found, by_us = read_record(folder.path / OUTCOME), record["ending"] in (CANCELED, TIMED_OUT)
    if found is None and (by_us or record["ending"] == REFUSED):
        return {**record, "code": None}
    if found is None:
        return {**record, "ending": LOST, "code": None, "error": "who follows it on the Ray cluster dies each time"}
    ending = record["ending"] if by_us else found["ending"] or record["ending"]
    return {
        **record, "code": found["code"], "ending": ending, "error": found["error"],
        "usage": {**record["usage"], **found["usage"]},
    }  # fmt: skip


def _trained(ray: Mapping[str, Any], folder: AttemptFolder, stops: list[str]) -> list[str]:
    """Lay Ray Train's driver beside an attempt, and return what it is started with."""
    plan, driver = folder.path / LAUNCH, folder.path / "train.py"
    shutil.copyfile(Path(entry.__file__).with_name(driver.name), driver)  # it cannot be imported: it needs Ray
    resources = {"CPU": ray["cpus"], "GPU": ray["gpus"]}
    told = read_record(plan) or {}
    write_atomically(plan, json.dumps({**told, "resources": resources, "cancel": stops}))
    return [str(driver), str(plan)]


def _entrypoint(folder: AttemptFolder) -> str:
    # Our own Python, by its path: the one that Ray finds may be any.
    return (
        f"exec {shlex.quote(sys.executable)} -P {shlex.quote(entry.__file__)} {shlex.quote(str(folder.path / ENTRY))}"
    )


def _environment(environment: Mapping[str, str], *, shared: bool) -> dict[str, str]:
    return dict(environment) if shared else {key: value for key, value in environment.items() if key not in _OURS}


def _places(spec: Spec, folder: AttemptFolder) -> list[str]:
    return [
        str(folder.outputs if output.type == "uri_file" else folder.outputs / name)
        for name, output in spec.outputs.items()
    ]


def _packages(spec: Spec, folder: AttemptFolder) -> list[str]:
    """Return what the cluster has to install for a job that goes there without its environment."""
    if spec.environment is None:
        return []
    made = read_record(folder.python)
    if made is None:
        hint = "give it packages, or use a cluster that sees the files of this machine: ?files=shared"
        raise Invalid("a container cannot be sent to a Ray cluster", hint=hint)
    return [str(each) for each in made["packages"]]


def _size(logs: Path) -> int:
    return sum(path.stat().st_size for path in logs.iterdir()) if logs.exists() else 0
