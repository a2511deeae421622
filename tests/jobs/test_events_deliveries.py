"""Telling until it is taken: again with pauses, to one receiver without the others, after a kill, by many at once."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from jobs import records
from jobs.events import deliveries, rules
from jobs.events.deliveries import Courier
from jobs.events.rules import Rule
from jobs.owners import SILENT
from tests.jobs.receiving import DAY, NOW, Receiver, kinds, said, to
from tests.jobs.receiving import receiver as receiver
from workspace.errors import Unavailable
from workspace.home import Workspace


def test_what_is_not_taken_is_told_again_with_longer_pauses_under_one_id_for_a_day(
    workspace: Workspace, receiver: Receiver
) -> None:
    receiver.status = 500
    rules.create(workspace, to(receiver))
    workspace.assets.put("model", "a", b"1")
    courier, now = Courier(workspace), time.time() + 1
    times = []
    while (delivery := _only(workspace)) is None or delivery.status == "waiting":
        if courier.tick(now):
            times.append(now)
            courier.wait()
            assert courier.tick(_only(workspace).next_at - 0.5) == 0  # type: ignore[union-attr]
        now = _only(workspace).next_at  # type: ignore[union-attr]
    courier.close()
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses == pytest.approx(deliveries.PAUSES, abs=5)
    assert sum(deliveries.PAUSES) > 0.9 * DAY
    assert (delivery.status, delivery.tries, (delivery.answer or "")[:3]) == ("dead", 11, "500")
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert deliveries.listed(workspace, "rule", dead=True) == [delivery]


def _only(workspace: Workspace) -> deliveries.Delivery | None:
    return next(iter(deliveries.listed(workspace, "rule")), None)


def test_what_comes_back_to_life_gets_what_it_missed(workspace: Workspace, receiver: Receiver) -> None:
    receiver.status = 503
    rules.create(workspace, to(receiver))
    workspace.assets.put("model", "a", b"1")
    now = time.time() + 1
    assert len(said(workspace, receiver, now)) == 1
    receiver.status = 200
    assert len(said(workspace, receiver, now + 9)) == 1
    assert len(said(workspace, receiver, now + 20)) == 2
    (delivery,) = deliveries.listed(workspace, "rule")
    assert (delivery.status, delivery.tries) == ("delivered", 2)


@pytest.mark.parametrize("status", [400, 403, 410, 413])
def test_a_receiver_that_refuses_for_good_is_not_asked_again(
    workspace: Workspace, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    rules.create(workspace, to(receiver))
    workspace.assets.put("model", "a", b"1")
    assert len(said(workspace, receiver)) == 1
    assert [each.status for each in deliveries.listed(workspace, "rule")] == ["dead"]


def test_one_receiver_that_hangs_holds_up_nobody_else(workspace: Workspace, receiver: Receiver) -> None:
    slow = Receiver()
    slow.holds.clear()
    rules.create(workspace, to(slow, "slow"))
    rules.create(workspace, to(receiver))
    for number in range(6):
        workspace.assets.put("model", "a", str(number).encode())
    courier = Courier(workspace)
    deadline = time.monotonic() + 20
    while len(receiver.got) < 6 and time.monotonic() < deadline:
        courier.tick(time.time() + 1)
        time.sleep(0.05)
    assert (len(receiver.got), len(slow.got)) == (6, 1)
    slow.holds.set()
    courier.close()
    slow.server.shutdown()
    slow.server.server_close()


def test_one_receiver_that_fails_and_has_much_to_get_crowds_out_nobody_else(
    workspace: Workspace, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_AT_ONCE", 3)
    rules.create(workspace, Rule(name="broken", command=("false",)))
    for number in range(8):
        workspace.assets.put("model", "a", str(number).encode())
    deliveries.gather(workspace)
    deliveries.gather(workspace)
    deliveries.gather(workspace)
    rules.create(workspace, to(receiver))
    workspace.assets.put("model", "b", b"1")
    courier = Courier(workspace)
    assert courier.tick(time.time() + 1) == 2
    courier.wait()
    courier.close()
    assert [each["subject"] for each in receiver.events] == [deliveries.listed(workspace, "rule")[0].event["subject"]]


def test_each_message_is_signed_at_the_moment_at_which_it_is_sent(workspace: Workspace, receiver: Receiver) -> None:
    receiver.holds.clear()
    rules.create(workspace, to(receiver))
    for number in range(2):
        workspace.assets.put("model", "a", str(number).encode())
    courier = Courier(workspace)
    courier.tick(NOW)
    time.sleep(1.1)
    receiver.holds.set()
    courier.wait()
    courier.close()
    first, second = (int(headers["webhook-timestamp"]) for headers, _ in receiver.got)
    assert (first, second > first) == (int(NOW), True)


def test_what_was_told_and_could_not_be_written_down_is_told_again(
    any_workspace: Workspace, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise Unavailable("the database is gone")

    rules.create(any_workspace, to(receiver))
    any_workspace.assets.put("model", "a", b"1")
    courier, now = Courier(any_workspace), time.time() + 1
    with monkeypatch.context() as patched:
        patched.setattr(deliveries, "_end", gone)
        courier.tick(now)
        with pytest.raises(Unavailable):
            courier.wait()
    assert courier.tick(now + SILENT) == 0
    assert courier.tick(now + SILENT + 2) == 1
    courier.wait()
    courier.close()
    assert len({each["id"] for each in receiver.events}) == 1
    assert [(each.status, each.tries) for each in deliveries.listed(any_workspace, "rule")] == [("delivered", 2)]


def test_a_test_is_told_at_once_whatever_the_filters(workspace: Workspace, receiver: Receiver) -> None:
    rules.create(workspace, to(receiver, types=("RunCompleted",)))
    assert deliveries.test(workspace, "rule", now=NOW).status == "delivered"
    assert kinds(receiver.events) == ["Test"]
    receiver.status = 500
    failed = deliveries.test(workspace, "rule", now=NOW)
    assert (failed.status, failed.tries) == ("dead", 1)


def test_what_was_told_long_ago_is_forgotten_and_what_is_dead_later(workspace: Workspace, receiver: Receiver) -> None:
    rules.create(workspace, to(receiver))
    deliveries.test(workspace, "rule", now=NOW)
    receiver.status = 400
    deliveries.test(workspace, "rule", now=NOW)
    for days, left in ((6, 2), (8, 1), (31, 0)):
        deliveries.clean(workspace, NOW + days * DAY)
        assert len(deliveries.listed(workspace, "rule")) == left


TELLS = """
import sys, time
from jobs.events import deliveries, receivers
from workspace.home import Workspace
from workspace.settings import Settings
point, real = sys.argv[2], receivers.tell
def tell(*given, **named):
    made = real(*given, **named) if point == "told" else None
    print("here", flush=True)
    time.sleep(60)
