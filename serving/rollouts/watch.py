"""The rollouts that a gateway watches: it sees every request end, and once a second decides what follows.

What is seen is kept with the rollout, so that a gateway that comes back goes on where the one before stopped. Only
evidence aborts; time, requests and scores that are missing only make a step last longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import threading
import time
from pathlib import Path
from typing import Any

from starlette.types import Send

from serving import endpoints
from serving.call import LEFT, MODEL_ERROR, Call
from serving.endpoints import Deployment
from serving.rollouts import records
from serving.rollouts.guards import FEW_TOKENS, Guards, Seen
from serving.rollouts.heard import Heard, asked_for_json, is_json
from serving.rollouts.records import Rollout
from workspace.errors import StudioloError
from workspace.home import Workspace

LOOK = 1.0  # seconds between two looks
SETTLED = 2.0  # seconds after a step is written down in which its traffic may still be on its way
SAMPLES, SCORES = "samples.jsonl", "scores.jsonl"
MOST_SAMPLES = 200  # between two looks

log = logging.getLogger(__name__)


class Watched:
    """One rollout and what its guards know; `since` counts the candidate's requests of this step."""

    def __init__(self, rollout: Rollout, folder: Path) -> None:
        self.rollout = rollout
        self.guards = Guards(rollout.plan.guards, alpha=rollout.plan.alpha)
        self.guards.recall(rollout.evidence)
        self.since: dict[str, int] = {"requests": 0, "scores": 0, **rollout.evidence.get("since", {})}
        self.news = False
        self._folder = folder
        self._read = int(rollout.evidence.get("scores_read", 0))
        self._samples: list[dict[str, Any]] = []
        self._lock = threading.Lock()  # requests end in the loop, decisions are made beside it

    def arm(self, deployment: Deployment) -> bool | None:
        """Whether this is the candidate, or what it is compared with; None for a deployment that has no part in it."""
        if deployment.name == self.rollout.plan.deployment:
            return True
        return False if deployment.name in self.rollout.before else None

    def observe(self, seen: Seen) -> None:
        """Take a request that has ended."""
        with self._lock:
            self.guards.observe(seen)
            self.since["requests"] += seen.candidate
            self.news = True

    def sample(self, call: Call, text: str, *, candidate: bool) -> None:
        """Lay a request and its answer aside to be scored; the next look writes it down."""
        if len(self._samples) < MOST_SAMPLES:
            row = {"request_id": call.id, "candidate": candidate, "request": call.request, "answer": text}
            self._samples.append(row)

    def exchange(self) -> None:
        """Write down what is to be scored, and take what was scored since the last look."""
        samples, self._samples = self._samples, []
        if samples:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (self._folder / SAMPLES).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in samples)
        try:
            with (self._folder / SCORES).open("rb") as file:
                file.seek(self._read)
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return
        for line in lines:
            if not line.endswith(b"\n"):
                break  # still being written
            self._read += len(line)
            row = json.loads(line)
            with self._lock:
                self.guards.observe(Seen(candidate=row["candidate"], quality=row["value"]))
                self.since["scores"] += row["candidate"]
                self.news = True

    def evidence(self) -> dict[str, Any]:
        """Return what is kept."""
        with self._lock:
            self.news = False
            told = {"told": self.guards.told(), "since": dict(self.since), "scores_read": self._read}
            return self.guards.as_dict() | told

    def begin_step(self) -> None:
        """Count for a new step."""
        with self._lock:
            self.since = dict.fromkeys(self.since, 0)

    @property
    def baked(self) -> bool:
        """Whether this step has shown enough to go on."""
        plan = self.rollout.plan
        enough = self.since["requests"] >= plan.requests
        if plan.quality:
            enough = enough and self.since["scores"] >= plan.quality.scores
        return enough and time.time() - self.rollout.stepped_at >= plan.bake


