"""What a step is given: literals, the pipeline's inputs, what other steps have left."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jobs import records
from jobs.files.component import Component
from jobs.files.expressions import EXPRESSION, Binding, binding, is_expression, render, used
from jobs.files.ports import DATA, PRIMITIVES, Input, InputPort, Scalar, Value, typed
from jobs.files.reading import Place, Reading
from jobs.folders import outputs_of
from jobs.foreign import check_place, uses
from jobs.records import JobRecord
from jobs.spec import Spec
from jobs.states import COMPLETED, FAILED
from workspace.documents import Document
from workspace.errors import Invalid, NotFound
from workspace.home import Workspace

SKIPPED = "Skipped"
REUSED_FROM = "studiolo.reused_from"  # the property of a job that took the outputs of another
LONGEST_LITERAL = 1_000_000  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An output that is there: the asset that it became, and where it lies."""

    path: str  # azureml:data:train-model:1
    type: str
    place: Path

    def input(self) -> Input:
        """Return it as the input of another job."""
        return Input(type=self.type, path=self.path)  # type: ignore[arg-type]  # one of DATA

    def literal(self, kind: str) -> Scalar:
        """Return what the file of a literal holds."""
        with self.place.open("rb") as file:
            text = file.read(LONGEST_LITERAL).decode(errors="replace").strip()
        return typed(_nowhere(self.place), kind, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a step."""

    status: str
    job: str = ""
    outputs: Mapping[str, Given] = field(default_factory=dict)
    why: str = ""
    is_gathered: bool = False  # of many turns: literals are a list in a file

    @property
    def is_completed(self) -> bool:
        """Whether others can go on from it."""
        return self.status == COMPLETED


class Wiring:
    """A pipeline's inputs, and what its steps were given and have left."""

    def __init__(
        self,
        inputs: Mapping[str, Value],
        steps: Mapping[str, Any],
        *,
        ports: Collection[str] = (),
        foreign: Collection[str] = (),
    ) -> None:
        """`foreign` names the inputs that came over a network."""
        self.inputs = dict(inputs)
        self.foreign = foreign
        self.steps = steps
        self.outcomes: dict[str, Outcome] = {}
        self.given: dict[str, Mapping[str, Value]] = {}
        self._declared = {*inputs, *ports}

    def inputs_of(self, key: str, step: Any) -> dict[str, Value]:
        """Return what a step is given, as its component takes it; what is not given is not there."""
        found: dict[str, Value] = {}
        for name, written in getattr(step, "inputs", {}).items():  # AutoML's jobs have none
            value = self.value(written)
            if isinstance(value, Mapping):  # a group
                found |= {f"{name}.{member}": each for member, each in value.items()}
            elif value is not None:
                found[name] = value
        if not getattr(step, "inline", True):
            found = fitted(component_of(step), found)
        self.given[key] = found
        return found

    def is_foreign(self, wire: Binding) -> bool:
        """Whether an input, of the pipeline or of a step, came over a network."""
        if wire.side != "inputs":
            return False
        if wire.node is None:
            return wire.name.partition(".")[0] in self.foreign
        return wire.name in self.foreign_of(self.steps.get(wire.node))

    def foreign_of(self, step: Any) -> set[str]:
        """Return which inputs of a step came over a network."""
        return {name for name, each in getattr(step, "inputs", {}).items() if uses(each, self.is_foreign)}

    def value(self, written: Value) -> Any:
        """Return what a value of a step's inputs stands for: a literal, data, a group of those, or None."""
        if isinstance(written, Input):
            return self._data(written)
        if not isinstance(written, str) or not any(binding(name) for name in used(written)):
            return written
        if is_expression(written):
            return self.find(used(written)[0])
        return self._filled(written)

    def find(self, name: str) -> Any:
        """Return what an expression stands for: `find("parent.inputs.rate")`; None where nothing was given."""
        wire = binding(name)
        if wire is None:
            raise LookupError(name)
        if wire.node is None:
            return self._of_pipeline(wire)
        if wire.side == "inputs":
            return self.given.get(wire.node, {}).get(wire.name)
        return self._of_step(wire.node, wire.name)

    def filled(self, name: str) -> Any:
        """As `find`, for other keys of a step: data as a file would say it; what stands for nothing is left."""
        found = self.find(name)
        if found is None:
            raise LookupError(name)
        return {"type": found.type, "path": found.path} if isinstance(found, Input) else found

    def _of_pipeline(self, wire: Binding) -> Any:
        if wire.side == "outputs":
            raise LookupError(str(wire))
        if wire.name in self.inputs or wire.name in self._declared:
            return self.inputs.get(wire.name)
        prefix = f"{wire.name}."
        group = {name.removeprefix(prefix): value for name, value in self.inputs.items() if name.startswith(prefix)}
        if not group:
            raise NotFound(f"the pipeline has no input {wire.name!r}")
        return group

    def _of_step(self, key: str, port: str) -> Any:
        outcome = self.outcomes.get(key)
        if outcome is None or not outcome.is_completed:
            raise NotFound(f"step {key!r} has left nothing")
        if port not in outcome.outputs:
            hint = f"it is to be written to ${{{{outputs.{port}}}}}"
            raise NotFound(f"step {key!r} (job {outcome.job}) has left no output {port!r}", hint=hint)
        found = outcome.outputs[port]
        kind = type_of_output(self.steps.get(key), port)
        return found.literal(kind) if kind in PRIMITIVES and not outcome.is_gathered else found.input()

    def _data(self, written: Input) -> Input | None:
        if not any(binding(name) for name in used(written.path)):
            return written
        found = self.find(used(written.path)[0]) if is_expression(written.path) else self._filled(written.path)
        if found is None:
            return None
        if not isinstance(found, Input):
            if uses(written, self.is_foreign):
                check_place(render(found), written.path)
            return replace(written, path=render(found))
        kind = written.type if written.type != Input().type else found.type
        return replace(found, type=kind, mode=written.mode or found.mode)

    def _filled(self, text: str) -> str:
        def one(name: Any) -> str:
            if binding(name[1]) is None:
                return str(name[0])
            found = self.find(name[1])
            return found.path if isinstance(found, Input) else render(found)

        return EXPRESSION.sub(one, text)


def fitted(component: Any, given: Mapping[str, Value]) -> dict[str, Value]:
    """Return values as the ports of a component have them, with its defaults."""
    found = dict(given)
    if not isinstance(component, Component):
        return found
    for name, port in component.inputs.items():
        if name in found:
            found[name] = _fitted(component, name, port, found[name])
        elif port.default is not None:
            found[name] = port.default
    return found


def component_of(step: Any) -> Any:
    """Return what a step runs, or None where it is a job itself."""
    return getattr(step, "trial", None) or getattr(step, "component", None)


def type_of_output(step: Any, port: str) -> str:
    """Return the type of an output of a step."""
    component = component_of(step)
    found = component.outputs.get(port) if isinstance(component, Component) else None
    return found.type if found else "uri_folder"


def outcome_of(workspace: Workspace, job: JobRecord) -> Outcome:
    """Return what a job that has ended leaves to others."""
    if job.status != COMPLETED:
        return Outcome(status=job.status, job=job.name, why=_why(job))
    source = job
    if name := job.properties.get(REUSED_FROM):
        source = records.get(workspace, name)
    return Outcome(status=COMPLETED, job=job.name, outputs=outputs_given(workspace, source))


def outputs_given(workspace: Workspace, job: JobRecord) -> dict[str, Given]:
    """Return the outputs of a completed job, by name."""
    return {name: given for name, given in _left(workspace, job).items() if given.place.exists()}


def is_whole(workspace: Workspace, job: JobRecord) -> bool:
    """Return whether everything that a completed job has left is still there."""
    return all(given.place.exists() for given in _left(workspace, job).values())


def _left(workspace: Workspace, job: JobRecord) -> dict[str, Given]:
    query = "SELECT target FROM edges WHERE source = :run"
    targets = [str(row["target"]) for row in workspace.light.rows(query, run=f"run:{job.run_id}")]
    found = {}
    for name, output in Spec.of(job.spec).outputs.items():
        place = outputs_of(workspace.home, job.name) / name
        kind = "model" if output.type.endswith("_model") else "data"
        start = f"{kind}:{output.asset or f'{job.name}-{name}'}:"
        ref = next((target for target in targets if target.startswith(start)), None)
        if ref is not None:
            found[name] = Given(path=f"azureml:{ref}", type=output.type, place=place)
    return found


def truth(value: Any) -> bool:
    """Return whether a condition holds: `truth("True")`."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word not in ("true", "false", "1", "0", ""):
            raise Invalid(f"a condition is true or false, not {value!r}")
        return word in ("true", "1")
    return bool(value)


def _fitted(component: Component, name: str, port: InputPort, value: Value) -> Value:
    if isinstance(value, Input):
        kind = port.type if port.type in DATA else value.type
        return replace(value, type=kind, mode=value.mode or port.mode)  # type: ignore[arg-type]  # one of DATA
    if not port.is_primitive:
        return value
    literal = typed(_nowhere(Path(component.label)), port.type, value)
    if problem := port.problem(literal):
        raise Invalid(f"the input {name!r} of {component.label}: {problem}")
    return literal


def _why(job: JobRecord) -> str:
    if job.error:
        return job.error
    return f"exit code {job.exit_code}" if job.status == FAILED else job.status.lower()


def _nowhere(path: Path) -> Place:
    return Place(Reading(Document(path, {})))
