"""Running one step of a pipeline in the foreground, with the terminal, so that a debugger in it can be spoken to."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from jobs import preparation, records
from jobs.command_process import shell
from jobs.create import create
from jobs.environments import Prepared
from jobs.environments import prepare as events_of
from jobs.environments.containers import Run, command
from jobs.environments.events import Container
from jobs.environments.layer import layer
from jobs.environments.layer import variables as variables_of
from jobs.files.command import CommandJob, Job
from jobs.files.control_flow import DoWhile, IfElse, ParallelFor
from jobs.files.pipeline import PipelineJob
from jobs.files.ports import Value
from jobs.inputs import lay_code, lay_out
from jobs.laying import lay_outputs, placed
from jobs.leftovers import MARKER
from jobs.parents import child_name
from jobs.pipelines.flow import items_of
from jobs.pipelines.in_front import in_front
from jobs.pipelines.order import needed, order_of
from jobs.pipelines.process import around_of, wiring_of
from jobs.pipelines.steps import job_of_step
from jobs.pipelines.submission import complete, promoted
from jobs.pipelines.wiring import Wiring, component_of, fitted, outcome_of
from jobs.preparation import OUTSIDE, Python, own_python
from jobs.records import JobRecord
from jobs.spec import Spec
from jobs.stand_ins import in_container, put_last
from jobs.states import COMPLETED
from jobs.submit import Wishes, name_of, spec_of, wait
from jobs.variables import Told, variables
from workspace.errors import Invalid, NotFound, Unavailable, did_you_mean
from workspace.home import Workspace
from workspace.settings import cache_folder

# What a debugger wants to know of the terminal and of the person beside what every job is told.
_TERMINAL = ("TERM", "COLUMNS", "LINES", "COLORTERM", "DISPLAY", "EDITOR", "PYTHONBREAKPOINT", "INPUTRC")


def debug(workspace: Workspace, job: PipelineJob, step: str, *, tracking: tuple[str, ...] = ()) -> int:
    """Run a step of a pipeline here and now, and return its exit code.

    `outer.inner` is a step of a pipeline that is a step. What it needs is taken from an earlier run of the pipeline, or
    run first, as a pipeline of its own. The command runs in the folder of its code itself, not in a copy: what is
    changed there counts at once. Of a sweep one trial runs, of a parallel step one mini-batch, of a loop one turn.
    """
    whole = complete(workspace, replace(job, name=job.name or name_of(job)))
    made = _reached(workspace, whole, step, tracking)
    return _run(workspace, in_front(workspace, step, made), f"{whole.name}_{step}_debug")


def _reached(workspace: Workspace, job: PipelineJob, path: str, tracking: tuple[str, ...]) -> Job:
    """Return the job that does a step, with all that it is given."""
    key, _, rest = (path, "", "") if path in job.steps else path.partition(".")
    node = job.steps.get(key)
    if node is None:
        raise NotFound(f"the pipeline has no step {key!r}", hint=did_you_mean(key, job.steps))
    if isinstance(node, IfElse | DoWhile | ParallelFor):
        hint = "name a step that it runs"
        raise Invalid(f"step {key!r} says which steps run and does nothing itself", hint=hint, at=node.origin.at())
    wiring = _prepared(workspace, job, key, tracking)
    inputs = _given(wiring, job, key)
    made = job_of_step(key, node, inputs, around=around_of(job), wiring=wiring, name=f"{job.name}_{key}")
    if isinstance(made, PipelineJob):
        if not rest:
            known = ", ".join(f"{path}.{each}" for each in made.steps)
            raise Invalid(f"step {path!r} is a pipeline: one of its steps can be run", hint=f"there are: {known}")
        return _reached(workspace, made, rest, tracking)
    if rest:
        raise NotFound(f"step {key!r} is no pipeline: it has no step {rest!r}")
    return made


def _given(wiring: Wiring, job: PipelineJob, key: str) -> dict[str, Value]:
    """Return what a step is given; where a loop runs it, with what the first turn has."""
    node = job.steps[key]
    inputs = wiring.inputs_of(key, node)
    loop = job.steps.get(order_of(job.steps, job.settings).bodies.get(key, ""))
    if not isinstance(loop, ParallelFor):
        return inputs
    items = items_of(loop, wiring, job.folder)
    if not items:
        raise Invalid(f"step {key!r} is never run: its loop has no items", at=loop.origin.at("items"))
    own = {name: wiring.value(value) for name, value in items[0].items()}
    return fitted(component_of(node), {**inputs, **own})


def _prepared(workspace: Workspace, job: PipelineJob, step: str, tracking: tuple[str, ...]) -> Wiring:
    """Return the wiring of a pipeline with what a step needs: found where it was made before, else made now."""
    wiring = wiring_of(job)
    order = order_of(job.steps, job.settings)
    names = needed(step, order)
    if not names:
        return wiring
    if gathering := [name for name in names if isinstance(job.steps[name], ParallelFor)]:
        what = f"step {step!r} needs what {gathering[0]!r} gathers: it cannot be run in the foreground"
        raise Invalid(what, hint="debug the body of the loop", at=job.steps[step].origin.at())
    bodies = [body for body, loop in order.bodies.items() if loop in names]
    steps = {key: _without_promotion(each) for key, each in job.steps.items() if key in (*names, *bodies)}
    settings = replace(job.settings, on_init=None, on_finalize=None)
    first = replace(
        job, name=f"{job.name}_before_{secrets.token_hex(2)}", jobs=steps, component=None, inputs=wiring.inputs,
        outputs={}, settings=settings,
    )  # fmt: skip
    _say(f"what step {step!r} needs is found or made first, by job {first.name}: {', '.join(names)}")
    ended = wait(workspace, create(workspace, first, Wishes(tracking=tracking)).name)
    if ended.status != COMPLETED:
        hint = f"studiolo job stream {ended.name}"
        raise Unavailable(f"what step {step!r} needs cannot be had: {ended.error or ended.status}", hint=hint)
    for key in (*names, *bodies):
        if (child := _child(workspace, child_name(ended.name, key))) is not None:
            wiring.outcomes[key] = wiring.outcomes[order.bodies.get(key, key)] = outcome_of(workspace, child)
    return wiring


def _child(workspace: Workspace, name: str) -> JobRecord | None:
    """Return the job that did a step, or the last turn of one that a loop ran; None where there is none."""
    query = "SELECT name FROM jobs WHERE name = :name OR name LIKE :turns ESCAPE '!'"
    turns = name.replace("!", "!!").replace("_", "!_").replace("%", "!%") + ".%"
    found = [str(row["name"]) for row in workspace.light.rows(query, name=name, turns=turns)]
    last = max(found, key=lambda each: int(each.removeprefix(f"{name}.")) if each != name else -1, default=None)
    return None if last is None else records.get(workspace, last)


def _without_promotion(step: Any) -> Any:
    """Return a step that gives nothing to its pipeline."""
    ends = promoted(step)
    if not ends:
        return step
    return replace(step, outputs={
        port: replace(output, path=None) if port in ends else output for port, output in step.outputs.items()
    })  # fmt: skip


def _run(workspace: Workspace, job: CommandJob, name: str) -> int:
    spec = spec_of(workspace, job)
    folder = workspace.home / "debug" / f"{name}_{secrets.token_hex(2)}"
    place = job.code if isinstance(job.code, Path) and job.code.is_dir() else folder / "code"
    if place != job.code:
        lay_code(spec.code, place, workspace.blobs)
    laid = lay_out(
        spec.data, folder / "inputs", blobs=workspace.blobs, checkouts=workspace.home / "checkouts", protect=False
    )
    outputs = lay_outputs(spec.outputs, folder / "outputs")
    python = _python(spec, folder)
    told = Told(
        home=workspace.home, name=name, number=1,
        inputs={key: str(value) for key, value in spec.inputs.items() if key not in spec.data} | dict(laid.values),
        outputs=outputs, devices=None, python=python.variables, tracking={}, settings={},
    )  # fmt: skip
    text = placed(spec.command, laid.values, outputs)
    environment = variables(spec, told) | {key: os.environ[key] for key in _TERMINAL if key in os.environ}
    line = _line(python, shell(text, environment["PATH"]), (place, folder), environment)
    _say(f"step runs in {place}; its inputs and outputs are in {folder}")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for what runs in front
    try:
        return subprocess.run(
            line, cwd=place, env=python.around(environment), check=False, restore_signals=True,
            preexec_fn=_hear_interrupts,
        ).returncode  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _python(spec: Spec, folder: Path) -> Python:
    """Return what a step's command runs with; its environment is made first where it is not there."""
    if spec.environment is None:
        return own_python(spec)
    wanted = preparation.read_environment(spec.environment, Path(spec.folder))
    for event in events_of(cache_folder(), wanted):
        if not isinstance(event, Prepared):
            _say(str(getattr(event, "text", event)))
        elif event.container is not None:
            return Python(container=asdict(event.container))
        else:
            own = layer(event, folder / "python")
            put_last(cache_folder(), folder / "python")
            return Python(variables=variables_of(event, own, dict(os.environ) | dict(spec.passed)))
    raise Unavailable("the environment of the step was not made", hint="studiolo environment build")


def _line(python: Python, shell: list[str], folders: tuple[Path, Path], environment: Mapping[str, str]) -> list[str]:
    """Return the command line of a step; where it runs in a container, that has the terminal and these folders."""
    if python.container is None:
        return shell
    place, beside = folders
    modules, line = in_container(cache_folder(), ["bash", *shell[1:]])
    terminal = ["--interactive", *(["--tty"] if sys.stdin.isatty() else [])]
    run = Run(
        command=line, folder=place, name=f"studiolo-{environment[MARKER]}", options=terminal,
        mounts={place: True, beside: True, modules: False}, variables=sorted(set(environment) - OUTSIDE),
    )  # fmt: skip
    return command(Container(**python.container), run)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
