"""Runs processes on a Ray cluster for somebody who has no Ray: one actor a process, bytes handed both ways.

`relay.py SOCKET NEEDS` is told what to do on a socket, and answers there; whoever has started it may be of any Python.
It is a Ray driver: when it ends, however it ends, Ray ends its actors, and they their processes. It is run by a Python
that has Ray, and imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import pickle
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
from queue import SimpleQueue
from typing import Any, Dict, List, Tuple  # noqa: UP035  Python 3.7 knows them by these names

sys.path[:] = [each for each in sys.path if os.path.abspath(each) != os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120

import ray  # noqa: E402

SIZE = struct.Struct(">Q")
CHUNK = 1 << 20
LEAVING = 10.0  # seconds that a process has after it has closed its channel
_PDEATHSIG = 1


def main() -> None:
    """Serve whoever has started us until they close the socket."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    told = json.loads(sys.argv[2])
    words: SimpleQueue[Any] = SimpleQueue()
    own = {} if not told.get("address") else {"address": told["address"]}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as problem:  # noqa: BLE001  whatever it is, nothing runs there
        _send(channel, ("refused", f"{type(problem).__name__}: {problem}"))
        return
    signal.signal(signal.SIGTERM, lambda *_: words.put(("stop",)))  # Ray has one of its own, which ends us
    cores = max((int(each["Resources"].get("CPU", 0)) for each in _nodes() if each["Alive"]), default=1)
    _send(channel, ("cores", max(1, cores)))
    threading.Thread(target=_listen, args=(channel, words), daemon=True).start()
    Relay(channel, words, told).serve()


class Relay:
    """The processes that were asked for, each an actor, by the numbers that the other side calls them."""

    def __init__(self, channel: socket.socket, words: SimpleQueue[Any], told: Dict[str, Any]) -> None:  # noqa: UP006
        self._channel = channel
        self._words = words
        needs: Dict[str, Any] = {"num_cpus": told["cpus"], "num_gpus": told["gpus"], "max_restarts": 0}  # noqa: UP006
        if told["memory"]:
            needs["memory"] = told["memory"]
        self._needs = needs
        remote: Any = ray.remote  # its types know no groups
        self._actor = remote(concurrency_groups={"in": 1, "out": 1, "end": 1})(Seat)
        self._actors: Dict[int, Any] = {}  # noqa: UP006

    def serve(self) -> None:
        """Do what is asked until the other side is gone."""
        while True:
            word = self._words.get()
            if word[0] == "closed":
                return
            if word[0] == "stop":
                for actor in self._actors.values():
                    actor.stop.remote()
            elif word[0] == "hire":
                self._actors[word[1]] = self._actor.options(scheduling_strategy="SPREAD", **self._needs).remote(
                    *word[2]
                )
                self._read(word[1])
            elif word[1] not in self._actors:
                continue  # it has ended meanwhile
            elif word[0] == "write":
                self._actors[word[1]].write.remote(word[2])
            elif word[0] == "close":
                self._actors[word[1]].close.remote()
            elif word[0] == "kill":
                ray.kill(self._actors.pop(word[1]))
            else:
                self._heard(*word[1:])

    def _read(self, number: int) -> None:
        answer = self._actors[number].read.remote().future()
        answer.add_done_callback(lambda done: self._words.put(("heard", number, done)))

    def _heard(self, number: int, done: Any) -> None:
        problem = done.exception()
        if problem is not None:
            del self._actors[number]
            _send(self._channel, ("lost", number, str(problem).strip().splitlines()[0]))
            return
        for said in done.result():
            _send(self._channel, (said[0], number, *said[1:]))
            if said[0] == "gone":
                ray.kill(self._actors.pop(number))
                return
        self._read(number)


