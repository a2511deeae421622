"""`PFClient`: runs, flows and connections from Python, as scripts written for prompt flow call them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import run_file
from flows.promptflow.connections import as_promptflow, from_promptflow
from flows.promptflow.types import UserErrorException
from studiolo import pf_runs, run_keeping
from studiolo.flow_batches import Asked
from studiolo.pf_flow import Flow
from studiolo.pf_runs import Run
from workspace import Workspace
from workspace.errors import Invalid
from workspace.paths import writing

if TYPE_CHECKING:
    from collections.abc import Iterator


class PFClient:
    """The door of scripts written for prompt flow; the workspace is that of the settings.

    >>> run = PFClient().run(flow="answer", data="questions.jsonl", column_mapping={"question": "${data.question}"})
    >>> PFClient().get_details(run)
    """

    def __init__(self, **_others: Any) -> None:
        self.runs = RunOperations()
        self.flows = FlowOperations()
        self.connections = ConnectionOperations()
        self.tools = ToolOperations()

    def run(
        self,
        flow: Any = None,
        *,
        data: Any = None,
        run: Any = None,
        column_mapping: Mapping[str, Any] | None = None,
        variant: str | None = None,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        environment_variables: Mapping[str, Any] | None = None,
        name: str | None = None,
        display_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        resume_from: Any = None,
        code: Any = None,
        init: Mapping[str, Any] | None = None,
        **_others: Any,
    ) -> Run:
        """Run a flow over rows and return the run when it is over; lines that fail do not raise."""
        asked = Asked(
            flow=_source(flow, code),
            data=Path(data) if data else None,
            run=_name(run) if run else None,
            mapping=dict(column_mapping or {}),
            variant=variant,
            name=name,
            resume=_name(resume_from) if resume_from else None,
            connections=_by_path(connections or {}),
            environment={key: str(value) for key, value in (environment_variables or {}).items()},
            init=dict(init or {}),
            tags=dict(tags or {}),
        )
        return _conduct(asked, display_name=display_name)

    def test(
        self,
        flow: Any,
        *,
        inputs: Any = None,
        variant: str | None = None,
        node: str | None = None,
        environment_variables: Mapping[str, Any] | None = None,
        init: Mapping[str, Any] | None = None,
        **_others: Any,
    ) -> Any:
        """Run a flow, or one node of it, once and return what came out; raises UserErrorException where it failed."""
        from studiolo import flow_tests

        given = json.loads(Path(inputs).read_text(encoding="utf-8")) if isinstance(inputs, str | Path) else inputs
        variables = {key: str(value) for key, value in (environment_variables or {}).items()}
        with flow_tests.prepared(_source(flow, None) or "", variant=variant, environment=variables, init=init) as ready:
            result = flow_tests.once(ready, dict(given or {}), node=node)
        if result.error:
            raise UserErrorException(result.error)
        whole = dict(result.outputs)
        return whole["output"] if node or (ready.flow.kind != "dag" and list(whole) == ["output"]) else whole

    def get_details(self, run: Any, max_results: int = 100, all_results: bool = False) -> Any:
        """Return inputs and outputs line by line, as a pandas table."""
        return self.runs.get_details(run, max_results=max_results, all_results=all_results)

    def get_metrics(self, run: Any) -> dict[str, float]:
        """Return what the flow has measured."""
        return self.runs.get_metrics(run)

    def stream(self, run: Any, raise_on_error: bool = True) -> Run:
        """Print what a run's code prints until it is over."""
        return self.runs.stream(run, raise_on_error=raise_on_error)

    def visualize(self, runs: Any, **_others: Any) -> None:
        """Draw runs as one HTML page and say where it is."""
        self.runs.visualize(runs)