class Watch:
    """All rollouts that go on behind one gateway."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._watched: dict[str, Watched] = {}  # by endpoint
        self._task: asyncio.Task[None] | None = None
        self._alarm = asyncio.Event()

    def begin(self) -> None:
        """Look once a second from now on, in the loop that runs; further calls change nothing."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look_for_ever())

    def close(self) -> None:
        """Keep what is known."""
        for watched in self._watched.values():
            if watched.news and watched.rollout.state == "RUNNING":
                watched.exchange()
                records.keep_evidence(self._workspace, watched.rollout, watched.evidence())

    def hears(self, endpoint: str, send: Send) -> Heard | None:
        """Return what to send the answer through where its words will be asked for."""
        return Heard(send) if endpoint in self._watched else None

    def observe(self, call: Call, chosen: Deployment, heard: Heard) -> None:
        """Take a request that has ended, whatever became of it; `chosen` was to answer it, whoever has."""
        watched = self._watched.get(chosen.endpoint)
        if watched is None or (candidate := watched.arm(chosen)) is None:
            return
        if call.status == LEFT or (call.status < 500 and call.status not in (200, MODEL_ERROR, 429)):
            return  # the client's own doing says nothing of who answered
        failed = call.status != 200 or call.error is not None or call.deployment != chosen
        text = None if failed else heard.text
        watched.observe(_seen(call, text, candidate=candidate, failed=failed))
        quality = watched.rollout.plan.quality
        if quality and text is not None and random.random() < quality.sample:  # noqa: S311  a sample, no secret
            watched.sample(call, text, candidate=candidate)
        if watched.guards.alarm:
            self._alarm.set()

    async def _look_for_ever(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.look)
            except StudioloError as error:
                log.warning("rollouts could not be looked after: %s", error)
            self._alarm.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._alarm.wait(), LOOK)

    def look(self) -> None:
        """Find the rollouts that go on, and do with each what its guards, its step and its traffic ask for."""
        going = {found.plan.endpoint: found for found in records.listed(self._workspace, going_on=True)}
        for name in [name for name in self._watched if name not in going]:
            del self._watched[name]
        for name, rollout in going.items():
            self._follow(name, rollout)
            watched = self._watched[name]
            if rollout.state == "RUNNING":
                watched.exchange()
                self._decide(watched)

    def _follow(self, name: str, rollout: Rollout) -> None:
        """Know the rollout as it is now; a step that somebody else made begins without what the last one counted."""
        watched = self._watched.get(name)
        if watched is None or watched.rollout.id != rollout.id:
            self._watched[name] = Watched(rollout, self._workspace.home / "rollouts" / rollout.id)
            return
        if watched.rollout.step != rollout.step:
            watched.begin_step()
        watched.rollout = rollout

    def _decide(self, watched: Watched) -> None:
        rollout = watched.rollout
        if alarm := watched.guards.alarm:
            records.keep_evidence(self._workspace, rollout, watched.evidence())
            watched.rollout = records.abort(self._workspace, rollout, _why(alarm, watched.guards))
            _tell_lineage(self._workspace, watched.rollout, watched.guards)
        elif self._is_strange(rollout):
            watched.rollout = records.pause(self._workspace, rollout, "somebody changed the traffic")
        elif watched.baked:
            watched.begin_step()
            records.keep_evidence(self._workspace, rollout, watched.evidence())
            watched.rollout = records.advance(self._workspace, rollout)
            if watched.rollout.state == "COMPLETED":
                _tell_lineage(self._workspace, watched.rollout, watched.guards)
        elif watched.news:
            records.keep_evidence(self._workspace, rollout, watched.evidence())

    def _is_strange(self, rollout: Rollout) -> bool:
        """Whether the endpoint's traffic is not what the step gave it, and not just about to be."""
        if time.time() - rollout.stepped_at < SETTLED:
            return False
        endpoint = endpoints.find(self._workspace, rollout.plan.endpoint)
        traffic = {} if endpoint is None else {name: part for name, part in endpoint.traffic.items() if part}
        return endpoint is not None and traffic != records.wanted_traffic(rollout)


def _seen(call: Call, text: str | None, *, candidate: bool, failed: bool) -> Seen:
    first = None if failed or call.first_byte is None else call.first_byte - call.started
    invalid = None if text is None else not text.strip() or (asked_for_json(call.request) and not is_json(text))
    return Seen(candidate=candidate, failed=failed, first_token=first, speed=_speed(call, failed), invalid=invalid)


def _speed(call: Call, failed: bool) -> float | None:
    if failed or not call.stream or call.first_byte is None or call.usage is None:
        return None
    seconds = time.monotonic() - call.first_byte
    return call.usage.completion / seconds if call.usage.completion >= FEW_TOKENS and seconds > 0 else None


def _why(alarm: str, guards: Guards) -> str:
    told = guards.told()[alarm]
    ours, theirs = told["candidate"], told["baseline"]
    return (
        f"{alarm}: {told['what']} {ours['mean']:.1%} in {ours['count']:,} requests, "
        f"{theirs['mean']:.1%} in {theirs['count']:,} of the baseline"
    )


def _tell_lineage(workspace: Workspace, rollout: Rollout, guards: Guards) -> None:
    """Leave a run of kind `rollout` between the models and the endpoint, with what the guards knew."""
    inputs = [model for model in [rollout.model] if model.count(":") == 2]
    tags = {"state": rollout.state, "reason": rollout.reason or "", "endpoint": rollout.plan.endpoint}
    params = {"rollout": rollout.id, "deployment": rollout.plan.path, "steps": list(rollout.plan.steps)}
    with workspace.run("rollout", name=f"rollout-{rollout.id}", inputs=inputs, params=params, tags=tags) as run:
        for name, told in guards.told().items():
            for side in ("candidate", "baseline"):
                if told[side]["mean"] is not None:
                    run.log_metrics({f"{name}.{side}": told[side]["mean"]})
        run.output(f"deployment:{rollout.plan.endpoint}:{rollout.plan.deployment}")
