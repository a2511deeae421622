"""Online deployment YAML of Azure ML CLI v2, with our own engines beside it, read once into a frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.environments import conda as conda_files
from jobs.environments.spec import Spec
from serving import python_environments, yaml_values
from serving.deployment_settings import DeploymentSettings
from serving.endpoints import ENGINES
from workspace.documents import Document, Step
from workspace.errors import Invalid, Location

KEYS = (
    "$schema", "name", "endpoint_name", "type", "description", "tags", "properties", "model", "model_mount_path",
    "code_configuration", "environment", "environment_variables", "instance_type", "instance_count",
    "app_insights_enabled", "request_settings", "scale_settings", "liveness_probe", "readiness_probe",
    "data_collector", "egress_public_network_access", "resources", "private_network_connection",
    # ours
    "engine", "engine_options", "ttl",
)  # fmt: skip
UNUSED = (
    "instance_type", "app_insights_enabled", "egress_public_network_access", "resources", "model_mount_path",
    "private_network_connection", "readiness_probe",
)  # fmt: skip
MODEL_KEYS = (
    "$schema", "name", "version", "path", "type", "description", "tags", "properties", "flavors", "stage",
    "utc_time_created", "run_id", "job_name", "default_deployment_template",
)  # fmt: skip
MODEL_TYPES = ("custom_model", "mlflow_model", "triton_model")
CODE_KEYS = ("code", "scoring_script")
ENVIRONMENT_KEYS = (
    "$schema", "name", "version", "image", "build", "conda_file", "inference_config", "os_type", "description", "tags",
    "properties", "datastore",
)  # fmt: skip
REQUEST_KEYS = ("request_timeout_ms", "max_concurrent_requests_per_instance", "max_queue_wait_ms")
PROBE_KEYS = ("initial_delay", "period", "timeout", "success_threshold", "failure_threshold")
SCALE_KEYS = ("type", "min_instances", "max_instances", "target_utilization_percentage", "polling_interval")
SCALE_TYPES = ("default", "target_utilization")
COLLECTOR_KEYS = ("collections", "rolling_rate", "sampling_rate", "request_logging", "destination")
COLLECTION_KEYS = ("enabled", "data", "client_id")
ROLLING = ("hour", "day", "minute")
LONGEST_TIMEOUT = 180_000  # ms that Azure's service allows


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model of a deployment: an asset's reference in `ref`, or content at `path` that becomes an asset."""

    ref: str = ""
    path: str = ""
    name: str = ""
    version: str = ""
    type: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A scoring script and the folder it lies in."""

    folder: Path
    script: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What is kept of requests and answers: names of collections, how many of them (0 to 1), in files of which span."""

    collections: tuple[str, ...] = ()
    sampling_rate: float = 1.0
    rolling_rate: str = "hour"
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFile:
    """A deployment as its file describes it; paths are absolute, times seconds.

    `engine` is empty where the model decides. `unused` are the keys that mean something in the cloud only.
    """

    name: str
    endpoint: str
    at: Location
    model: Model | None = None
    code: Code | None = None
    environment: str = ""
    requirements: Spec | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    collector: Collected | None = None
    liveness_probe: Mapping[str, float] = field(default_factory=dict)  # period, timeout, failure_threshold …
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    written: Mapping[str, Any] = field(default_factory=dict)  # all of it, for a later `update --set`


def read(path: Path, *, name: str = "", endpoint: str = "", changes: Mapping[str, str] | None = None) -> DeploymentFile:
    """Read a deployment file, or raise Invalid with `file:line:column`; names that are given go before the file's."""
    given = {key: value for key, value in {"name": name, "endpoint_name": endpoint}.items() if value}
    return yaml_values.read_as(path, given | dict(changes or {}), read_document)


def read_again(written: Mapping[str, Any], changes: Mapping[str, str]) -> DeploymentFile:
    """Read what a deployment was made of once more, with changes; paths start where its file was."""
    document = Document(Path(str(written["file"])), dict(written["root"]))
    return read_document(yaml_values.changed(document, changes))


