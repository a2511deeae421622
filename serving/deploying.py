"""From the files of endpoints and deployments to records: content becomes assets, the engine that fits is found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows import snapshot
from jobs import consent
from jobs.assets import environments
from jobs.data import places
from jobs.data.collected import asset_of
from jobs.environments import Prepared, Preparing, conda
from jobs.environments.spec import Spec
from jobs.files.references import target
from serving import endpoint_keys, endpoints, python_environments, replicas
from serving.deployment_files import DeploymentFile, Model
from serving.deployment_settings import SCORING
from serving.endpoint_files import EndpointFile
from serving.endpoints import Deployment, Endpoint
from workspace.assets import FILENAME, Asset
from workspace.documents import read_yaml
from workspace.errors import Denied, Invalid, NotFound, StudioloError
from workspace.home import Workspace

RESERVED = (consent.PROPERTY, "code", "scoring_script", "requirements", "data_collector")
FLOW_FILES = ("flow.dag.yaml", "flow.flex.yaml", "flow.dag.yml", "flow.flex.yml")
_REGISTRY = re.compile(
    r"(?:azureml://registries/[^/]+|azureml:/subscriptions/.+|/subscriptions/.+|azureml://(?:locations|subscriptions)/.+)"
    r"/(?:models|environments)/(?P<name>[^/]+)/(?:versions/(?P<version>[^/]+)|labels/(?P<label>[^/]+))"
)


@dataclass(frozen=True, slots=True)
class Made:
    """The deployment as it was recorded."""

    deployment: Deployment


def put_endpoint(workspace: Workspace, file: EndpointFile) -> Endpoint:
    """Make the endpoint that a file describes, or bring it to what the file says."""
    before = endpoints.find(workspace, file.name)
    properties = {
        **(before.properties if before else {}),
        "auth_mode": file.auth_mode,
        "description": file.description,
        "tags": dict(file.tags),
        "properties": dict(file.properties),
    }
    if file.fallback is not None:
        properties["fallback"] = list(file.fallback)
    return endpoints.put(
        workspace, file.name, traffic=file.traffic, mirror=file.mirror, kind="online", properties=properties
    )


def deploy(workspace: Workspace, file: DeploymentFile, *, allow_pickle: bool = False) -> Iterator[Preparing | Made]:
    """Record the deployment that a file describes; what it needs of packages is installed on the way.

    Engine: the file's own word, else `script` for a scoring script, `flow` for a flow, and what the model is made for.
    A model whose format can run code when it is loaded is refused unless `allow_pickle` is a person's word; it is
    kept in the audit log.
    """
    endpoints.get(workspace, file.endpoint)
    asset = _asset(workspace, file)
    engine = file.engine or engine_for(workspace, asset, code=file.code is not None, model=file.model)
    requirements = _requirements(workspace, file, asset, engine)
    objection = _objection(workspace, asset, engine)
    if objection and not allow_pickle and not _allowed_before(workspace, file, asset):
        hint = "if you know who made it: --allow-pickle, which is written to the audit log"
        raise Denied(f"loading the model can run code: {objection}", hint=hint)
    properties = _properties(workspace, file, requirements)
    if objection and asset:
        properties[consent.PROPERTY] = asset.digest
    for event in python_environments.prepare(requirements) if requirements else ():
        if isinstance(event, Preparing):
            yield event
        elif isinstance(event, Prepared):
            yield from map(Preparing, event.said)
    model = asset.ref if asset else (file.model.ref if file.model else "")
    made = endpoints.put_deployment(
        workspace, file.endpoint, file.name, model=model, engine=engine, properties=properties
    )
    if objection and asset and allow_pickle:
        _write_down(workspace, made, asset, objection)
    yield Made(made)


def give_all_traffic(workspace: Workspace, deployment: Deployment) -> Endpoint:
    """Let every request of the endpoint go to this deployment."""
    endpoint = endpoints.get(workspace, deployment.endpoint)
    mirror = {way: part for way, part in endpoint.mirror.items() if way != deployment.name}
    traffic = dict.fromkeys(endpoint.deployments, 0.0) | {deployment.name: 100.0}
    return endpoints.put(workspace, endpoint.name, traffic=traffic, mirror=mirror)


def withdraw(workspace: Workspace, endpoint: str, name: str) -> None:
    """Remove a deployment and end its engine where no other deployment uses it."""
    deployment = endpoints.deployment(workspace, endpoint, name)
    endpoints.remove_deployment(workspace, endpoint, name)
    _end_engines(workspace, [deployment])


def withdraw_endpoint(workspace: Workspace, name: str) -> None:
    """Remove an endpoint with its deployments and its keys, and end the engines that nothing else uses."""
    gone = list(endpoints.get(workspace, name).deployments.values())
    endpoint_keys.revoke(workspace, name)
    endpoints.remove(workspace, name)
    _end_engines(workspace, gone)


def _end_engines(workspace: Workspace, gone: Iterable[Deployment]) -> None:
    used = {_group(way) for each in endpoints.addressable(workspace).values() for way in each.deployments.values()}
    ended = {_group(way) for way in gone} - used - {""}
    for replica in replicas.living(workspace.home):
        if replica.group in ended:
            replicas.stop(replica)


def _group(deployment: Deployment) -> str:
    """The name of its engine; a server of somebody else's has none here."""
    return "" if deployment.engine == "openai" else replicas.key_of(deployment)


