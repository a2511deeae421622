"""One process of a parallel job: it loads the script, calls `init()`, and gives mini-batches to `run()`.

Standard library only, from Python 3.8 on: it runs in the job's own Python, beside the script and nothing of ours.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import socket
import struct
import sys
import traceback
from types import FunctionType, SimpleNamespace
from typing import Any

SIZE = struct.Struct(">Q")


def main() -> None:
    """Serve the driver on a socket until it closes it: `worker.py SOCKET SCRIPT LEVEL ARGUMENTS…`."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    script, level = os.path.abspath(sys.argv[2]), sys.argv[3]  # noqa: PTH100
    sys.argv = [script, *sys.argv[4:]]
    sys.path[0] = os.path.dirname(script)  # noqa: PTH120
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    try:
        module = loaded(script)
        if hasattr(module, "init"):
            module.init()
        run = module.run
    except (Exception, SystemExit):  # noqa: BLE001  whatever the script does is told
        send(channel, ("broken", traceback.format_exc()))
        return
    takes_context = wants_context(run)
    send(channel, ("ready",))
    while True:
        asked = receive(channel)
        if asked is None:
            if hasattr(module, "shutdown"):
                module.shutdown()
            return
        send(channel, _answer(run, takes_context, *asked))


def loaded(script: str) -> Any:
    """Return a script as a module."""
    name = os.path.splitext(os.path.basename(script))[0]  # noqa: PTH119, PTH122
    spec = importlib.util.spec_from_file_location(name, script)
    if spec is None or spec.loader is None:
        raise ImportError(script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def wants_context(run: Any) -> bool:
    """Whether `run` wants to know which mini-batch it is."""
    if isinstance(run, FunctionType) and not hasattr(run, "__wrapped__"):
        return run.__code__.co_argcount > 1 or bool(run.__code__.co_flags & 0x04)  # or it takes *anything
    import inspect  # here: a script has a plain function most of the time

    try:
        kinds = [parameter.kind for parameter in inspect.signature(run).parameters.values()]
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(kind in positional for kind in kinds) > 1 or inspect.Parameter.VAR_POSITIONAL in kinds


def _answer(run: Any, takes_context: bool, number: int, items: Any, partition: Any) -> tuple[Any, ...]:
    try:
        context = SimpleNamespace(minibatch_index=number, partition_key_value=partition)
        result = run(items, context) if takes_context else run(items)
        return ("done", *rows(result))
    except (Exception, SystemExit):  # noqa: BLE001  the next mini-batch is another one
        lines = traceback.format_exc().strip().splitlines()
        return ("failed", lines[-1], "\n".join(lines))


def rows(result: Any) -> tuple[int, str]:
    """Return how many rows there are, and their text: no header, values separated by spaces.

    >>> rows(["a", ("b", 1)])
    (2, 'a\\nb 1\\n')
    """
    if hasattr(result, "to_csv") and hasattr(result, "columns"):
        return len(result), result.to_csv(sep=" ", index=False, header=False)
    if hasattr(result, "tolist"):
        result = result.tolist()
    if not isinstance(result, (list, tuple)):
        raise TypeError(f"run() must return a list, a tuple or a DataFrame, not {type(result).__name__}")
    return len(result), "".join(_text(row) + "\n" for row in result)


def _text(row: Any) -> str:
    if isinstance(row, dict):
        row = list(row.values())
    return " ".join(str(each) for each in row) if isinstance(row, (list, tuple)) else str(row)


def send(channel: socket.socket, value: Any) -> None:
    """Give a value to the other side."""
    body = pickle.dumps(value, protocol=4)
    channel.sendall(SIZE.pack(len(body)) + body)


def receive(channel: socket.socket) -> Any:
    """Return what the other side has sent; None where it has closed."""
    head = _exactly(channel, SIZE.size)
    if head is None:
        return None
    body = _exactly(channel, SIZE.unpack(head)[0])
    return None if body is None else pickle.loads(body)  # noqa: S301  both sides are of one job


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    found = b""
    while len(found) < size:
        try:
            chunk = channel.recv(min(1 << 20, size - len(found)))
        except ConnectionError:
            return None
        if not chunk:
            return None
        found = found + chunk if found else chunk
    return found


if __name__ == "__main__":
    main()