receivers.tell = tell
with Workspace.open(settings=Settings.from_environment()) as workspace:
    if point == "gathering":
        events_of = deliveries.events_of
        deliveries.events_of = lambda *given: (print("here", flush=True), time.sleep(60))
    courier = deliveries.Courier(workspace)
    courier.tick(float(sys.argv[1]))
    courier.wait()
"""


@pytest.mark.parametrize(
    "any_workspace",
    ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])],
    indirect=True,
)
@pytest.mark.parametrize(("point", "times"), [("gathering", 1), ("taken", 1), ("told", 2)])
def test_a_teller_that_is_killed_loses_nothing_and_keeps_the_id(
    any_workspace: Workspace, receiver: Receiver, point: str, times: int
) -> None:
    rules.create(any_workspace, to(receiver))
    any_workspace.assets.put("model", "a", b"1")
    environment = os.environ | any_workspace.settings.environment()
    now = str(time.time() + 1)
    teller = subprocess.Popen(
        [sys.executable, "-c", TELLS, now, point], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert teller.stdout is not None
    assert teller.stdout.readline() == "here\n"
    if point != "gathering":  # there it holds the lock of the database
        assert Courier(any_workspace).tick(time.time() + 2) == 0, "its teller lives"
    teller.send_signal(signal.SIGKILL)
    teller.wait()
    teller.stdout.close()
    events = said(any_workspace, receiver, time.time() + 3)
    assert (len(events), len({each["id"] for each in events})) == (times, 1)
    assert [each.status for each in deliveries.listed(any_workspace, "rule")] == ["delivered"]


def test_many_tellers_at_once_tell_once(any_workspace: Workspace, receiver: Receiver) -> None:
    rules.create(any_workspace, to(receiver))
    for number in range(20):
        any_workspace.assets.put("data", f"rows{number}", str(number).encode())
    barrier = threading.Barrier(3)

    def told() -> None:
        with Workspace.open(settings=any_workspace.settings) as own:
            courier = Courier(own)
            barrier.wait()
            while courier.tick(time.time() + 1) or deliveries._due(own, time.time() + 1):
                courier.wait()
            courier.close()

    threads = [threading.Thread(target=told) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.got) == 20
    assert len({each["id"] for each in receiver.events}) == 20
    assert records.list_jobs(any_workspace) == []
