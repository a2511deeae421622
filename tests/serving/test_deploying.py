"""From the files of endpoints and deployments to records: assets, engines, consent, traffic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.environments import Preparing
from serving import deploying, deployment_files, endpoint_files, endpoints
from serving.deployment_files import DeploymentFile
from tests.serving.azure_files import DEPLOYMENT, ENDPOINT, minimal
from workspace.errors import Denied, Invalid, NotFound
from workspace.home import Workspace


def deploy(workspace: Workspace, file: DeploymentFile, *, allow_pickle: bool = False) -> endpoints.Deployment:
    made = None
    for event in deploying.deploy(workspace, file, allow_pickle=allow_pickle):
        if not isinstance(event, Preparing):
            made = event.deployment
    assert made
    return made


def test_a_deployment_registers_its_model_and_its_code(workspace: Workspace, write: Callable[[str], Path]) -> None:
    deploying.put_endpoint(workspace, endpoint_files.read(write(ENDPOINT)))
    made = deploy(workspace, deployment_files.read(write(DEPLOYMENT)))
    assert (made.engine, made.model) == ("script", "model:my-endpoint-blue:1")
    assert made.properties["code"] == "component:my-endpoint-blue-code:1"
    assert made.settings.instances == 2
    assert endpoints.get(workspace, "my-endpoint").properties["auth_mode"] == "aml_token"
    collected = workspace.assets.get("data", "my-endpoint-blue-model_inputs")
    assert str(collected.properties["uri"]).endswith("modelDataCollector/my-endpoint/blue/model_inputs")
    again = deploy(workspace, deployment_files.read(write(DEPLOYMENT)))
    assert again.model == made.model  # the same content is no new version


@pytest.mark.parametrize(
    ("files", "engine"),
    [
        ({"MLmodel": "flavors:\n  python_function: {loader_module: mlflow.xgboost}\n  xgboost: {}\n"}, "mlflow"),
        ({"m.gguf": "GGUF\0\0"}, "llamacpp"),
        ({"config.json": '{"architectures": ["LlamaForCausalLM"]}', "model.safetensors": ""}, "torch"),
        ({"flow.dag.yaml": "inputs: {}\noutputs: {}\nnodes: []\n"}, "flow"),
    ],
)
def test_the_engine_follows_the_content(
    workspace: Workspace, write: Callable[[str], Path], tmp_path: Path, files: dict[str, str], engine: str
) -> None:
    (tmp_path / "content").mkdir()
    for name, text in files.items():
        (tmp_path / "content" / name).write_text(text)
    endpoints.put(workspace, "bot")
    made = deploy(workspace, deployment_files.read(write("name: blue\nendpoint_name: bot\nmodel: ./content\n")))
    assert made.engine == engine


def test_content_that_no_engine_knows_needs_a_script_or_an_engine(
    workspace: Workspace, write: Callable[[str], Path]
) -> None:
    endpoints.put(workspace, "bot")
    with pytest.raises(Invalid, match="cannot tell which engine"):
        deploy(workspace, deployment_files.read(write("name: blue\nendpoint_name: bot\nmodel: ./model\n")))
    with pytest.raises(Invalid, match="needs `model` or `code_configuration`"):
        deploy(workspace, deployment_files.read(write("name: blue\nendpoint_name: bot\n")))


def test_a_remote_server_is_deployed_by_its_address(workspace: Workspace, write: Callable[[str], Path]) -> None:
    endpoints.put(workspace, "bot")
    text = "name: blue\nendpoint_name: bot\nengine: openai\nmodel: gpt-x\n"
    text += "engine_options: {base_url: 'http://127.0.0.1:1/v1'}\n"
    made = deploy(workspace, deployment_files.read(write(text)))
    assert (made.engine, made.model, made.properties["base_url"]) == ("openai", "gpt-x", "http://127.0.0.1:1/v1")


@pytest.mark.parametrize(
    "ref",
    ["azureml:net:1", "azureml:net@latest", "net:1", "azureml://registries/azureml/models/net/versions/1",
     "azureml://registries/azureml/models/net/labels/latest",
     "/subscriptions/s/resourceGroups/g/providers/p/workspaces/w/models/net/versions/1"],
)  # fmt: skip
def test_a_model_is_found_by_every_form_of_reference(
    workspace: Workspace, write: Callable[[str], Path], tmp_path: Path, ref: str
) -> None:
    workspace.assets.put("model", "net", tmp_path / "model")
    endpoints.put(workspace, "bot")
    text = (
        f"name: blue\nendpoint_name: bot\nmodel: {ref}\ncode_configuration: {{code: code, scoring_script: score.py}}\n"
    )
    assert deploy(workspace, deployment_files.read(write(text))).model == "model:net:1"


def test_a_model_that_is_not_here_and_an_endpoint_that_is_not_are_told(
    workspace: Workspace, write: Callable[[str], Path]
) -> None:
    file = deployment_files.read(write(minimal("")))
    with pytest.raises(NotFound, match="no endpoint 'bot'"):
        deploy(workspace, file)
    endpoints.put(workspace, "bot")
    with pytest.raises(NotFound, match=r"file\.yml.*no model 'm'"):
        deploy(workspace, file)


def test_a_job_s_output_is_a_model(workspace: Workspace, write: Callable[[str], Path], tmp_path: Path) -> None:
    workspace.assets.put("data", "train-out", tmp_path)
    endpoints.put(workspace, "bot")
    text = "name: blue\nendpoint_name: bot\ncode_configuration: {code: code, scoring_script: score.py}\n"
    text += "model: {path: 'azureml://jobs/train/outputs/out/paths/model/'}\n"
    model = workspace.assets.get("model", deploy(workspace, deployment_files.read(write(text))).model)
    assert (workspace.assets.path(model) / "weights.txt").read_text() == "1"


PICKLED = (
    "flavors:\n  python_function: {loader_module: mlflow.sklearn}\n  sklearn: {serialization_format: cloudpickle}\n"
)


def test_a_pickle_is_deployed_with_consent_only_and_the_consent_is_audited(
    workspace: Workspace, write: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "model" / "MLmodel").write_text(PICKLED)
    endpoints.put(workspace, "bot")
    text = "name: blue\nendpoint_name: bot\nmodel: ./model\n"
    with pytest.raises(Denied, match="cloudpickle") as caught:
        deploy(workspace, deployment_files.read(write(text)))
    assert "--allow-pickle" in str(caught.value.hint)
    made = deploy(workspace, deployment_files.read(write(text)), allow_pickle=True)
    asset = workspace.assets.get("model", made.model)
    record = workspace.audit.list()[0]
    assert (record.action, record.subject) == ("deployment.allow_pickle", "endpoint:bot/blue")
    assert record.after
    assert record.after["digest"] == asset.digest
    deploy(workspace, deployment_files.read(write(text)))  # the same content stays allowed
    (tmp_path / "model" / "other.txt").write_text("changed")
    with pytest.raises(Denied):
        deploy(workspace, deployment_files.read(write(text)))


def test_a_file_cannot_give_the_consent_itself(workspace: Workspace, write: Callable[[str], Path]) -> None:
    endpoints.put(workspace, "bot")
    text = "name: blue\nendpoint_name: bot\nengine: openai\nmodel: m\n"
    with pytest.raises(Invalid, match="'allow_pickle' cannot be an engine option"):
        deploy(workspace, deployment_files.read(write(text + "engine_options: {allow_pickle: x}\n")))


def test_what_others_keep_with_an_endpoint_stays_and_stand_ins_can_be_named(
    workspace: Workspace, write: Callable[[str], Path]
) -> None:
    endpoints.put(workspace, "bot", properties={"kept": "by others"})
    made = deploying.put_endpoint(workspace, endpoint_files.read(write("name: bot\nfallback: [green]\n")))
    assert (made.properties["kept"], made.properties["fallback"]) == ("by others", ["green"])
    again = deploying.put_endpoint(workspace, endpoint_files.read(write("name: bot\ndescription: x\n")))
    assert again.properties["fallback"] == ["green"]
    with pytest.raises(Invalid, match="2:1: `fallback` must be a list"):
        endpoint_files.read(write("name: bot\nfallback: green\n"))


def test_all_traffic_can_be_given_to_one(workspace: Workspace, write: Callable[[str], Path]) -> None:
    endpoints.put(workspace, "bot")
    text = "name: {way}\nendpoint_name: bot\ncode_configuration: {{code: code, scoring_script: score.py}}\n"
    blue = deploy(workspace, deployment_files.read(write(text.format(way="blue"))))
    deploying.give_all_traffic(workspace, blue)
    green = deploy(workspace, deployment_files.read(write(text.format(way="green"))))
    endpoints.put(workspace, "bot", mirror={"green": 10})
    endpoint = deploying.give_all_traffic(workspace, green)
    assert (endpoint.traffic, endpoint.mirror) == ({"blue": 0, "green": 100}, {})
    deploying.withdraw(workspace, "bot", "blue")
    deploying.withdraw_endpoint(workspace, "bot")
    assert endpoints.listed(workspace) == []
