"""What is kept of served requests: whose they are, what happened, no secrets, and not too much."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from flows.masking import Mask
from flows.serve.http import Call
from flows.serve.log import RequestLog, served

if TYPE_CHECKING:
    from tests.flows.conftest import Server


@pytest.mark.parametrize("name", ["x-request-id", "x-ms-client-request-id"])
def test_the_clients_id_is_the_runs_id(plain: Server, name: str) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = plain.score({"n": 3}, **{name: f"mine-{name}", "traceparent": parent, "baggage": "user=7"})
    assert response.headers["x-request-id"] == f"mine-{name}"
    time.sleep(0.4)
    kept = next(each for each in plain.kept() if each.id == f"mine-{name}")
    assert (kept.flow, kept.status, kept.traceparent, kept.baggage) == ("plain", 200, parent, "user=7")
    assert kept.line is not None
    assert [(node.name, node.output) for node in kept.line.nodes if node.name == "work"] == [("work", 6)]


def test_feedback_is_kept_flat_or_whole(chat: Server) -> None:
    for query in ("", "?flatten=true"):
        headers = {"x-request-id": f"feedback{query}"}
        response = httpx.post(f"{chat.url}/feedback{query}", json={"good": True, "why": {"a": 1}}, headers=headers)
        assert response.json() == {"status": "Feedback received."}
    time.sleep(0.4)
    kept = {each.id: each.feedback for each in chat.kept(2)}
    assert kept["feedback"] == {"feedback": '{"good":true,"why":{"a":1}}'}
    assert kept["feedback?flatten=true"] == {"good": True, "why": '{"a": 1}'}


def test_no_secret_is_told_or_kept(plain: Server) -> None:
    assert "sk-canary" not in plain.score({"n": 5}).text
    plain.kept()
    time.sleep(0.4)
    written = [path.read_bytes() for path in plain.home.rglob("*") if path.is_file()]
    assert any(b"five is not for us" in content for content in written)
    assert not any(b"sk-canary" in content for content in written)


def test_the_request_log_is_bounded(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "served"
    log = RequestLog(folder, flow="f", digest="d", mask=Mask([]), file_size=100, files=3)
    scope = {"headers": [], "method": "POST", "path": "/score", "query_string": b""}
    for number in range(5):
        call = Call(scope)
        call.feedback = {"number": number, "text": "x" * 100}
        log.add(call, 0.5)
        time.sleep(0.3)
    log.close()
    assert len(list(folder.iterdir())) == 3
    assert [each.feedback and each.feedback["number"] for each in served(tmp_path)] == [2, 3, 4]


def test_what_cannot_be_kept_is_counted_and_told_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spool" / "served"
    log = RequestLog(folder, flow="f", digest="d", mask=Mask([]))
    folder.rmdir()
    folder.write_text("in the way")
    for _ in range(3):
        call = Call({"headers": [], "method": "POST", "path": "/score", "query_string": b""})
        call.feedback = {"good": True}
        log.add(call, 0.5)
    log.close()
    assert log.lost == 3
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert f"3 requests could not be kept in the request log: Not a directory: {folder}" in caplog.text


def test_health_says_how_many_requests_were_not_kept(plain: Server) -> None:
    assert httpx.get(f"{plain.url}/health").json()["requests_not_kept"] == 0
