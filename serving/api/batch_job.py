"""The process of a batch: `python -m serving.api.batch_job FOLDER`. It asks the gateway what nobody has answered yet.

As many requests are under way as the gateway answers well: fewer where it says 429, more as it answers. Each bears an
Idempotency-Key, so that an answer that was lost on its way here is told again and not made again.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from flows.pace import Pace
from serving import service
from serving.admission import FOR
from serving.api import batch_journal, batch_lines
from serving.api.batch_journal import PLAN, Journal
from serving.api.batch_lines import Place
from workspace.paths import write_atomically

AT_ONCE = 16  # requests
FIRST = 4
TRIES = 6  # at a request that the server fails; one that is too early is asked until the batch expires
LONGEST = 30.0  # seconds between two tries
PATIENCE = 900.0  # seconds for one answer
TELL = 0.5  # seconds between two notes of how far it is
LATER = (408, 409, 425, 429)  # too early, not wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """What a batch's process is told. `base_url` is where the gateway was when it was asked."""

    id: str
    endpoint: str
    token_id: str
    input: str
    expires_at: float
    base_url: str
    home: str

    def write(self, folder: Path) -> None:
        """Keep it in the batch's folder."""
        write_atomically(folder / PLAN, json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> BatchPlan:
        """Read it from the batch's folder."""
        return cls(**json.loads((folder / PLAN).read_text()))

    def address(self) -> str:
        """Return where the gateway is now: another one may have come up on another port."""
        running = service.running(Path(self.home))
        return f"http://127.0.0.1:{running.port}" if running else self.base_url

    def key(self) -> str:
        """Return the workspace's own token, which may ask for the batch's."""
        return (Path(self.home) / "token").read_text().strip()


def main(arguments: Sequence[str]) -> int:
    """Do what is left of the batch in a folder."""
    folder = Path(arguments[0])
    plan = BatchPlan.read(folder)
    places, wrong = batch_lines.read(Path(plan.input), plan.endpoint)
    if wrong:
        errors = [each.described() for each in wrong]
        batch_journal.note(folder, "failed", errors=errors, counts={"total": 0, "completed": 0, "failed": 0})
        print(f"the file has {len(wrong)} errors: {wrong[0].message}", flush=True)  # noqa: T201  the job's log
        return 0
    journal = Journal(folder)
    try:
        expired = asyncio.run(_Asking(plan, journal, folder, places).run())
    finally:
        journal.close()
    batch_journal.note(
        folder, "finalizing", counts=batch_journal.counts(journal.kept, len(places)), expired=expired, at=time.time()
    )
    return 0


class _Asking:
    """The requests of one batch on their way."""

    def __init__(self, plan: BatchPlan, journal: Journal, folder: Path, places: Sequence[Place]) -> None:
        self._plan = plan
        self._journal = journal
        self._folder = folder
        self._total = len(places)
        self._left = [place for place in places if place.number not in journal.kept]
        self._pace = Pace(AT_ONCE, FIRST)
        self._url, self._key = plan.address(), plan.key()
        self._told = 0  # answers that were there when it was last told
        self._begun = time.time()

    async def run(self) -> bool:
        """Ask for all that is left; return whether the time ran out."""
        self._tell()
        waiting = iter(self._left)
        patience = httpx.Timeout(PATIENCE, connect=5.0)
        telling = asyncio.create_task(self._tell_on())
        async with httpx.AsyncClient(timeout=patience) as client, asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(self._left))):
                group.create_task(self._work(client, waiting))
        telling.cancel()
        self._tell()
        return any(place.number not in self._journal.kept for place in self._left) or self._expired

    @property
    def _expired(self) -> bool:
        return time.time() >= self._plan.expires_at

    async def _work(self, client: httpx.AsyncClient, waiting: Iterator[Place]) -> None:
        for place in waiting:
            line, ok = await self._line(client, place)
            self._journal.add(place.number, place.custom_id, line, ok=ok)

    async def _line(self, client: httpx.AsyncClient, place: Place) -> tuple[Mapping[str, Any], bool]:
        """The line that the answer becomes, and whether it is one of the output file."""
        body = json.dumps(batch_lines.body(Path(self._plan.input), place)).encode()
        failures = attempt = 0
        while not self._expired:
            response = await self._asked(client, place, body)
            if response is not None and not _later(response):
                failures += response.status_code >= 500
                if response.status_code < 500 or failures >= TRIES:
                    return _as_line(response), response.status_code == 200
            await asyncio.sleep(self._pause(response, attempt))
            attempt += 1
        message = "this request was not answered before the batch's window ended"
        return {"response": None, "error": {"code": "batch_expired", "message": message}}, False

    async def _asked(self, client: httpx.AsyncClient, place: Place, body: bytes) -> httpx.Response | None:
        headers = {
            "authorization": f"Bearer {self._key}",
            FOR.decode(): self._plan.token_id,
            "content-type": "application/json",
            "idempotency-key": f"{self._plan.id}-{place.number}",
        }
        async with self._pace:
            try:
                response = await client.post(self._url + self._plan.endpoint, content=body, headers=headers)
            except httpx.TransportError:
                self._pace.refused()
                self._url, self._key = self._plan.address(), self._plan.key()
                return None
            if response.status_code == 200:
                self._pace.answered()
            elif _later(response) or response.status_code >= 500:
                self._pace.refused()
            return response

    def _pause(self, response: httpx.Response | None, attempt: int) -> float:
        spread = random.uniform(0.5, 1.0)  # noqa: S311  a pause, no secret
        usual: float = spread * min(LONGEST, 0.25 * 2.0 ** min(attempt, 10))
        told = response.headers.get("retry-after", "") if response is not None else ""
        asked = float(told) if told.isdecimal() else 0.0
        return min(max(usual, asked), max(0.0, self._plan.expires_at - time.time()))

    async def _tell_on(self) -> None:
        while True:
            await asyncio.sleep(TELL)
            if len(self._journal.kept) != self._told:
                self._tell()

    def _tell(self) -> None:
        counts = batch_journal.counts(self._journal.kept, self._total)
        batch_journal.note(self._folder, "in_progress", counts=counts, at=self._begun)
        print(f"{counts['completed']} of {counts['total']} answered, {counts['failed']} failed", flush=True)  # noqa: T201
        self._told = len(self._journal.kept)


def _later(response: httpx.Response) -> bool:
    """Whether the request was only too early; a budget that is spent does not come back by waiting."""
    return response.status_code in LATER and _code(response) != "insufficient_quota"


def _code(response: httpx.Response) -> str:
    body = _json(response)
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("code")) if isinstance(error, dict) else ""


def _as_line(response: httpx.Response) -> Mapping[str, Any]:
    told = {
        "status_code": response.status_code,
        "request_id": response.headers.get("x-request-id", ""),
        "body": _json(response),
    }
    return {"response": told, "error": None}


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return {"error": {"message": response.text[:1_000], "type": "server_error", "param": None, "code": None}}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
