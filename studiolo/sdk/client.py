"""The client: what the command line does, from Python, in the shape of Azure ML's `MLClient`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from studiolo.sdk.endpoints import BatchDeployments, BatchEndpoints, OnlineDeployments, OnlineEndpoints
from studiolo.sdk.found import Found
from studiolo.sdk.ports import plain
from studiolo.sdk.resources import Resources, Schedules
from studiolo.sdk.steps import Step, component_of
from workspace.errors import Invalid, StudioloError
from workspace.home import Workspace

if TYPE_CHECKING:
    from jobs.records import JobRecord

View = Literal["active", "archived", "all"]


class Client:
    """A workspace, by its folder: without one, that of the settings. `with Client() as client` closes it."""

    def __init__(self, where: Path | str | None = None) -> None:
        self._where = where

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace."""
        return Workspace.open(self._where)

    @cached_property
    def jobs(self) -> Jobs:
        """Jobs of every kind."""
        return Jobs(self.workspace)

    @cached_property
    def data(self) -> Assets:
        """Data by name and version."""
        return Assets(self.workspace, "data")

    @cached_property
    def models(self) -> Assets:
        """Models by name and version."""
        return Assets(self.workspace, "model")

    @cached_property
    def environments(self) -> Assets:
        """Environments by name and version."""
        return Assets(self.workspace, "environment")

    @cached_property
    def components(self) -> Components:
        """Components by name and version."""
        return Components(self.workspace)

    @cached_property
    def compute(self) -> Resources:
        """Names of what jobs run on."""
        return Resources(self.workspace, "compute")

    @cached_property
    def datastores(self) -> Resources:
        """Where data lies."""
        return Resources(self.workspace, "datastore")

    @cached_property
    def connections(self) -> Resources:
        """What leads elsewhere, with its secrets."""
        return Resources(self.workspace, "connection")

    @cached_property
    def registries(self) -> Resources:
        """Registries by name."""
        return Resources(self.workspace, "registry")

    @cached_property
    def schedules(self) -> Schedules:
        """Jobs that run again and again."""
        return Schedules(self.workspace)

    @cached_property
    def online_endpoints(self) -> OnlineEndpoints:
        """Stable names for clients."""
        return OnlineEndpoints(self.workspace)

    @cached_property
    def online_deployments(self) -> OnlineDeployments:
        """Ways of answering behind online endpoints."""
        return OnlineDeployments(self.workspace)

    @cached_property
    def batch_endpoints(self) -> BatchEndpoints:
        """Names under which files are scored."""
        return BatchEndpoints(self.workspace)

    @cached_property
    def batch_deployments(self) -> BatchDeployments:
        """Ways of scoring behind batch endpoints."""
        return BatchDeployments(self.workspace)

    def create_or_update(self, entity: Any) -> Any:
        """Submit a job, or register data, a model, an environment."""
        if isinstance(entity, Step):
            return self.jobs.create_or_update(entity)
        kinds = {"Data": self.data, "Model": self.models, "Environment": self.environments}
        kind = type(entity).__name__
        if kind not in kinds:
            hint = "a job, Data, Model or Environment; others are made of files: client.compute.create_or_update(FILE)"
            raise Invalid(f"a {kind} cannot be submitted or registered", hint=hint)
        return kinds[kind].create_or_update(entity)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "workspace" in self.__dict__:
            self.workspace.close()


