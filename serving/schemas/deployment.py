"""The schema of online deployment YAML."""

from __future__ import annotations

from collections.abc import Mapping

from flows.schemas import parts
from flows.schemas.parts import Schema
from serving import deployment_files as files
from serving.endpoints import ENGINES

_CLOUD = "Means something in the cloud only; kept, without effect here."
_WORDS: Schema = {"type": ["string", "number", "boolean"]}


def schema() -> Schema:
    """Return the schema."""
    known: dict[str, Schema] = {
        "$schema": parts.text("The schema an editor checks the file against; it changes nothing."),
        "name": parts.anything("What the endpoint calls it.", **_WORDS),
        "endpoint_name": parts.anything("The endpoint it stands behind.", **_WORDS),
        "type": parts.anything("managed or kubernetes: both are processes of this machine.", type="string"),
        "description": parts.text("What it is."),
        "tags": parts.names("Words of your own.", True),
        "properties": parts.names("Words of your own.", True),
        "model": parts.either("A model: azureml:NAME:VERSION, a path beside the file, or its content.",
                              {"type": "string"}, _model()),
        "model_mount_path": parts.anything(_CLOUD),
        "code_configuration": _of(files.CODE_KEYS, "A scoring script with init() and run(raw_data).",
                                  {"code": parts.text("Its folder, relative to the file."),
                                   "scoring_script": parts.text("The script in it.")}),
        "environment": parts.either("The packages: azureml:NAME@latest, or image and conda_file.",
                                    {"type": "string"}, _environment()),
        "environment_variables": parts.names("What the code finds in its environment.", _WORDS),
        "instance_type": parts.anything(_CLOUD),
        "instance_count": _whole("How many replicas run.", default=1),
        "app_insights_enabled": parts.anything(_CLOUD),
        "request_settings": _requests(),
        "scale_settings": _scale(),
        "liveness_probe": _of(files.PROBE_KEYS, "How often a replica is asked whether it lives.",
                              dict.fromkeys(files.PROBE_KEYS, parts.number("Seconds, or how often."))),
        "readiness_probe": _of(files.PROBE_KEYS, _CLOUD, dict.fromkeys(files.PROBE_KEYS, parts.anything("Seconds."))),
        "data_collector": _collector(),
        "egress_public_network_access": parts.anything(_CLOUD),
        "resources": parts.anything(_CLOUD),
        "private_network_connection": parts.anything(_CLOUD),
        "engine": parts.choice(ENGINES, "What runs it. Left out, the model decides."),
        "engine_options": parts.names("Options of the engine: threads, dtype, base_url …", True),
        "ttl": parts.number("Seconds without a request after which its engine is unloaded; 0: never.", default=0),
    }  # fmt: skip
    return parts.mapping(
        "A way of answering behind an endpoint: studiolo deployment create --file …",
        {key: known[key] for key in files.KEYS},
        required=("name", "endpoint_name"),
        title="online deployment YAML",
    )


def _model() -> Schema:
    known = dict.fromkeys(files.MODEL_KEYS, parts.anything("Kept with the model."))
    known["path"] = parts.text("A file or folder beside the file, or azureml://jobs/JOB/outputs/NAME/paths/….")
    known["type"] = parts.anything("custom_model or mlflow_model.", type="string")
    return _of(files.MODEL_KEYS, "Content that becomes an asset.", known)


def _environment() -> Schema:
    known = dict.fromkeys(files.ENVIRONMENT_KEYS, parts.anything("Kept."))
    known["conda_file"] = parts.anything("A conda file, or its content; an environment is made of it by uv.")
    return _of(files.ENVIRONMENT_KEYS, "Packages.", known)


def _requests() -> Schema:
    known = {
        "request_timeout_ms": _whole("How long an answer may take; 5000 for scripts and MLflow models."),
        "max_concurrent_requests_per_instance": _whole("How many run on a replica at a time; twice as many wait."),
        "max_queue_wait_ms": _whole("How long one waits."),
    }
    return _of(files.REQUEST_KEYS, "How it is asked.", known)


def _scale() -> Schema:
    known = {
        "type": parts.anything("default or target_utilization.", type="string"),
        "min_instances": parts.anything("Replicas at least; 0 lets it sleep.", type="integer", minimum=0),
        "max_instances": _whole("Replicas at most."),
        "target_utilization_percentage": parts.anything("Taken as Azure ML takes it; the queue decides."),
        "polling_interval": parts.anything("Taken as Azure ML takes it; the queue decides."),
    }
    return _of(files.SCALE_KEYS, "How many replicas run.", known)


def _collector() -> Schema:
    known = {
        "enabled": parts.anything("Whether it is kept.", type=["boolean", "string"]),
        "data": parts.anything(_CLOUD),
        "client_id": parts.anything(_CLOUD),
    }
    each = _of(files.COLLECTION_KEYS, "One collection.", known)
    rate = {"type": "number", "minimum": 0, "maximum": 1, "default": 1, "description": "Of how many requests."}
    parts_known: Mapping[str, Schema] = {
        "collections": parts.names("model_inputs, model_outputs, request, response, or names of your own.", each),
        "rolling_rate": parts.anything("hour, day or minute: what one file spans.", type="string", default="hour"),
        "sampling_rate": rate,
        "request_logging": parts.anything("capture_headers: names of headers that are kept.", type="object"),
        "destination": parts.anything(_CLOUD),
    }
    return _of(files.COLLECTOR_KEYS, "What is kept of requests and answers.", parts_known)


def _of(keys: tuple[str, ...], description: str, known: Mapping[str, Schema]) -> Schema:
    return parts.mapping(description, {key: known[key] for key in keys})


def _whole(description: str, **more: object) -> Schema:
    return parts.anything(description, type="integer", minimum=1, **more)