def _allowed_before(workspace: Workspace, file: DeploymentFile, asset: Asset | None) -> bool:
    """Whether a person has allowed this very content for this deployment."""
    before = endpoints.get(workspace, file.endpoint).deployments.get(file.name)
    return bool(asset and before and before.properties.get(consent.PROPERTY) == asset.digest)


def engine_for(workspace: Workspace, asset: Asset | None, *, code: bool, model: Model | None = None) -> str:
    """Return the engine that fits: a script goes before the model, then the kind of the model decides."""
    if code:
        return "script"
    if asset is None:
        raise Invalid("a deployment needs `model` or `code_configuration`", hint="or `engine: openai` and its base_url")
    if asset.kind == "flow":
        return "flow"
    content = workspace.assets.path(asset)
    if str(asset.properties.get("type", "")) == "mlflow_model" or (content / consent.MLMODEL).is_file():
        return "mlflow"
    files = [content] if content.is_file() else list(content.glob("*.gguf"))
    if any(_is_gguf(path) for path in files):
        return "llamacpp"
    if asset.properties.get("task") in endpoints.TASKS:
        return "torch"
    known = ", ".join(endpoints.ENGINES)
    raise Invalid(
        f"cannot tell which engine runs {model.ref or model.path if model else asset.ref}",
        hint=f"give a scoring script in `code_configuration`, or `engine`, one of {known}",
    )


