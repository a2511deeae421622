"""How many processes a distributed job has, settled when it is submitted, and how its launcher is told."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.files.command import CommandJob
from jobs.files.distribution import Mpi, PyTorch, RayCluster, TensorFlow
from jobs.files.expressions import resolve
from workspace.errors import Invalid
from workspace.paths import write_atomically

MOST = 512  # processes on one machine; more is a typing error


def plan_of(job: CommandJob, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the launcher is told besides the command; None where the job is one process.

    `inputs` are the values of the job's inputs, which its fields may name.
    """
    given = job.distribution
    nodes = _count("resources.instance_count", job.resources.instance_count if job.resources else None, inputs)
    if isinstance(given, PyTorch | Mpi):
        each = _count("distribution.process_count_per_instance", given.process_count_per_instance, inputs)
        return _checked({"type": given.type, "nodes": nodes, "processes": each}, nodes * each)
    if isinstance(given, TensorFlow):
        workers = _count("distribution.worker_count", given.worker_count, inputs, default=nodes)
        servers = _count("distribution.parameter_server_count", given.parameter_server_count, inputs, default=0)
        plan = {"type": given.type, "nodes": nodes, "workers": workers, "servers": servers}
        return _checked(plan, workers + servers)
    if isinstance(given, RayCluster):
        return _checked(_of_ray(given, nodes), nodes)
    return None


def lay(plan: Mapping[str, Any], command: str, folder: Path) -> str:
    """Put the launcher of an attempt into its folder; return the command that starts it in place of the job's own."""
    launcher, told = folder / "launch.py", folder / "launch.json"
    shutil.copyfile(Path(__file__).with_name(launcher.name), launcher)
    write_atomically(told, json.dumps({**plan, "command": command}))
    python = '"$(command -v python3 || command -v python)"'
    return f"exec {python} {shlex.quote(str(launcher))} {shlex.quote(str(told))}"


def _of_ray(given: RayCluster, nodes: int) -> dict[str, Any]:
    return {
        "type": given.type,
        "nodes": nodes,
        "port": given.port,
        "address": given.address,
        "dashboard": bool(given.include_dashboard),
        "dashboard_port": given.dashboard_port,
        "head_arguments": shlex.split(given.head_node_additional_args or ""),
        "worker_arguments": shlex.split(given.worker_node_additional_args or ""),
    }


def _count(field: str, value: Any, inputs: Mapping[str, Any], *, default: int = 1) -> int:
    """Return how many there are: a number, or an input that has one."""
    found = resolve(value, {f"inputs.{name}": each for name, each in inputs.items()}) if "${{" in str(value) else value
    try:
        count = default if found is None else int(found)
    except (TypeError, ValueError):
        raise Invalid(f"`{field}` must be a whole number, not {found!r}") from None
    if count < min(default, 1):
        raise Invalid(f"`{field}` must be at least {min(default, 1)}, not {count}")
    return count


def _checked(plan: dict[str, Any], processes: int) -> dict[str, Any]:
    if processes > MOST:
        raise Invalid(f"the job would be {processes} processes on this machine; {MOST} are the most")
    return plan