def read_document(document: Document) -> DeploymentFile:
    """Read what a file holds."""
    document.refuse_unknown(KEYS)
    probes = {key: _probe(document, key) for key in ("liveness_probe", "readiness_probe")}
    yaml_values.choice(document, ("managed", "kubernetes"), "type")
    yaml_values.flag(document, "app_insights_enabled")
    environment, requirements = _environment(document)
    return DeploymentFile(
        name=yaml_values.required(document, "name"),
        endpoint=yaml_values.required(document, "endpoint_name"),
        at=document.at(),
        model=_model(document),
        code=_code(document),
        environment=environment,
        requirements=requirements,
        environment_variables=yaml_values.texts(document, "environment_variables"),
        engine=yaml_values.choice(document, ENGINES, "engine"),
        engine_options=yaml_values.mapping(document, "engine_options"),
        settings=_settings(document),
        collector=_collector(document),
        liveness_probe=probes["liveness_probe"],
        description=yaml_values.text(document, "description"),
        tags=yaml_values.texts(document, "tags"),
        properties=yaml_values.texts(document, "properties"),
        unused=tuple(key for key in UNUSED if document.get(key) is not None),
        warnings=_warnings(document),
        written={"file": str(document.path.resolve()), "root": document.root},
    )


def _model(document: Document) -> Model | None:
    value = document.get("model")
    if value is None:
        return None
    if not isinstance(value, dict):
        written = str(value)
        if ":" in written or "@" in written:
            return Model(ref=written)
        # Azure ML takes references only; a file or folder beside the deployment is ours.
        local = (document.path.parent / written).resolve()
        return Model(path=str(local)) if local.exists() else Model(ref=written)
    document.refuse_unknown(MODEL_KEYS, "model")
    path = yaml_values.text(document, "model", "path")
    if not path and not document.get("model", "name"):
        raise Invalid("an inline model needs `path`", at=document.at("model"))
    name, version = yaml_values.text(document, "model", "name"), yaml_values.text(document, "model", "version")
    return Model(
        path=_local(document, path, "model", "path") if path else "",
        ref="" if path else f"{name}:{version}".rstrip(":"),
        name=name,
        version=version,
        type=yaml_values.choice(document, MODEL_TYPES, "model", "type"),
        description=yaml_values.text(document, "model", "description"),
        tags=yaml_values.texts(document, "model", "tags"),
    )


def _local(document: Document, written: str, *steps: Step) -> str:
    if "://" in written or written.startswith(("azureml:", "runs:")):
        return written
    found = (document.path.parent / written.removeprefix("file:")).resolve()
    if not found.exists():
        raise Invalid(
            f"no file or folder at {written!r}", hint="paths are relative to the file", at=document.at(*steps)
        )
    return str(found)


def _code(document: Document) -> Code | None:
    if document.get("code_configuration") is None:
        return None
    document.refuse_unknown(CODE_KEYS, "code_configuration")
    where = ("code_configuration", "code")
    folder = Path(_local(document, yaml_values.text(document, *where, default="."), *where))
    script = yaml_values.text(document, "code_configuration", "scoring_script")
    at = document.at("code_configuration", "scoring_script")
    if not script:
        raise Invalid("`code_configuration` needs `scoring_script`", at=at)
    if not folder.is_dir():
        raise Invalid("`code_configuration.code` must be a folder", at=document.at(*where))
    if not (folder / script).is_file() or not (folder / script).resolve().is_relative_to(folder):
        raise Invalid(f"no scoring script {script!r} in {folder.name}", hint="it is looked for in `code`", at=at)
    return Code(folder=folder, script=script)


