"""Command and Spark jobs: what their commands name, and what Spark is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jobs.checks.names import refusal, undeclared
from jobs.files.command import CommandJob
from jobs.files.ports import Input, Output
from jobs.files.reading import Finding, Origin
from jobs.files.spark import EntryClass, EntryFile, SparkJob, option

NEEDED = ("spark.driver.cores", "spark.driver.memory", "spark.executor.cores", "spark.executor.memory")
MIN, MAX = "spark.dynamicAllocation.minExecutors", "spark.dynamicAllocation.maxExecutors"


def of_command(job: CommandJob) -> Iterator[Finding]:
    """Yield what cannot be right in a command job."""
    yield from undeclared(job.origin, ("command",), job.command, {"inputs": job.inputs, "outputs": job.outputs})


def of_spark(job: SparkJob) -> Iterator[Finding]:
    """Yield what cannot be right in a Spark job."""
    yield from undeclared(job.origin, ("args",), job.args, {"inputs": job.inputs, "outputs": job.outputs})
    yield from entry(job.origin, job)
    yield from conf(job.origin, job.conf)
    yield from modes(job.origin, job.inputs, job.outputs)
    if (job.compute is None) == (job.resources is None):
        what = "a Spark job needs `compute` or `resources`" + (", not both" if job.compute else "")
        yield refusal("compute-or-resources", what, job.origin)


def entry(origin: Origin, job: Any) -> Iterator[Finding]:
    """Yield why there is no script to run: a class, or a file that is not in `code`."""
    if isinstance(job.entry, EntryClass):
        hint = "write a script and name it as `file`"
        yield refusal("entry-class", "a class cannot be run", origin, "entry", "class_name", hint=hint)
    local = isinstance(job.entry, EntryFile) and isinstance(job.code, Path)
    if local and not (job.code / job.entry.file).exists():
        what = f"no script {job.entry.file!r} in {job.code.name}"
        yield refusal("missing-script", what, origin, "entry", "file", hint="it is looked for in `code`")


def conf(origin: Origin, told: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what Spark must be told and is not, and what cannot be together."""
    dynamic = str(option(told, "spark.dynamicAllocation.enabled")) in ("True", "true")
    missing = [name for name in NEEDED if option(told, name) is None]
    least, most, fixed = option(told, MIN), option(told, MAX), option(told, "spark.executor.instances")
    if not dynamic and fixed is None:
        missing.append("spark.executor.instances")
    if dynamic:
        missing += [name for name, value in ((MIN, least), (MAX, most)) if value is None]
    if missing:
        yield refusal("spark-conf", f"`conf` needs {', '.join(missing)}", origin, "conf")
    elif not dynamic and (least is not None or most is not None):
        what = "without dynamic allocation there is no least and no most of executors"
        yield refusal("spark-conf", what, origin, "conf")
    elif dynamic and not _in_order(least, most, fixed):
        yield refusal("spark-conf", "the numbers of executors contradict each other", origin, "conf")


def modes(origin: Origin, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield inputs and outputs that Spark cannot have: it reads and writes them itself."""
    for side, ports in (("inputs", inputs), ("outputs", outputs)):
        for name, port in ports.items():
            if isinstance(port, Input | Output) and port.mode != "direct" and name != "default":
                what = f"`{name}` has mode {port.mode or 'none'}, and Spark takes `direct` alone"
                yield refusal("spark-mode", what, origin, side, name, hint="write mode: direct")


def _in_order(least: Any, most: Any, fixed: Any) -> bool:
    try:
        return 0 < least <= most and (not fixed or least <= fixed <= most)
    except TypeError:
        return False
