"""An Airflow operator: a task that is a job of Studiolo, submitted, followed, and ended with the task.

StudioloJobOperator(task_id="train", job_file="train.yml", overrides={"inputs.rate": 0.1}, home="/data/.studiolo")
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from jobs import records, submit
from jobs.files import read_job
from jobs.records import JobRecord
from studiolo.job_making import make
from workspace.errors import MissingExtra, NotFound
from workspace.home import Workspace

try:
    from airflow.sdk import BaseOperator
    from airflow.sdk.exceptions import AirflowException
    from airflow.triggers.base import BaseTrigger, TriggerEvent
except ImportError:
    raise MissingExtra("the Airflow operator", hint="pip install 'studiolo[airflow]'") from None

EVERY = 2.0  # seconds between two looks of a triggerer
_LONGEST_NAME = 200


class StudioloJobOperator(BaseOperator):  # type: ignore[misc]  # Airflow is in an environment of its own
    """Submit a job file, log what it says, and fail where it does not complete; returns the job's name.

    `overrides` are laid over the file as `--set` does it. `home` is the workspace, as STUDIOLO_HOME where it is left
    out. A task that is killed cancels its job. One whose worker died finds its job again when it is tried again,
    where that still runs. With `deferrable` no worker waits: the triggerer looks after the job; Airflow tells nobody
    when such a task is killed meanwhile, so its job goes on.
    """

    template_fields = ("job_file", "overrides", "home")
    ui_color = "#efe6d8"

    def __init__(
        self,
        *,
        job_file: str,
        overrides: Mapping[str, Any] | None = None,
        home: str | None = None,
        deferrable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_file = job_file
        self.overrides = overrides
        self.home = home
        self.deferrable = deferrable
        self.job_name = ""

    def execute(self, context: Mapping[str, Any]) -> str:
        """Run the job to its end, or hand it to the triggerer."""
        with Workspace.open(self.home) as workspace:
            job = self._begun(workspace, context)
            self.job_name = job.name
            self.log.info("job %s", job.name)
            if self.deferrable and not job.ended:
                self.defer(trigger=StudioloJobTrigger(home=str(workspace.home), job=job.name), method_name="end")
            for line in _lines(workspace, job.name):
                self.log.info("%s", line)
            return _checked(submit.wait(workspace, job.name))

    def end(self, context: Mapping[str, Any], event: Mapping[str, Any]) -> str:  # noqa: ARG002  Airflow calls it so
        """Go on when the triggerer has seen the job end."""
        with Workspace.open(self.home) as workspace:
            for line in _lines(workspace, event["job"]):
                self.log.info("%s", line)
            return _checked(records.get(workspace, event["job"]))

    def on_kill(self) -> None:
        """Cancel the job."""
        if self.job_name:
            with Workspace.open(self.home) as workspace:
                submit.cancel(workspace, self.job_name)

    def _begun(self, workspace: Workspace, context: Mapping[str, Any]) -> JobRecord:
        """Return the job of this task, begun now or by a try of the task before whose worker died."""
        name, number = _name_of(context)
        for earlier in range(number, 0, -1):
            found = _find(workspace, f"{name}-{earlier}")
            if found is not None and not found.ended:
                return found
        sets = tuple((self.overrides or {}).items())
        called = f"{name}-{number}" if name else None
        job = read_job(Path(self.job_file), (*sets, *([("name", called)] if called else [])))
        return make(workspace, job)


class StudioloJobTrigger(BaseTrigger):  # type: ignore[misc]  # Airflow is in an environment of its own
    """Waits in Airflow's triggerer until a job has ended."""

    def __init__(self, *, home: str, job: str) -> None:
        super().__init__()
        self.home = home
        self.job = job

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another process makes this of."""
        return "studiolo.airflow_operator.StudioloJobTrigger", {"home": self.home, "job": self.job}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the job has ended."""
        while not await asyncio.to_thread(self._has_ended):
            await asyncio.sleep(EVERY)
        yield TriggerEvent({"job": self.job})

    def _has_ended(self) -> bool:
        with Workspace.open(self.home) as workspace:
            return records.get(workspace, self.job).ended


def _checked(job: JobRecord) -> str:
    if job.status != "Completed":
        raise AirflowException(f"job {job.name!r} {job.status.lower()}: {job.error or f'exit code {job.exit_code}'}")
    return job.name


def _lines(workspace: Workspace, name: str) -> Iterator[str]:
    """Yield what a job says, line by line, as it says it."""
    rest = ""
    for chunk in submit.stream(workspace, name):
        *lines, rest = (rest + chunk.decode("utf-8", "replace")).split("\n")
        yield from lines
    if rest:
        yield rest


def _find(workspace: Workspace, name: str) -> JobRecord | None:
    try:
        return records.get(workspace, name)
    except NotFound:
        return None


def _name_of(context: Mapping[str, Any]) -> tuple[str, int]:
    """Return what the jobs of a task in a run are called, and which try this is; no name outside a run."""
    task = context.get("ti")
    if task is None:
        return "", 0
    mapped = "" if task.map_index is None or task.map_index < 0 else f"-{task.map_index}"
    words = f"{task.dag_id}-{task.task_id}{mapped}-{task.run_id}"
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", words)[-_LONGEST_NAME:].lstrip("._-"), int(task.try_number)
