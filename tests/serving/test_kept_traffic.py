"""The data collector: what it keeps, what it hides, and that it never holds anybody up."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from serving import kept_traffic
from serving.kept_traffic import Keeper, Writer, without_secrets


def events(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in home.rglob("*.jsonl") for line in path.read_text().splitlines()]


def test_of_one_request_all_collections_are_kept_or_none_and_the_share_is_the_rate(tmp_path: Path) -> None:
    collected = {"collections": ["request", "response"], "sampling_rate": 0.25}
    keeper = Keeper(Writer(), tmp_path, "e", "d", collected)
    wanted = [number for number in range(4_000) if keeper.wants("request", f"r-{number}")]
    assert wanted == [number for number in range(4_000) if keeper.wants("response", f"r-{number}")]
    assert 900 < len(wanted) < 1_100
    assert not keeper.wants("model_inputs", f"r-{wanted[0]}")


@pytest.mark.parametrize(("rate", "depth"), [("minute", 5), ("hour", 4), ("day", 3)])
def test_files_roll_as_they_are_told(tmp_path: Path, rate: str, depth: int) -> None:
    with Keeper.of(str(tmp_path), "e", "d", {"collections": ["request"], "rolling_rate": rate}) as keeper:
        keeper.keep("request", b'{"a": 1}', correlation="c")
    (found,) = tmp_path.rglob("*.jsonl")
    assert len(found.relative_to(tmp_path / "modelDataCollector" / "e" / "d" / "request").parts) == depth + 1
    assert found.stat().st_mode & 0o077 == 0
    (event,) = events(tmp_path)
    assert event["data"] == {"a": 1}
    assert {"specversion", "id", "source", "type", "datacontenttype", "time", "correlationid", "agent"} <= set(event)


def test_a_large_payload_lies_aside(tmp_path: Path) -> None:
    with Keeper.of(str(tmp_path), "e", "d", {"collections": ["request"]}) as keeper:
        keeper.keep("request", b"x" * (kept_traffic.ASIDE + 1), correlation="c")
    (event,) = events(tmp_path)
    assert "data" not in event
    (aside,) = tmp_path.rglob("*.bin")
    assert (aside.name, aside.stat().st_size) == (event["dataref"], kept_traffic.ASIDE + 1)


def test_what_comes_faster_than_the_disk_is_dropped_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_traffic, "WAITING", 1_000)
    blocked = tmp_path / "fifo"
    import os

    os.mkfifo(blocked)  # the writer hangs in opening it
    writer = Writer()
    started = time.monotonic()
    for _ in range(50):
        writer.put(blocked, {"id": "1"}, b"x" * 100)
    assert time.monotonic() - started < 1.0
    assert writer.dropped == 40
    os.close(os.open(blocked, os.O_RDWR))


def test_a_disk_that_refuses_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "modelDataCollector").write_text("a file where a folder should be")
    with Keeper.of(str(tmp_path), "e", "d", {"collections": ["request"]}) as keeper:
        for _ in range(3):
            keeper.keep("request", b"{}", correlation="c")
    assert keeper.writer.dropped == 0


@pytest.mark.parametrize(
    "secret",
    [b"sk-proj-0123456789abcdefgh", b"hf_" + b"a" * 30, b"ghp_" + b"b" * 30, b"AKIAABCDEFGHIJKLMNOP",
     b"Bearer abcdefgh12345678", b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefgh",
     b"st_0123456789abcdef_" + b"c" * 40],
)  # fmt: skip
def test_known_forms_of_secrets_are_hidden_wherever_they_stand(secret: bytes) -> None:
    shown = without_secrets(b'{"messages": ["my key is ' + secret + b' indeed"]}')
    assert secret.removeprefix(b"Bearer ") not in shown
    assert b"my key is" in shown
    assert json.loads(shown)


@pytest.mark.parametrize(
    "name", ["password", "db_password", "api_key", "apiKey", "client_secret", "token", "Authorization"]
)
def test_members_that_are_called_secret_are_hidden_and_others_stay(name: str) -> None:
    shown = json.loads(without_secrets(json.dumps({name: 'a"b', "max_tokens": 3, "text": "token"}).encode()))
    assert shown == {name: "******", "max_tokens": 3, "text": "token"}
