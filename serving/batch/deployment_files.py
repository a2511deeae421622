"""Batch deployment YAML of Azure ML CLI v2, with `settings` or in the older form, read once into a frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serving import deployment_files, yaml_values
from serving.batch import pipeline_files, step_files
from serving.batch.pipeline_files import DeployedPipeline
from serving.batch.settings import ACTIONS, BatchSettings
from serving.batch.step_files import Step
from serving.deployment_files import DeploymentFile
from workspace.documents import Document
from workspace.documents import Step as Key
from workspace.errors import Invalid

SETTINGS = (
    "max_concurrency_per_instance", "mini_batch_size", "error_threshold", "retry_settings", "output_action",
    "output_file_name", "logging_level", "environment_variables",
)  # fmt: skip
PIPELINE_SETTINGS = ("default_compute", "default_datastore", "continue_on_step_failure", "force_rerun")
RETRIES = ("max_retries", "timeout")
RESOURCES = ("instance_count", "instance_type", "properties", "shm_size", "docker_args", "locations")
PIPELINE = ("component", "job_definition")
KEYS = (
    "$schema", "name", "endpoint_name", "type", "description", "tags", "properties", "model", "compute", "resources",
    "code_configuration", "environment", "settings", *SETTINGS, *PIPELINE,
)  # fmt: skip
COMMON = (
    "name", "endpoint_name", "description", "tags", "properties", "model", "code_configuration", "environment",
)  # fmt: skip
UNUSED = ("compute",)
TYPES = ("model", "pipeline")
LEVELS = ("debug", "info", "warning")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDeploymentFile:
    """A batch deployment as its file describes it: a model with its settings, a command, or a pipeline.

    `parts` is what it has in common with an online deployment: model, code, environment, names, tags.
    """

    parts: DeploymentFile
    settings: BatchSettings = field(default_factory=BatchSettings)
    step: Step | None = None
    pipeline: DeployedPipeline | None = None


def read(
    path: Path, *, name: str = "", endpoint: str = "", changes: Mapping[str, str] | None = None
) -> BatchDeploymentFile:
    """Read a batch deployment file, or raise Invalid with `file:line:column`; given names go before the file's."""
    given = {key: value for key, value in {"name": name, "endpoint_name": endpoint}.items() if value}
    return yaml_values.read_as(path, given | dict(changes or {}), _read)


def read_again(written: Mapping[str, Any], changes: Mapping[str, str]) -> BatchDeploymentFile:
    """Read what a deployment was made of once more, with changes; paths start where its file was."""
    document = Document(Path(str(written["file"])), dict(written["root"]))
    return _read(yaml_values.changed(document, changes))


def _read(document: Document) -> BatchDeploymentFile:
    document.refuse_unknown(KEYS)
    implied = TYPES[1] if any(document.get(key) is not None for key in PIPELINE) else TYPES[0]
    kind = yaml_values.choice(document, TYPES, "type", default=implied)
    if kind == "pipeline":
        step, warnings = step_files.read(document), _unknown(document, PIPELINE_SETTINGS, "settings")
        pipeline = pipeline_files.read(document) if step is None else None
        return BatchDeploymentFile(parts=_parts(document, warnings=warnings), step=step, pipeline=pipeline)
    if document.get("model") is None:
        raise Invalid("a batch deployment of a model needs `model`", at=document.at("model"))
    warnings = [
        *_unknown(document, SETTINGS, "settings"),
        *_unknown(document, RETRIES, *_where(document, "retry_settings")),
        *_unknown(document, RESOURCES, "resources"),
    ]
    return BatchDeploymentFile(parts=_parts(document, warnings=warnings), settings=_settings(document))


def _parts(document: Document, *, warnings: list[str]) -> DeploymentFile:
    root = {key: document.root[key] for key in COMMON if key in document.root}
    root["environment_variables"] = document.get(*_where(document, "environment_variables"))
    read = deployment_files.read_document(replace(document, root=root))
    return replace(
        read,
        unused=tuple(key for key in UNUSED if document.get(key) is not None),
        warnings=(*read.warnings, *warnings),
        written={"file": str(document.path.resolve()), "root": document.root},
    )


def _settings(document: Document) -> BatchSettings:
    retries = _where(document, "retry_settings")
    level = _where(document, "logging_level")
    yaml_values.choice(document, LEVELS, *level, default="info")
    found = {
        "instances": yaml_values.whole(document, "resources", "instance_count", least=1),
        "max_concurrency_per_instance": _whole(document, "max_concurrency_per_instance", least=1),
        "mini_batch_size": _whole(document, "mini_batch_size", least=1),
        "error_threshold": _whole(document, "error_threshold", least=-1),
        "max_retries": yaml_values.whole(document, *retries, "max_retries"),
        "timeout": yaml_values.number(document, *retries, "timeout", least=0.001),
        "output_action": yaml_values.choice(
            document, ACTIONS, *_where(document, "output_action"), default="append_row"
        ),
        "output_file_name": yaml_values.text(document, *_where(document, "output_file_name")),
    }
    try:
        return BatchSettings.of({name: value for name, value in found.items() if value not in (None, "")})
    except Invalid as error:
        raise Invalid(error.message, at=document.at(*_where(document, "output_file_name"))) from None


def _whole(document: Document, name: str, *, least: int) -> int | None:
    return yaml_values.whole(document, *_where(document, name), least=least)


def _where(document: Document, name: str) -> tuple[Key, ...]:
    """Where a setting is written: under `settings`, or at the root as files did before there was such a key."""
    return ("settings", name) if document.get("settings", name) is not None else (name,)


def _unknown(document: Document, known: tuple[str, ...], *steps: Key) -> list[str]:
    """Say what nobody reads. The cloud lets typos under these keys pass, and its own samples have some."""
    dotted = ".".join(map(str, steps))
    return [
        f"{document.at(*steps, key)}: `{dotted}.{key}` is not known and has no effect"
        for key in yaml_values.mapping(document, *steps)
        if key not in known
    ]
