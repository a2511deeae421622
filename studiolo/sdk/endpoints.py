"""Online and batch endpoints and their deployments, as the client has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studiolo.sdk.found import Found
from studiolo.sdk.resources import Said
from workspace.documents import Document
from workspace.errors import StudioloError
from workspace.home import Workspace


class OnlineEndpoints:
    """Stable names for clients, with traffic and keys."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create_or_update(self, said: Said) -> Found:
        """Make an endpoint of a file or a mapping, or bring the one of that name to it."""
        from serving import deploying, endpoint_files

        found = _read(endpoint_files, said)
        return self.get(deploying.put_endpoint(self._workspace, found).name)

    begin_create_or_update = create_or_update

    def get(self, name: str) -> Found:
        """Return one: its traffic, its deployments, where it is reached."""
        from serving import endpoints
        from studiolo import endpoint_shapes

        return Found(endpoint_shapes.endpoint(self._workspace, endpoints.get(self._workspace, name)))

    def list(self) -> Sequence[Found]:
        """Return all of them."""
        from serving import endpoints

        return [self.get(each.name) for each in endpoints.listed(self._workspace, kind="online")]

    def get_keys(self, name: str) -> Found:
        """Return its two keys: `found.primary_key`."""
        from serving import endpoint_keys

        keys = endpoint_keys.keys(self._workspace, name)
        return Found({"primary_key": keys["primary"], "secondary_key": keys["secondary"]})

    def invoke(self, endpoint_name: str, *, request_file: Path | str, deployment_name: str = "") -> str:
        """Ask it what a file holds, and return its answer; raise StudioloError where it refuses."""
        from serving import invoking

        body = Path(request_file).read_bytes()
        *_, answered = invoking.invoke(self._workspace, endpoint_name, body, deployment=deployment_name)
        assert isinstance(answered, invoking.Answered)  # noqa: S101 - the answer comes last
        words = answered.body.decode("utf-8", "replace")
        if answered.status >= 300:
            raise StudioloError(f"{answered.status}: {words}", hint=f"studiolo endpoint logs {endpoint_name}")
        return words

    def delete(self, name: str) -> Found:
        """Remove one with its deployments and keys, and return what it was; models stay."""
        from serving import deploying

        found = self.get(name)
        deploying.withdraw_endpoint(self._workspace, name)
        return found

    begin_delete = delete