def asset_name(file: DeploymentFile) -> str:
    """Return what the content of a deployment is called where the file gives it no name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{file.endpoint}-{file.name}")


def _asset(workspace: Workspace, file: DeploymentFile) -> Asset | None:
    model = file.model
    if model is None or (file.engine == "openai" and not model.path):
        return None
    try:
        if model.path:
            return _registered(workspace, file, model)
        return _referred(workspace, model.ref, flow=file.engine == "flow")
    except (NotFound, Invalid) as error:
        raise type(error)(error.message, hint=error.hint, at=file.at) from None


def _referred(workspace: Workspace, written: str, *, flow: bool) -> Asset:
    if match := _REGISTRY.fullmatch(written):
        written = f"{match['name']}@{match['label']}" if match["label"] else f"{match['name']}:{match['version']}"
    plain = written.removeprefix("azureml:")
    return workspace.assets.get("flow" if flow or plain.startswith("flow:") else "model", plain)


def _registered(workspace: Workspace, file: DeploymentFile, model: Model) -> Asset:
    content = _content(workspace, model.path)
    name = model.name or asset_name(file)
    if content.is_dir() and any((content / each).is_file() for each in FLOW_FILES):
        return snapshot.keep(workspace, name, content)
    properties: dict[str, Any] = {"type": model.type or _type(content), FILENAME: content.name}
    said = {"description": model.description, "tags": dict(model.tags)}
    properties |= {key: value for key, value in said.items() if value}
    if task := _task(content):
        properties["task"] = task
    return workspace.assets.put("model", name, content, version=model.version or None, properties=properties)


def _content(workspace: Workspace, written: str) -> Path:
    return places.find(workspace, target(written, Path.cwd()), kind="model", folder=Path.cwd())


def _type(content: Path) -> str:
    return "mlflow_model" if (content / consent.MLMODEL).is_file() else "custom_model"


def _task(content: Path) -> str | None:
    """What a folder of transformers' files is for."""
    if (content / "modules.json").is_file():
        return "embedding"
    if not (content / "config.json").is_file():
        return None
    try:
        kinds = read_yaml(content / "config.json").get("architectures")
    except StudioloError:
        return None
    return "chat" if isinstance(kinds, list) and any("CausalLM" in str(kind) for kind in kinds) else None


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def _objection(workspace: Workspace, asset: Asset | None, engine: str) -> str | None:
    return consent.objection(workspace.assets.path(asset)) if engine == "mlflow" and asset else None


def _requirements(workspace: Workspace, file: DeploymentFile, asset: Asset | None, engine: str) -> Spec | None:
    if file.requirements is not None or engine not in SCORING:
        return file.requirements
    if engine == "mlflow" and asset is not None:
        return python_environments.of_mlflow(workspace.assets.path(asset))
    return _kept_environment(workspace, file.environment) if file.environment else None


def _kept_environment(workspace: Workspace, written: str) -> Spec | None:
    """What an environment of this workspace asks for; one of the cloud's own is this Python."""
    try:
        match = _REGISTRY.fullmatch(written)
        asset = workspace.assets.get("environment", match["name"] if match else written)
    except (NotFound, Invalid):
        return None
    content = workspace.assets.path(asset)
    if asset.properties.get("type") == "environment":  # one that was registered from its file
        asked = environments.read(workspace, asset)
        return None if asked.conda is None else conda.spec(asked.conda, asked.folder, at=asked.at)
    found = next((path for path in (content, *content.rglob("*")) if path.suffix in (".yml", ".yaml")), None)
    return None if found is None else python_environments.of_conda_file(found)


def _properties(workspace: Workspace, file: DeploymentFile, requirements: Spec | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "settings": dict(file.settings),
        "environment_variables": dict(file.environment_variables),
        "environment": file.environment,
        "liveness_probe": dict(file.liveness_probe),
        "description": file.description,
        "tags": dict(file.tags),
        "properties": dict(file.properties),
        "written": dict(file.written),
    }
    if file.code:
        found["code"] = workspace.assets.put("component", f"{asset_name(file)}-code", file.code.folder).ref
        found["scoring_script"] = file.code.script
    if requirements:
        found["requirements"] = asdict(requirements)
    if file.collector:
        found["data_collector"] = asdict(file.collector)
        for collection in file.collector.collections:  # monitors and jobs name what is collected as data
            asset_of(workspace, file.endpoint, file.name, collection)
    if taken := [key for key in file.engine_options if key in found or key in RESERVED]:
        raise Invalid(f"{taken[0]!r} cannot be an engine option", hint="it has a key of its own", at=file.at)
    return dict(file.engine_options) | {key: value for key, value in found.items() if value}


def _write_down(workspace: Workspace, made: Deployment, asset: Asset, objection: str) -> None:
    after = {"model": asset.ref, "digest": asset.digest, "why": objection}
    with workspace.database.write() as connection:
        workspace.audit.record(connection, "deployment.allow_pickle", f"endpoint:{made.path}", after=after)
