"""The engine that runs a model with PyTorch: `python -m serving.engines.torch --model DIR --name N --socket PATH`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workspace.errors import Conflict, Invalid, StudioloError

if TYPE_CHECKING:
    from starlette.applications import Starlette

LONGEST_SOCKET = 107  # bytes of a unix socket's path, Linux's limit


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model, then listen; once the socket answers, the engine is ready."""
    parser = argparse.ArgumentParser(prog="python -m serving.engines.torch", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder with config.json and safetensors")
    parser.add_argument("--name", required=True, help="what the model is called in answers")
    parser.add_argument("--task", choices=["chat", "embedding"], default="chat")
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to listen on (created, mode 0600)")
    parser.add_argument("--threads", type=int, default=0, help="compute threads; 0: half the cores")
    parser.add_argument(
        "--dtype", choices=["auto", "bfloat16", "float32"], default="auto", help="of chat models; embeddings: float32"
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        serve(given.model, given.name, task=given.task, path=given.socket, threads=given.threads, dtype=given.dtype)
    except StudioloError as error:
        print(f"{error}\n{error.hint or ''}".strip(), file=sys.stderr)  # noqa: T201 (the edge)
        return error.exit_code
    return 0


def serve(model: Path, name: str, *, task: Literal["chat", "embedding"], path: Path, threads: int, dtype: str) -> None:
    """Serve one model on the unix socket `path` until SIGTERM."""
    import uvicorn

    # uvicorn ends its connections on SIGTERM and then raises it again: this way the socket is removed as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = listen(path)
    try:
        app = _load(model, name, task=task, threads=threads, dtype=dtype)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        listener.listen(128)
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def _load(model: Path, name: str, *, task: str, threads: int, dtype: str) -> Starlette:
    import torch

    from serving.engines.chat import load_chat
    from serving.engines.embedding import load_embedding
    from serving.engines.routes import create_app

    # Two threads lose to one as soon as a neighbour needs a core, and here there is always a neighbour.
    torch.set_num_threads(threads or max(1, len(os.sched_getaffinity(0)) // 2))
    loaded = load_chat(model, dtype=dtype, died=_leave) if task == "chat" else load_embedding(model)
    return create_app(loaded, name=name)


def _leave() -> None:
    """End this process as if asked to: whoever needs the engine starts a new one."""
    os.kill(os.getpid(), signal.SIGTERM)


def listen(path: Path) -> socket.socket:
    """Bind a unix socket that only this user can open; connections are refused until it listens."""
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise Invalid(f"socket path is longer than {LONGEST_SOCKET} bytes: {path}", hint="use a shorter home")
    path.parent.mkdir(parents=True, exist_ok=True)
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(str(path))
    except FileNotFoundError:
        pass
    except OSError:
        path.unlink(missing_ok=True)  # left by an engine that was killed
    else:
        raise Conflict(f"another engine listens on {path}")
    finally:
        probe.close()
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(before)
    return bound


if __name__ == "__main__":
    raise SystemExit(main())
