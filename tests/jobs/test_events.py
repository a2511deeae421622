"""Events: what is told of jobs, models, data, deployments and schedules, to whom, signed, again, and after a kill."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from jobs import records, submit
from jobs.events import cloud, deliveries, rules
from jobs.events.deliveries import Courier
from jobs.events.rules import Rule
from jobs.files import read_schedule
from jobs.schedules import firing, store
from tests.jobs.conftest import Submit, job_of
from workspace import tables
from workspace.errors import Conflict, Invalid, NotFound
from workspace.home import Workspace

NOW = 4_000_000_000.0  # later than anything that happens here
DAY = 86_400.0


class Receiver:
    """A server that keeps what it is sent, and answers what it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[Mapping[str, str], bytes]] = []
        self.status = 204
        self.holds = threading.Event()
        self.holds.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
                outer.holds.wait(30)
                self.send_response(outer.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.holds.set()
    made.server.shutdown()
    made.server.server_close()


def said(workspace: Workspace, receiver: Receiver, now: float = NOW) -> list[dict[str, Any]]:
    """Tell all there is to tell, and return what the receiver got."""
    courier = Courier(workspace)
    while courier.tick(now):
        courier.wait()
    courier.close()
    return receiver.events


def to(receiver: Receiver, name: str = "rule", **filters: Any) -> Rule:
    return Rule(name=name, webhook=receiver.url, inside=True, **filters)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [each["type"].rpartition(".")[2] for each in events]


def test_a_job_tells_each_status_and_how_it_ended(any_workspace: Workspace, receiver: Receiver, tmp_path: Path) -> None:
    rules.create(any_workspace, to(receiver))
    rest = "name: good\nexperiment_name: tries\ntags: {team: red}\n"
    submit.submit(any_workspace, job_of(tmp_path, "true", rest))
    submit.wait(any_workspace, "good", seconds=60)
    events = said(any_workspace, receiver)
    statuses = [each["data"]["runStatus"] for each in events if each["type"] == cloud.RUN_STATUS_CHANGED]
    assert (statuses[0], statuses[-1], len(statuses)) == ("Queued", "Completed", len(set(statuses)))
    (done,) = [each for each in events if each["type"] == "Microsoft.MachineLearningServices.RunCompleted"]
    assert (done["subject"], done["specversion"]) == ("experiments/tries/runs/good", "1.0")
    assert done["datacontenttype"] == "application/json"
    assert done["source"].startswith("/studiolo/workspaces/")
    assert {key: done["data"][key] for key in ("runId", "experimentName", "runType", "runTags")} == {
        "runId": "good", "experimentName": "tries", "runType": "command", "runTags": {"team": "red"},
    }  # fmt: skip
    assert len({each["id"] for each in events}) == len(events)
    assert abs(time.time() - _moment(done)) < 120


def _moment(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def test_a_job_that_fails_or_is_cancelled_is_told_too(workspace: Workspace, receiver: Receiver, run: Submit) -> None:
    rules.create(workspace, to(receiver, types=("RunFailed", "Studiolo.RunCanceled", "RunCompleted")))
    run("exit 3", "name: bad\n")
    submit.wait(workspace, "bad", seconds=60)
    run("sleep 60", "name: slow\n")
    submit.cancel(workspace, "slow")
    submit.wait(workspace, "slow", seconds=60)
    events = said(workspace, receiver)
    assert [(each["type"], each["data"]["runId"]) for each in events] == [
        ("Studiolo.RunFailed", "bad"), ("Studiolo.RunCanceled", "slow"),
    ]  # fmt: skip
    assert events[0]["data"]["exitCode"] == 3


def test_models_data_deployments_and_rollouts_are_told(any_workspace: Workspace, receiver: Receiver) -> None:
    rules.create(any_workspace, to(receiver))
    any_workspace.assets.put("model", "small", b"weights", properties={"task": "chat"})
    any_workspace.assets.put("data", "rows", b"{}")
    any_workspace.assets.put("report", "page", b"<html>")
    now = {"created_at": NOW, "updated_at": NOW}
    with any_workspace.database.write() as connection:
        connection.execute(
            insert(tables.endpoints).values(name="support", traffic={}, properties={"tags": {"a": "b"}}, **now)
        )
        row = {"endpoint": "support", "name": "blue", "engine": "torch", "model": "model:small:1", "properties": {}}
        connection.execute(insert(tables.deployments).values(**row, **now))
        blue = update(tables.deployments).filter_by(name="blue")
        connection.execute(blue.values(properties={"x": 1}))
        connection.execute(blue.values(model="model:small:2"))
        connection.execute(insert(tables.rollouts).values(
            id="r1", endpoint="support", deployment="blue", spec={}, state="RUNNING", step=0, evidence={},
            reason="slow", created_at=NOW, stepped_at=NOW,
        ))  # fmt: skip
        connection.execute(update(tables.rollouts).values(state="ABORTED"))
    events = said(any_workspace, receiver)
    assert kinds(events) == ["ModelRegistered", "DataRegistered", "ModelDeployed", "ModelDeployed", "RolloutAborted"]
    assert [each["subject"] for each in events] == [
        "models/small:1", "data/rows:1", "endpoints/support", "endpoints/support", "endpoints/support",
    ]  # fmt: skip
    assert (events[0]["data"]["ModelName"], events[0]["data"]["ModelProperties"]) == ("small", {"task": "chat"})
    assert events[3]["data"]["ModelIds"] == "small:2"
    assert events[2]["data"]["ServiceTags"] == {"a": "b"}
    assert events[4]["data"]["reason"] == "slow"


def test_a_schedule_that_cannot_be_fired_is_told(workspace: Workspace, receiver: Receiver, tmp_path: Path) -> None:
    rules.create(workspace, to(receiver, types=("ScheduleFailed",)))
    path = tmp_path / "watch.yml"
    path.write_text(
        "name: watch\ntrigger: {type: cron, expression: '* * * * *'}\ncreate_monitor:\n"
        "  compute: {instance_type: a, runtime_version: '3.4'}\n"
    )
    store.put(workspace, read_schedule(path), now=NOW)
    firing.tick(workspace, NOW + 60)
    (event,) = said(workspace, receiver)
    assert (event["subject"], "create_monitor" in event["data"]["error"]) == ("schedules/watch", True)


def test_drift_is_told_by_whoever_measures_it(workspace: Workspace, receiver: Receiver) -> None:
    rules.create(workspace, to(receiver))
    cloud.tell(workspace, cloud.DATASET_DRIFT, "datadriftID/x/run/y", {"DriftCoefficient": 0.8}, now=NOW)
    (event,) = said(workspace, receiver)
    assert (event["type"], event["data"]) == (
        "Microsoft.MachineLearningServices.DatasetDriftDetected", {"DriftCoefficient": 0.8},
    )  # fmt: skip
    with pytest.raises(Invalid, match="no event"):
        cloud.tell(workspace, "Drift", "x", {}, now=NOW)


def test_without_a_rule_nothing_is_kept(workspace: Workspace, receiver: Receiver) -> None:
    workspace.assets.put("data", "rows", b"{}")
    rules.create(workspace, to(receiver))
    assert said(workspace, receiver) == []


def test_a_change_that_is_taken_back_is_not_told(any_workspace: Workspace, receiver: Receiver) -> None:
    rules.create(any_workspace, to(receiver))
    asset = {"kind": "model", "name": "a", "version": "1", "digest": "x", "size": 1, "is_folder": False,
             "properties": {}, "created_at": NOW}  # fmt: skip

    def change_and_break() -> None:
        with any_workspace.database.write() as connection:
            connection.execute(insert(tables.assets).values(asset))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_break()
    assert said(any_workspace, receiver) == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["a", "b"]), ({"subject": "models/a:*"}, ["a"]), ({"types": ("ModelRegistered",)}, ["a", "b"]),
        ({"types": ("DataRegistered",)}, []), ({"tags": {"team": "red"}}, ["b"]), ({"tags": {"team": "blue"}}, []),
    ],
)  # fmt: skip
def test_rules_choose(workspace: Workspace, receiver: Receiver, filters: dict[str, Any], expected: list[str]) -> None:
    rules.create(workspace, to(receiver, **filters))
    workspace.assets.put("model", "a", b"1")
    made = workspace.assets.put("model", "b", b"2")
    workspace.assets.note(made, {"tags": {"team": "red"}})
    assert [each["data"]["ModelName"] for each in said(workspace, receiver)] == expected


