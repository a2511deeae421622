"""Events on their way through."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.events import Events, Usage, error_code, usage

COUNTS = {"prompt_tokens": 3, "completion_tokens": 5}


def stream(texts: list[str], end: str = "\n\n") -> bytes:
    values = [{"choices": [{"delta": {"content": text}}], "usage": None} for text in texts]
    events = [json.dumps(value, ensure_ascii=False) for value in [*values, {"choices": [], "usage": COUNTS}]]
    return "".join(f"data: {event}{end}" for event in [*events, "[DONE]"]).encode()


def texts_of(raw: bytes) -> list[str]:
    events = [line.removeprefix("data: ") for line in raw.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(event)["choices"][0]["delta"]["content"] for event in events]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from('"\\,:[]{}'))),
    st.lists(st.integers(1, 40), min_size=1),
    st.sampled_from(["\n\n", "\r\n\r\n"]),
)
def test_however_the_bytes_are_cut_the_texts_are_the_same_and_the_counts_are_out(
    texts: list[str], sizes: list[int], end: str
) -> None:
    raw, events, out, start = stream(texts, end), Events(counts_wanted=False), b"", 0
    while start < len(raw):
        size = sizes[start % len(sizes)]
        out += events.feed(raw[start : start + size])
        start += size
    assert texts_of(out) == texts
    assert b'"usage": null' not in out
    assert out.endswith(f"data: [DONE]{end}".encode())
    assert events.usage == Usage(3, 5)


def test_a_client_that_asked_for_the_counts_gets_every_byte() -> None:
    raw = stream(["a", "b"])
    assert Events(counts_wanted=True).feed(raw) == raw


def test_words_about_usage_are_left_alone() -> None:
    text = ', "usage": null and "choices": [] and "usage": {"prompt_tokens": 9}'
    raw = b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"
    events = Events(counts_wanted=False)
    assert events.feed(raw) == raw
    assert events.usage is None


def test_half_an_event_waits_for_the_rest() -> None:
    events = Events(counts_wanted=False)
    assert events.feed(b"data: 1\n\ndata: 2\n") == b"data: 1\n\n"
    assert events.feed(b"\n") == b"data: 2\n\n"


def test_the_counts_of_a_whole_answer_are_found_behind_a_long_one() -> None:
    body = {"data": [{"embedding": [0.5] * 10_000}], "usage": {"prompt_tokens": 4, "total_tokens": 4}}
    assert usage(json.dumps(body).encode()) == Usage(4, 0)
    assert usage(b'{"error": {}}') is None


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ('event: error\ndata: {"error": {"message": "no", "code": "flow_failed"}}', "flow_failed"),
        ('data: {"error": {"message": "no", "type": "InternalServerError", "code": 500}}', "engine_failed"),
        ('data: {"error": {"message": "no"}}', "engine_failed"),
        ('data: {"choices": [{"delta": {"content": "{\\"error\\": {}} \\ndata: {\\"error\\": {}}"}}]}', None),
        ('data: {"choices": [], "error": {"code": "other"}}', None),
    ],
)
def test_a_failure_that_an_engine_tells_is_noted_by_its_code_and_passed_on(event: str, code: str | None) -> None:
    for end in ("\n\n", "\r\n\r\n"):
        raw, events = stream(["a"]) + f"{event}{end}".encode(), Events(counts_wanted=True)
        assert b"".join(events.feed(raw[place : place + 1]) for place in range(len(raw))) == raw
        assert events.error == code


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[1]", b'{"error": "no"}', b'{"error": {"code": 7}}', b'"a"'])
def test_an_error_without_a_name_has_none(body: bytes) -> None:
    assert error_code(body) is None