def _environment(document: Document) -> tuple[str, Spec | None]:
    value = document.get("environment")
    if not isinstance(value, dict):
        return ("" if value is None else str(value)), None
    document.refuse_unknown(ENVIRONMENT_KEYS, "environment")
    if document.get("environment", "build") is not None:
        hint = "name the packages instead: image and conda_file"
        raise Invalid("no image can be built on this machine", hint=hint, at=document.at("environment", "build"))
    conda = document.get("environment", "conda_file")
    named = yaml_values.text(document, "environment", "name") or yaml_values.text(document, "environment", "image")
    if conda is None:
        return named, None
    at = document.at("environment", "conda_file")
    if isinstance(conda, dict):
        return named, conda_files.spec(conda, document.path.parent, at=at)
    return named, python_environments.of_conda_file(Path(_local(document, str(conda), "environment", "conda_file")))


def _settings(document: Document) -> dict[str, Any]:
    _known(document, REQUEST_KEYS, "request_settings")
    _known(document, SCALE_KEYS, "scale_settings")
    instances = yaml_values.whole(document, "instance_count", least=0)
    found: dict[str, Any] = {
        "instances": instances,
        "timeout": _seconds(document, "request_timeout_ms"),
        "concurrency": yaml_values.whole(document, "request_settings", REQUEST_KEYS[1], least=1),
        "queue_wait": _seconds(document, "max_queue_wait_ms"),
        "ttl": yaml_values.number(document, "ttl"),
    }
    if yaml_values.choice(document, SCALE_TYPES, "scale_settings", "type") == "target_utilization":
        least = yaml_values.whole(document, "scale_settings", "min_instances", least=0) or 0
        most = yaml_values.whole(document, "scale_settings", "max_instances", least=1) or max(1, least)
        found |= {"least": least, "most": most}
        yaml_values.number(document, "scale_settings", "target_utilization_percentage", least=1, most=100)
        yaml_values.number(document, "scale_settings", "polling_interval")
    elif instances == 0:
        raise Invalid("`instance_count` must be at least 1", at=document.at("instance_count"))
    found = {key: value for key, value in found.items() if value is not None}
    try:
        DeploymentSettings.of({"settings": found})
    except Invalid as error:
        raise Invalid(error.message, hint=error.hint, at=document.at("scale_settings")) from None
    return found


def _probe(document: Document, key: str) -> dict[str, float]:
    _known(document, PROBE_KEYS, key)
    found = {each: yaml_values.number(document, key, each) for each in PROBE_KEYS}
    return {each: value for each, value in found.items() if value is not None}


def _seconds(document: Document, key: str) -> float | None:
    found = yaml_values.whole(document, "request_settings", key, least=1)
    return None if found is None else found / 1000


def _collector(document: Document) -> Collected | None:
    if document.get("data_collector") is None:
        return None
    _known(document, COLLECTOR_KEYS, "data_collector")
    _known(document, ("capture_headers",), "data_collector", "request_logging")
    enabled = []
    for name in yaml_values.mapping(document, "data_collector", "collections"):
        _known(document, COLLECTION_KEYS, "data_collector", "collections", name)
        if yaml_values.flag(document, "data_collector", "collections", name, "enabled"):
            enabled.append(name)
    rate = yaml_values.number(document, "data_collector", "sampling_rate", least=0, most=1)
    headers = document.get("data_collector", "request_logging", "capture_headers") or []
    if not isinstance(headers, list):
        at = document.at("data_collector", "request_logging", "capture_headers")
        raise Invalid("`capture_headers` must be a list of names", at=at)
    return Collected(
        collections=tuple(enabled),
        sampling_rate=1.0 if rate is None else rate,
        rolling_rate=yaml_values.choice(document, ROLLING, "data_collector", "rolling_rate", default="hour"),
        headers=tuple(str(each).lower() for each in headers),
    )


def _known(document: Document, keys: tuple[str, ...], *steps: Step) -> None:
    if document.get(*steps) is not None:
        document.refuse_unknown(keys, *steps)


def _warnings(document: Document) -> tuple[str, ...]:
    steps = ("request_settings", "request_timeout_ms")
    if (yaml_values.whole(document, *steps, least=1) or 0) > LONGEST_TIMEOUT:
        return (f"{document.at(*steps)}: Azure ML allows {LONGEST_TIMEOUT} ms at most",)
    return ()
