"""Rollouts as they are kept: what was planned, how far it is, why it ended. Every change of one is audited.

RUNNING and PAUSED may change; COMPLETED and ABORTED are for ever. Each change names the state it was decided in, so
that of two gateways, or a gateway and a person, one wins and the other looks again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import Row, insert, select, update

from serving import endpoints
from serving.endpoints import Endpoint
from serving.rollouts.guards import MARGINS
from workspace.errors import Conflict, Invalid, NotFound, did_you_mean
from workspace.home import Workspace
from workspace.tables import rollouts

State = Literal["RUNNING", "PAUSED", "COMPLETED", "ABORTED"]
ENDED = ("COMPLETED", "ABORTED")
COOLDOWN = 600.0  # seconds after an abort in which the same candidate is not tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """A score of sampled answers, of which the candidate's mean may be lower by the guard's margin at most."""

    scorer: str = "judge"
    model: str = ""  # whom a judge asks
    rubric: str = ""
    sample: float = 0.2  # of the requests
    scores: int = 30  # of the candidate that a step needs before the next one


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which deployment takes over an endpoint, and how carefully. `alpha` is the share of sound candidates that may
    be turned away; `guards` are margins by name."""

    endpoint: str
    deployment: str
    steps: tuple[float, ...] = (1, 10, 50, 100)  # percent of the traffic
    bake: float = 600.0  # seconds that a step lasts at least
    requests: int = 50  # of the candidate that a step needs before the next one
    alpha: float = 0.05
    guards: Mapping[str, float] = field(default_factory=lambda: {k: v for k, v in MARGINS.items() if k != "quality"})
    quality: Quality | None = None

    def __post_init__(self) -> None:
        if not self.steps or list(self.steps) != sorted(set(self.steps)) or self.steps[-1] != 100 or self.steps[0] <= 0:
            raise Invalid("the steps must rise to 100", hint="steps: [1, 10, 50, 100]")
        if not 0 < self.alpha < 1:
            raise Invalid(f"alpha lies between 0 and 1, not at {self.alpha}", hint="alpha: 0.05")
        for name, margin in self.guards.items():
            if name not in MARGINS:
                raise Invalid(f"no guard {name!r}", hint=did_you_mean(name, MARGINS))
            if not 0 <= margin < 1:
                raise Invalid(f"the margin of {name} lies between 0 and 1, not at {margin}")
        if ("quality" in self.guards) != (self.quality is not None):
            raise Invalid("the guard `quality` needs to know how to score", hint="give the block `quality`")

    @property
    def path(self) -> str:
        """The candidate: "endpoint/deployment"."""
        return f"{self.endpoint}/{self.deployment}"

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Plan:
        """Return the plan that was kept."""
        quality = Quality(**found["quality"]) if found.get("quality") else None
        return cls(**{**found, "steps": tuple(found["steps"]), "quality": quality})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One rollout. `before` is the traffic that an abort brings back; `evidence` is what its guards know."""

    id: str
    plan: Plan
    before: Mapping[str, float]
    model: str  # of the candidate, as it was when it began
    state: State
    step: int
    evidence: Mapping[str, Any]
    reason: str | None
    created_at: float
    stepped_at: float
    ended_at: float | None

    @property
    def percent(self) -> float:
        """What the candidate gets of the traffic in this step."""
        return self.plan.steps[self.step]


def start(workspace: Workspace, plan: Plan, *, force: bool = False) -> Rollout:
    """Begin with the first step.

    Refused while another rollout of the endpoint goes on, where nothing answers it yet, where the candidate has traffic
    already, and for a while after the same candidate was turned away unless `force` says otherwise.
    """
    endpoint = endpoints.get(workspace, plan.endpoint)
    model = endpoints.deployment(workspace, plan.endpoint, plan.deployment).model
    for other in listed(workspace, endpoint=plan.endpoint):
        _check_other(other, plan, model, force=force)
    before = {name: percent for name, percent in endpoint.traffic.items() if percent}
    if not before or before.get(plan.deployment):
        what = "has traffic already" if before else "would be alone: nothing else has traffic"
        raise Conflict(f"{plan.path} {what}", hint="give the traffic to what is to be replaced, and start again")
    now = time.time()
    spec = asdict(plan) | {"steps": list(plan.steps), "guards": dict(plan.guards)}
    row = {
        "id": uuid.uuid4().hex[:12],
        "endpoint": plan.endpoint,
        "deployment": plan.deployment,
        "spec": {"plan": spec, "before": before, "model": model},
        "state": "RUNNING",
        "step": 0,
        "evidence": {},
        "created_at": now,
        "stepped_at": now,
    }
    with workspace.database.write() as connection:
        connection.execute(insert(rollouts).values(**row))
        subject = f"rollout:{row['id']}"
        workspace.audit.record(connection, "rollout.start", subject, after={"plan": spec, "before": before})
    found = get(workspace, str(row["id"]))
    give_traffic(workspace, found)
    return found


def _check_other(other: Rollout, plan: Plan, model: str, *, force: bool) -> None:
    """Refuse a plan while another rollout of its endpoint goes on, or has just turned the same candidate away."""
    if other.state not in ENDED:
        hint = f"`studiolo rollout show {other.id}`"
        raise Conflict(f"rollout {other.id} of {plan.endpoint!r} is {other.state}", hint=hint)
    fresh = other.ended_at and time.time() - other.ended_at < COOLDOWN
    same = other.model == model and other.plan.path == plan.path
    if fresh and other.state == "ABORTED" and same and not force:
        raise Conflict(
            f"{plan.path} was turned away less than {COOLDOWN / 60:.0f} minutes ago: {other.reason}",
            hint="mend it and deploy the new version, or `--force`",
        )


def get(workspace: Workspace, identifier: str) -> Rollout:
    """Return a rollout by its id, or the newest one of the endpoint of that name."""
    query = select(rollouts).where((rollouts.c.id == identifier) | (rollouts.c.endpoint == identifier))
    with workspace.database.read() as connection:
        row = connection.execute(query.order_by(rollouts.c.created_at.desc()).limit(1)).first()
    if row is None:
        raise NotFound(f"no rollout {identifier!r}", hint="`studiolo rollout list`")
    return _rollout(row)


def listed(workspace: Workspace, *, endpoint: str | None = None, going_on: bool = False) -> list[Rollout]:
    """Return rollouts, newest first; `going_on`: those that have not ended."""
    query = select(rollouts).order_by(rollouts.c.created_at.desc())
    if endpoint is not None:
        query = query.where(rollouts.c.endpoint == endpoint)
    if going_on:
        query = query.where(rollouts.c.state.not_in(ENDED))
    with workspace.database.read() as connection:
        return [_rollout(row) for row in connection.execute(query)]


def keep_evidence(workspace: Workspace, rollout: Rollout, evidence: Mapping[str, Any]) -> bool:
    """Write down what the guards know; False where somebody has changed the rollout meanwhile."""
    return _change(workspace, rollout, {"evidence": dict(evidence)}, action=None)


def advance(workspace: Workspace, rollout: Rollout) -> Rollout:
    """Go on with the next step; with the last one the rollout is COMPLETED."""
    step = rollout.step + 1
    last = step == len(rollout.plan.steps) - 1
    values: dict[str, Any] = {"step": step, "stepped_at": time.time()}
    if last:
        values |= {"state": "COMPLETED", "ended_at": time.time(), "reason": "every step was passed"}
    return _moved(workspace, rollout, values, action="rollout.complete" if last else "rollout.advance")


def abort(workspace: Workspace, rollout: Rollout, reason: str) -> Rollout:
    """Give the traffic back to what had it before; whoever had met the candidate meets the others again."""
    values = {"state": "ABORTED", "ended_at": time.time(), "reason": reason}
    # Before it is written down: whatever happens in between, the candidate has no traffic.
    give_traffic(workspace, replace(rollout, state="ABORTED"))
    return _moved(workspace, rollout, values, action="rollout.abort")


def pause(workspace: Workspace, rollout: Rollout, reason: str) -> Rollout:
    """Stay at this step, unwatched, until `resume`; the traffic is left as it is."""
    _change(workspace, rollout, {"state": "PAUSED", "reason": reason}, action="rollout.pause", must=True)
    return get(workspace, rollout.id)


def resume(workspace: Workspace, rollout: Rollout) -> Rollout:
    """Go on with the step at which it was paused."""
    if rollout.state != "PAUSED":
        raise Conflict(f"rollout {rollout.id} is {rollout.state}, not PAUSED")
    values = {"state": "RUNNING", "reason": None, "stepped_at": time.time()}
    return _moved(workspace, rollout, values, action="rollout.resume")


def wanted_traffic(rollout: Rollout) -> dict[str, float]:
    """Return the traffic of the rollout's state: the candidate's percent, the rest shared as before."""
    if rollout.state == "ABORTED":
        return dict(rollout.before)
    rest = 100.0 - rollout.percent
    whole = sum(rollout.before.values())
    shares = {name: percent * rest / whole for name, percent in rollout.before.items()}
    return shares | {rollout.plan.deployment: rollout.percent}


def give_traffic(workspace: Workspace, rollout: Rollout) -> Endpoint:
    """Make the endpoint's traffic that of the rollout; its candidate is mirrored to no longer."""
    return endpoints.put(workspace, rollout.plan.endpoint, traffic=wanted_traffic(rollout), mirror={})


