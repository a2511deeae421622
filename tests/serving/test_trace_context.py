"""The W3C trace context at the gateway: callers' are gone on with, engines are told, a share becomes spans."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from serving import trace_context
from serving.trace_context import begin
from tests.serving.conftest import answer, scripted
from workspace.errors import Invalid

if TYPE_CHECKING:
    from tests.serving.conftest import House, Wire

TRACE, SPAN, REQUEST = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "c" * 32
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=7"}


async def test_an_engine_hears_of_the_callers_trace_and_of_the_request_as_its_parent(house: House) -> None:
    await house.ask(headers=CALLER)
    await house.ask(headers={"x-request-id": REQUEST})
    told = [wire.headers for wire in house.upstream.wires]
    house.door.house.rows.flush()
    first, second = house.rows()
    assert told[0]["traceparent"] == first["traceparent"]
    assert told[0]["tracestate"] == "vendor=7"
    assert first["traceparent"].split("-")[1] == TRACE
    assert first["traceparent"].split("-")[2] != SPAN == first["parent_span"]
    assert second["traceparent"].split("-")[1] == REQUEST
    assert second["parent_span"] is None


async def test_a_caller_of_whose_spans_nobody_is_told_is_noted_and_is_no_parent(house: House) -> None:
    told = {**CALLER, "tracestate": "studiolo=untold"}
    await house.ask(headers={**told, "x-request-id": REQUEST})
    await house.ask(headers={**told, "traceparent": f"00-{TRACE}-{SPAN}-00"})
    house.door.house.rows.flush()
    row, silent = house.rows()
    assert (row["traceparent"].split("-")[1], row["parent_span"]) == (REQUEST, None)
    assert row["asked_by"] == CALLER["traceparent"]
    assert silent["traceparent"].endswith("-00")
    headers = house.upstream.wires[0].headers
    assert (headers["traceparent"], headers.get("tracestate")) == (row["traceparent"], None)


async def test_a_copy_for_a_mirror_hangs_under_its_request(house: House) -> None:
    async with scripted(answer) as other:
        house.deploy("green", other.port)
        await house.changed(mirror={"green": 50})
        for _ in range(40):
            await house.ask()
        house.door.house.rows.flush()
        kept = {row["request_id"]: row for row in house.rows()}
    copies = [row for row in kept.values() if row["mirror"]]
    assert copies
    for copy in copies:
        trace, span = kept[copy["mirror_of"]]["traceparent"].split("-")[1:3]
        assert (copy["traceparent"].split("-")[1], copy["parent_span"]) == (trace, span)


async def test_a_row_tells_why_an_answer_ended_and_by_which_name_it_was_asked(house: House) -> None:
    async def cut(wire: Wire) -> None:
        await wire.stream("Hel")
        await wire.event({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}], "usage": None})
        await wire.event({"id": "c", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
        await wire.event("[DONE]")
        await wire.send(b"0\r\n\r\n")

    await house.ask()
    house.upstream.script = cut
    await house.ask(stream=True)
    house.door.house.rows.flush()
    assert [(row["finish"], row["asked"]) for row in house.rows()] == [("stop", "mock"), ("length", "mock")]


async def test_an_endpoint_has_a_share_of_its_own_and_it_goes_by_the_trace(house: House) -> None:
    await house.changed(properties={"properties": {"traces": "20"}})
    for number in range(200):
        await house.ask(
            headers={"traceparent": f"00-{number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128:032x}-{SPAN}-01"}
        )
    house.door.house.rows.flush()
    flags = Counter(row["traceparent"][-2:] for row in house.rows())
    assert 15 <= flags["01"] <= 65


@pytest.mark.parametrize(
    "given",
    ["", "00-0-0-01", f"00-{'0' * 32}-{SPAN}-01", f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE.upper()}-{SPAN}-01"],
)
def test_a_context_that_makes_no_sense_is_no_context(given: str) -> None:
    found = begin({b"traceparent": given.encode(), b"tracestate": b"a=1"}, "mine", percent=100)
    assert found.parent is None
    assert found.state == b""
    assert len(found.trace) == 32


def test_what_a_caller_does_not_record_is_not_recorded_here() -> None:
    found = begin({b"traceparent": f"00-{TRACE}-{SPAN}-00".encode()}, "mine", percent=100)
    assert not found.sampled
    assert found.traceparent.endswith("-00")
    assert begin({}, REQUEST, percent=100).sampled
    assert not begin({}, REQUEST, percent=0).sampled


def test_a_share_that_is_none_is_refused() -> None:
    for told in ("many", "101", "-1", "nan"):
        with pytest.raises(Invalid, match="percent of requests"):
            trace_context.share({"properties": {"traces": told}})
    assert trace_context.share({"properties": {"traces": "2.5"}}) == 2.5
    assert trace_context.share({}) is None
