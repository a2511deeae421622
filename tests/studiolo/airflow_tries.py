"""What is tried with the operator, run by the Python of an environment with Airflow: prints what came of it as JSON."""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowException, TaskDeferred

from jobs import records, submit
from studiolo.airflow_operator import StudioloJobOperator
from workspace.home import Workspace

FOLDER = Path(__file__).parent  # Airflow reads its DAGs here too
HOME = str(FOLDER / "home")


def operator(task: str, command: str, **more: Any) -> StudioloJobOperator:
    path = FOLDER / f"{task}.yml"
    path.write_text(f"command: {command}\ninputs:\n  whom: world\n")
    return StudioloJobOperator(task_id=task, job_file=str(path), home=HOME, **more)


def told(name: str) -> dict[str, Any]:
    with Workspace.open(HOME) as workspace:
        job = records.get(workspace, name)
        return {"name": name, "status": job.status, "says": b"".join(submit.stream(workspace, name)).decode()}


with DAG("tries", schedule=None, start_date=datetime.datetime(2026, 1, 1)) as dag:
    greet = operator("greet", "echo hello ${{inputs.whom}}", overrides={"inputs.whom": "{{ dag.dag_id }}"})
    later = operator("later", "echo later", deferrable=True)
    fails = operator("fails", "exit 3")
    greet >> later >> fails


def in_a_dag() -> dict[str, Any]:
    done = dag.test()
    tasks = {each.task_id: each.state for each in done.get_task_instances()}
    with Workspace.open(HOME) as workspace:
        made = [job.name for job in records.list_jobs(workspace)]
    return {"state": done.state, "tasks": tasks, "jobs": [told(name) for name in sorted(made)]}


def alone() -> dict[str, Any]:
    return told(operator("alone", "echo alone").execute({}))


def failing() -> str:
    try:
        operator("failing", "exit 3").execute({})
    except AirflowException as problem:
        return str(problem)
    return ""


def killed() -> dict[str, Any]:
    task = operator("killed", "echo begun && sleep 60")
    raised: list[str] = []

    def execute() -> None:
        try:
            task.execute({})
        except AirflowException as problem:
            raised.append(str(problem))

    thread = threading.Thread(target=execute)
    thread.start()
    while not task.job_name:
        time.sleep(0.05)
    task.on_kill()
    thread.join(60)
    return {**told(task.job_name), "raised": raised, "stuck": thread.is_alive()}


def tried_again() -> dict[str, Any]:
    """The worker of the first try has died, its job runs on: the second try follows it, the third begins another."""

    def context(number: int) -> dict[str, Any]:
        return {"ti": SimpleNamespace(dag_id="d", task_id="t", run_id="r+1", map_index=-1, try_number=number)}

    task = operator("again", "sleep 3", deferrable=True)
    names = []
    for number in (1, 2):
        try:
            task.execute(context(number))
        except TaskDeferred:
            names.append(task.job_name)
    with Workspace.open(HOME) as workspace:
        submit.wait(workspace, names[0], seconds=60)
    task.deferrable = False
    return {"names": [*names, task.execute(context(3))]}


def triggered() -> dict[str, Any]:
    task = operator("triggered", "sleep 1; echo seen", deferrable=True)
    try:
        task.execute({})
    except TaskDeferred as deferred:
        path, given = deferred.trigger.serialize()
        module, _, name = path.rpartition(".")
        again = getattr(sys.modules[module], name)(**given)

        async def first() -> Any:
            async for event in again.run():
                return event.payload
            return None

        return {"method": deferred.method_name, "job": told(task.end({}, asyncio.run(first())))}
    return {}


if __name__ == "__main__":
    tries = (in_a_dag, alone, failing, killed, tried_again, triggered)
    found: dict[str, Any] = {each.__name__: each() for each in tries}
    found["is_operator"] = issubclass(StudioloJobOperator, BaseOperator)
    (FOLDER / "found.json").write_text(json.dumps(found))
