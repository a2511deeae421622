"""The records of endpoints and deployments."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import endpoints
from workspace.assets import Asset
from workspace.errors import Conflict, Invalid, NotFound
from workspace.home import Workspace

HERE = {"base_url": "http://127.0.0.1:1/v1"}


@pytest.fixture
def model(workspace: Workspace, tmp_path: Path) -> Asset:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    return workspace.assets.put("model", "tiny", tmp_path / "tiny", properties={"task": "chat"})


def test_a_model_is_served_under_its_own_name_without_a_record(workspace: Workspace, model: Asset) -> None:
    endpoint = endpoints.served(workspace)["tiny"]
    assert endpoint.deployments[endpoint.split.choose()].model == "model:tiny:1"


def test_a_version_and_a_label_name_a_model_too(workspace: Workspace, model: Asset) -> None:
    workspace.assets.label(model, "champion")
    workspace.assets.put("model", "tiny", b"new", properties={"task": "chat"})
    found = endpoints.addressable(workspace)
    models = {name: endpoint.deployments["default"].model[-1] for name, endpoint in found.items()}
    assert models == {"tiny": "2", "tiny@latest": "2", "tiny:2": "2", "tiny:1": "1", "tiny@champion": "1"}


def test_a_model_without_a_task_that_an_engine_knows_is_not_served(workspace: Workspace) -> None:
    workspace.assets.put("model", "forest", b"trees", properties={"task": "classification"})
    assert endpoints.served(workspace) == {}


def test_a_deployment_keeps_the_version_that_its_model_had(workspace: Workspace, model: Asset) -> None:
    endpoints.put(workspace, "bot")
    assert endpoints.put_deployment(workspace, "bot", "blue", model="tiny").model == "model:tiny:1"
    workspace.assets.put("model", "tiny", b"new", properties={"task": "chat"})
    assert endpoints.get(workspace, "bot").deployments["blue"].model == "model:tiny:1"


def test_a_single_deployment_is_chosen_without_traffic(workspace: Workspace, model: Asset) -> None:
    endpoints.put(workspace, "bot")
    endpoints.put_deployment(workspace, "bot", "blue", model="tiny")
    assert endpoints.get(workspace, "bot").split.choose() == "blue"


def test_changing_the_traffic_keeps_the_properties(workspace: Workspace, model: Asset) -> None:
    endpoints.put(workspace, "bot", properties={"description": "kind"})
    endpoints.put_deployment(workspace, "bot", "blue", model="tiny")
    endpoint = endpoints.put(workspace, "bot", traffic={"blue": 100})
    assert (endpoint.traffic, endpoint.properties) == ({"blue": 100}, {"description": "kind"})


def test_traffic_for_an_unknown_deployment_is_refused_with_the_likely_one(workspace: Workspace, model: Asset) -> None:
    endpoints.put(workspace, "bot")
    endpoints.put_deployment(workspace, "bot", "green", model="tiny")
    with pytest.raises(NotFound, match="'gren'") as caught:
        endpoints.put(workspace, "bot", traffic={"gren": 100})
    assert caught.value.hint == "did you mean 'green'?"


def test_a_deployment_with_traffic_cannot_be_removed(workspace: Workspace, model: Asset) -> None:
    endpoints.put(workspace, "bot")
    endpoints.put_deployment(workspace, "bot", "blue", model="tiny")
    endpoints.put(workspace, "bot", traffic={"blue": 100})
    with pytest.raises(Invalid):
        endpoints.remove_deployment(workspace, "bot", "blue")
    endpoints.put(workspace, "bot", traffic={"blue": 0})
    endpoints.remove_deployment(workspace, "bot", "blue")
    assert endpoints.get(workspace, "bot").deployments == {}


def test_a_removed_endpoint_is_gone_with_its_deployments(workspace: Workspace, model: Asset) -> None:
    endpoints.put(workspace, "bot")
    endpoints.put_deployment(workspace, "bot", "blue", model="tiny")
    endpoints.remove(workspace, "bot")
    endpoints.put(workspace, "bot")
    assert endpoints.get(workspace, "bot").deployments == {}
    with pytest.raises(NotFound):
        endpoints.remove(workspace, "other")


def test_every_change_is_in_the_audit_log(workspace: Workspace) -> None:
    endpoints.put(workspace, "bot")
    endpoints.put_deployment(workspace, "bot", "blue", engine="openai", model="m", properties=HERE)
    endpoints.put(workspace, "bot", traffic={"blue": 100})
    newest = workspace.audit.list()[0]
    assert (newest.action, newest.subject) == ("endpoint.put", "endpoint:bot")
    assert newest.before == {"traffic": {}, "mirror": {}, "properties": {}}
    assert newest.after == {"traffic": {"blue": 100}}


@pytest.mark.parametrize("name", ["", "a/b", "a:1", "a@b", "../x", "-x"])
def test_a_name_that_an_address_could_not_hold_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(Invalid):
        endpoints.put(workspace, name)


def test_an_unknown_engine_is_refused(workspace: Workspace) -> None:
    endpoints.put(workspace, "bot")
    with pytest.raises(Invalid) as caught:
        endpoints.put_deployment(workspace, "bot", "blue", engine="torhc", model="m")
    assert caught.value.hint == "did you mean 'torch'?"


@pytest.fixture
def bot(workspace: Workspace, model: Asset) -> str:
    """An endpoint with two deployments."""
    endpoints.put(workspace, "bot")
    for way in ("blue", "green"):
        endpoints.put_deployment(workspace, "bot", way, model="tiny")
    return "bot"


@pytest.mark.parametrize("traffic", [{"blue": 90}, {"blue": 90, "green": 20}, {"blue": -10, "green": 110}])
def test_traffic_adds_up_to_0_or_100(workspace: Workspace, bot: str, traffic: dict[str, float]) -> None:
    with pytest.raises(Invalid):
        endpoints.put(workspace, bot, traffic=traffic)
    assert endpoints.put(workspace, bot, traffic={"blue": 0, "green": 0}).traffic == {"blue": 0, "green": 0}
    assert endpoints.put(workspace, bot, traffic={"blue": 99.5, "green": 0.5}).traffic["green"] == 0.5


def test_half_of_the_traffic_at_most_is_mirrored_to_one_that_gets_none(workspace: Workspace, bot: str) -> None:
    endpoints.put(workspace, bot, traffic={"blue": 100})
    assert endpoints.put(workspace, bot, mirror={"green": 50}).mirror == {"green": 50}
    for mirror in ({"green": 51}, {"green": -1}, {"blue": 10}, {"green": 10, "blue": 10}):
        with pytest.raises(Invalid):
            endpoints.put(workspace, bot, mirror=mirror)
    with pytest.raises(Invalid, match="mirrored"):
        endpoints.put(workspace, bot, traffic={"blue": 90, "green": 10})
    with pytest.raises(Invalid, match="still gets traffic"):
        endpoints.remove_deployment(workspace, bot, "green")
    assert endpoints.put(workspace, bot, mirror={"green": 0}).mirror == {}


def test_a_new_endpoint_cannot_have_traffic_for_it_has_no_deployments(workspace: Workspace) -> None:
    with pytest.raises(NotFound) as caught:
        endpoints.put(workspace, "new", traffic={"blue": 100})
    assert caught.value.hint == "first: studiolo deployment create"


def test_the_kind_of_an_endpoint_stays(workspace: Workspace) -> None:
    assert endpoints.put(workspace, "nightly", kind="batch").kind == "batch"
    assert endpoints.put(workspace, "nightly").kind == "batch"
    with pytest.raises(Conflict):
        endpoints.put(workspace, "nightly", kind="online")


def test_scoring_engines_begin_from_azure_mls_request_settings(workspace: Workspace, bot: str) -> None:
    scored = endpoints.put_deployment(workspace, bot, "score", engine="script").settings
    assert (scored.timeout, scored.concurrency) == (5.0, 1)
    chat = endpoints.get(workspace, bot).deployments["blue"].settings
    assert (chat.timeout, chat.concurrency) == (None, None)
