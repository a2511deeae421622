"""`studiolo key`: keys for the gateway, each with the endpoints it opens, its end, its limits and what it used."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any, cast

import typer

import studiolo
from jobs.schedules import store
from serving import endpoints, usage
from serving.key_limits import KeyLimits, Period
from studiolo.commands.show import print_json, print_table
from workspace.errors import NotFound, did_you_mean
from workspace.home import Workspace
from workspace.tokens import Role, TokenRecord

app = typer.Typer(help="Keys for the gateway: what each opens, its limits, what it used.")

Which = Annotated[str, typer.Argument(help="The key's id or name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    endpoint: Annotated[
        list[str] | None,
        typer.Option("--endpoint", "-e", help="An endpoint or model it may ask, or trigger:SCHEDULE; default: all."),
    ] = None,
    role: Annotated[str, typer.Option(help="viewer, contributor or admin; every role may ask.")] = "viewer",
    days: Annotated[float | None, typer.Option(help="For how long.")] = None,
    rpm: Annotated[int | None, typer.Option(help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens a minute.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests at a time.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="Tokens in a period.")] = None,
    budget: Annotated[float | None, typer.Option(help="Money in a period, by prices.yaml.")] = None,
    period: Annotated[str, typer.Option(help="day, month or total.")] = "month",
    as_json: AsJson = False,
) -> None:
    """Make a key; it is printed this once."""
    limits = KeyLimits(
        requests_per_minute=rpm, tokens_per_minute=tpm, concurrency=concurrency, budget_tokens=budget_tokens,
        budget=budget, period=_period(period),
    )  # fmt: skip
    with studiolo.open_workspace() as workspace:
        _check(workspace, endpoint or [])
        key = workspace.tokens.create(name, _role(role), days=days, endpoints=endpoint, limits=limits.kept())
    if as_json:
        print_json({"key": key, "id": key.split("_")[1]})
        return
    print(key)
    print("note: this key is shown only now; only its hash is kept", file=sys.stderr)
    print(f"next: studiolo key show {key.split('_')[1]}", file=sys.stderr)


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List keys and what each has used this month."""
    with studiolo.open_workspace() as workspace:
        found = [(each, usage.spent(workspace.database, each.id, "month")) for each in workspace.tokens.list()]
    if as_json:
        print_json([_plain(record, used) for record, used in found])
        return
    rows = [
        (each.id, each.name, each.role, ", ".join(each.endpoints or ["all"]), _state(each), used.requests,
         f"{used.tokens:,}", f"{used.cost:.4f}")
        for each, used in found
    ]  # fmt: skip
    headings = ("id", "name", "role", "endpoints", "state", "requests", "tokens", "cost")
    print_table(headings, rows, right=("requests", "tokens", "cost"))


@app.command()
def show(which: Which, as_json: AsJson = False) -> None:
    """Show a key, its limits, and what it used by day and endpoint."""
    with studiolo.open_workspace() as workspace:
        record = _find(workspace, which)
        spent = usage.spent(workspace.database, record.id, KeyLimits.of(record.limits).period)
        days = usage.by_endpoint(workspace.database, record.id)
    if as_json:
        used = [
            {"day": day, "endpoint": endpoint, "requests": each.requests, "prompt_tokens": each.prompt_tokens,
             "completion_tokens": each.completion_tokens, "cost": each.cost}
            for (day, endpoint), each in days.items()
        ]  # fmt: skip
        print_json(_plain(record, spent) | {"days": used})
        return
    print(f"{record.name} ({record.id}), {record.role}, {_state(record)}")
    print(f"may ask: {', '.join(record.endpoints or ['every endpoint'])}")
    for name, value in (record.limits or {}).items():
        print(f"{name.replace('_', ' ')}: {value}")
    print_table(
        ("day", "endpoint", "requests", "tokens in", "out", "cost"),
        [
            (day, endpoint, each.requests, f"{each.prompt_tokens:,}", f"{each.completion_tokens:,}", f"{each.cost:.4f}")
            for (day, endpoint), each in days.items()
        ],
        right=("requests", "tokens in", "out", "cost"),
    )


@app.command()
def revoke(which: Which) -> None:
    """Close a key for good; the gateway refuses it within seconds."""
    with studiolo.open_workspace() as workspace:
        record = _find(workspace, which)
        workspace.tokens.revoke(record.id)
    print(f"{record.name} ({record.id}) opens nothing any more")


def _find(workspace: Workspace, which: str) -> TokenRecord:
    known = workspace.tokens.list()
    for record in known:
        if which in (record.id, record.name):
            return record
    hint = did_you_mean(which, [name for record in known for name in (record.id, record.name)])
    raise NotFound(f"no key {which!r}", hint=hint or "`studiolo key list`")


def _check(workspace: Workspace, wanted: list[str]) -> None:
    known = [*endpoints.addressable(workspace), *(endpoint.name for endpoint in endpoints.listed(workspace))]
    known += [f"{store.SCOPE}{schedule.name}" for schedule in store.listed(workspace)]
    for name in wanted:
        if name not in known:
            raise NotFound(f"no endpoint, model or schedule {name!r}", hint=did_you_mean(name, known))


def _period(text: str) -> Period:
    return cast("Period", text)  # KeyLimits refuses what it does not know


def _role(text: str) -> Role:
    return cast("Role", text)  # the tokens refuse what they do not know


def _state(record: TokenRecord) -> str:
    if record.revoked_at is not None:
        return "revoked"
    if record.expires_at is None:
        return "open"
    until = f"{datetime.fromtimestamp(record.expires_at, UTC):%Y-%m-%d %H:%M}"
    return f"until {until}" if record.valid else f"expired {until}"


def _plain(record: TokenRecord, used: usage.Used) -> dict[str, Any]:
    names = ("id", "name", "role", "endpoints", "limits", "created_at", "expires_at", "revoked_at")
    spent = {"requests": used.requests, "tokens": used.tokens, "cost": used.cost}
    return {name: getattr(record, name) for name in names} | {"used": spent}