class RunOperations:
    """Runs of flows."""

    def list(self, max_results: int | None = 50, *, list_view_type: Any = "ActiveOnly") -> list[Run]:
        """Return runs, the newest first; `list_view_type` is ActiveOnly, ArchivedOnly or All."""
        view = str(getattr(list_view_type, "value", list_view_type))
        with _opened() as workspace:
            return pf_runs.list_runs(
                workspace, limit=max_results, archived=view in ("ArchivedOnly", "All"), active=view != "ArchivedOnly"
            )

    def get(self, name: Any) -> Run:
        """Return one run."""
        with _opened() as workspace:
            return pf_runs.get(workspace, _name(name))

    def create_or_update(self, run: Run, **_others: Any) -> Run:
        """Run what a `load_run` has read."""
        if run.record is not None:
            return self.update(run, display_name=run.display_name, description=run.description, tags=run.tags)
        asked = Asked(
            flow=str(run.flow) if run.flow else None,
            data=Path(run.data) if run.data else None,
            run=run.run,
            mapping=run.column_mapping,
            variant=run.variant,
            name=run.name,
            resume=run.resume_from,
            connections=_by_path(run.connections),
            environment=run.environment_variables,
            init=run.init,
            tags=run.tags,
        )
        return _conduct(asked, display_name=run.display_name, description=run.description)

    def update(
        self,
        name: Any,
        display_name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        **_others: Any,
    ) -> Run:
        """Change the words about a run."""
        with _opened() as workspace:
            return pf_runs.update(workspace, _name(name), display_name=display_name, description=description, tags=tags)

    def archive(self, name: Any) -> Run:
        """Put a run away."""
        with _opened() as workspace:
            return Run.of(run_keeping.archive(workspace, _name(name)))

    def restore(self, name: Any) -> Run:
        """Take a run out of the archive."""
        with _opened() as workspace:
            return Run.of(run_keeping.restore(workspace, _name(name)))

    def delete(self, name: Any) -> None:
        """Delete a run and its files."""
        with _opened() as workspace:
            pf_runs.delete(workspace, _name(name))

    def get_details(self, name: Any, max_results: int = 100, all_results: bool = False) -> Any:
        """Return inputs and outputs line by line, as a pandas table."""
        with _opened() as workspace:
            record = workspace.runs.get(_name(name))
            return pf_runs.details_frame(record, limit=None if all_results else max_results)

    def get_metrics(self, name: Any) -> dict[str, float]:
        """Return what the flow has measured."""
        from flows import export

        with _opened() as workspace:
            return export.metrics(workspace.runs.get(_name(name)))

    def stream(self, name: Any, raise_on_error: bool = True) -> Run:
        """Print what a run's code prints until it is over."""
        with _opened() as workspace:
            found = pf_runs.follow(workspace, _name(name), say=_say)
        sys.stdout.write(f"{pf_runs.summary(found)}\n")
        if raise_on_error and found.status == "Failed":
            raise UserErrorException(f"run {found.name} failed: {found.record.error if found.record else ''}")
        return found

    def visualize(self, runs: Any, **_others: Any) -> None:
        """Draw runs as one HTML page and say where it is."""
        names = [_name(each) for each in (runs if isinstance(runs, list | tuple) else [runs])]
        with _opened() as workspace:
            sys.stdout.write(f"{pf_runs.visualize(workspace, names)}\n")


class FlowOperations:
    """Flows."""

    def test(self, flow: Any, **given: Any) -> Any:
        """Run a flow once; as `PFClient.test`."""
        return PFClient().test(flow, **given)

    def save(self, entry: Any, code: Any = None, path: Any = None, **given: Any) -> None:
        """Write a flow.flex.yaml for a function."""
        save_flow(entry, code=Path(code) if code else None, path=Path(path) if path else None, settings=given)

    def validate(self, flow: Any, *, raise_error: bool = False, **_others: Any) -> dict[str, Any]:
        """Check a flow; returns what is wrong with it."""
        from flows import graph

        try:
            graph.load(Path(flow))
        except Invalid as error:
            if raise_error:
                raise
            return {"result": "Failed", "errors": [{"message": str(error)}]}
        return {"result": "Succeeded"}


class ConnectionOperations:
    """Connections, with promptflow's classes."""

    def create_or_update(self, connection: Any, **_others: Any) -> Any:
        """Keep a connection, in place of the one of its name."""
        from flows import connection_store

        with _opened() as workspace:
            connection_store.create(workspace, from_promptflow(connection))
        return connection

    def get(self, name: str, **_others: Any) -> Any:
        """Return a connection with its secrets."""
        from flows import connection_store

        with _opened() as workspace:
            return as_promptflow(connection_store.get(workspace, name))

    def list(self, max_results: int = 50, all_results: bool = False) -> list[Any]:
        """Return the connections; their secrets are asterisks."""
        from flows import connection_store
        from flows.connections import MASK, Connection

        with _opened() as workspace:
            found = connection_store.list_connections(workspace)
        shown = found if all_results else found[:max_results]
        return [
            as_promptflow(
                Connection(
                    name=each.name, type=each.type, configs=each.configs, secrets=dict.fromkeys(each.secret_names, MASK)
                )
            )
            for each in shown
        ]

    def delete(self, name: str) -> None:
        """Forget a connection."""
        from flows import connection_store

        with _opened() as workspace:
            connection_store.delete_connection(workspace, name)


