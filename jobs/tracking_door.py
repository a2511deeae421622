"""Where a job finds MLflow: a port of its own, behind which the workspace's server is started when somebody knocks.

MLflow's server takes seconds and 170 MB; most jobs never speak to it. The token of the port is worth nothing once the
job has ended.
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

    def __init__(self, settings: Settings, spec: Spec) -> None:
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
        elif self._spec.tracking:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.variables = {
                "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self._listener.getsockname()[1]}",
                "MLFLOW_TRACKING_TOKEN": os.urandom(24).hex(),
            }
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # the watch has met its end already
                os.waitpid(self._pid, 0)

    @property
    def handle(self) -> int | None:
        """A descriptor that can be read when somebody knocks for the first time."""
        return None if self._listener is None else self._listener.fileno()

    def open(self) -> None:
        """Have a child of this process answer from now on."""
        if self._listener is None:
            return
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                die_with(parent)
                for number in (signal.SIGCHLD, signal.SIGUSR1):
                    signal.signal(number, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                from jobs.tracking_proxy import serve  # here: who never speaks to MLflow does not pay for it

                serve(self._listener, self._settings, self._spec, self.variables["MLFLOW_TRACKING_TOKEN"])
                status = 0
            finally:
                os._exit(status)
