"""How many replicas: up with the queue at once, down slowly, to none only where that is allowed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.deployment_settings import DeploymentSettings
from serving.scaling import CALM, IDLE, Demand, first, wanted

COUNTS = st.integers(0, 40)


@st.composite
def settings(draw: st.DrawFn) -> DeploymentSettings:
    least = draw(st.integers(0, 4))
    return DeploymentSettings(
        instances=draw(st.integers(1, 4)),
        least=least,
        most=draw(st.integers(max(1, least), 8)),
        concurrency=draw(st.none() | st.integers(1, 10)),
        ttl=draw(st.sampled_from([0.0, 60.0])),
    )


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    return Demand(
        replicas=draw(st.integers(0, 8)),
        active=draw(COUNTS),
        waiting=draw(COUNTS),
        calm=draw(st.floats(0, 100)),
        idle=draw(st.floats(0, 1000)),
    )


@given(settings(), demands())
def test_the_number_stays_within_its_bounds(given_settings: DeploymentSettings, demand: Demand) -> None:
    number = wanted(given_settings, demand)
    if given_settings.most > given_settings.least:
        assert number <= given_settings.most
        assert number >= min(given_settings.least, 1) or demand.active + demand.waiting == 0
    else:
        assert number in (0, given_settings.instances)


@given(settings(), demands())
def test_whoever_works_or_waits_is_never_left_without_a_replica(
    given_settings: DeploymentSettings, demand: Demand
) -> None:
    if demand.active + demand.waiting:
        assert wanted(given_settings, demand) >= 1


@given(settings(), demands())
def test_a_deployment_that_scales_gives_up_one_at_a_time_and_never_in_a_rush(
    given_settings: DeploymentSettings, demand: Demand
) -> None:
    number = wanted(given_settings, demand)
    if given_settings.most > given_settings.least and 0 < number < min(demand.replicas, given_settings.most):
        assert number == demand.replicas - 1
        assert demand.calm >= CALM


def test_a_queue_brings_one_more_and_a_long_one_several() -> None:
    scales = DeploymentSettings(most=4, concurrency=2)
    assert wanted(scales, Demand(replicas=1, active=2, waiting=1)) == 2
    assert wanted(scales, Demand(replicas=1, active=2, waiting=5)) == 4
    assert wanted(scales, Demand(replicas=4, active=8, waiting=16)) == 4


def test_without_a_queue_the_first_number_stands() -> None:
    fixed = DeploymentSettings(instances=3)
    assert first(fixed) == wanted(fixed, Demand(replicas=1, active=9, waiting=9)) == 3


def test_down_to_none_where_none_may_run_and_nobody_asks() -> None:
    scales = DeploymentSettings(least=0, most=2)
    assert wanted(scales, Demand(replicas=1, idle=IDLE - 1)) == 1
    assert wanted(scales, Demand(replicas=1, idle=IDLE)) == 0
    assert wanted(scales, Demand(replicas=1, idle=IDLE, active=1)) == 1


def test_a_replica_that_nobody_asks_for_its_ttl_is_unloaded() -> None:
    unloads = DeploymentSettings(ttl=60)
    assert wanted(unloads, Demand(replicas=1, idle=59)) == 1
    assert wanted(unloads, Demand(replicas=1, idle=60)) == 0
    assert wanted(unloads, Demand(replicas=1, idle=60, waiting=1)) == 1