def _moved(workspace: Workspace, rollout: Rollout, values: Mapping[str, Any], *, action: str) -> Rollout:
    _change(workspace, rollout, values, action=action, must=True)
    found = get(workspace, rollout.id)
    give_traffic(workspace, found)
    return found


def _change(
    workspace: Workspace, rollout: Rollout, values: Mapping[str, Any], *, action: str | None, must: bool = False
) -> bool:
    mine = update(rollouts).where(
        rollouts.c.id == rollout.id, rollouts.c.state == rollout.state, rollouts.c.step == rollout.step
    )
    with workspace.database.write() as connection:
        changed = connection.execute(mine.values(**values)).rowcount == 1
        if changed and action:
            before = {"state": rollout.state, "step": rollout.step}
            after = {key: values[key] for key in ("state", "step", "reason") if key in values}
            workspace.audit.record(connection, action, f"rollout:{rollout.id}", before=before, after=after)
    if must and not changed:
        raise Conflict(
            f"rollout {rollout.id} was changed by somebody else", hint=f"`studiolo rollout show {rollout.id}`"
        )
    return changed


def _rollout(row: Row[Any]) -> Rollout:
    return Rollout(
        id=row.id,
        plan=Plan.of(row.spec["plan"]),
        before=row.spec["before"],
        model=row.spec["model"],
        state=row.state,
        step=row.step,
        evidence=row.evidence,
        reason=row.reason,
        created_at=row.created_at,
        stepped_at=row.stepped_at,
        ended_at=row.ended_at,
    )