class Seat:
    """One process on a machine of the cluster, and the channel to it."""

    def __init__(self, line: List[str], environment: Dict[str, str], folder: str, stdio: bool) -> None:  # noqa: UP006
        """Start it; `stdio`: its channel is its standard input and output, else the descriptor named `{channel}`."""
        self._channel, theirs = socket.socketpair()
        said, says = os.pipe()
        own, told = os.getpid(), dict(environment)
        told.update((name, value) for name, value in os.environ.items() if name == "CUDA_VISIBLE_DEVICES")
        number = str(theirs.fileno())
        asked, answers = (theirs.fileno(), theirs.fileno()) if stdio else (subprocess.DEVNULL, says)
        self._process = subprocess.Popen(
            [number if each == "{channel}" else each for each in line], cwd=folder, env=told,
            stdin=asked, stdout=answers, stderr=says,
            pass_fds=(theirs.fileno(),), start_new_session=True, preexec_fn=lambda: _die_with(own),
        )  # fmt: skip
        theirs.close()
        os.close(says)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._channel, selectors.EVENT_READ, "channel")
        self._selector.register(said, selectors.EVENT_READ, "said")
        self._is_told = False

    @ray.method(concurrency_group="in")
    def write(self, content: bytes) -> None:
        """Hand bytes to the process."""
        try:
            self._channel.sendall(content)
        except OSError:
            return  # it has ended: reading tells

    @ray.method(concurrency_group="in")
    def close(self) -> None:
        """Let the process see the end of what it is told."""
        self._channel.shutdown(socket.SHUT_WR)

    @ray.method(concurrency_group="end")
    def stop(self) -> None:
        """Ask the process to end."""
        os.killpg(self._process.pid, signal.SIGTERM)

    @ray.method(concurrency_group="out")
    def read(self) -> List[Tuple[Any, ...]]:  # noqa: UP006
        """Wait for something to tell, and tell it: where it is, bytes of the channel, words, its end."""
        if not self._is_told:
            self._is_told = True
            return [("placed", socket.gethostname())]
        found: List[Tuple[Any, ...]] = []  # noqa: UP006
        for key, _ in self._selector.select():
            chunk = os.read(key.fd, CHUNK) if key.data == "said" else self._received()
            if chunk:
                found.append((key.data, chunk))
                continue
            self._selector.unregister(key.fileobj)
            if key.data == "channel":
                found += [*self._last_words(), ("gone", self._code())]
        return found

    def _received(self) -> bytes:
        try:
            return self._channel.recv(CHUNK)
        except ConnectionError:
            return b""

    def _code(self) -> int:
        try:
            return self._process.wait(LEAVING)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()

    def _last_words(self) -> List[Tuple[Any, ...]]:  # noqa: UP006
        self._code()
        found: List[Tuple[Any, ...]] = []  # noqa: UP006
        while ready := self._selector.select(0):
            chunk = os.read(ready[0][0].fd, CHUNK)
            if not chunk:
                break
            found.append(("said", chunk))
        return found


def _nodes() -> List[Dict[str, Any]]:  # noqa: UP006
    found: List[Dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # noqa: UP006
    return found


def _listen(channel: socket.socket, words: SimpleQueue[Any]) -> None:
    while (word := _receive(channel)) is not None:
        words.put(word)
    words.put(("closed",))


def _send(channel: socket.socket, value: Any) -> None:
    body = pickle.dumps(value, protocol=4)
    try:
        channel.sendall(SIZE.pack(len(body)) + body)
    except ConnectionError:
        return  # they are gone: listening tells


def _receive(channel: socket.socket) -> Any:
    head = _exactly(channel, SIZE.size)
    body = None if head is None else _exactly(channel, SIZE.unpack(head)[0])
    return None if body is None else pickle.loads(body)  # noqa: S301  of who has started us, over a pair of sockets


def _exactly(channel: socket.socket, size: int) -> Any:
    found = bytearray()
    while len(found) < size:
        try:
            chunk = channel.recv(min(CHUNK, size - len(found)))
        except ConnectionError:
            return None
        if not chunk:
            return None
        found += chunk
    return bytes(found)


def _die_with(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
