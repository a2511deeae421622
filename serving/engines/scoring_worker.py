"""The process that holds a model or a script: `python scoring_worker.py FD`. It runs under any Python from 3.8 on.

It imports the standard library only, for its Python is the model's and not ours. Over the socket FD come frames, each a
header in JSON and a body of bytes: first what to load, then one request at a time; an answer goes back for each.
What the code prints goes to the engine's log.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import struct
import sys
import traceback
from typing import Any, BinaryIO

_SIZES = struct.Struct(">II")


class Channel:
    """Frames over a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._file: BinaryIO = connection.makefile("rb")

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """Return the next header and its body; EOFError when the engine has gone."""
        head, body = _SIZES.unpack(self._exactly(_SIZES.size))
        header: dict[str, Any] = json.loads(self._exactly(head))
        return header, self._exactly(body)

    def send(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame."""
        raw = json.dumps(header).encode()
        self._socket.sendall(_SIZES.pack(len(raw), len(body)) + raw + body)

    def _exactly(self, count: int) -> bytes:
        found = self._file.read(count)
        if len(found) < count:
            raise EOFError
        return found


def main() -> int:
    """Load, say that it is ready, answer until the engine has gone."""
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    spec, _ = channel.receive()
    try:
        scorer = _scorer(spec["scorer"]).load(
            spec, lambda header, body: channel.send({**header, "kind": "collect"}, body)
        )
    except BaseException as error:  # noqa: BLE001  whatever the code of a script raises, sys.exit too
        traceback.print_exc()
        channel.send({"kind": "failed", "error": _said(error)})
        return 1
    channel.send({"kind": "ready", **scorer.about})
    while True:
        try:
            request, body = channel.receive()
        except EOFError:
            return 0
        try:
            status, headers, answer = scorer.answer(request, body)
        except Exception as error:  # noqa: BLE001  the code of a script may raise anything; the caller is told
            traceback.print_exc()
            status, headers, answer = (
                getattr(error, "status", 500),
                {"content-type": "text/plain"},
                _said(error).encode(),
            )
        sys.stdout.flush()
        sys.stderr.flush()
        channel.send({"kind": "answer", "status": status, "headers": headers}, answer)


def _scorer(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("studiolo_scorer", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _said(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


if __name__ == "__main__":
    # The folder of this file holds modules of ours called torch and mlflow: they must not be found instead of the real.
    if sys.path and os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(__file__)):  # noqa: PTH120
        del sys.path[0]
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads that a script has left running do not keep it alive
