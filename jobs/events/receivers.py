"""Telling one event to whoever a rule names: a signed POST, or a program that reads it from its standard input."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jobs.events.rules import SECRET, Rule
from workspace import egress
from workspace.errors import Invalid, Unavailable
from workspace.settings import Settings

WEBHOOK_TIME, COMMAND_TIME = 15.0, 60.0  # seconds
_HOPELESS = frozenset({400, 403, 410, 413})  # it will not be taken the next time either
_SHOWN = 500  # letters of what a receiver says
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of telling: whether it was taken, whether trying again may help, and what was said."""

    taken: bool
    again: bool
    words: str


def tell(rule: Rule, event: Mapping[str, Any], *, secret: str, settings: Settings, now: float) -> Outcome:
    """Tell an event once."""
    body = json.dumps(event, separators=(",", ":")).encode()
    return _run(rule, event, body, settings) if rule.command else _post(rule, event, body, secret, now)


def signature(secret: str, identifier: str, moment: int, body: bytes) -> str:
    """Return what signs a message, as Standard Webhooks has it: receivers check it with any of its libraries."""
    key = base64.b64decode(secret.removeprefix(SECRET))
    signed = f"{identifier}.{moment}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _post(rule: Rule, event: Mapping[str, Any], body: bytes, secret: str, now: float) -> Outcome:
    headers = {
        "Content-Type": "application/cloudevents+json; charset=utf-8",
        "webhook-id": event["id"],
        "webhook-timestamp": str(int(now)),
        "webhook-signature": signature(secret, event["id"], int(now), body),
    }
    try:
        answer = egress.post(rule.webhook, body, headers=headers, timeout=WEBHOOK_TIME, allows=rule.allows)
    except Unavailable as problem:
        return Outcome(taken=False, again=True, words=str(problem))
    except Invalid as problem:  # its name leads inside now
        return Outcome(taken=False, again=False, words=str(problem))
    words = f"{answer.status} {answer.words}".strip()
    return Outcome(taken=200 <= answer.status < 300, again=answer.status not in _HOPELESS, words=words[:_SHOWN])


def _run(rule: Rule, event: Mapping[str, Any], body: bytes, settings: Settings) -> Outcome:
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ} | {
        "STUDIOLO_HOME": str(settings.home), "STUDIOLO_EVENT_ID": event["id"], "STUDIOLO_EVENT_TYPE": event["type"],
        "STUDIOLO_EVENT_SUBJECT": event["subject"],
    }  # fmt: skip
    try:
        program = subprocess.Popen(
            rule.command, env=environment, cwd=settings.home, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except OSError as problem:
        return Outcome(taken=False, again=True, words=f"cannot be started: {problem.strerror}")
    try:
        said, _ = program.communicate(body, timeout=COMMAND_TIME)
    except subprocess.TimeoutExpired:
        _end(program)
        return Outcome(taken=False, again=True, words=f"took longer than {COMMAND_TIME:g} seconds")
    words = f"exit code {program.returncode} {said.decode('utf-8', 'replace')[-_SHOWN:]}".strip()
    return Outcome(taken=program.returncode == 0, again=True, words=words)


def _end(program: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.communicate()
