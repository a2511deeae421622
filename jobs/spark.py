"""A Spark job as the command that does it: `spark-submit` of the job's own PySpark, on this machine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.environments.spec import name_of
from jobs.files.command import CommandJob
from jobs.files.environment import Environment
from jobs.files.ports import Input
from jobs.files.references import Reference
from jobs.files.spark import CONF_NAMES, EntryFile, SparkJob, option
from jobs.needs import Capacity, Needs, size
from jobs.records import JobRecord
from jobs.spec import DIRECT
from jobs.submit import Wishes, submit
from jobs.variables import DEVICES
from workspace.errors import Invalid
from workspace.home import Workspace

PYTHONS = {"3.2": "3.8", "3.3": "3.10", "3.4": "3.10", "3.5": "3.11", "4.0": "3.12"}  # that a Spark runs with
DEFAULT = "3.5"
# What Azure ML's Spark holds beside itself, for `pyspark.pandas`.
_BESIDE = ("pandas<3", "numpy<2", "pyarrow")
_OURS = {  # nothing of it is reached from outside
    "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
}  # fmt: skip
_LARGEST = 0.8  # of this machine's memory
# On one machine executors are threads of the driver: what there would be of them says how many.
_OF_CLUSTERS = ("spark.driver.cores", "spark.executor.cores", "spark.executor.memory", "spark.executor.instances",
                "spark.dynamicAllocation.")  # fmt: skip


def submit_spark(workspace: Workspace, job: SparkJob, wishes: Wishes | None = None) -> JobRecord:
    """Record a Spark job and begin it where there is room."""
    wishes = wishes or Wishes()
    room = Capacity.of(workspace.settings, visible=os.environ.get(DEVICES)).room
    cores = _cores(job.conf, room.cpus)
    command = command_of(job, cores=cores, memory=room.memory)
    return submit(workspace, command, replace(wishes, needs=wishes.needs or Needs(cpus=cores)), kind="spark")


def command_of(job: SparkJob, *, cores: int, memory: int) -> CommandJob:
    """Return the command that does a Spark job with so many cores, on a machine with so many bytes of memory."""
    words = ["exec", "spark-submit", "--master", f"local[{cores}]", "--driver-memory", _memory(job.conf, memory)]
    for name, value in {**_OURS, **_told(job.conf)}.items():
        words += ["--conf", f"{name}={value}"]
    for flag, files in (
        ("--py-files", job.py_files), ("--jars", job.jars), ("--files", job.files), ("--archives", job.archives)
    ):  # fmt: skip
        words += [flag, ",".join(files)] if files else []
    if not isinstance(job.entry, EntryFile):
        raise Invalid("a class cannot be run as a Spark job", hint="name a script: entry: {file: count.py}")
    words.append(job.entry.file)
    return CommandJob(
        origin=job.origin, name=job.name, display_name=job.display_name, experiment_name=job.experiment_name,
        description=job.description, tags=job.tags, compute=job.compute,
        properties={key: None if value is None else str(value) for key, value in job.properties.items()},
        command=f"{shlex.join(words)} {job.args or ''}".strip(), environment=environment_of(job), code=job.code,
        environment_variables={"PYSPARK_PYTHON": "python", "PYSPARK_DRIVER_PYTHON": "python"},
        inputs={name: _input(value, job.folder) for name, value in job.inputs.items()}, outputs=job.outputs,
    )  # fmt: skip


def environment_of(job: SparkJob) -> Environment | Reference:
    """Return the environment with Spark in it: in Azure ML the cluster brings it, whatever the conda file says."""
    given = job.environment
    if isinstance(given, Reference):
        return given
    version = job.resources.runtime_version if job.resources and job.resources.runtime_version else DEFAULT
    version = ".".join(version.replace(" ", "").split(".")[:2])
    listed = list((given.conda or {}).get("dependencies") or ()) if given is not None else []
    in_pip = [line for each in listed if isinstance(each, Mapping) for line in each.get("pip") or ()]
    in_conda = [each for each in listed if isinstance(each, str)]
    if given is not None and any(_name(line) == "pyspark" for line in (*in_pip, *in_conda)):
        return given
    python = [] if any(_name(line) == "python" for line in in_conda) else [f"python={PYTHONS.get(version, '3.11')}"]
    known = {_name(line) for line in (*in_pip, *in_conda)}
    added = [f"pyspark=={version}.*", *(line for line in _BESIDE if _name(line) not in known)]
    conda = {"dependencies": [*python, *in_conda, {"pip": [*in_pip, *added]}]}
    return Environment(conda=conda, folder=given.folder if given is not None else job.folder)


def _name(line: str) -> str:
    return name_of(line.partition("=")[0].strip()) if line[:1].isalnum() else ""


def _input(value: Any, folder: Path) -> Any:
    """Have data of the workspace laid out: Spark reads paths of this machine, and URLs by itself."""
    if isinstance(value, Input) and value.mode == DIRECT and isinstance(value.target(folder), Path | Reference):
        return replace(value, mode=None)
    return value


def _cores(conf: Mapping[str, Any], most: float) -> int:
    executors = option(conf, "spark.executor.instances") or option(conf, "spark.dynamicAllocation.maxExecutors") or 1
    wanted = int(option(conf, "spark.executor.cores") or most) * int(executors)
    return max(1, min(int(most), wanted))


def _memory(conf: Mapping[str, Any], machine: int) -> str:
    """Return the memory of the driver, which the executors share here: what either is given, if there is as much."""
    asked = [option(conf, f"spark.{who}.memory") for who in ("driver", "executor")]
    wanted = max([size(each) for each in asked if each is not None], default=2**30)
    return f"{max(512, min(wanted, int(machine * _LARGEST)) // 2**20)}m"


def _told(conf: Mapping[str, Any]) -> dict[str, str]:
    """Return what Spark is told beside cores and memory, by its own names."""
    ours = {alias: name for name, alias in CONF_NAMES.items()}
    named = {ours.get(name, name): value for name, value in conf.items()}
    left_out = (*_OF_CLUSTERS, "spark.driver.memory")
    return {name: _text(value) for name, value in named.items() if not name.startswith(left_out)}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
