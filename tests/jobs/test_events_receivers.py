"""How one event is told: signed POSTs that go where they may, and programs without a shell."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
from pathlib import Path

from sqlalchemy import select, update

from jobs.events import cloud, deliveries, rules
from jobs.events.rules import Rule
from tests.jobs.receiving import NOW, Receiver, said, to
from tests.jobs.receiving import receiver as receiver
from workspace import tables
from workspace.home import Workspace


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


def test_a_redirect_is_not_followed(workspace: Workspace, receiver: Receiver) -> None:
    receiver.status = 302
    rules.create(workspace, to(receiver))
    workspace.assets.put("model", "a", b"1")
    assert len(said(workspace, receiver)) == 1
    assert [each.status for each in deliveries.listed(workspace, "rule")] == ["waiting"]


def test_a_name_that_leads_inside_later_is_not_followed(workspace: Workspace, receiver: Receiver) -> None:
    rules.create(workspace, to(receiver))
    with workspace.database.write() as connection:
        spec = dict(connection.execute(select(tables.event_rules.c.spec)).scalar_one())
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
