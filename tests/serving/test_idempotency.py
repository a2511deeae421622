"""Answers to an Idempotency-Key: told again for a day, by the gateway that comes after too, up to a bound."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from serving.idempotency import Recorder, Replays
from serving.openai_errors import Refusal
from serving.replay_store import Bounds

if TYPE_CHECKING:
    from tests.serving.conftest import House

DAY = 86_400.0


class Clock:
    """A clock that is set."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def ask(replays: Replays, key: str, body: bytes = b"Hello", request: bytes = b"{}") -> bytes | None:
    """Answer with the body, or return what was answered before."""

    async def nowhere(_: Any) -> None:
        pass

    recorder = Recorder(nowhere)
    async with replays.first("token", key.encode(), request, recorder) as before:
        if before is not None:
            return before.body
        head: Any = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
        await recorder(head)
        await recorder({"type": "http.response.body", "body": body})
        return None


async def test_an_answer_is_kept_for_a_day_and_no_longer(tmp_path: Path) -> None:
    clock = Clock()
    replays = Replays(tmp_path / "replays.db", clock=clock)
    assert await ask(replays, "k") is None
    clock.now += DAY - 1
    assert await ask(replays, "k") == b"Hello"
    clock.now += 2
    assert await ask(replays, "k", b"Good day") is None
    assert await ask(replays, "k") == b"Good day"


async def test_what_is_too_old_leaves_the_file_though_nobody_asks(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "replays.db"
    replays = Replays(path, clock=clock)
    await ask(replays, "k", b"a canary" * 100)
    replays.close()
    clock.now += DAY + 1
    later = Replays(path, clock=clock)
    tending = asyncio.create_task(later.tend_on())
    while await asyncio.to_thread(rows, path):
        await asyncio.sleep(0.02)
    tending.cancel()


async def test_beyond_the_bound_the_oldest_go(tmp_path: Path) -> None:
    clock = Clock()
    few = Replays(tmp_path / "few.db", Bounds(entries=10), clock=clock)
    small = Replays(tmp_path / "small.db", Bounds(size=10_000), clock=clock)
    for number in range(30):
        clock.now += 1
        await ask(few, f"k-{number}")
        await ask(small, f"k-{number}", b"x" * 1_000)
    assert 9 <= rows(tmp_path / "few.db") <= 10
    assert 9 <= rows(tmp_path / "small.db") <= 10
    assert await ask(few, "k-29") == b"Hello"
    assert await ask(few, "k-3") is None
    await ask(small, "large", b"x" * 10_001)
    assert await ask(small, "large") is None
    assert await ask(small, "k-29", b"x") == b"x" * 1_000  # which the large one has not displaced


async def test_of_many_at_once_after_a_restart_one_is_answered_anew_and_all_are_told_what_was_known(
    tmp_path: Path,
) -> None:
    path = tmp_path / "replays.db"
    await ask(Replays(path), "known")
    replays = Replays(path)
    assert await asyncio.gather(*[ask(replays, "known") for _ in range(20)]) == [b"Hello"] * 20
    told = await asyncio.gather(*[ask(replays, "new") for _ in range(20)], return_exceptions=True)
    assert told.count(None) == 1
    assert {each.status for each in told if isinstance(each, Refusal)} <= {409}
    assert len([each for each in told if isinstance(each, Refusal) or each in (None, b"Hello")]) == 20


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_key_that_is_none_is_a_400(house: House, key: str) -> None:
    found = await house.ask(headers={"idempotency-key": key})
    assert (found.status_code, found.json()["error"]["code"]) == (400, "invalid_idempotency_key")


async def test_who_gives_no_key_leaves_no_file_and_the_file_is_the_owners_alone(house: House) -> None:
    path = house.workspace.home / "replays.db"
    await house.ask()
    assert not path.exists()
    await house.ask(headers={"idempotency-key": "k-very-secret"})
    assert path.stat().st_mode & 0o777 == 0o600
    kept = b"".join(each.read_bytes() for each in house.workspace.home.glob("replays.db*"))
    assert b"k-very-secret" not in kept
    assert house.token.encode() not in kept


@pytest.mark.parametrize("damage", ["all of it", "a page in the middle"])
async def test_a_damaged_file_is_set_aside_and_answers_are_kept_anew(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "replays.db"
    before = Replays(path)
    for number in range(50):
        await ask(before, f"k-{number}", b"x" * 1_000)
    before.close()
    content = path.read_bytes()
    end = len(content) if damage == "all of it" else 12_288  # where SQLite keeps the names of the keys
    broken = bytes(end and 0xA5 for _ in range(end - 4096 * (end == 12_288)))
    path.write_bytes(content[: end - len(broken)] + broken + content[end:])
    replays = Replays(path)
    told = await asyncio.gather(*[ask(replays, f"k-{number}", b"anew") for number in range(20)])
    assert told == [None] * 20
    assert await ask(replays, "k-7") == b"anew"
    assert path.with_name("replays.db.damaged").stat().st_size == len(content)
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    assert "replays.db.damaged" in caplog.text


async def test_a_file_that_another_gateway_has_set_aside_is_not_set_aside_twice(tmp_path: Path) -> None:
    path = tmp_path / "replays.db"
    path.write_bytes(b"no database at all" * 100)
    here, there = Replays(path), Replays(path)
    told = await asyncio.gather(*[ask(store, f"k-{number}") for number in range(10) for store in (here, there)])
    assert told == [None] * 20
    assert path.with_name("replays.db.damaged").read_bytes() == b"no database at all" * 100
    assert await ask(there, "k-3") == b"Hello"


async def test_a_store_that_cannot_be_read_is_told_before_anything_is_done(house: House) -> None:
    (house.workspace.home / "replays.db").mkdir()
    found = await house.ask(headers={"idempotency-key": "k-1"})
    assert (found.status_code, found.json()["error"]["code"]) == (503, "unavailable")
    assert not house.upstream.wires
    assert (await house.ask()).status_code == 200


def rows(path: Path) -> int:
    """Return how many answers a file holds."""
    with sqlite3.connect(path) as connection:
        return int(connection.execute("SELECT count(*) FROM replays").fetchone()[0])
