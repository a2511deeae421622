"""The supervisor: what it starts comes back when it dies, and nothing is left when it is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studiolo.services import Service, answers, read_house
from studiolo.supervisor import Event, supervise
from workspace.errors import Conflict, Unavailable
from workspace.processes import Identity, identity_of, is_alive

# A service as small as can be: it answers /health.
SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
# The same with a child, as servers with workers have one; its number is left in a file.
PARENT = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({file!r}).write_text(str(child.pid))
""" + SERVER.replace("{", "{{").replace("}", "}}")
# A supervisor in a process of its own, over services given as JSON.
SUPERVISOR = """
import json, sys, threading
from pathlib import Path
from studiolo.services import Service
from studiolo.supervisor import supervise
wanted = tuple(Service(**(each | {"command": tuple(each["command"])})) for each in json.loads(sys.argv[2]))
for event in supervise(Path(sys.argv[1]), wanted, threading.Event()):
    print(event.line(), flush=True)
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def service(port: int, code: str = SERVER) -> Service:
    return Service(name="small", title="a small server", port=port, command=(sys.executable, "-c", code, str(port)))


class Watched:
    """A supervisor in a thread, and what it said."""

    def __init__(self, home: Path, *wanted: Service) -> None:
        self.events: list[Event] = []
        self.stop = threading.Event()
        self._thread = threading.Thread(target=lambda: self.events.extend(self._say(home, wanted)))
        self._thread.start()

    def _say(self, home: Path, wanted: tuple[Service, ...]) -> Iterator[Event]:
        for event in supervise(home, wanted, self.stop):
            self.events.append(event)
        yield from ()

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def end(self) -> None:
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    started: list[Watched] = []

    def start(*wanted: Service) -> Watched:
        started.append(Watched(tmp_path / "home", *wanted))
        return started[-1]

    yield start
    for each in started:
        each.end()


def until(claim: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def the_process(home: Path) -> Identity:
    house = read_house(home)
    assert house is not None
    return house.services[0].identity


def test_a_service_is_ready_when_it_answers(watch: Callable[..., Watched], port: int) -> None:
    watched = watch(service(port))
    until(lambda: "settled" in watched.kinds())
    assert watched.kinds() == ["starting", "ready", "settled"]
    assert answers(port)


def test_a_killed_service_comes_back_as_another_process(
    watch: Callable[..., Watched], port: int, tmp_path: Path
) -> None:
    watched = watch(service(port))
    until(lambda: "settled" in watched.kinds())
    first = the_process(tmp_path / "home")
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: watched.kinds().count("ready") == 2)
    assert the_process(tmp_path / "home") != first
    died = next(event for event in watched.events if event.kind == "died")
    assert "SIGKILL" in died.message


def test_a_service_that_keeps_dying_is_given_up_and_the_others_stay(
    watch: Callable[..., Watched], port: int, tmp_path: Path
) -> None:
    broken = Service(
        name="broken", title="broken", port=1, command=(sys.executable, "-c", "raise SystemExit('no way')")
    )
    watched = watch(broken, service(port))
    until(lambda: "settled" in watched.kinds(), 60)
    failed = next(event for event in watched.events if event.kind == "failed")
    assert failed.service == "broken"
    assert "given up" in failed.message
    assert "no way" in failed.detail
    assert answers(port)


def test_neither_a_crash_nor_stopping_leaves_the_children_of_a_service(
    watch: Callable[..., Watched], port: int, tmp_path: Path
) -> None:
    file = tmp_path / "child"
    watched = watch(service(port, PARENT.format(file=str(file))))
    until(lambda: "settled" in watched.kinds())
    leader, child = the_process(tmp_path / "home"), identity_of(int(file.read_text()))
    assert child is not None
    os.kill(leader.pid, signal.SIGKILL)
    until(lambda: watched.kinds().count("ready") == 2)
    assert not is_alive(child)
    leader, child = the_process(tmp_path / "home"), identity_of(int(file.read_text()))
    assert child is not None
    watched.end()
    assert not is_alive(leader)
    assert not is_alive(child)


def test_a_second_supervisor_is_refused(watch: Callable[..., Watched], port: int, tmp_path: Path) -> None:
    watched = watch(service(port))
    until(lambda: "settled" in watched.kinds())
    with pytest.raises(Conflict, match="running already"):
        next(supervise(tmp_path / "home", (service(port),), threading.Event()))


def test_a_taken_port_is_named_with_its_holder_and_the_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        gateway = Service(name="gateway", title="the gateway", port=number, command=("true",))
        with pytest.raises(Unavailable) as caught:
            next(supervise(tmp_path / "home", (gateway,), threading.Event()))
    assert str(number) in caught.value.message
    assert str(os.getpid()) in caught.value.message
    assert "STUDIOLO_GATEWAY_PORT" in str(caught.value.hint)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no signal at the death of a parent")
def test_a_killed_supervisor_leaves_no_service_behind(tmp_path: Path, port: int) -> None:
    wanted = [{"name": "small", "title": "small", "port": port, "command": service(port).command}]
    home = tmp_path / "home"
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(home), json.dumps(wanted)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "settled" in line)
        leader = the_process(home)
        assert identity_of(leader.pid) == leader
        process.kill()
    until(lambda: not is_alive(leader))
    assert not answers(port)
    ours = [each for each in (read_house(home),) if each is not None and each.standing]
    assert ours == []
