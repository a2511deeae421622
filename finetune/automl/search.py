"""The search: trials one after the other or beside each other, ensembles of the best, and the model that is left.

Everything that was found is in a folder, a trial each: a search that is killed goes on with those that had ended.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from finetune.automl import ensemble, metrics, workers
from finetune.automl.assemble import assemble
from finetune.automl.model import CONTRACT, Member
from finetune.automl.propose import Proposer
from finetune.automl.rows import Rows, prepared, rows_of, suspicious
from finetune.automl.trial import COMPLETED, CUT, FAILED, OUTCOME, PREDICTED, Outcome, Proposal, Views, run
from finetune.automl.wanted import Wanted
from workspace.errors import PartialFailure

PATIENCE = 20  # trials without anything better after which it gives up, where it may
GRACE = 1.0  # seconds that a trial may take longer than its time, before it is killed
KEPT_BACK = 0.2  # the part of the time that is kept for the last model, at most
PRUNED_FROM = 8  # trials, after which one that begins badly is cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """The rows were looked at; `before` trials are known from an earlier attempt."""

    rows: Any
    before: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trying:
    """A trial begins."""

    proposal: Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A trial has ended."""

    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Something a person may want to know."""

    words: str


@dataclass(frozen=True, slots=True)
class Beat:
    """Nothing has happened for a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The search is over: what is best, its members, and the folder that it lies in."""

    rows: Any
    outcomes: tuple[Outcome, ...]
    kind: str  # a trial's algorithm, VotingEnsemble or StackEnsemble
    score: float
    members: tuple[Member, ...]
    predicted: Any  # of the held rows
    folder: Path
    ensembles: dict[str, float] = field(default_factory=dict)
    why: str = ""  # why it ended when it did


Event = Began | Trying | Tried | Said | Beat | Found
VOTING, STACK = "VotingEnsemble", "StackEnsemble"


def search(table: Any, wanted: Wanted, *, folder: Path, validation: Any = None) -> Iterator[Event]:
    """Search for the best model of a table; the last event is Found."""
    rows = rows_of(table, wanted, validation=validation)
    rows.prepared = workers.apart(partial(prepared, rows), threads=wanted.threads)
    rows.notes += suspicious(rows)
    folder.mkdir(parents=True, exist_ok=True)
    going = Going(rows, folder, proposer=Proposer(rows), start=partial(_start, rows, folder), finish=assemble)
    yield Began(rows=rows, before=tuple(going.outcomes))
    yield from (Said(words=note) for note in rows.notes)
    yield from going.trials()
    yield going.close()


class Going:
    """A search while it goes on: of a table's rows, or of anything that is held against a truth in parts.

    `start` makes what a process tries with, `finish` fits the last model: as `assemble` does.
    """

    def __init__(
        self, rows: Any, folder: Path, *, proposer: Any, start: Callable[[], workers.Work], finish: Callable[..., Any]
    ) -> None:
        self._rows = rows
        self._wanted = rows.wanted
        self._folder = folder
        self._proposer = proposer
        self._start = start
        self._finish = finish
        self.outcomes = _kept(folder)
        spent = max((each.at for each in self.outcomes), default=0.0)
        self._began = time.monotonic() - spent
        self._why = ""
        self._sign = 1.0 if metrics.is_maximized(self._wanted.metric) else -1.0

    def trials(self) -> Iterator[Event]:
        """Try until the time is over, or something says that it is enough."""
        number = max((each.number for each in self.outcomes), default=-1) + 1
        wanted = self._wanted
        with workers.Crew(self._start, count=wanted.at_once, threads=wanted.threads) as crew:
            while True:
                while crew.has_room and not self._is_over(number):
                    proposal = self._proposer.propose(number, self.outcomes)
                    if proposal is None:
                        self._why = self._why or "there is nothing else to try"
                        break
                    number += 1
                    yield Trying(proposal=proposal)
                    until = min(time.monotonic() + wanted.trial_seconds, self._end())
                    crew.ask((proposal, until, self._floor()), deadline=until + GRACE)
                if not crew.busy:
                    return
                for answer in crew.answers():
                    yield self._noted(answer)
                yield Beat()

    def close(self) -> Found:
        """Return the best of all, fitted on all rows."""
        good = [each for each in self.outcomes if each.status == COMPLETED and each.score is not None]
        if not good:
            reasons = "; ".join(dict.fromkeys(each.error for each in self.outcomes if each.error))
            what = f"none of {len(self.outcomes)} trials has ended well"
            hint = "give more time: limits.timeout_minutes, trial_timeout_minutes"
            raise PartialFailure(f"{what}: {reasons}" if reasons else what, hint=hint)
        best = max(good, key=lambda each: (self._sign * (each.score or 0.0), -each.number))
        found, ensembles = self._chosen(good, best)
        target = self._folder / "model"
        if not (target / CONTRACT).exists():
            shutil.rmtree(target, ignore_errors=True)
            made = self._folder / "model.new"
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            work = partial(
                self._finish, self._rows, found["members"], made, meta=found.get("meta"), score=found["score"]
            )
            workers.apart(work, threads=self._wanted.threads)
            made.rename(target)
        return Found(
            rows=self._rows, outcomes=tuple(self.outcomes), kind=found["kind"], score=found["score"],
            members=found["members"], predicted=found["predicted"], folder=target, ensembles=ensembles, why=self._why,
        )  # fmt: skip

    def _chosen(self, good: Sequence[Outcome], best: Outcome) -> tuple[dict[str, Any], dict[str, float]]:
        """Return the best trial, or the ensemble that is better than it."""
        predicted = {each.number: np.load(self._folder / str(each.number) / PREDICTED) for each in good}
        by_number = {each.number: each for each in good}
        choices = [
            {"kind": best.called, "score": float(best.score or 0.0), "predicted": predicted[best.number],
             "members": (_member(best, 1.0),)}
        ]  # fmt: skip
        if self._wanted.votes and len(good) > 1:
            voting = workers.apart(partial(ensemble.vote, self._rows, good, predicted), threads=self._wanted.threads)
            members = tuple(_member(by_number[number], weight) for number, weight in voting.weights.items())
            choices.append({"kind": VOTING, "score": voting.score, "predicted": voting.predicted, "members": members})
        if self._wanted.stacks and len(good) > 1:
            stack = workers.apart(partial(ensemble.stack, self._rows, good, predicted), threads=self._wanted.threads)
            if stack is not None:
                members = tuple(_member(by_number[number], 0.0) for number in stack.members)
                below = {number: predicted[number] for number in stack.members}
                choices.append({"kind": STACK, "score": stack.score, "predicted": stack.predicted, "members": members,
                                "meta": (stack.kind, below)})  # fmt: skip
        ensembles = {each["kind"]: each["score"] for each in choices[1:]}
        return max(choices, key=lambda each: self._sign * each["score"]), ensembles

    def _noted(self, answer: workers.Answer) -> Tried:
        proposal: Proposal = answer.asked[0]
        at = time.monotonic() - self._began
        if answer.error:
            outcome = Outcome(
                number=proposal.number, algorithm=proposal.algorithm, params=dict(proposal.params),
                called=proposal.called, status=FAILED, error=answer.error, at=at,
            )  # fmt: skip
        else:
            outcome = replace(answer.result, at=at)
        outcome.save(self._folder / str(proposal.number))
        self.outcomes.append(outcome)
        return Tried(outcome=outcome)

    def _end(self) -> float:
        """Return when trials must have ended, so that there is time for the last model."""
        good = [each for each in self.outcomes if each.status == COMPLETED]
        best = sorted(good, key=lambda each: -self._sign * (each.score or 0.0))[: ensemble.MOST_MEMBERS // 2]
        parts = max(1, len(self._rows.parts))
        refit = sum(each.seconds / parts * 1.3 for each in best) + 1.0
        back: float = min(self._wanted.seconds * KEPT_BACK, refit)
        return float(self._began + self._wanted.seconds - back)

    def _floor(self) -> float | None:
        """Return what a trial must reach in its first part to go on: the worst of the best so far."""
        firsts = [each.scores[0] for each in self.outcomes if each.status in (COMPLETED, CUT) and each.scores]
        if len(firsts) < PRUNED_FROM or len(self._rows.parts) == 1:
            return None
        best = sorted(firsts, key=lambda score: -self._sign * score)
        return float(best[PRUNED_FROM // 2 - 1] - self._sign * 0.5 * abs(best[0] - best[PRUNED_FROM - 1]))

    def _is_over(self, number: int) -> bool:
        self._why = self._reason(number)
        return bool(self._why)

    def _reason(self, number: int) -> str:
        wanted = self._wanted
        if number >= wanted.most_trials:
            return f"{wanted.most_trials} trials were made"
        if self.outcomes and time.monotonic() > self._end() - self._shortest():
            return f"the time of {wanted.seconds:g} s is over"
        done = [each for each in self.outcomes if each.status == COMPLETED and each.score is not None]
        scores = [self._sign * (each.score or 0.0) for each in done]
        if scores and wanted.good_enough is not None and max(scores) >= self._sign * wanted.good_enough:
            return f"a score of {wanted.good_enough:g} was reached"
        if wanted.gives_up and number >= len(self._proposer.first) + PATIENCE and scores:
            last = max(range(len(done)), key=lambda place: (scores[place], -place))
            if len(self.outcomes) - 1 - self.outcomes.index(done[last]) >= PATIENCE:
                return f"nothing was better in {PATIENCE} trials"
        return ""

    def _shortest(self) -> float:
        """Return the seconds below which no trial is begun."""
        took = [each.seconds for each in self.outcomes if each.status == COMPLETED]
        return min(took) * 0.7 if took else 0.0


def _start(rows: Rows, folder: Path) -> workers.Work:
    views = Views(rows)

    def work(asked: Any) -> Outcome:
        proposal, until, floor = asked
        return run(rows, views, proposal, folder=folder / str(proposal.number), until=until, floor=floor)

    return work


def _member(outcome: Outcome, weight: float) -> Member:
    return Member(
        number=outcome.number, algorithm=outcome.algorithm, called=outcome.called, params=dict(outcome.params),
        weight=weight, rounds=outcome.rounds, score=outcome.score,
    )  # fmt: skip


def _kept(folder: Path) -> list[Outcome]:
    """Return the trials that have ended, in the order in which they did."""
    found = [Outcome.load(path.parent) for path in folder.glob(f"*/{OUTCOME}")]
    return sorted(found, key=lambda each: each.at)
