"""What is heard of the process that trains: it goes into the log, into the run's metrics, and into files of the run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.language.given import Event, Given, events
from jobs import run_log

if TYPE_CHECKING:
    from jobs.parents import Family

KEPT = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "memory", "validation_loss", "epoch")
OUTPUTS = Path("outputs")  # of the folder that the job runs in: artifacts of its run
SAMPLES = "samples.jsonl"
_LINES = 50  # of a training's steps in the log


class Following:
    """One reader of the events; steps that were told before a process was killed are told once."""

    def __init__(self, family: Family, given: Given) -> None:
        self._family = family
        self._given = given
        self._place = 0
        self.step = 0
        self._last: dict[str, float] = {}
        self.plan: Mapping[str, Any] = {}
        self.measured: Mapping[str, float] = {}
        self._known = self._told_before()

    def look(self) -> None:
        """Hear what has been told since the last look."""
        points: list[run_log.Point] = []
        for place, event in events(self._given.events, self._place):
            points += self._heard(event)
            self._place = place
        if points:
            run_log.log(self._family.workspace.light, self._family.spec.run_id, points=points)

    def summary(self) -> dict[str, str]:
        """Return what a card says of how it went."""
        told = {name: f"{self._last[name]:.4f}" for name in ("loss", "validation_loss") if name in self._last}
        rows = {name: str(self.plan[name]) for name in ("rows", "steps", "precision") if name in self.plan}
        return rows | {f"last {name}": value for name, value in told.items()}

    def _heard(self, event: Event) -> list[run_log.Point]:
        if event.kind == "plan":
            self.plan = event.detail or {}
            self._say(f"{self.plan['rows']} rows, {self.plan['tokens']} tokens, {self.plan['steps']} steps")
        elif event.kind == "words":
            self._say(event.words)
        elif event.kind == "sample" and event.detail:
            self._sample(event)
        elif event.kind == "measured":
            self._say(event.words)
            self.measured = event.values or {}
            return [run_log.Point(name, value, self.step, time.time()) for name, value in self.measured.items()]
        return self._points(event) if event.values else []

    def _points(self, event: Event) -> list[run_log.Point]:
        values = {name: value for name, value in (event.values or {}).items() if name in KEPT}
        self._last |= values
        self.step = max(self.step, event.step)
        if "loss" in values and event.step % max(1, int(self.plan.get("steps", 1)) // _LINES) == 0:
            speed = f"{values['tokens_per_second']:.0f} tokens/s" if "tokens_per_second" in values else ""
            self._say(f"step {event.step}/{self.plan.get('steps')}  loss {values['loss']:.4f}  {speed}")
        elif "validation_loss" in values:
            self._say(f"step {event.step}  validation loss {values['validation_loss']:.4f}")
        now = time.time()
        fresh = {name: value for name, value in values.items() if event.step > self._known.get(name, 0)}
        self._known |= dict.fromkeys(fresh, event.step)
        return [run_log.Point(name, value, event.step, now) for name, value in fresh.items()]

    def _sample(self, event: Event) -> None:
        OUTPUTS.mkdir(exist_ok=True)
        with (OUTPUTS / SAMPLES).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": event.step, **(event.detail or {})}, ensure_ascii=False) + "\n")

    def _told_before(self) -> dict[str, int]:
        """Return up to which step each metric is in the run already, from attempts that were killed."""
        query = "SELECT key, MAX(step) AS step FROM metrics WHERE run_id = :run GROUP BY key"
        rows = self._family.workspace.light.rows(query, run=self._family.spec.run_id)
        return {str(row["key"]): int(row["step"]) for row in rows}

    def _say(self, words: str) -> None:
        print(words, flush=True)  # noqa: T201  the log of the job
