"""The process of a pipeline, `python -m jobs.pipelines.process NAME`: it begins steps when what they need is there."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any, cast

from jobs import foreign
from jobs.files.control_flow import DoWhile, IfElse, ParallelFor
from jobs.files.pipeline import PipelineComponent, PipelineJob
from jobs.files.ports import Value
from jobs.files.transfer_nodes import ELSEWHERE
from jobs.parents import Family, lead
from jobs.pipelines import flow, reuse
from jobs.pipelines.order import order_of
from jobs.pipelines.promotion import promote
from jobs.pipelines.steps import Around, job_of_step
from jobs.pipelines.wiring import REUSED_FROM, SKIPPED, Outcome, Wiring, component_of, fitted, outcome_of
from jobs.records import JobRecord
from jobs.states import CANCELED, COMPLETED, FAILED
from workspace.errors import PartialFailure, StudioloError

# A step at work: it yields the names of the jobs that it waits for, is sent one that has ended, returns what became.
Work = Generator[set[str], JobRecord, Outcome]
TOLD = 3  # failures that the last words name


class Pipeline:
    """A pipeline while it goes on."""

    def __init__(self, family: Family) -> None:
        job = self.job = cast("PipelineJob", family.read())
        self.family = family
        self.workspace = family.workspace
        self.order = order_of(job.steps, job.settings)
        self.wiring = wiring_of(job)
        self.around = around_of(job)
        self.chosen: dict[str, bool] = {}
        self._works: dict[str, Work] = {}
        self._waited: dict[str, str] = {}  # from the name of a job to its step
        self._pending = list(self.order.waits)

    def run(self) -> None:
        """Run the steps; raise PartialFailure where one failed."""
        goes_on = self.job.settings.continue_on_step_failure
        while True:
            self._begin_ready()
            if not self._waited or (self._failures() and not goes_on):
                break
            for ended in self.family.ended(self._waited):
                if key := self._waited.pop(ended.name, None):
                    self._advance(key, ended)
        failures = self._failures()
        if failures:
            told = "; ".join(f"step {key!r} {_became(outcome)}" for key, outcome in failures[:TOLD])
            more = f"; and {len(failures) - TOLD} more" if len(failures) > TOLD else ""
            hint = next((f"studiolo job stream {outcome.job}" for _, outcome in failures if outcome.job), None)
            raise PartialFailure(f"{told}{more}", hint=hint)
        promote(self)

    def single(self, key: str, step: Any) -> Work:
        """Run a step once."""
        return (yield from self.turn(key, key, self.wiring.inputs_of(key, step)))

    def turn(self, key: str, child: str, inputs: Mapping[str, Value]) -> Work:
        """Run a step with these inputs, as the child that is called so."""
        job = self.begin(key, child, inputs)
        if not job.ended:
            job = yield {job.name}
        return self.ended(child, job)

    def begin(self, key: str, child: str, inputs: Mapping[str, Value]) -> JobRecord:
        """Begin a child, or find it where it was begun before."""
        if (found := self.family.find(child)) is not None:
            return found
        step = self.job.steps[key]
        afar = foreign.said(self._foreign(key, step, inputs))
        name = self.family.name_of(child)
        job = job_of_step(key, step, inputs, around=self.around, wiring=self.wiring, name=name)
        path = f"{self.family.job.properties.get(reuse.STEP) or self.around.experiment}/{key}"
        parts = reuse.parts_of(self.workspace, job)
        why = self._why_not(step, parts)
        if not why and (source := reuse.find(self.workspace, parts)) is not None:
            say(f"step {child!r} is reused from job {source.name}: its {_same(parts)} are the same")
            return reuse.take(self.workspace, source, job, parent=self.family.job)
        why = why or reuse.reason(self.workspace, path, parts)
        known = {reuse.STEP: path, reuse.PARTS: json.dumps(dict(parts.by_name))}
        made = self.family.child(child, replace(job, properties={**job.properties, **known, **afar}))
        say(f"step {child!r} runs as job {made.name}: {why}")
        return made

    def ended(self, child: str, job: JobRecord) -> Outcome:
        """Take note of a child that has ended."""
        outcome = outcome_of(self.workspace, job)
        if REUSED_FROM not in job.properties:
            say(f"step {child!r} {_became(outcome)} (job {job.name})")
        reuse.remember(self.workspace, job)
        return outcome

    def _foreign(self, key: str, step: Any, inputs: Mapping[str, Value]) -> set[str]:
        """Return which inputs of a step came over a network: all of them, where the items of its loop did."""
        loop = self.job.steps.get(self.order.bodies.get(key, ""))
        if isinstance(loop, ParallelFor) and foreign.uses(loop.items, self.wiring.is_foreign):
            return set(inputs)
        return self.wiring.foreign_of(step)

    def _why_not(self, step: Any, parts: reuse.Parts) -> str:
        """Return why a step must run; nothing where it may be used again."""
        if self.job.settings.force_rerun:
            return "force_rerun is set"
        if isinstance(step, ELSEWHERE):
            return "what is elsewhere may have changed"
        if not getattr(component_of(step), "is_deterministic", True):
            return "its component is not deterministic"
        return "" if parts.can_be_reused else "it writes to one of its inputs"

    def _begin_ready(self) -> None:
        """Begin every step that waits for nothing any more; those that cannot run any more are skipped."""
        moved = True
        while moved:
            moved = False
            for key in list(self._pending):
                waits = self.order.waits[key]
                if not all(each in self.wiring.outcomes for each in waits):
                    continue
                self._pending.remove(key)
                moved = True
                if why := self._why_skipped(key):
                    say(f"step {key!r} does not run: {why}")
                    self._settle(key, Outcome(status=SKIPPED, why=why))
                else:
                    self._works[key] = self._work(key)
                    self._advance(key, None)

    def _why_skipped(self, key: str) -> str:
        side = self.order.sides.get(key)
        if side is not None and self.chosen.get(side.decision, side.when) is not side.when:
            return f"{side.decision!r} decided so"
        if key == self.order.last:
            return ""
        for each in sorted(self.order.waits[key]):
            outcome = self.wiring.outcomes[each]
            if not outcome.is_completed:
                return f"step {each!r} {_became(outcome, short=True)}"
        return ""

    def _decision(self, key: str, step: IfElse) -> Work:
        yield from ()
        return flow.if_else(self, key, step)

    def _work(self, key: str) -> Work:
        step = self.job.steps[key]
        if isinstance(step, IfElse):
            return self._decision(key, step)
        if isinstance(step, DoWhile):
            return flow.do_while(self, key, step)
        if isinstance(step, ParallelFor):
            return flow.parallel_for(self, key, step)
        return self.single(key, step)

    def _advance(self, key: str, ended: JobRecord | None) -> None:
        """Let a step go on until it waits again or has ended."""
        work = self._works[key]
        try:
            names = next(work) if ended is None else work.send(ended)
        except StopIteration as stop:
            self._settle(key, stop.value)
        except StudioloError as problem:
            say(f"step {key!r} failed: {problem}")
            self._settle(key, Outcome(status=FAILED, why=str(problem)))
        else:
            self._waited |= dict.fromkeys(names, key)

    def _settle(self, key: str, outcome: Outcome) -> None:
        self._works.pop(key, None)
        for name in [name for name, waiting in self._waited.items() if waiting == key]:
            del self._waited[name]
        self.wiring.outcomes[key] = outcome
        for body, loop in self.order.bodies.items():
            if loop == key:
                self.wiring.outcomes[body] = outcome

    def _failures(self) -> list[tuple[str, Outcome]]:
        found = self.wiring.outcomes.items()
        return [
            (key, outcome)
            for key, outcome in found
            if outcome.status in (FAILED, CANCELED) and key not in self.order.bodies
        ]


def wiring_of(job: PipelineJob) -> Wiring:
    """Return the wiring of a pipeline before anything has run."""
    afar = foreign.names_in(job.properties)
    if not isinstance(job.component, PipelineComponent):
        return Wiring(job.inputs, job.steps, foreign=afar)
    return Wiring(fitted(job.component, job.inputs), job.steps, ports=job.component.inputs, foreign=afar)


def around_of(job: PipelineJob) -> Around:
    """Return what the steps of a pipeline have around them."""
    return Around(
        folder=job.folder, experiment=job.experiment, settings=job.settings, outputs=job.outputs, compute=job.compute
    )


def say(text: str) -> None:
    """Say something in the job's log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _became(outcome: Outcome, *, short: bool = False) -> str:
    word = {COMPLETED: "completed", SKIPPED: "did not run", CANCELED: "was cancelled"}.get(outcome.status, "failed")
    return word if short or not outcome.why or outcome.status != FAILED else f"{word}: {outcome.why}"


def _same(parts: reuse.Parts) -> str:
    named = [name for name in ("code", "command") if name in parts.by_name]
    inputs = ["inputs"] if any(name.startswith("input ") for name in parts.by_name) else []
    words = [*named, *inputs, "environment"]
    return f"{', '.join(words[:-1])} and {words[-1]}"


def work(family: Family) -> None:
    """Run a pipeline."""
    Pipeline(family).run()


if __name__ == "__main__":
    sys.exit(lead(sys.argv[1], work))
