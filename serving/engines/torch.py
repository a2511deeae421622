"""The engine that runs a model with PyTorch: `python -m serving.engines.torch --model DIR --name N --socket PATH`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workspace.errors import Conflict, Invalid, StudioloError

if TYPE_CHECKING:
    from starlette.applications import Starlette

Task = Literal["chat", "embedding", "rerank"]

LONGEST_SOCKET = 107  # bytes of a unix socket's path, Linux's limit


@dataclass(frozen=True, slots=True)
class Served:
    """What an engine serves, and how."""

    model: Path
    name: str
    task: Task
    threads: int
    dtype: str
    adapters: Mapping[str, Path]


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model, then listen; once the socket answers, the engine is ready."""
    parser = argparse.ArgumentParser(prog="python -m serving.engines.torch", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder with config.json and safetensors")
    parser.add_argument("--name", required=True, help="what the model is called in answers")
    parser.add_argument("--task", choices=["chat", "embedding", "rerank"], default="chat")
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to listen on (created, mode 0600)")
    parser.add_argument("--threads", type=int, default=0, help="compute threads; 0: by the cores that are free")
    parser.add_argument(
        "--dtype", choices=["auto", "bfloat16", "float32"], default="auto", help="of chat models; embeddings: float32"
    )
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME=DIR", help="LoRA adapter, repeatable")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        serve(_read(given), given.socket)
    except StudioloError as error:
        print(f"{error}\n{error.hint or ''}".strip(), file=sys.stderr)  # noqa: T201 (the edge)
        return error.exit_code
    return 0


def serve(served: Served, path: Path) -> None:
    """Serve one model on the unix socket `path` until SIGTERM."""
    import uvicorn

    # uvicorn ends its connections on SIGTERM and then raises it again: this way the socket is removed as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = listen(path)
    try:
        app = _load(served)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        listener.listen(128)
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def _read(given: argparse.Namespace) -> Served:
    adapters: dict[str, Path] = {}
    for told in given.adapter:
        name, _, folder = told.partition("=")
        if not name or not folder:
            raise Invalid(f"--adapter takes NAME=DIR, not {told!r}")
        adapters[name] = Path(folder)
    if adapters and given.task != "chat":
        raise Invalid(f"a model for {given.task} takes no adapters")
    return Served(given.model, given.name, given.task, given.threads, given.dtype, adapters)


def _load(served: Served) -> Starlette:
    import torch

    from serving.engines.chat import load_chat
    from serving.engines.embedding import load_embedding
    from serving.engines.rerank import load_rerank
    from serving.engines.routes import create_app
    from serving.engines.threads import Threads, clocks

    threads = Threads(len(os.sched_getaffinity(0)), clocks, fixed=served.threads)
    torch.set_num_threads(threads.count)
    if served.task == "chat":
        adapters = served.adapters
        chat = load_chat(served.model, dtype=served.dtype, died=_leave, threads=threads, adapters=adapters)
        return create_app(chat, name=served.name)
    load = load_embedding if served.task == "embedding" else load_rerank
    return create_app(load(served.model), name=served.name)


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
