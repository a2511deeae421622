"""`studiolo event-rule`: tell others what happens here, by signed webhooks or commands."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

import studiolo
from studiolo.commands.formats import Answer
from studiolo.commands.groups import Group
from studiolo.commands.scoring_options import Yes, changes, confirm
from workspace.errors import StudioloError

if TYPE_CHECKING:
    from jobs.events.deliveries import Delivery
    from jobs.events.rules import Rule

app = Group(help="Tell others what happens here: signed webhooks, or commands that read the event.")
COLUMNS = ("name", "types", "subject", "tags", "receiver")
LOG_COLUMNS = ("time", "type", "subject", "status", "tries", "answer")

Name = Annotated[str, typer.Argument(help="The rule's name.")]


@app.command()
def create(
    name: Name,
    command: Annotated[list[str] | None, typer.Argument(help="After --: a program and its arguments.")] = None,
    type_: Annotated[list[str] | None, typer.Option("--type", "-t", help="RunCompleted …; again for more.")] = None,
    subject: Annotated[str, typer.Option("--subject", help="A pattern: models/small:*")] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", help="key=value that it must have; again for more.")] = None,
    webhook: Annotated[str, typer.Option("--webhook", help="Where to POST events to.")] = "",
    inside: Annotated[bool, typer.Option("--inside", help="It may be on this machine or in its network.")] = False,
) -> Answer:
    """Make a rule. What signs its webhook is printed this once."""
    from jobs.events import rules
    from jobs.events.rules import Rule

    rule = Rule(
        name=name, types=tuple(type_ or ()), subject=subject, tags=changes(tag), webhook=webhook, inside=inside,
        command=tuple(command or ()),
    )  # fmt: skip
    with studiolo.open_workspace() as workspace:
        secret = rules.create(workspace, rule)
        value = _rule(rules.get(workspace, name))
    if secret:
        typer.echo("note: this secret is shown only now; with it the receiver checks who has sent an event", err=True)
    return Answer(value=value | ({"secret": secret} if secret else {}), words=secret or name, next=_test(name))


@app.command("list")
def list_command() -> Answer:
    """List the rules."""
    from jobs.events import rules

    with studiolo.open_workspace() as workspace:
        return Answer(value=[_rule(rule) for rule in rules.listed(workspace)], columns=COLUMNS)


@app.command()
def show(name: Name) -> Answer:
    """Show a rule, and how many events were told, wait, or are dead."""
    from jobs.events import deliveries, rules

    with studiolo.open_workspace() as workspace:
        value = _rule(rules.get(workspace, name))
        return Answer(value=value | {"deliveries": deliveries.counts(workspace, name)})


@app.command()
def delete(name: Name, yes: Yes = False) -> Answer:
    """Remove a rule and its log; what waits to be told is not told any more."""
    from jobs.events import rules

    with studiolo.open_workspace() as workspace:
        rules.get(workspace, name)
        confirm(f"Remove event rule {name!r}?", yes=yes)
        rules.remove(workspace, name)
    return Answer(value=None, words=f"event rule {name!r} is removed")


@app.command()
def test(name: Name) -> Answer:
    """Tell a rule's receiver of a test, now; exit with 1 where it does not take it."""
    from jobs.events import deliveries

    with studiolo.open_workspace() as workspace:
        done = deliveries.test(workspace, name, now=time.time())
    failure = None if done.status == "delivered" else StudioloError(f"the test was not taken: {done.answer}")
    return Answer(value=_delivery(done), words=f"{done.status}: {done.answer}", failure=failure)


@app.command()
def log(
    name: Name,
    dead: Annotated[bool, typer.Option("--dead", help="Those that nobody has taken.")] = False,
    max_results: Annotated[int, typer.Option("--max-results", "-r", min=1, help="How many.")] = 50,
) -> Answer:
    """List what a rule has told and what came of it, newest first."""
    from jobs.events import deliveries, rules

    with studiolo.open_workspace() as workspace:
        rules.get(workspace, name)
        found = deliveries.listed(workspace, name, dead=dead, limit=max_results)
    return Answer(value=[_delivery(each) for each in found], columns=LOG_COLUMNS)


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name, "types": list(rule.types), "subject": rule.subject, "tags": dict(rule.tags),
        "receiver": rule.webhook or " ".join(rule.command), "inside": rule.inside,
    }  # fmt: skip


def _delivery(each: Delivery) -> dict[str, Any]:
    waits = each.next_at if each.status == "waiting" else None
    return {
        "time": each.event["time"], "type": each.event["type"], "subject": each.event["subject"],
        "status": each.status, "tries": each.tries, "answer": each.answer,
        "next_try": None if waits is None else f"{datetime.fromtimestamp(waits, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "event": each.event,
    }  # fmt: skip


def _test(name: str) -> str:
    return f"studiolo event-rule test {name}"
