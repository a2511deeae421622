"""Worker processes of a flow's batch on a Ray cluster: they are told lines and answer as those beside us do."""

from __future__ import annotations

import os
import queue
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jobs.ray.cluster import running
from jobs.ray.places import place_of
from jobs.ray.remote_processes import NoCluster, RemoteProcesses
from jobs.variables import passed
from workspace.errors import Invalid, MissingExtra, Unavailable
from workspace.settings import Settings

LEAVING = 5.0  # seconds for a process to end that is told no more
# What workers are given of the environment here, beside what jobs are and what the files of the flow name.
_PASSED = (
    "PYTHONPATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
    "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_API_VERSION",  # where the model of a prompty is
    "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
_NAMING = (".prompty", ".yaml", ".yml")
_NAMED = re.compile(r"\$\{env:([^}]+)\}")
_CLIENT = 10001  # where Ray's client is answered if nothing else is said


class FlowWorkers:
    """The processes that were hired, and who hears them."""

    def __init__(self, remote: RemoteProcesses, environment: Mapping[str, str]) -> None:
        self.cores = remote.cores
        self._environment = environment
        self._remote = remote
        self._hired: dict[int, Hired] = {}
        self._lock = threading.Lock()  # who hires, and who hears
        self._is_closed = False
        threading.Thread(target=self._listen, daemon=True).start()

    def hire(self, inbox: queue.SimpleQueue[Any]) -> Hired:
        """Have one wherever there is room; what it says goes to the inbox, as (process, line), and None at its end."""
        # -P: a file of the flow may be called as a module of ours.
        line = [sys.executable, "-P", "-m", "flows.worker"]
        with self._lock:
            number = self._remote.start(line, self._environment, str(Path.cwd()), stdio=True)
            hired = self._hired[number] = Hired(self._remote, number, inbox)
            if self._is_closed:  # nobody would ever hear of it
                hired.hear("gone", 1)
        return hired

    def _listen(self) -> None:
        while True:
            kind, number, value = self._remote.hear()
            with self._lock:
                if kind == "closed":
                    self._is_closed = True
                    for each in self._hired.values():
                        each.hear("gone", 1)
                    return
                hired = self._hired.get(number)
            if hired is not None:
                hired.hear(kind, value)


class Hired:
    """One worker process, as the crew of a batch sees it."""

    def __init__(self, remote: RemoteProcesses, number: int, inbox: queue.SimpleQueue[Any]) -> None:
        self.outstanding: dict[int, Any] = {}
        self.heard_at = time.monotonic()
        self.is_ready = False
        self._remote = remote
        self._number = number
        self._inbox = inbox
        self._came = b""
        self._code = 1
        self._ended = threading.Event()

    def tell(self, message: bytes) -> None:
        """Send a message."""
        self._remote.write(self._number, message + b"\n")

    def kill(self) -> None:
        """End a process that hangs."""
        self._remote.kill(self._number)
        self.hear("gone", -9)

    def close(self) -> int:
        """End the process; return how it ended."""
        self._remote.finish(self._number)
        if not self._ended.wait(LEAVING):
            self._remote.kill(self._number)
        return self._code

    def hear(self, kind: str, value: Any) -> None:
        """Hand on what it has said, or that it is gone."""
        if kind == "said":
            sys.stderr.buffer.write(value)
            sys.stderr.flush()
        elif kind == "channel":
            *lines, self._came = (self._came + value).split(b"\n")
            for line in lines:
                self._inbox.put((self, line))
        elif kind in ("gone", "lost") and not self._ended.is_set():
            self._code = value if isinstance(value, int) else 1
            self._ended.set()
            self._inbox.put((self, None))


@contextmanager
def flow_workers(settings: Settings, address: str, flow: Path) -> Iterator[FlowWorkers]:
    """Be able to hire on the cluster at an address, for the block; it must see the files of this machine.

    `flow` is the folder of the flow: the workers get the variables that its files name, and no others of ours.
    """
    place = place_of(settings, address)
    if not place.shared:
        hint = "flows run where their folder and our Python are seen: add ?files=shared where that is so"
        raise Invalid(f"the Ray cluster at {place.url} does not see the files of this machine", hint=hint)
    own = running(settings.home)
    meets = own.address if own is not None and own.url == place.url else _client(address, place.url)
    told = {"python": sys.executable, "cpus": 1, "gpus": 0, "memory": 0, "address": meets}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": place.token} if Path(place.token).is_file() else {}
    try:
        remote = RemoteProcesses(told, {**os.environ, **token})
    except NoCluster as problem:
        if "No module named" in str(problem):
            raise MissingExtra("a Ray cluster", hint="pip install 'studiolo[ray]'") from None
        raise Unavailable(f"the Ray cluster at {place.url} cannot be reached: {problem}") from None
    try:
        yield FlowWorkers(remote, _environment(settings, flow))
    finally:
        remote.close()


def _environment(settings: Settings, flow: Path) -> dict[str, str]:
    """Return what leaves this machine of our environment: the rest may be secret, and is nothing to the cluster."""
    wanted = set(_PASSED)
    for file in flow.rglob("*"):
        if file.suffix.lower() in _NAMING and file.is_file():
            wanted.update(_NAMED.findall(file.read_text(encoding="utf-8", errors="replace")))
    own = {name: os.environ[name] for name in wanted if name in os.environ and not name.startswith("RAY_")}
    return passed(os.environ) | own | {"STUDIOLO_HOME": str(settings.home)}


def _client(address: str, url: str) -> str:
    """Return where Ray's client is answered: as it is written, else at its usual port of the same head."""
    if address.startswith("ray://"):
        return address.partition("?")[0]
    host = str(urlsplit(url).hostname)
    return f"ray://{f'[{host}]' if ':' in host else host}:{_CLIENT}"