class OnlineDeployments:
    """Ways of answering behind online endpoints."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create_or_update(self, said: Said, *, allow_pickle: bool = False) -> Found:
        """Deploy what a file or a mapping says, its packages installed; it gets no traffic by that.

        `allow_pickle`: you know who made a model whose format can run code; that is written to the audit log.
        """
        from serving import deploying, deployment_files

        found = _read(deployment_files, said)
        *_, made = deploying.deploy(self._workspace, found, allow_pickle=allow_pickle)
        assert isinstance(made, deploying.Made)  # noqa: S101 - the last event says what was made
        return self.get(made.deployment.name, made.deployment.endpoint)

    begin_create_or_update = create_or_update

    def get(self, name: str, endpoint_name: str) -> Found:
        """Return one: its engine, its model, whether it runs."""
        from serving import endpoints
        from studiolo import endpoint_shapes

        way = endpoints.deployment(self._workspace, endpoint_name, name)
        return Found(endpoint_shapes.deployment(self._workspace, way))

    def list(self, endpoint_name: str) -> Sequence[Found]:
        """Return those of an endpoint."""
        from serving import endpoints

        return [self.get(name, endpoint_name) for name in endpoints.get(self._workspace, endpoint_name).deployments]

    def get_logs(self, name: str, endpoint_name: str, *, lines: int = 50) -> str:
        """Return the last lines that it has said."""
        from serving import deployment_logs, endpoints

        way = endpoints.deployment(self._workspace, endpoint_name, name)
        return "\n".join(deployment_logs.read(self._workspace, way, lines=lines))

    def delete(self, name: str, endpoint_name: str) -> Found:
        """Remove one that gets no traffic, end its engine, and return what it was; the model stays."""
        from serving import deploying

        found = self.get(name, endpoint_name)
        deploying.withdraw(self._workspace, endpoint_name, name)
        return found

    begin_delete = delete


class BatchEndpoints:
    """Names under which files are scored, as jobs."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create_or_update(self, said: Said) -> Found:
        """Make a batch endpoint of a file or a mapping, or bring the one of that name to it."""
        from serving.batch import deploying, endpoint_files

        found = _read(endpoint_files, said)
        return self.get(deploying.put_endpoint(self._workspace, found).name)

    begin_create_or_update = create_or_update

    def get(self, name: str) -> Found:
        """Return one."""
        from serving.batch import deploying
        from studiolo import batch_shapes

        return Found(batch_shapes.endpoint(self._workspace, deploying.get(self._workspace, name)))

    def list(self) -> Sequence[Found]:
        """Return all of them."""
        from studiolo import batch_shapes

        return [self.get(each.name) for each in batch_shapes.endpoints(self._workspace)]

    def invoke(self, endpoint_name: str, *, input: str, deployment_name: str = "") -> Found:  # noqa: A002
        """Begin a job over a file, a folder or `azureml:NAME:VERSION`, and return it."""
        from serving.batch import invoking
        from studiolo import batch_shapes

        given = batch_shapes.inputs(None, {}, path=str(input), kind="")
        asked = invoking.Invocation(deployment=deployment_name, inputs=given)
        return Found(invoking.shown(self._workspace, invoking.invoke(self._workspace, endpoint_name, asked)))

    def list_jobs(self, endpoint_name: str) -> Sequence[Found]:
        """Return its jobs, the newest first."""
        from serving.batch import invoking

        jobs = invoking.jobs_of(self._workspace, endpoint_name)
        return [Found(invoking.shown(self._workspace, each)) for each in jobs]

    def delete(self, name: str) -> Found:
        """Remove one with its deployments, and return what it was; jobs that run go on."""
        from serving.batch import deploying

        found = self.get(name)
        deploying.withdraw_endpoint(self._workspace, name)
        return found

    begin_delete = delete


class BatchDeployments:
    """Ways of scoring behind batch endpoints."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create_or_update(self, said: Said, *, allow_pickle: bool = False) -> Found:
        """Deploy what a file or a mapping says, its packages installed."""
        from serving.batch import deploying, deployment_files
        from serving.deploying import Made

        if isinstance(said, Mapping):
            found = deployment_files.read_again({"file": str(_document(said).path), "root": said}, {})
        else:
            found = deployment_files.read(Path(said))
        *_, made = deploying.deploy(self._workspace, found, allow_pickle=allow_pickle)
        assert isinstance(made, Made)  # noqa: S101 - the last event says what was made
        return self.get(made.deployment.name, made.deployment.endpoint)

    begin_create_or_update = create_or_update

    def get(self, name: str, endpoint_name: str) -> Found:
        """Return one."""
        from serving.batch import deploying
        from studiolo import batch_shapes

        return Found(batch_shapes.deployment(deploying.chosen(self._workspace, endpoint_name, name)))

    def list(self, endpoint_name: str) -> Sequence[Found]:
        """Return those of an endpoint."""
        from serving.batch import deploying

        return [self.get(name, endpoint_name) for name in deploying.get(self._workspace, endpoint_name).deployments]

    def delete(self, name: str, endpoint_name: str) -> Found:
        """Remove one, and return what it was."""
        from serving.batch import deploying

        found = self.get(name, endpoint_name)
        deploying.withdraw(self._workspace, endpoint_name, name)
        return found

    begin_delete = delete


def _document(said: Mapping[str, Any]) -> Document:
    return Document(Path.cwd() / "<Python>", dict(said))


def _read(files: Any, said: Said) -> Any:
    """Read a file, or what stands in its place, by the module for files of that kind."""
    return files.read_document(_document(said)) if isinstance(said, Mapping) else files.read(Path(str(said)))
