"""`studiolo catalog serve`: the models of this machine as a Hub for others."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import typer

import studiolo
from studiolo.commands.formats import Answer
from workspace.errors import Invalid

PORT = 8404


def serve_command(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = PORT,
    open_: Annotated[bool, typer.Option("--open", help="Ask for no token; on this machine only.")] = False,
) -> Answer | None:
    """Serve this machine's models as a Hub, for reading: set HF_ENDPOINT and HF_TOKEN elsewhere, and pull."""
    import uvicorn
    from huggingface_hub import constants

    from catalog.hub_server.app import HubServer
    from catalog.hub_server.limits import GENEROUS, RateLimits
    from catalog.hub_server.stock import Stock
    from studiolo.catalog_doors import doors

    if open_ and not _is_loopback(host):
        raise Invalid(
            f"without a token nobody but this machine is let in, and {host} is for others", hint="leave --open"
        )
    with studiolo.open_workspace() as workspace:
        shelf = Stock(workspace, Path(constants.HF_HUB_CACHE))
        server = HubServer(shelf, doors(workspace, is_open=open_), RateLimits(GENEROUS))
        shown = f"[{host}]" if ":" in host else host
        token = "" if open_ else f" HF_TOKEN=$(cat {workspace.home / 'token'})"
        typer.echo(f"HF_ENDPOINT=http://{shown}:{port}{token}", err=True)
        if not open_:
            workspace.tokens.local()
        uvicorn.run(server, host=host, port=port, log_level="warning", server_header=False)
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