def test_what_is_sent_is_signed_as_standard_webhooks_are(workspace: Workspace, receiver: Receiver) -> None:
    secret = rules.create(workspace, to(receiver))
    workspace.assets.put("model", "a", b"1")
    said(workspace, receiver)
    headers, body = receiver.got[0]
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (json.loads(body)["id"], str(int(NOW)))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    with workspace.database.read() as connection:
        kept = connection.execute(select(tables.event_rules)).one()
    assert secret.removeprefix("whsec_") not in repr(kept)
    assert secret.removeprefix("whsec_") not in repr(workspace.audit.list())


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
    assert [after - before for before, after in itertools.pairwise(times)] == list(deliveries.PAUSES)
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
    assert len(said(workspace, receiver, now + 10)) == 2
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


def test_a_redirect_is_not_followed(workspace: Workspace, receiver: Receiver) -> None:
    receiver.status = 302
    rules.create(workspace, to(receiver))
    workspace.assets.put("model", "a", b"1")
    assert len(said(workspace, receiver)) == 1
    assert [each.status for each in deliveries.listed(workspace, "rule")] == ["waiting"]


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


def test_a_webhook_inside_must_be_allowed(workspace: Workspace, receiver: Receiver) -> None:
    with pytest.raises(Invalid, match="inside this machine") as refused:
        rules.create(workspace, Rule(name="rule", webhook=receiver.url))
    assert "--inside" in (refused.value.hint or "")


