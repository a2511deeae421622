"""What a Ray head is asked over HTTP: to run a job once, how it goes, to stop it, and for files of its nodes.

Ray itself takes seconds to import; whoever follows a job must not wait for it.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from workspace.errors import Denied, Invalid, NotFound, StudioloError, Unavailable

PATIENCE = 15.0  # seconds for one answer
SUBMITTING = 90.0  # for one that may have to start a Python on the cluster first
CHUNK = 1 << 16
LONGEST_ANSWER = 10_000_000
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One job for Ray."""

    submission: str
    entrypoint: str
    cpus: float = 0
    gpus: float = 0
    memory: int = 0
    runtime_env: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a job goes, in Ray's words."""

    status: str
    message: str
    node: str  # the id of the node where it runs
    code: int | None

    @property
    def ended(self) -> bool:
        """Whether the status never changes again."""
        return self.status in ENDED


class Head:
    """A Ray head."""

    def __init__(self, url: str, token: str = "") -> None:
        self._parts = urlsplit(url)
        self._url = url
        self._token = token

    @classmethod
    def of(cls, url: str, token_file: str) -> Head:
        """Read the token from its file; a cluster without one needs none."""
        try:
            token = Path(token_file).read_text().strip() if token_file else ""
        except FileNotFoundError:
            token = ""
        return cls(url, token)

    def version(self) -> dict[str, Any]:
        """Return what it is."""
        return dict(self._json("GET", "/api/version"))

    def submit(self, job: Asked) -> bool:
        """Have a job run; False where one of this name was submitted before, which is never run again."""
        asked: dict[str, Any] = {
            "entrypoint": job.entrypoint, "submission_id": job.submission, "entrypoint_num_cpus": job.cpus,
            "entrypoint_num_gpus": job.gpus, "runtime_env": job.runtime_env, "metadata": job.metadata,
        }  # fmt: skip
        if job.memory:
            asked["entrypoint_memory"] = job.memory
        try:
            self._json("POST", "/api/jobs/", asked, patience=SUBMITTING)
        except StudioloError as problem:
            if "already exists" in str(problem):
                return False
            raise
        return True

    def state(self, submission: str) -> State | None:
        """Return how a job goes; None where Ray has never heard of it."""
        try:
            found = self._json("GET", f"/api/jobs/{quote(submission)}")
        except NotFound:
            return None
        return State(
            status=found["status"], message=found.get("message") or "", node=found.get("driver_node_id") or "",
            code=found.get("driver_exit_code"),
        )  # fmt: skip

    def stop(self, submission: str) -> None:
        """Have a job end."""
        self._json("POST", f"/api/jobs/{quote(submission)}/stop", {})

    def delete(self, submission: str) -> None:
        """Forget a job that has ended."""
        self._json("DELETE", f"/api/jobs/{quote(submission)}")

    def has(self, package: str) -> bool:
        """Whether a package was uploaded."""
        try:
            self._answer("GET", f"/api/packages/gcs/{quote(package)}")
        except NotFound:
            return False
        return True

    def upload(self, package: str, content: bytes) -> None:
        """Keep a package of files for jobs."""
        self._answer("PUT", f"/api/packages/gcs/{quote(package)}", content, patience=SUBMITTING)

    def nodes(self) -> list[dict[str, Any]]:
        """Return the machines of the cluster that live."""
        found = self._json("GET", "/api/v0/nodes?limit=1000&detail=true")["data"]["result"]["result"]
        return [dict(each) for each in found if each["state"] == "ALIVE"]

    def read(self, node: str, path: str) -> bytes | None:
        """Return a file under the logs of a node, byte for byte; None where there is none."""
        query = urlencode({"node_id": node, "filename": path, "lines": -1})
        try:
            return self._answer("GET", f"/api/v0/logs/file?{query}", largest=None)
        except Unavailable as problem:
            if "not found" in str(problem):
                return None
            raise

    def follow(self, node: str, path: str) -> Iterator[bytes]:
        """Yield a file under the logs of a node as it grows; nothing where nothing came for a second."""
        query = urlencode({"node_id": node, "filename": path, "lines": -1, "interval": 0.5})
        connection = self._connect(1.0)
        try:
            connection.request("GET", f"/api/v0/logs/stream?{query}", headers=self._headers())
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    answer = connection.getresponse()
                    break
                except TimeoutError:
                    if time.monotonic() > deadline:
                        raise
            if answer.status != 200:
                return
            while chunk := answer.read1(CHUNK):
                yield chunk
        except OSError as problem:
            raise self._silent(problem) from None
        finally:
            connection.close()

    def _json(self, method: str, path: str, body: Any = None, *, patience: float = PATIENCE) -> Any:
        content = None if body is None else json.dumps(body).encode()
        answer = self._answer(method, path, content, patience=patience)
        try:
            return json.loads(answer) if answer else {}
        except ValueError:
            raise Invalid(f"what answers at {self._url} is no Ray head", hint="the address of its dashboard") from None

    def _answer(
        self, method: str, path: str, content: bytes | None = None, *,
        patience: float = PATIENCE, largest: int | None = LONGEST_ANSWER,
    ) -> bytes:  # fmt: skip
        connection = self._connect(patience)
        try:
            connection.request(method, path, content, self._headers())
            answer = connection.getresponse()
            found = answer.read(largest)
        except (OSError, http.client.HTTPException) as problem:
            raise self._silent(problem) from None
        finally:
            connection.close()
        if answer.status < 300:
            return found
        words = found.decode(errors="replace").strip()
        raise self._refused(answer.status, words)

    def _refused(self, status: int, words: str) -> StudioloError:
        if status in (401, 403):
            hint = "put its token into ~/.ray/auth_token, or name the file in RAY_AUTH_TOKEN_PATH"
            return Denied(f"the Ray cluster at {self._url} does not take our token", hint=hint)
        last = next((line for line in reversed(words.splitlines()) if line.strip(" .")), "")
        if status == 404:
            return NotFound(f"Ray at {self._url}: {last or 'not found'}")
        if status == 400:
            return Invalid(f"Ray at {self._url} refuses: {last}")
        return Unavailable(f"Ray at {self._url} answers {status}: {last}")

    def _silent(self, problem: Exception) -> Unavailable:
        return Unavailable(f"the Ray cluster at {self._url} does not answer ({problem})", hint="is its head running?")

    def _connect(self, patience: float) -> http.client.HTTPConnection:
        made = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        return made(str(self._parts.hostname), self._parts.port, timeout=patience)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        return headers | ({"Authorization": f"Bearer {self._token}"} if self._token else {})
