"""Where a job finds MLflow: a port of its own, which answers what is about the job's own run itself.

Behind it the workspace's server is started for all else: it takes seconds and 170 MB, and most jobs never need it. The
token of the port is worth nothing once the job has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping

from jobs.linux import die_with
from jobs.spec import Spec
from workspace.settings import Settings


class TrackingDoor:
    """The port of one job; `variables` tell the command where it is."""

    def __init__(self, settings: Settings, spec: Spec, *, before: Mapping[str, str] | None = None) -> None:
        """Stand where the command was told before, where another process has followed it until now."""
        self._before = before or {}
        self._settings = settings
        self._spec = spec
        self._listener: socket.socket | None = None
        self._pid = 0
        self.variables: Mapping[str, str] = {}

    def __enter__(self) -> TrackingDoor:
        uri = self._settings.mlflow_tracking_uri
        if uri.startswith(("http:", "https:")):
            self.variables = {"MLFLOW_TRACKING_URI": uri} | {
                name: os.environ[name]
                for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
                if name in os.environ
            }
        else:
            port = int(self._before.get("MLFLOW_TRACKING_URI", ":0").rpartition(":")[2])
            try:
                self._listener = socket.create_server(("127.0.0.1", port))
            except OSError:
                if not port:
                    raise
                return self  # somebody else has it now
            self.variables = {
                "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self._listener.getsockname()[1]}",
                "MLFLOW_TRACKING_TOKEN": self._before.get("MLFLOW_TRACKING_TOKEN") or os.urandom(24).hex(),
            }
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()
        self.end()

    @property
    def handle(self) -> int | None:
        """A descriptor that can be read when somebody knocks for the first time."""
        return None if self._listener is None else self._listener.fileno()

    def end(self) -> None:
        """End the child that answers, if there is one."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):  # the watch has met its end already
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            self._pid = 0

    def open(self) -> None:
        """Have a child of this process answer from now on."""
        if self._listener is None:
            return
        from jobs.tracking_proxy import serve  # here: who never speaks to MLflow does not pay for it, and nobody twice

        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                die_with(parent)
                for number in (signal.SIGCHLD, signal.SIGUSR1):
                    signal.signal(number, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                serve(self._listener, self._settings, self._spec, self.variables["MLFLOW_TRACKING_TOKEN"])
                status = 0
            finally:
                os._exit(status)
