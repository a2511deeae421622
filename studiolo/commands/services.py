"""`studiolo up`, `down` and `status`: the studio as a whole."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from serving.replicas import stop_all
from studiolo import open_workspace
from studiolo.commands.models import prepare_models
from studiolo.commands.show import megabytes, print_json, print_table, span
from studiolo.services import HOST, end, read_house, services
from studiolo.status import describe
from studiolo.supervisor import Event, clear_the_way, follow, launch
from workspace.errors import Unavailable

if TYPE_CHECKING:
    from workspace.home import Workspace

LONGEST_STOP = 30.0


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave it running and return once it is ready.")
    ] = False,
) -> None:
    """Start the studio on this machine: gateway, control plane, the pages and MLflow, on 127.0.0.1 only."""
    progress = Console(stderr=True, highlight=False)
    with open_workspace() as workspace:
        house = read_house(workspace.home)
        if house is not None and house.standing:
            progress.print("the studio is running already")
            _print_addresses(workspace)
            return
        wanted = services(workspace.home, workspace.settings)
        clear_the_way(workspace.home, wanted)
        prepare_models(workspace, progress)
        process, log, offset = launch(workspace.home, workspace.settings, leashed=not detach)
        events = follow(log, offset, process)
        ready = _await_ready(workspace, events, progress)
        _print_addresses(workspace)
        if detach:
            raise typer.Exit(0 if ready else 1)
        _stay(process, events, progress)


def down() -> None:
    """Stop the studio and its engines; nothing that is kept is lost."""
    with open_workspace() as workspace:
        home = workspace.home
        house = read_house(home)
        standing = house is not None and house.standing
        if house is not None:
            end([house.identity], patience=LONGEST_STOP)
            end([each.identity for each in house.services if each.pid], patience=5.0)
        engines = stop_all(home)
    Console(highlight=False).print("stopped" if standing or engines else "nothing was running")


def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what is running, where, since when, and how much memory it takes."""
    with open_workspace() as workspace:
        found = describe(workspace.home)
    if as_json:
        print_json(found)
        return
    if not found["running"] and not found["engines"]:
        print("the studio is not running; start it with `studiolo up`")
    else:
        headings = ("service", "state", "address", "pid", "up for", "memory", "restarts")
        print_table(headings, _rows(found), right=("pid", "memory", "restarts"))


def _await_ready(workspace: Workspace, events: Iterator[Event], console: Console) -> bool:
    """Print how each service comes up until all are ready or given up; return whether all are ready."""
    well = True
    for event in events:
        if event.kind == "settled":
            words = "ready" if well else "not all is ready; the rest runs"
            console.print(f"{words} after {event.seconds:.1f} s")
            return well
        if event.kind == "refused":
            raise Unavailable(event.message, hint=event.hint or None)
        well = well and event.kind != "failed"
        _print_event(event, console)
    raise Unavailable("the studio did not start", hint=f"see {workspace.home / 'logs' / 'supervisor.log'}")


def _stay(process: subprocess.Popen[bytes], events: Iterator[Event], console: Console) -> None:
    """Say what happens until Ctrl-C, then stop everything."""
    console.print("Ctrl-C stops it.")
    try:
        for event in events:
            _print_event(event, console)
    except KeyboardInterrupt:
        console.print("stopping")
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(LONGEST_STOP)
        return
    if process.returncode:
        raise Unavailable("the supervisor ended unexpectedly", hint="see logs/supervisor.log, then `studiolo up`")


def _print_event(event: Event, console: Console) -> None:
    if event.kind == "ready":
        console.print(f"  {event.service:<8} ready after {event.seconds:.1f} s")
    elif event.kind in ("died", "failed"):
        console.print(f"  {event.service:<8} {event.message}", markup=False)
        if event.kind == "failed" and event.detail:
            console.print(event.detail, markup=False, style="dim")


def _print_addresses(workspace: Workspace) -> None:
    settings = workspace.settings
    studio = f"http://{HOST}:{settings.studio_port}"
    # Plain print: a link that is wrapped or styled cannot be clicked or piped.
    print(f"studio    {studio}/login?token={workspace.tokens.local()}")
    print(f"gateway   http://{HOST}:{settings.gateway_port}/v1   (OpenAI; the key is the token above)")
    print(f"REST      http://{HOST}:{settings.control_port}/api")
    print(f"MLflow    http://{HOST}:{settings.mlflow_port}")
    print("next      studiolo demo")


def _rows(found: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for each in found["services"]:
        memory = megabytes(each["memory"])
        yield (
            each["name"],
            each["state"],
            each["url"],
            each["pid"],
            span(each["seconds"]),
            memory,
            each["restarts"] or "",
        )
    for each in found["engines"]:
        yield (
            f"engine {each['name']}",
            _doing(each),
            "",
            each["pid"],
            span(each["seconds"]),
            megabytes(each["memory"]),
            "",
        )


def _doing(engine: dict[str, Any]) -> str:
    """Its state and its queue: "ready, 2 at work, 1 waiting"."""
    queue = engine["queue"] or {}
    counts = (("active", "at work"), ("waiting", "waiting"))
    return ", ".join([engine["state"], *(f"{queue[name]} {words}" for name, words in counts if queue.get(name))])
