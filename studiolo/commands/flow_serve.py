"""`studiolo flow serve` and `studiolo flow build`: a flow over HTTP, here or elsewhere."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Literal

import typer


def serve_command(
    source: Annotated[str, typer.Option("--source", "--flow", help="The flow folder or file.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
    host: Annotated[str, typer.Option(help="Other than this machine, a token is asked for.")] = "127.0.0.1",
    socket: Annotated[Path | None, typer.Option(help="Listen on this unix socket; only this user can open it.")] = None,
    name: Annotated[str, typer.Option(help="What it is called as a chat model, instead of the flow's own name.")] = "",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes: more for flows that compute.")] = 1,
    variant: Annotated[str | None, typer.Option(help="Use this variant, as node.variant.")] = None,
    init: Annotated[list[str] | None, typer.Option(help="name=value … with which a flex class is made.")] = None,
    environment_variables: Annotated[
        list[str] | None, typer.Option("--environment-variables", help="NAME=value …, or a .env file.")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="Keep the answers of models in this cassette.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Answer from this cassette; no model is asked.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="Ask for the token in this file.")] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Ask for no token, whoever can reach it.")] = False,
    skip_open_browser: Annotated[bool, typer.Option("--skip-open-browser", help="Open no page.")] = False,
    engine: Annotated[Literal["flask", "fastapi"] | None, typer.Option(help="Taken as pf takes it.")] = None,
    static_folder: Annotated[Path | None, typer.Option("--static_folder", hidden=True)] = None,
) -> None:
    """Serve a flow: POST /score, a page to try it, and the flow as an OpenAI chat model; until Ctrl-C or SIGTERM."""
    from flows.serve.workers import Ready
    from studiolo import flow_serving
    from studiolo.commands.flow import cassette, values, variables

    token = flow_serving.token_for(host, file=token_file, auth=not no_auth)
    asked = flow_serving.Asked(
        source=source, name=name, host=host, port=port, socket=socket, workers=workers, token=token,
        variant=variant, init=values(init), environment=variables(environment_variables),
        cassette=cassette(record, replay),
    )  # fmt: skip
    if engine or static_folder:
        typer.echo("note: there is one engine, with one page: --engine and --static_folder change nothing", err=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for event in flow_serving.run(asked, stop):
        if isinstance(event, Ready):
            if socket:
                print(f"/score answers on {socket}", flush=True)
                continue
            print(f"{event.url}/score answers, {event.url}/ is a page to try it", flush=True)
            _tell_of_access(host, token, shown=token_file is None)
            if not skip_open_browser and sys.stdout.isatty():
                typer.launch(event.url)
        else:
            typer.secho(f"a process ended with code {event.code}; another serves in its place", fg="red", err=True)


def build_command(
    source: Annotated[str, typer.Option("--source", "--flow", help="The flow folder or file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write; an earlier build is replaced.")],
    format: Annotated[  # noqa: A002
        Literal["docker", "folder", "executable"], typer.Option("--format", "-f", help="What to build.")
    ] = "docker",
    variant: Annotated[str | None, typer.Option(help="Use this variant, as node.variant.")] = None,
) -> None:
    """Build a flow as a folder that is served elsewhere; its connections go along without their secrets."""
    from studiolo import flow_serving

    built = flow_serving.build(source, output, format=format, variant=variant)
    print(built.folder)
    for name in built.variables:
        typer.echo(f"set {name} where it is served", err=True)
    if built.note:
        typer.echo(f"note: {built.note}", err=True)
    what = f"docker build {built.folder}" if built.format == "docker" else f"{built.folder}/start.sh"
    typer.echo(f"next: {what}", err=True)


def _tell_of_access(host: str, token: str, *, shown: bool) -> None:
    from flows.serve.workers import is_loopback

    if token and shown:
        print(f"requests need this header: Authorization: Bearer {token}", flush=True)
    elif not token and not is_loopback(host):
        typer.secho("no token is asked for: whoever reaches this address may use the flow", fg="yellow", err=True)