class Jobs:
    """Jobs: submitted, looked at, followed, cancelled."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create_or_update(self, job: Step, *, experiment_name: str | None = None) -> Found:
        """Submit a job, and return it at once; it goes on when this process has ended."""
        from jobs.files import job_of
        from studiolo.job_making import make

        said = job.as_job() | ({"experiment_name": experiment_name} if experiment_name else {})
        return self._shown(make(self._workspace, job_of(said, job.folder)))

    def validate(self, job: Step) -> Sequence[str]:
        """Check a job and submit nothing: return what is worth saying, or raise Invalid for what cannot be right."""
        from jobs.files import job_of

        return [finding.what for finding in job_of(job.as_job(), job.folder).findings]

    def get(self, name: str) -> Found:
        """Return one."""
        from jobs import records

        return self._shown(records.get(self._workspace, name))

    def list(
        self, *, parent_job_name: str = "", max_results: int = 50, list_view_type: View = "active"
    ) -> Sequence[Found]:
        """Return the newest first, without the children of others, or the children of one."""
        from jobs import records

        found = records.list_jobs(
            self._workspace, limit=max_results, parent=parent_job_name,
            archived=list_view_type != "active", active=list_view_type != "archived",
        )  # fmt: skip
        return [self._shown(each) for each in found]

    def stream(self, name: str) -> Found:
        """Print what a job says until it has ended, and return it; raise StudioloError where it did not complete."""
        from jobs import submit

        for chunk in submit.stream(self._workspace, name):
            sys.stdout.write(chunk.decode("utf-8", "replace"))
            sys.stdout.flush()
        ended = submit.wait(self._workspace, name)
        if ended.status != "Completed":
            raise StudioloError(f"job {name!r} {ended.status.lower()}", hint=ended.error)
        return self._shown(ended)

    def cancel(self, name: str) -> Found:
        """Ask a job and its children to end."""
        from jobs import submit

        return self._shown(submit.cancel(self._workspace, name))

    begin_cancel = cancel

    def download(
        self,
        name: str,
        *,
        download_path: str | Path = ".",
        output_name: str = "",
        all: bool = False,  # noqa: A002
    ) -> Sequence[Path]:
        """Copy what a job has left into a folder; return the folders made."""
        from studiolo import job_files

        return job_files.download(self._workspace, name, Path(download_path), output=output_name, everything=all)

    def archive(self, name: str) -> Found:
        """Take a job out of the lists."""
        from jobs import records

        return self._shown(records.archive(self._workspace, name))

    def restore(self, name: str) -> Found:
        """Put it back into the lists."""
        from jobs import records

        return self._shown(records.archive(self._workspace, name, archived=False))

    def _shown(self, job: JobRecord) -> Found:
        from studiolo import job_shapes

        return Found(job_shapes.job(self._workspace, job))


class Assets:
    """What is registered of one kind, by name and version."""

    def __init__(self, workspace: Workspace, kind: str) -> None:
        self._workspace = workspace
        self._kind = kind

    def create_or_update(self, entity: Any) -> Found:
        """Register it; the same content again is the same version."""
        from jobs import assets

        said = plain(entity if isinstance(entity, Mapping) else dataclasses.asdict(entity))
        return Found(assets.create(self._workspace, self._kind, said, folder=Path.cwd()))

    def get(self, name: str, *, version: str | None = None, label: str | None = None) -> Found:
        """Return a version: by its number, by a label, or the latest."""
        from jobs import assets

        return Found(assets.show(self._workspace, self._kind, name, version=version, label=label))

    def list(self, name: str | None = None) -> Sequence[Found]:
        """Return the latest version of each, or every version of one."""
        from jobs import assets

        return [Found(each) for each in assets.list_all(self._workspace, self._kind, name)]

    def archive(self, name: str, *, version: str | None = None, label: str | None = None) -> None:
        """Hide a version, or all of them."""
        from jobs import assets

        assets.archive(self._workspace, self._kind, name, version=version, label=label)

    def restore(self, name: str, *, version: str | None = None, label: str | None = None) -> None:
        """Take back what was archived."""
        from jobs import assets

        assets.restore(self._workspace, self._kind, name, version=version, label=label)


class Components:
    """Components by name and version; what is got is called as a step."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create_or_update(self, component: Step, *, version: str | None = None) -> Step:
        """Register a component, and return the registered one."""
        from jobs import assets

        said = component.as_component() | ({"version": version} if version else {})
        said.setdefault("name", component.said.get("name"))
        shown = assets.create(self._workspace, "component", said, folder=component.folder)
        return self.get(shown["name"], version=shown["version"])

    def get(self, name: str, *, version: str | None = None, label: str | None = None) -> Step:
        """Return a component to call as a step."""
        from jobs import assets

        shown = assets.show(self._workspace, "component", name, version=version, label=label)
        reference = f"azureml:{shown['name']}:{shown['version']}"
        return component_of(shown, folder=Path.cwd(), reference=reference)

    def list(self, name: str | None = None) -> Sequence[Found]:
        """Return the latest version of each, or every version of one."""
        from jobs import assets

        return [Found(each) for each in assets.list_all(self._workspace, "component", name)]
