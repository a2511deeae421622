"""What Prometheus reads of a gateway."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.serving.conftest import House, Wire


async def numbers(house: House, requests: int) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and the values of its labels, once so many requests have been counted."""
    while True:
        text = (await house.http.get("/metrics")).text
        families = text_string_to_metric_families(text)
        found = {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}
        if sum(value for (name, *_), value in found.items() if name == "studiolo_requests_total") >= requests:
            return found
        await asyncio.sleep(0.02)  # a request is counted after its last byte, which a client may see before


async def test_requests_tokens_and_times_are_counted_by_deployment(house: House) -> None:
    await house.ask()
    await house.ask(stream=True)
    found = await numbers(house, 2)
    assert found["studiolo_requests_total", "blue", "mock", "200"] == 2
    assert found["studiolo_tokens_total", "blue", "mock", "prompt"] == 14
    assert found["studiolo_tokens_total", "blue", "mock", "completion"] == 4
    assert found["studiolo_time_to_first_token_seconds_count", "blue", "mock"] == 2
    assert found["studiolo_inter_token_seconds_count", "blue", "mock"] == 1
    assert found["studiolo_queue_requests", "mock/blue", "active"] == 0


async def test_failures_count_with_their_status_and_what_was_refused_has_no_deployment(house: House) -> None:
    async def fail(wire: Wire) -> None:
        await wire.json({"error": {"message": "no"}}, status=400)

    house.upstream.script = fail
    await house.ask()
    await house.ask(model="nobody")
    found = await numbers(house, 2)
    assert found["studiolo_requests_total", "blue", "mock", "400"] == 1
    assert found["studiolo_requests_total", "", "", "404"] == 1


async def test_metrics_need_a_key(house: House) -> None:
    assert (await house.http.get("/metrics", headers={"authorization": ""})).status_code == 401
