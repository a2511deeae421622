"""An adapter is called as "endpoint:adapter": a deployment that has it answers, under the adapter's name."""

from __future__ import annotations

from collections import Counter

import pytest

from serving.endpoints import Deployment, Endpoint
from serving.openai_errors import Refusal
from serving.routing import adapter_of, choose


def _way(name: str, **adapters: str) -> Deployment:
    return Deployment(
        endpoint="support", name=name, engine="torch", model="model:m:1", properties={"adapters": adapters}
    )


WAYS = [_way("blue", polite="model:p:1"), _way("green", polite="model:p:2", short="model:s:1"), _way("red")]
KNOWN = {
    "support": Endpoint(
        name="support", traffic={"blue": 50, "green": 25, "red": 25}, deployments={way.name: way for way in WAYS}
    ),
    "m:1": Endpoint(name="m:1", traffic={"red": 100}, deployments={"red": WAYS[2]}),
}


def test_the_deployments_that_have_the_adapter_share_its_requests_by_their_weights() -> None:
    seen = Counter(choose(KNOWN, "support:polite").name for _ in range(3000))
    assert set(seen) == {"blue", "green"}
    assert seen["blue"] / 3000 == pytest.approx(2 / 3, abs=0.04)


def test_a_deployment_may_be_named_as_well() -> None:
    assert choose(KNOWN, "support/green:short").name == "green"
    with pytest.raises(Refusal):
        choose(KNOWN, "support/blue:short")


def test_an_adapter_that_nobody_has_is_not_found() -> None:
    with pytest.raises(Refusal) as caught:
        choose(KNOWN, "support:rude")
    assert caught.value.status == 404


def test_a_version_is_not_taken_for_an_adapter() -> None:
    assert choose(KNOWN, "m:1").name == "red"
    assert adapter_of("m:1", WAYS[2]) is None


def test_the_engine_is_asked_for_the_adapter_by_its_own_name() -> None:
    assert adapter_of("support:polite", WAYS[0]) == "polite"
    assert adapter_of("support", WAYS[0]) is None
