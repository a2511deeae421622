"""One process that serves a flow: the flow's code runs in it, HTTP comes in on a socket that its parent has bound.

It is told what to serve on standard input, says on a pipe when it is ready, and drains when it is told to end or when
its parent is gone. What the flow's code prints goes to standard error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows import source_file
from flows.connections import Connection
from flows.masking import Mask
from flows.serve.app import App, Terms
from flows.wire import unpack
from flows.worker import make_kit, send
from workspace.errors import StudioloError

if TYPE_CHECKING:
    import uvicorn

DRAIN = 30  # seconds that answers under way have to end
SWITCH = 0.0005  # seconds that one thread runs while others wait: those of HTTP and of the runner talk all the time
KEEP_ALIVE = 65  # seconds, longer than what stands in front usually waits


def main() -> None:
    """Run as `python -m flows.serve.process`."""
    results = os.dup(1)
    os.dup2(2, 1)
    start = json.loads(sys.stdin.buffer.readline() or "null")
    if start is None:
        return
    sys.setswitchinterval(SWITCH)
    mask = Mask(Connection(**fields) for fields in start["connections"].values())
    try:
        app = App(make_kit(unpack(start["flow"]), {**start, "stream": True}), Terms(**start["terms"]))
    except StudioloError as error:
        send(results, {"refused": mask.text(str(error)), "hint": error.hint})
        return
    except Exception as error:  # noqa: BLE001 - importing the flow's code may raise anything
        at = source_file.place(error, unpack(start["flow"]["folder"]))
        send(results, {"refused": mask.text(f"{type(error).__name__}: {error}"), "hint": None, "at": at})
        return
    # Only now: what is logged goes to a standard error that takes secrets out.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with socket.socket(fileno=start["socket"]) as listener:
        _serve(app, listener, results)
    app.close()
    os._exit(0)  # threads of the flow's code may still hang


def _serve(app: App, listener: socket.socket, results: int) -> None:
    import uvicorn
    import uvloop

    from flows.serve.protocol import OneWrite

    config = uvicorn.Config(
        app,
        http=OneWrite,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=DRAIN,
    )
    server = uvicorn.Server(config)
    # The server raises its signal again when it has drained: it must not end us before we have tidied up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_told(server, listener, {"ready": os.getpid()}, results))


async def _until_told(server: uvicorn.Server, listener: socket.socket, ready: Mapping[str, Any], results: int) -> None:
    loop = asyncio.get_running_loop()

    def parent_left() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            server.should_exit = True

    loop.add_reader(sys.stdin.fileno(), parent_left)
    send(results, ready)
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    main()
