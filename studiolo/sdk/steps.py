"""Commands, components and sweeps in Python: each can be submitted, or called as a step of a pipeline."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from studiolo.sdk.ports import Input, Output, OutputOf, kind_of, plain
from studiolo.sweep import SPACES, Choice, Randint
from workspace.errors import Invalid, did_you_mean

# Where Azure ML's Python has a word of its own for what stands deeper in a file.
_DEEPER = {
    "instance_count": "resources", "instance_type": "resources", "shm_size": "resources", "docker_args": "resources",
    "locations": "resources", "timeout": "limits", "job_tier": "queue_settings", "priority": "queue_settings",
}  # fmt: skip
# What a component says of itself; the rest is said by the step.
_OF_COMPONENT = ("command", "code", "environment", "is_deterministic")
_OF_TRIAL = ("command", "code", "environment", "environment_variables", "resources", "distribution")
_OF_SWEEP = ("objective", "sampling_algorithm", "early_termination", "limits", "search_space")
_OF_JOB = ("name", "experiment_name", "parent_job_name", "services")
# The steps of the pipelines that are being put together, the innermost one last.
being_built: ContextVar[tuple[list[Step], ...]] = ContextVar("being_built", default=())


class Ports:
    """Inputs or outputs by name: `step.inputs.rate = 0.1`, `step.outputs.model`."""

    def __init__(self, found: Mapping[str, Any], given: dict[str, Any]) -> None:
        self.__dict__.update(_found=found, _given=given)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.__dict__["_found"]:
            raise AttributeError(f"no port {name!r}; there are: {', '.join(self.__dict__['_found'])}")
        return self.__dict__["_found"][name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__["_found"]:
            raise Invalid(f"no port {name!r}", hint=did_you_mean(name, self.__dict__["_found"]))
        self.__dict__["_given"][name] = plain(value) if isinstance(value, Output) else value

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __iter__(self) -> Any:
        return iter(self.__dict__["_found"])


class Step:
    """A job or a step of one. What a file can say of it are its attributes: `step.compute = "ray"`."""

    def __init__(self, kind: str, said: Mapping[str, Any], *, folder: Path, component: Any = None) -> None:
        self.__dict__.update(
            kind=kind, said=dict(said), folder=folder, component=component,
            key="", takes={}, gives={}, given={}, left={},
        )  # fmt: skip

    @property
    def inputs(self) -> Ports:
        """What it is given, by name."""
        return Ports({name: self.given.get(name) for name in self.takes}, self.given)

    @property
    def outputs(self) -> Ports:
        """What it leaves, by name; each can be given to another step."""
        for name, port in self.gives.items():
            self.left.setdefault(name, dict(port))
        return Ports({name: OutputOf(self, name, self.left[name]) for name in self.gives}, self.left)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__dict__["said"].get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            self.said[name] = value

    def __call__(self, **inputs: Any) -> Step:
        """Return the same with these inputs; inside a pipeline it is a step of it."""
        for name in inputs:
            if name not in self.takes:
                raise Invalid(f"{self.label} takes no input {name!r}", hint=did_you_mean(name, self.takes))
        made = copy.copy(self)
        made.__dict__.update(said=copy.copy(self.said), given={**self.given, **inputs}, left=copy.deepcopy(self.left))
        return registered(made)

    def __copy__(self) -> Step:
        made = Step.__new__(Step)
        made.__dict__.update(self.__dict__)
        return made

    @property
    def label(self) -> str:
        """What messages call it."""
        return str(self.said.get("display_name") or self.said.get("name") or self.kind)

    def set_limits(self, **limits: Any) -> None:
        """Set limits: `timeout` of a command; `max_total_trials`, `max_concurrent_trials`, … of a sweep."""
        self.said["limits"] = {**(self.said.get("limits") or {}), **limits}

    def set_resources(self, **resources: Any) -> None:
        """Set resources: `instance_count`, `shm_size`, `properties` …"""
        self.said["resources"] = {**(self.said.get("resources") or {}), **resources}

    def set_objective(self, *, goal: str, primary_metric: str) -> None:
        """Say what is best: `goal` is minimize or maximize."""
        self.said["objective"] = {"goal": goal.lower(), "primary_metric": primary_metric}

    def sweep(self, *, primary_metric: str, goal: str, sampling_algorithm: Any = "random", **said: Any) -> Step:
        """Return a sweep that tries this command with the inputs that were given as Choice, Uniform, …

        Limits are `max_total_trials`, `max_concurrent_trials`, `timeout` and `trial_timeout`, here or by `set_limits`.
        """
        space = {name: value for name, value in self.given.items() if isinstance(value, SPACES)}
        made = copy.copy(self)
        limits = {key: said.pop(key) for key in tuple(said) if key.startswith("max_") or key.endswith("timeout")}
        early = said.pop("early_termination_policy", None)
        own = {key: value for key, value in self.said.items() if key in _OF_JOB or key == "compute"}
        made.__dict__.update(kind="sweep", trial=self, left={}, said=own | said)
        made.given = {name: value for name, value in self.given.items() if name not in space}
        made.said |= {
            "search_space": space, "objective": {"goal": goal.lower(), "primary_metric": primary_metric},
            "sampling_algorithm": sampling_algorithm, "limits": limits, "early_termination": early,
        }  # fmt: skip
        for steps in being_built.get()[-1:]:
            steps[:] = [each for each in steps if each is not self]
        return registered(made)

    def as_job(self) -> dict[str, Any]:
        """Return it as the file of a job would say it."""
        if self.kind == "sweep":
            trial = self.__dict__["trial"].as_job()
            space = self.said.get("search_space") or {}
            trial["command"] = _searched(trial["command"], space)
            job = {"type": "sweep", "trial": {key: trial[key] for key in _OF_TRIAL if key in trial}}
        elif isinstance(self.component, Mapping) and self.kind == "command":
            job = {"type": "command"} | {key: self.component[key] for key in _OF_COMPONENT if key in self.component}
            job.pop("is_deterministic", None)
        elif self.component is not None:
            raise Invalid(
                f"a {self.kind} component is a step: it cannot be submitted alone", hint="put it in a pipeline"
            )
        else:
            job = {"type": self.kind}
        said = {key: value for key, value in self.said.items() if key not in job and key != "is_deterministic"}
        return plain(job | said | {"inputs": self._values(), "outputs": self._left()})  # type: ignore[no-any-return]

    def as_node(self) -> dict[str, Any]:
        """Return it as the step of a pipeline."""
        said = {key: value for key, value in self.said.items() if key not in (*_OF_COMPONENT, *_OF_JOB, "jobs")}
        node = {"type": self.kind} | said | {"inputs": self._values(), "outputs": self._left()}
        if self.kind == "sweep":
            node["trial"] = self.__dict__["trial"].as_component()
        else:
            node["component"] = self.as_component()
        return plain(node)  # type: ignore[no-any-return]

    def as_component(self) -> Any:
        """Return what the step runs: a reference, or what was put together here."""
        if self.component is not None:
            return self.component
        said = {key: self.said[key] for key in (*_OF_COMPONENT, "jobs") if self.said.get(key) is not None}
        inputs = {name: port.port for name, port in self.takes.items()}
        outputs = {name: {"type": port.get("type", "uri_folder")} for name, port in self.gives.items()}
        return plain({"type": self.kind} | said | {"inputs": inputs, "outputs": outputs})

    def _values(self) -> dict[str, Any]:
        """Return the inputs that have a value: the one that is given, or what the port has by default."""
        values = {name: self.given.get(name) for name in self.takes}
        return {name: value for name, value in values.items() if plain(value) is not None and not _is_space(value)}

    def _left(self) -> dict[str, Any]:
        """Return what is said of the outputs."""
        return {name: self.left.get(name) or dict(port) for name, port in self.gives.items()}


def command(
    *, command: str, inputs: Mapping[str, Any] | None = None, outputs: Mapping[str, Any] | None = None, **said: Any
) -> Step:
    """Return a command job, or a step to call: what else its file could say are keywords.

    `command(command="python train.py --rate ${{inputs.rate}}", code="src", environment="azureml:sklearn-1.5@latest",
    inputs={"rate": 0.1})`
    """
    fields: dict[str, Any] = {"command": command}
    for key, value in said.items():
        if value is None:
            continue
        if key in _DEEPER:
            fields.setdefault(_DEEPER[key], {})[key] = value
        else:
            fields[key] = value
    step = Step("command", fields, folder=Path.cwd())
    step.takes = {name: _port(value) for name, value in (inputs or {}).items()}
    step.given = {name: value for name, value in (inputs or {}).items() if not _is_only_port(value)}
    step.gives = {
        name: plain(value) if isinstance(value, Output) else dict(value) for name, value in (outputs or {}).items()
    }
    return step


def load_component(source: str | Path) -> Step:
    """Return the component of a file, to call as a step: `train = load_component("train.yml")`."""
    from jobs.files import read_component
    from jobs.files.plain import plain as as_plain

    path = Path(source).resolve()
    found = read_component(path)
    return component_of(as_plain(found), folder=path.parent)


def component_of(said: Mapping[str, Any], *, folder: Path, reference: str = "") -> Step:
    """Return a component that says this, to call as a step; `reference` names one that is registered."""
    kind = str(said.get("type") or "command")
    step = Step(kind, {"name": said.get("name")}, folder=folder, component=reference or dict(said))
    step.takes = {name: Input(**_known(port)) for name, port in (said.get("inputs") or {}).items()}
    step.given = {}
    step.gives = {name: {"type": port.get("type", "uri_folder")} for name, port in (said.get("outputs") or {}).items()}
    return step


def load_job(source: str | Path, *, params_override: Sequence[Mapping[str, Any]] = ()) -> Step:
    """Return the job of a file, to change and to submit: `load_job("job.yml").display_name = "again"`."""
    from jobs.files import read_job
    from jobs.files.plain import plain as as_plain

    overrides = tuple((way, value) for each in params_override for way, value in each.items())
    job = read_job(Path(source), overrides)
    said = as_plain(job)
    step = Step(
        said.pop("type"),
        {key: value for key, value in said.items() if key not in ("inputs", "outputs")},
        folder=job.folder,
    )
    step.given = dict(said.get("inputs") or {})
    step.takes = {name: Input(type=kind_of(value)) for name, value in step.given.items()}
    step.gives = dict(said.get("outputs") or {})
    return step


def registered(step: Step) -> Step:
    """Return a step; the pipeline that is being put together, if one is, has it from now on."""
    for steps in being_built.get()[-1:]:
        steps.append(step)
    return step


def settings_of(said: dict[str, Any]) -> SimpleNamespace:
    """Return the settings of a pipeline, to be read and set: `job.settings.default_compute = "ray"`."""
    return SimpleNamespace(**said)


def _port(value: Any) -> Input:
    if isinstance(value, Input):
        return value
    if isinstance(value, Choice):
        return Input(type=kind_of(next(iter(value.values), "")))
    return Input(type="integer" if isinstance(value, Randint) else "number" if _is_space(value) else kind_of(value))


def _is_only_port(value: Any) -> bool:
    return isinstance(value, Input) and value.path is None and value.default is None


def _is_space(value: Any) -> bool:
    return isinstance(value, SPACES)


def _known(port: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in port.items() if key in Input.__dataclass_fields__ and key != "path"}


def _searched(line: str, space: Mapping[str, Any]) -> str:
    """Let a command take from the search space what it would take from its inputs."""
    return re.sub(
        r"\$\{\{\s*inputs\.(\w+)\s*\}\}",
        lambda found: f"${{{{search_space.{found[1]}}}}}" if found[1] in space else found[0],
        line,
    )
