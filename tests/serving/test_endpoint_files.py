"""Endpoint and deployment YAML: what is read, what is refused and where, and that Azure's own package agrees."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving import deployment_files, endpoint_files
from serving.schemas import SCHEMAS
from tests.serving.azure_files import DEPLOYMENT, ENDPOINT, azure_verdicts, minimal
from workspace.errors import Invalid

Draft202012Validator: Any = importlib.import_module("jsonschema").Draft202012Validator
ROOT = Path(__file__).parents[2]


def test_an_endpoint_is_read_whole(write: Callable[[str], Path]) -> None:
    found = endpoint_files.read(write(ENDPOINT))
    assert (found.name, found.auth_mode, found.tags) == ("my-endpoint", "aml_token", {"team": "blue", "year": "2026"})
    assert found.traffic is None
    assert found.unused == ("identity",)
    assert endpoint_files.read(write(ENDPOINT.replace("aml_token", "AML_Token"))).auth_mode == "aml_token"


def test_a_deployment_is_read_whole(write: Callable[[str], Path], tmp_path: Path) -> None:
    found = deployment_files.read(write(DEPLOYMENT))
    assert found.model
    assert found.model.path == str(tmp_path / "model")
    assert found.code == deployment_files.Code(folder=tmp_path / "code", script="score.py")
    assert found.requirements
    assert (found.requirements.python, found.requirements.packages) == ("3.11", ("packaging",))
    assert found.environment_variables == {"WORKER_COUNT": "2", "DEBUG": "True", "RATE": "0.01"}
    assert found.settings == {"instances": 2, "timeout": 3.0, "concurrency": 4, "queue_wait": 0.25}
    assert found.collector == deployment_files.Collected(
        collections=("model_inputs",), sampling_rate=0.5, rolling_rate="minute", headers=("x-who",)
    )
    assert found.liveness_probe["failure_threshold"] == 30
    assert found.unused == ("instance_type",)


def test_scaling_by_load_sets_least_and_most(write: Callable[[str], Path]) -> None:
    more = "scale_settings: {type: target_utilization, min_instances: 0, max_instances: 3}\n"
    assert deployment_files.read(write(minimal(more))).settings == {"least": 0, "most": 3}


def test_set_changes_and_adds_keys(write: Callable[[str], Path]) -> None:
    changes = {"tags.team": "green", "traffic.blue": "0", "description": "New."}
    found = endpoint_files.read(write(ENDPOINT), name="other", changes=changes)
    assert (found.name, found.tags["team"], found.description) == ("other", "green", "New.")
    assert found.traffic == {"blue": 0}
    again = deployment_files.read_again(deployment_files.read(write(DEPLOYMENT)).written, {"instance_count": "3"})
    assert again.settings["instances"] == 3
    assert again.code


ENDPOINTS_REFUSED = [
    ("nmae: a\n", "1:1: unknown key 'nmae'", "did you mean 'name'?"),
    ("auth_mode: key\n", "an endpoint needs `name`", None),
    ("name: my_endpoint\n", "1:1: 'my_endpoint' cannot name an endpoint", None),
    ("name: 123\n", "1:1: 123 cannot name an endpoint", None),
    ("name: abc\nauth_mode: password\n", "2:1: `auth_mode` cannot be 'password'", None),
    ("name: abc\ntraffic:\n  blue: 90\n", "2:1: the traffic adds up to 90, not to 100", None),
    ("name: abc\ntraffic: {blue: -1}\n", "2:11: `traffic.blue` must be a number from 0 to 100", None),
    ("name: abc\nmirror_traffic: {blue: 60}\n", "2:1: `mirror_traffic` names one deployment and at most 50", None),
    ("name: abc\nmirror_traffic: {blue: 10, green: 10}\n", "2:1: `mirror_traffic` names one", None),
    ("- name\n", "the file must be a mapping", None),
    ("name: <ENDPOINT_NAME>\n", "cannot name an endpoint", "replace the placeholder <ENDPOINT_NAME> first"),
    ("name: {{ENDPOINT}}\n", "file.yml:1", "replace the placeholder {{ENDPOINT}} first"),
]
DEPLOYMENTS_REFUSED = [
    (minimal("request_settings: {bogus: 1}\n"), "5:20: unknown key 'bogus'", None),
    (minimal("bogus: 1\n"), "5:1: unknown key 'bogus'", None),
    (minimal("liveness_probe: {delay: 1}\n"), "unknown key 'delay'", None),
    (minimal("instance_count: two\n"), "5:1: `instance_count` must be a whole number", None),
    (minimal("instance_count: 0\n"), "`instance_count` must be at least 1", None),
    (minimal("scale_settings: {type: bogus}\n"), "`scale_settings.type` cannot be 'bogus'", None),
    (minimal("scale_settings: {type: target_utilization, min_instances: 3, max_instances: 2}\n"), "0 <= min", None),
    (minimal("data_collector: {rolling_rate: week}\n"), "`data_collector.rolling_rate` cannot be 'week'", None),
    (minimal("data_collector: {sampling_rate: 2}\n"), "`data_collector.sampling_rate` must be a number", None),
    (minimal("engine: torhc\n"), "5:1: `engine` cannot be 'torhc'", "did you mean 'torch'?"),
    (minimal("environment: {image: i, build: {path: .}}\n"), "no image can be built", None),
    (minimal("code_configuration: {code: nope, scoring_script: s.py}\n"), "no file or folder at 'nope'", None),
    (minimal("code_configuration: {code: code, scoring_script: s.py}\n"), "no scoring script 's.py' in code", None),
    (minimal("code_configuration: {code: code, scoring_script: ../x.py}\n"), "no scoring script", None),
    (minimal("code_configuration: {code: code}\n"), "needs `scoring_script`", None),
    ("endpoint_name: bot\n", "`name` is needed", None),
    ("name: blue\nmodel: m\n", "`endpoint_name` is needed", None),
    ("name: blue\nendpoint_name: bot\nmodel: {path: nope}\n", "3:9: no file or folder at 'nope'", None),
    ("name: blue\nendpoint_name: bot\nmodel: {type: mlflow_model}\n", "an inline model needs `path`", None),
    ("name: b\nendpoint_name: e\nmodel: {path: model, type: onnx}\n", "`model.type` cannot be 'onnx'", None),
    ("name: b\nendpoint_name: <NAME>\nbogus: 1\n", "unknown key", "replace the placeholder <NAME> first"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "what", "hint"), ENDPOINTS_REFUSED)
def test_an_endpoint_that_cannot_be_right_is_refused_where_it_says_so(
    write: Callable[[str], Path], text: str, what: str, hint: str | None
) -> None:
    with pytest.raises(Invalid) as caught:
        endpoint_files.read(write(text))
    assert what in str(caught.value)
    assert hint is None or caught.value.hint == hint


@pytest.mark.parametrize(("text", "what", "hint"), DEPLOYMENTS_REFUSED)
def test_a_deployment_that_cannot_be_right_is_refused_where_it_says_so(
    write: Callable[[str], Path], text: str, what: str, hint: str | None
) -> None:
    with pytest.raises(Invalid) as caught:
        deployment_files.read(write(text))
    assert what in str(caught.value)
    assert hint is None or caught.value.hint == hint


def test_a_name_or_a_timeout_that_azure_would_refuse_is_only_warned_of(write: Callable[[str], Path]) -> None:
    assert endpoint_files.read(write("name: this-name-is-definitely-longer-than-thirty-two\n")).warnings
    assert deployment_files.read(write(minimal("request_settings: {request_timeout_ms: 600000}\n"))).warnings


# Schemas


@pytest.mark.parametrize("name", SCHEMAS.made_by)
def test_a_schema_is_one_and_its_files_are_up_to_date(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS.schema(name))
    for folder in (SCHEMAS.folder, ROOT / "docs" / "schemas"):
        written = (folder / SCHEMAS.file_name(name)).read_text(encoding="utf-8")
        assert written == SCHEMAS.text(name), "run `python docs/write_schemas.py`"


def test_the_schemas_take_what_is_read_and_refuse_unknown_keys(write: Callable[[str], Path]) -> None:
    from workspace.documents import read_yaml

    for name, text in (("endpoint", ENDPOINT), ("deployment", DEPLOYMENT)):
        validator = Draft202012Validator(SCHEMAS.schema(name))
        root = read_yaml(write(text)).root
        assert not list(validator.iter_errors(root))
        assert list(validator.iter_errors({**root, "bogus": 1}))


def test_the_keys_of_the_schemas_are_those_that_are_read() -> None:
    assert tuple(SCHEMAS.schema("endpoint")["properties"]) == endpoint_files.KEYS
    assert tuple(SCHEMAS.schema("deployment")["properties"]) == deployment_files.KEYS


# Azure's own package

ACCEPTED = [
    ("endpoint", ENDPOINT),
    ("endpoint", "name: abc\ncompute: azureml:k8s\n"),
    ("endpoint", "name: abc\npublic_network_access: disabled\nproperties: {a: true}\n"),
    ("deployment", DEPLOYMENT),
    ("deployment", minimal("")),
    ("deployment", minimal("scale_settings: {type: default}\n")),
    ("deployment", minimal("request_settings: {request_timeout_ms: 90000}\napp_insights_enabled: true\n")),
    ("deployment", minimal("model_mount_path: /var/m\negress_public_network_access: disabled\n")),
    ("deployment", minimal("type: kubernetes\nresources: {requests: {cpu: '0.1', memory: 0.2Gi}}\n")),
    ("deployment", minimal("environment: azureml:env@latest\n")),
]
KINDER = [
    ("endpoint", "name: abc\nauth_mode: AML_Token\n"),  # any case
    ("deployment", minimal("").replace("instance_type: x\n", "")),  # the machine is this one
    ("deployment", minimal("data_collector: {collections: {request: {enabled: true}}}\n")),  # a truth, not its name
    ("deployment", minimal("engine: torch\nttl: 60\n")),  # our own engines
    ("deployment", minimal("").replace("azureml:m:1", "./model")),  # a path beside the file
]
# We refuse what the service refuses later, and take what makes sense on one machine.
OURS = {
    "2:1: the traffic adds up to 90": "the service refuses it",
    "at most 50": "the service refuses it",
    "names one": "the service refuses it",
    "`data_collector.sampling_rate`": "the service refuses it",
    "no file or folder at": "it is found when the content is uploaded",
    "no scoring script": "it is found when the container starts",
    "needs `scoring_script`": "the service refuses it",
    "0 <= min": "the service refuses it",
    "`instance_count` must be at least 1": "the service refuses it",
    "no image can be built": "this machine builds none",
    "`traffic.blue` must be": "the service refuses it",
    "an inline model needs `path`": "the service refuses it",
}


@pytest.mark.slow
def test_azure_s_package_gives_the_same_verdict(write: Callable[[str], Path], request: pytest.FixtureRequest) -> None:
    refused = [("endpoint", text, what) for text, what, _ in ENDPOINTS_REFUSED]
    refused += [("deployment", text, what) for text, what, _ in DEPLOYMENTS_REFUSED if "engine:" not in text]
    files = []
    ours = [*ACCEPTED, *KINDER]
    for number, (kind, text) in enumerate([*ours, *((kind, text) for kind, text, _ in refused)]):
        path = write(text)
        if number < len(ours):
            (endpoint_files if kind == "endpoint" else deployment_files).read(path)
        files.append((kind, str(path.rename(path.with_name(f"{number}.yml")))))
    verdicts = azure_verdicts(request.config.cache.mkdir("azure-ai-ml"), files)
    assert verdicts[: len(ACCEPTED)] == [None] * len(ACCEPTED)
    assert all(verdicts[len(ACCEPTED) : len(ours)]), "Azure's package takes it now: it belongs to ACCEPTED"
    surprises = [
        (text, what)
        for verdict, (_, text, what) in zip(verdicts[len(ours) :], refused, strict=True)
        if verdict is None and not any(known in what for known in OURS)
    ]
    assert surprises == []
