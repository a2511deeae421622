"""The process of a sweep, `python -m jobs.sweeps.conduct NAME`: it begins trials, hears them, and ends some."""

from __future__ import annotations

import os
import secrets
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs import run_log
from jobs.children import cancel_job
from jobs.files.command import CommandJob
from jobs.files.expressions import optional_names, resolve, used
from jobs.files.ports import Output
from jobs.files.resources import CommandLimits
from jobs.files.sweep import SweepJob
from jobs.folders import outputs_of
from jobs.needs import Capacity, needs_of
from jobs.parents import Family, lead
from jobs.records import JobRecord
from jobs.sharing import share
from jobs.states import CANCELED, COMPLETED
from jobs.submit import Wishes
from jobs.sweeps.draw import page
from jobs.sweeps.samplers import sampler_for
from jobs.sweeps.spaces import Value, written
from jobs.sweeps.stopping import Curve, is_cut
from jobs.sweeps.trials import Journal, Trial, best, is_maximized, refresh, tag
from jobs.variables import DEVICES
from workspace.errors import Invalid, PartialFailure

LOOK = 0.05  # seconds between two looks at what trials have logged, where a policy wants to know
DRAWN = 10.0  # seconds between two pages
PAGE = Path("outputs") / "sweep.html"  # of the folder that the process runs in: kept as the run's artifact
TOLD = 5  # reasons that the last words name


