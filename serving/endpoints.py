"""Endpoints: stable names for clients; their deployments: ways of answering; traffic: the split between them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, insert, select, update

from serving import trace_context
from serving.deployment_settings import DeploymentSettings
from serving.remote_properties import check_remote
from serving.traffic import Split, split_of
from workspace.assets import LATEST, Asset
from workspace.errors import Conflict, Invalid, NotFound, did_you_mean
from workspace.home import Workspace
from workspace.tables import deployments, endpoints

ENGINES = ("torch", "vllm", "llamacpp", "openai", "flow", "script", "mlflow")
BATCH_ENGINES = ("command", "pipeline")  # of batch endpoints only: a job of one command, or of several
TASKS = ("chat", "embedding", "rerank")
KINDS = ("online", "batch")
MOST_MIRRORED = 50  # percent
DEFAULT = "default"  # the deployment of a model that is served under its own name

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One way of answering: an engine over a model, "model:smollm2-135m-instruct:1".

    Engine `torch` takes `threads` and `dtype` from the properties; `openai` forwards to the server at `base_url`,
    where the model has the name given here. Engine `flow` runs a flow, "flow:greet:1"; a `script` needs no model.
    """

    endpoint: str
    name: str
    engine: str
    model: str
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """What a client names to reach it without regard to traffic: "endpoint/deployment"."""
        return f"{self.endpoint}/{self.name}"

    @property
    def settings(self) -> DeploymentSettings:
        """How it is run and asked; what is not set follows its engine."""
        return DeploymentSettings.of(self.properties, engine=self.engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A name, its deployments, how much traffic each gets in percent, and which one gets copies of how much of it."""

    name: str
    traffic: Mapping[str, float]
    deployments: Mapping[str, Deployment]
    mirror: Mapping[str, float] = field(default_factory=dict)
    kind: str = "online"
    made: bool = True  # False: a model that answers under its own name
    properties: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0

    @property
    def split(self) -> Split:
        """The choice between the deployments; a single one needs no traffic to be chosen."""
        alone = not any(self.traffic.values()) and len(self.deployments) == 1
        return split_of(tuple((dict.fromkeys(self.deployments, 1.0) if alone else self.traffic).items()))


def put(
    workspace: Workspace,
    name: str,
    *,
    traffic: Mapping[str, float] | None = None,
    mirror: Mapping[str, float] | None = None,
    kind: str | None = None,
    properties: Mapping[str, Any] | None = None,
) -> Endpoint:
    """Make the endpoint, or change what is given; traffic and mirror may name its own deployments only.

    The traffic adds up to 0 or 100; one deployment that gets none of it may be sent copies of up to half of it.
    """
    _check_name(name)
    _check_traffic(traffic or {})
    trace_context.share(properties or {})
    mirror = None if mirror is None else {way: part for way, part in mirror.items() if part}
    with workspace.database.write() as connection:
        workspace.database.hold(connection, f"endpoint {name}")
        before = connection.execute(select(endpoints).filter_by(name=name)).first()
        known = connection.scalars(select(deployments.c.name).filter_by(endpoint=name)).all()
        for way in [*(traffic or {}), *(mirror or {})]:
            if way not in known:
                hint = did_you_mean(way, known) or "first: studiolo deployment create"
                raise NotFound(f"endpoint {name!r} has no deployment {way!r}", hint=hint)
        given = {"traffic": traffic, "mirror": mirror, "properties": properties}
        after: dict[str, Any] = {key: dict(value) for key, value in given.items() if value is not None}
        old = None if before is None else {key: before._mapping[key] for key in given}
        _check_mirror({"traffic": {}, "mirror": {}} | (old or {}) | after)
        if before is None:
            after = {"traffic": {}, "mirror": {}, "properties": {}, "kind": kind or KINDS[0]} | after
        elif kind not in (None, before.kind):
            raise Conflict(f"endpoint {name!r} is of kind {before.kind!r}", hint="another kind needs another name")
        _keep(connection, endpoints, {"name": name}, after, known=before is not None)
        workspace.audit.record(connection, "endpoint.put", f"endpoint:{name}", before=old, after=after)
    return get(workspace, name)


def put_deployment(
    workspace: Workspace,
    endpoint: str,
    name: str,
    *,
    model: str = "",
    engine: str = "torch",
    properties: Mapping[str, Any] | None = None,
) -> Deployment:
    """Make or change a deployment of an endpoint that exists; it gets no traffic before `put` gives it some."""
    _check_name(name)
    if engine not in (*ENGINES, *BATCH_ENGINES):
        raise Invalid(f"no engine {engine!r}", hint=did_you_mean(engine, ENGINES))
    if engine == "openai":
        check_remote(properties or {})
    DeploymentSettings.of(properties or {})
    ref = _model(workspace, engine, model)
    values: dict[str, Any] = {"engine": engine, "model": ref, "properties": dict(properties or {})}
    with workspace.database.write() as connection:
        workspace.database.hold(connection, f"endpoint {endpoint}")
        if connection.execute(select(endpoints).filter_by(name=endpoint)).first() is None:
            raise NotFound(f"no endpoint {endpoint!r}", hint="make the endpoint first")
        key = {"endpoint": endpoint, "name": name}
        before = connection.execute(select(deployments).filter_by(**key)).first()
        _keep(connection, deployments, key, values, known=before is not None)
        old = None if before is None else {name: before._mapping[name] for name in values}
        subject = f"endpoint:{endpoint}/{name}"
        workspace.audit.record(connection, "deployment.put", subject, before=old, after=values)
    return Deployment(endpoint=endpoint, name=name, **values)


def get(workspace: Workspace, name: str) -> Endpoint:
    """Return an endpoint that was made by `put`."""
    known = {endpoint.name: endpoint for endpoint in listed(workspace)}
    if name not in known:
        raise NotFound(f"no endpoint {name!r}", hint=did_you_mean(name, known) or "there is no endpoint yet")
    return known[name]


def find(workspace: Workspace, name: str) -> Endpoint | None:
    """Return an endpoint that was made, None where there is none of that name."""
    return next((endpoint for endpoint in listed(workspace) if endpoint.name == name), None)


def deployment(workspace: Workspace, endpoint: str, name: str) -> Deployment:
    """Return a deployment of an endpoint that was made."""
    known = get(workspace, endpoint).deployments
    if name not in known:
        raise NotFound(f"endpoint {endpoint!r} has no deployment {name!r}", hint=did_you_mean(name, known))
    return known[name]


def listed(workspace: Workspace, *, kind: str | None = None) -> list[Endpoint]:
    """Return the endpoints that were made, by name; those of a kind only where one is given."""
    query = select(endpoints).order_by(endpoints.c.name)
    with workspace.database.read() as connection:
        rows = connection.execute(query if kind is None else query.filter_by(kind=kind)).all()
        ways = connection.execute(select(deployments).order_by(deployments.c.name)).all()
    return [_endpoint(row, [way for way in ways if way.endpoint == row.name]) for row in rows]


def remove(workspace: Workspace, name: str) -> None:
    """Remove an endpoint and its deployments; the models stay."""
    _delete(workspace, f"endpoint:{name}", lambda connection: _drop_endpoint(connection, name))


def remove_deployment(workspace: Workspace, endpoint: str, name: str) -> None:
    """Remove a deployment; one that still gets traffic is refused."""
    found = get(workspace, endpoint)
    if found.traffic.get(name) or found.mirror.get(name):
        raise Invalid(f"{endpoint}/{name} still gets traffic", hint="first give it to another: --traffic other=100")
    statement = delete(deployments).filter_by(endpoint=endpoint, name=name)
    _delete(workspace, f"endpoint:{endpoint}/{name}", lambda connection: connection.execute(statement).rowcount)


def addressable(workspace: Workspace) -> dict[str, Endpoint]:
    """Return all that a client may name: the online endpoints, and every model under its own name.

    A model is there as "name" (the newest), "name:version" and "name@label", each an endpoint with one deployment.
    """
    found: dict[str, Endpoint] = {}
    for model in workspace.assets.list("model", every_version=True):
        if model.properties.get("task") not in TASKS:
            continue
        names = [f"{model.name}:{model.version}", *(f"{model.name}@{label}" for label in model.labels)]
        if model.name not in found:  # versions come newest first
            names += [model.name, f"{model.name}@{LATEST}"]
        found |= {name: _of_model(name, model) for name in names}
    return found | {endpoint.name: endpoint for endpoint in listed(workspace, kind="online")}


def served(workspace: Workspace) -> dict[str, Endpoint]:
    """Return what a list shows: a model by its name only, not once more by version and label."""
    return {name: endpoint for name, endpoint in addressable(workspace).items() if _NAME.fullmatch(name)}


def _of_model(name: str, model: Asset) -> Endpoint:
    way = Deployment(endpoint=name, name=DEFAULT, engine="torch", model=model.ref)
    ways = {DEFAULT: way}
    return Endpoint(name=name, traffic={DEFAULT: 100}, deployments=ways, made=False, created_at=model.created_at)


def _model(workspace: Workspace, engine: str, model: str) -> str:
    if engine == "openai" or (engine in ("script", *BATCH_ENGINES) and not model):
        return model
    return workspace.assets.get("flow" if engine == "flow" else "model", model).ref


def _check_traffic(traffic: Mapping[str, float]) -> None:
    Split(traffic)
    total = sum(traffic.values())
    if not any(abs(total - allowed) < 1e-6 for allowed in (0, 100)):
        raise Invalid(f"the traffic adds up to {total:g}, not to 100", hint="as in blue=90 green=10")


def _check_mirror(after: Mapping[str, Any]) -> None:
    mirror: Mapping[str, float] = after["mirror"]
    if len(mirror) > 1:
        raise Invalid("traffic can be mirrored to one deployment only", hint=f"one of {', '.join(mirror)}")
    for way, part in mirror.items():
        if not 0 < part <= MOST_MIRRORED:
            raise Invalid(f"mirror_traffic must be above 0 and at most {MOST_MIRRORED}, not {part:g}")
        if after["traffic"].get(way):
            raise Invalid(f"{way!r} gets live traffic and cannot be mirrored to as well", hint=f"--traffic {way}=0")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} cannot be used as a name", hint="letters, digits, '.', '_' and '-', 255 at most")


def _keep(
    connection: Connection, table: Table, key: Mapping[str, str], values: Mapping[str, Any], *, known: bool
) -> None:
    now = time.time()
    if known:
        connection.execute(update(table).filter_by(**key).values(**values, updated_at=now))
    else:
        connection.execute(insert(table).values(**key, **values, created_at=now, updated_at=now))


def _delete(workspace: Workspace, subject: str, act: Callable[[Connection], int]) -> None:
    with workspace.database.write() as connection:
        if not act(connection):
            raise NotFound(f"no {subject.replace(':', ' ', 1)}")
        workspace.audit.record(connection, f"{'deployment' if '/' in subject else 'endpoint'}.remove", subject)


def _drop_endpoint(connection: Connection, name: str) -> int:
    connection.execute(delete(deployments).filter_by(endpoint=name))
    return connection.execute(delete(endpoints).filter_by(name=name)).rowcount


def _endpoint(row: Row[Any], ways: list[Row[Any]]) -> Endpoint:
    return Endpoint(
        name=row.name,
        traffic=row.traffic,
        mirror=row.mirror,
        kind=row.kind,
        properties=row.properties,
        created_at=row.created_at,
        deployments={
            way.name: Deployment(
                endpoint=row.name, name=way.name, engine=way.engine, model=way.model, properties=way.properties
            )
            for way in ways
        },
    )