def test_a_name_that_leads_inside_later_is_not_followed(workspace: Workspace, receiver: Receiver) -> None:
    rules.create(workspace, to(receiver))
    with workspace.database.write() as connection:
        spec = connection.scalar(select(tables.event_rules.c.spec))
        connection.execute(update(tables.event_rules).values(spec={**spec, "inside": False}))
    workspace.assets.put("model", "a", b"1")
    assert said(workspace, receiver) == []
    assert [(each.status, "inside" in (each.answer or "")) for each in deliveries.listed(workspace, "rule")] == [
        ("dead", True)
    ]


def test_a_command_gets_the_event_and_no_shell(workspace: Workspace, tmp_path: Path, receiver: Receiver) -> None:
    script = tmp_path / "keep.py"
    script.write_text(
        "import json, os, sys\nevent = json.load(sys.stdin)\nout = {'argv': sys.argv[1:], 'id': event['id'], "
        "'env': sorted(os.environ), 'type': os.environ['STUDIOLO_EVENT_TYPE']}\n"
        f"open({str(tmp_path / 'out.json')!r}, 'w').write(json.dumps(out))\n"
    )
    os.environ["A_SECRET_OF_OURS"] = "x"
    rules.create(workspace, Rule(name="rule", command=(sys.executable, str(script), "$HOME; id", "`id`")))
    workspace.assets.put("model", "a", b"1")
    said(workspace, receiver)
    del os.environ["A_SECRET_OF_OURS"]
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["argv"] == ["$HOME; id", "`id`"]
    assert told["type"] == cloud.MODEL_REGISTERED
    assert "A_SECRET_OF_OURS" not in told["env"]
    (delivery,) = deliveries.listed(workspace, "rule")
    assert (delivery.status, delivery.answer) == ("delivered", "exit code 0")


def test_a_command_that_fails_is_run_again_and_its_words_are_kept(workspace: Workspace, receiver: Receiver) -> None:
    rules.create(workspace, Rule(name="rule", command=("sh", "-c", "echo no room; exit 7")))
    workspace.assets.put("model", "a", b"1")
    said(workspace, receiver)
    (delivery,) = deliveries.listed(workspace, "rule")
    assert (delivery.status, delivery.answer) == ("waiting", "exit code 7 no room")


def test_a_test_is_told_at_once_whatever_the_filters(workspace: Workspace, receiver: Receiver) -> None:
    rules.create(workspace, to(receiver, types=("RunCompleted",)))
    assert deliveries.test(workspace, "rule", now=NOW).status == "delivered"
    assert kinds(receiver.events) == ["Test"]
    receiver.status = 500
    failed = deliveries.test(workspace, "rule", now=NOW)
    assert (failed.status, failed.tries) == ("dead", 1)


def test_rules_that_cannot_be_are_refused(workspace: Workspace, receiver: Receiver) -> None:
    with pytest.raises(Invalid, match="a webhook or a command"):
        Rule(name="rule")
    with pytest.raises(Invalid, match="no event 'RunComplete'") as refused:
        rules.create(workspace, to(receiver, types=("RunComplete",)))
    assert refused.value.hint == "did you mean 'RunCompleted'?"
    with pytest.raises(NotFound, match="no program"):
        rules.create(workspace, Rule(name="rule", command=("no-such-program",)))
    with pytest.raises(Invalid, match="ftp"):
        rules.create(workspace, Rule(name="rule", webhook="ftp://example.com/"))
    rules.create(workspace, to(receiver))
    with pytest.raises(Conflict, match="already"):
        rules.create(workspace, to(receiver))
    rules.remove(workspace, "rule")
    with pytest.raises(NotFound, match="no event rule 'rule'"):
        rules.remove(workspace, "rule")


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