class Sweep:
    """A sweep while it goes on."""

    def __init__(self, family: Family, job: SweepJob) -> None:
        self._family = family
        self._job = job
        self._database = family.workspace.light
        self._maximize = is_maximized(job)
        self._journal = Journal.of(family.workspace, family.job.name)
        self._sampler = sampler_for(
            job.sampling_algorithm, job.search_space,
            seed=self._seed(), maximize=self._maximize, total=job.limits.max_total_trials,
        )  # fmt: skip
        self._trials: dict[int, Trial] = {}
        self._curves: dict[int, Curve] = {}
        self._finished: set[int] = set()
        self._heard = 0  # the last metric that was heard
        self._is_exhausted = False
        self._page_at = 0.0
        self._best = ""
        resources = _resources(job)
        self._needs = needs_of(resources.properties if resources else {}).cpus
        self._cpus = Capacity.of(family.workspace.settings, visible=os.environ.get(DEVICES)).cpus

    def run(self) -> None:
        """Work through the trials, and leave the outputs of the best one as the sweep's own."""
        self._recall()
        while True:
            self._begin()
            running = {trial.job: trial for trial in self._trials.values() if trial.number not in self._finished}
            if not running:
                break
            ended = self._family.ended(running, seconds=self._pause())
            self._hear(running)
            for record in ended:
                self._note(running[record.name], record)
            if self._seconds_left() <= 0:
                self._cancel(running)
            self._draw()
        self._close()

    def _seed(self) -> int:
        """Return the seed of this sweep, drawn once."""
        found = [line["seed"] for line in self._journal.read() if "seed" in line]
        if not found:
            found = [secrets.randbits(32)]
            self._journal.add(seed=found[0])
        return int(found[0])

    def _recall(self) -> None:
        """Take up what a process before this one has begun."""
        for number, trial in sorted(self._journal.trials().items()):
            self._trials[number] = trial
            if trial.drawn:
                self._sampler.recall(number, trial.drawn)
        refresh(self._database, self._trials.values())
        for trial in self._trials.values():
            if not trial.run_id:  # it was decided on, and not begun any more
                self._start(trial)
        if self._trials:
            print(f"going on with {len(self._trials)} trials that were begun before", flush=True)  # noqa: T201

    def _begin(self) -> None:
        """Begin as many trials as may run at once."""
        limits = self._job.limits
        while (
            not self._is_exhausted
            and len(self._trials) < limits.max_total_trials
            and len(self._trials) - len(self._finished) < self._at_once() + self._ahead()
            and self._seconds_left() > 0
        ):
            number = len(self._trials)
            values = self._sampler.ask(number)
            if values is None:
                self._is_exhausted = True
                return
            name = self._family.name_of(str(number))
            trial = Trial(number, values, self._sampler.drawn(number), job=name)
            self._journal.add(trial=number, values=values, drawn=trial.drawn, job=name)
            self._trials[number] = trial
            self._start(trial)

    def _start(self, trial: Trial) -> None:
        record = self._family.child(str(trial.number), trial_job(self._job, trial), Wishes(retries=0))
        trial.run_id, trial.status = str(record.run_id), record.status

    def _at_once(self) -> int:
        """Return how many trials run at once; where the file does not say it, as many as there is room for."""
        if self._job.limits.max_concurrent_trials is not None:
            return self._job.limits.max_concurrent_trials
        return max(1, int(self._cpus // self._needs) if self._needs else self._job.limits.max_total_trials)

    def _ahead(self) -> int:
        """Return how many trials wait in the queue, where the machine has no room for more than may run.

        One that waits begins at once when another ends. Who learns from each trial chooses as late as can be.
        """
        return 0 if self._sampler.learns or self._needs * (self._at_once() + 1) <= self._cpus else 1

    def _seconds_left(self) -> float:
        limit = self._job.limits.timeout
        if limit is None:
            return float("inf")
        return (self._family.job.started_at or time.time()) + limit - time.time()

    def _pause(self) -> float | None:
        """Return for how long to wait for a trial to end before looking at something else."""
        longest = min(DRAWN, max(0.0, self._seconds_left()))
        return min(LOOK, longest) if self._job.early_termination is not None else longest

    def _hear(self, running: dict[str, Trial]) -> None:
        """Take note of what trials have logged, and end those that the policy ends."""
        of_run = {trial.run_id: trial for trial in running.values()}
        metric = self._job.objective.primary_metric
        for point in run_log.logged(self._database, of_run, metric, after=self._heard):
            self._heard = max(self._heard, point.id)
            trial = of_run[point.run_id]
            trial.hear(point.value)
            self._curves.setdefault(trial.number, Curve(maximize=self._maximize)).add(point.value)
            self._judge(trial)

    def _judge(self, trial: Trial) -> None:
        policy = self._job.early_termination
        if policy is None or trial.cut or trial.ended:
            return
        finished = frozenset(self._finished)
        why = is_cut(policy, trial.number, self._curves, maximize=self._maximize, finished=finished)
        if why:
            trial.cut = why
            self._journal.add(cut=trial.number, why=why)
            cancel_job(self._database, self._family.workspace.home, trial.job)

    def _cancel(self, running: dict[str, Trial]) -> None:
        """End what still runs when the time of the sweep is over."""
        for trial in running.values():
            if trial.number not in self._finished and not trial.cut:
                trial.cut = f"the sweep's limit of {self._job.limits.timeout:g} s was over"
                self._journal.add(cut=trial.number, why=trial.cut)
                cancel_job(self._database, self._family.workspace.home, trial.job)

    def _note(self, trial: Trial, record: JobRecord) -> None:
        """Take note of a trial that has ended."""
        trial.status, trial.error = record.status, record.error or ""
        self._finished.add(trial.number)
        score = trial.score(maximize=self._maximize)
        self._sampler.tell(trial.number, score if trial.status in (COMPLETED, CANCELED) else None)
        found = best(self._trials.values(), maximize=self._maximize)
        if found is not None and found.job != self._best:
            self._best = found.job
            tags = {"best_child_run_id": found.run_id, "studiolo.best_trial": found.job}
            tag(self._database, self._family.job.name, **tags)
            run_log.log(self._database, self._family.spec.run_id, tags=tags)
        if found is not None:
            value = found.score(maximize=self._maximize) or 0.0
            point = run_log.Point(self._job.objective.primary_metric, value, len(self._finished), time.time())
            run_log.log(self._database, self._family.spec.run_id, points=[point])
        print(self._line(trial, score), flush=True)  # noqa: T201  the log of the sweep

    def _line(self, trial: Trial, score: float | None) -> str:
        metric = self._job.objective.primary_metric
        said = f"{metric} {score:g}" if score is not None else f"no {metric}"
        given = " ".join(f"{name}={written(value)}" for name, value in trial.values.items())
        why = f" ({trial.cut or trial.error})" if trial.cut or trial.error else ""
        if score is None and trial.status == COMPLETED:
            others = ", ".join(run_log.keys_of(self._database, trial.run_id)) or "nothing"
            why = f" (it has logged {others})"
        return f"trial {trial.number} {trial.status}: {said}{why}; {given}"

    def _draw(self, *, last: bool = False) -> None:
        """Leave a page of the sweep as it is now."""
        if last or time.monotonic() >= self._page_at:
            PAGE.parent.mkdir(exist_ok=True)
            PAGE.write_text(page(self._job, list(self._trials.values()), name=self._family.job.name))
            self._page_at = time.monotonic() + DRAWN

    def _close(self) -> None:
        self._draw(last=True)
        trials = list(self._trials.values())
        metric = self._job.objective.primary_metric
        found = best(trials, maximize=self._maximize)
        failed = [trial for trial in trials if trial.status != COMPLETED and not trial.cut]
        if found is None:
            reasons = "; ".join(dict.fromkeys([trial.error for trial in failed if trial.error][:TOLD]))
            what = f"none of {len(trials)} trials has completed with a value of {metric!r}"
            raise PartialFailure(
                f"{what}: {reasons}" if reasons else what,
                hint=f"trials log it: mlflow.log_metric({metric!r}, value); see the log of {trials[0].job}"
                if trials else "the sweep's time was over before a trial began",
            )  # fmt: skip
        for name in self._job.outputs:
            source = outputs_of(self._family.workspace.home, found.job) / name
            if source.exists():
                share(source, self._family.output(name))
        cut = sum(1 for trial in trials if trial.cut)
        print(  # noqa: T201
            f"{len(trials)} trials, {cut} ended early, {len(failed)} failed; "
            f"the best is {found.job} with {metric} {found.score(maximize=self._maximize):g}",
            flush=True,
        )


def trial_job(job: SweepJob, trial: Trial) -> CommandJob:
    """Return the command that a trial runs. Its values are among its inputs, so that its run has them as parameters."""
    trial_values = {name: written(value) for name, value in trial.values.items()}
    given: dict[str, Any] = {f"search_space.{name}": value for name, value in trial_values.items()}
    given |= {f"search_space.{name}": value for name, value in _nested(trial.values).items()}
    for side, names in (("inputs", {*job.inputs, *trial_values}), ("outputs", set(job.outputs))):
        given |= {f"{side}.{name}": f"${{{{{side}.{name}}}}}" for name in names}
    template = job.trial
    absent = set(used(template.command)) - set(given) - optional_names(template.command)
    if absent:
        what = f"trial {trial.number} has no value for ${{{{{min(absent)}}}}}"
        raise Invalid(what, hint="what is not always there stands in $[[ … ]]")
    return CommandJob(
        origin=job.origin,
        command=resolve(template.command, given),
        environment=template.environment,
        code=template.code,
        environment_variables=template.environment_variables,
        inputs={**job.inputs, **trial_values},
        outputs={name: Output(type=output.type, mode=output.mode) for name, output in job.outputs.items()},
        resources=_resources(job),
        distribution=template.distribution,
        limits=CommandLimits(timeout=job.limits.trial_timeout) if job.limits.trial_timeout else None,
        queue_settings=template.queue_settings or job.queue_settings,
        experiment_name=job.experiment,
        display_name=f"trial {trial.number}",
        compute=job.compute,
    )


def _nested(values: Any) -> dict[str, Value]:
    """Return what was chosen inside of choices, as `model.depth`."""
    found: dict[str, Value] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": written(each) for key, each in (value | _nested(value)).items()}
    return found


def _resources(job: SweepJob) -> Any:
    return job.trial.resources or job.resources


def work(family: Family) -> None:
    """Run the sweep that a job is."""
    job = family.read()
    if not isinstance(job, SweepJob):
        raise Invalid(f"{family.job.name!r} is no sweep")
    Sweep(family, replace(job, experiment_name=job.experiment_name or family.spec.experiment)).run()


if __name__ == "__main__":
    sys.exit(lead(sys.argv[1], work))