class ToolOperations:
    """Tools of packages and files."""

    def list(self, flow: Any = None) -> dict[str, Any]:
        """Return the tools of all packages, and those of a flow."""
        from studiolo import tool_shelf

        return tool_shelf.list_tools(Path(flow) if flow else None)

    def validate(self, source: Any, *, raise_error: bool = False, **_others: Any) -> dict[str, Any]:
        """Check the tools of a file, a package or a function."""
        from studiolo import tool_shelf

        given = f"{source.__module__}.{source.__name__}" if callable(source) else str(source)
        found = tool_shelf.check(given)
        if raise_error and found["invalid_count"]:
            raise UserErrorException(found["errors"][0]["message"])
        return found


def load_flow(source: Any, **others: Any) -> Any:
    """Return a flow or prompty that can be called; `context` says what is different when it is."""
    return Flow.load(source, **others)


def load_run(source: Any, params_override: list[Mapping[str, Any]] | None = None, **_others: Any) -> Run:
    """Read a run YAML; `PFClient().runs.create_or_update` runs it."""
    given = run_file.read(Path(source))
    fields: dict[str, Any] = {
        "flow": given.flow, "data": given.data, "name": given.name, "variant": given.variant, "run": given.run,
        "column_mapping": given.column_mapping, "display_name": given.display_name, "description": given.description,
        "tags": given.tags, "environment_variables": given.environment_variables, "connections": given.connections,
        "init": given.init, "resume_from": given.resume_from,
    }  # fmt: skip
    for override in params_override or []:
        fields |= dict(override)
    return Run(**fields)


def save_flow(
    entry: Any, *, code: Path | None = None, path: Path | None = None, settings: Mapping[str, Any] | None = None
) -> Path:
    """Write a flow.flex.yaml for "module:name", beside the code or into a new folder with a copy of it."""
    from ruamel.yaml import YAML

    name = entry if isinstance(entry, str) else f"{entry.__module__}:{entry.__qualname__}"
    if not run_file.ENTRY.match(name):
        raise Invalid(f"{name!r} is no entry", hint="module:name")
    folder = code or Path.cwd()
    module = folder / f"{name.partition(':')[0].replace('.', '/')}.py"
    if not module.is_file():
        raise Invalid(f"no module {str(module)!r}", hint="--code is the folder that holds it")
    target = path or folder
    if target.resolve() != folder.resolve():
        with writing(target):
            shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".git"))
    written: dict[str, Any] = {"entry": name}
    if requirements := (settings or {}).get("python_requirements_txt"):
        written["environment"] = {"python_requirements_txt": str(requirements)}
    if sample := (settings or {}).get("sample"):
        written["sample"] = {"inputs": sample} if isinstance(sample, Mapping) else str(sample)
    file = target / "flow.flex.yaml"
    with writing(file), file.open("w", encoding="utf-8") as out:
        YAML(typ="safe", pure=True).dump(written, out)
    return file


def _conduct(asked: Asked, *, display_name: str | None = None, description: str | None = None) -> Run:
    named, _ = pf_runs.asked_for(asked, display_name=display_name, description=description)
    with _opened() as workspace:
        for _ in pf_runs.run(workspace, named):
            pass
        return pf_runs.get(workspace, str(named.name))


@contextmanager
def _opened() -> Iterator[Workspace]:
    with Workspace.open() as workspace:
        yield workspace


def _source(flow: Any, code: Any) -> str | None:
    """Return a flow as a path or an entry; a function of a module is its entry."""
    if flow is None or isinstance(flow, str):
        return str(Path(code) / flow) if flow and code and not run_file.ENTRY.match(flow) else flow
    if isinstance(flow, Flow):
        return str(flow.path)
    if isinstance(flow, Callable) and not isinstance(flow, Path):  # type: ignore[arg-type]
        return f"{flow.__module__}:{flow.__qualname__}"
    return str(flow)


def _say(text: str) -> None:
    sys.stdout.write(text)


def _name(run: Any) -> str:
    return str(run.name) if isinstance(run, Run) else str(run)


def _by_path(connections: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {f"{node}.{key}": value for node, given in connections.items() for key, value in given.items()}
