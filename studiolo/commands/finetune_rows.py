"""`studiolo finetune from-traces`, `from-failures`, `canary`: what happened becomes data, a training, a candidate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import studiolo
from studiolo import job_shapes
from studiolo.commands.changing import Set, sets
from studiolo.commands.formats import Answer
from workspace.errors import Invalid

if TYPE_CHECKING:
    from studiolo.tuning.labels import Label
    from studiolo.tuning.logged import Logged
    from workspace import Asset
    from workspace.home import Workspace

Form = Literal["chat", "preference", "kto"]
Name = Annotated[str, typer.Option("--name", "-n", help="What the data asset is called.")]
Labels = Annotated[
    list[str] | None,
    typer.Option(help="What people said: a file of request ids with ratings or corrections, or mlflow; repeatable."),
]
Redact = Annotated[bool, typer.Option("--redact", help="Replace personal data by its kind, as [EMAIL].")]
Tune = Annotated[str, typer.Option(help="Train on it: a training file, or a base model.")]
Reason = Annotated[str, typer.Option(help="Why a training may hold rows of an evaluation set; it is audited.")]
Canary = Annotated[str, typer.Option(help="Wait for the training, and give its model the first traffic of ENDPOINT.")]
Steps = Annotated[str, typer.Option(help="Percent of the traffic, step by step.")]


def from_traces_command(
    endpoint: Annotated[str, typer.Argument(help="The endpoint whose deployments collect data.")] = "",
    flow: Annotated[str, typer.Option(help="A flow that was served, instead.")] = "",
    deployment: Annotated[str, typer.Option(help="Of this deployment only.")] = "",
    since: Annotated[str, typer.Option(help="Not before: 2026-11-28, or 7d ago.")] = "",
    name: Name = "",
    form: Annotated[Form, typer.Option(help="What rows are made.")] = "chat",
    labels: Labels = None,
    min_rating: Annotated[float | None, typer.Option(help="Only what people rated so, or corrected.")] = None,
    labelled: Annotated[bool, typer.Option("--labelled", help="Only what people have labelled.")] = False,
    redact: Redact = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows.")] = None,
    tune: Tune = "",
    set_: Set = None,
    override_contamination: Reason = "",
    canary: Canary = "",
) -> Answer:
    """Make a data asset of chats that were answered here; what people said of them goes first."""
    from serving import endpoints
    from studiolo.tuning import curated, logged

    _check(endpoint, flow, tune, canary)
    moment = logged.moment(since)
    wanted = curated.Wanted(form=form, min_rating=min_rating, labelled=labelled, redact=redact, limit=limit)
    with studiolo.open_workspace() as workspace:
        if canary:
            endpoints.get(workspace, canary)
        if flow:
            chats = [*logged.of_flow(workspace, flow, since=moment)]
        else:
            chats = [*logged.of_endpoint(workspace, endpoint, deployment=deployment or None, since=moment)]
        said = _labels(workspace, labels, chats)
        found = curated.curate(chats, said, wanted)
        told = found.said(redacted=redact)
        if not found.rows:
            raise Invalid("no row came of it: nothing is kept", hint="; ".join(told[1:]) or "nothing was asked")
        params = {
            "endpoint": endpoint or None, "flow": flow or None, "form": form, "since": since or None,
            "min_rating": min_rating, "labels": len(said), "redacted": redact,
        }  # fmt: skip
        known = {key: value for key, value in params.items() if value is not None}
        asset = curated.keep(
            workspace, name or f"{endpoint or flow}-chats", found.rows, inputs=found.sources, params=known
        )
        return _closed(workspace, asset, told, (tune, set_, override_contamination, canary), form=form)


def from_failures_command(
    run: Annotated[str, typer.Argument(help="A run of `studiolo eval run`.")],
    metric: Annotated[str, typer.Option(help="The scorer that failed them; the first, if none is named.")] = "",
    below: Annotated[float, typer.Option(help="A sample failed whose score is below.")] = 0.5,
    share: Annotated[float, typer.Option(help="Of the failures; the others stay to be measured by.")] = 0.5,
    name: Name = "",
    labels: Labels = None,
    redact: Redact = False,
    retire: Annotated[str, typer.Option(help="REASON: make a version of the evaluation set without these rows.")] = "",
    tune: Tune = "",
    set_: Set = None,
    override_contamination: Reason = "",
    canary: Canary = "",
) -> Answer:
    """Make a data asset of the rows that an evaluation failed; their expected answers become what is learnt."""
    from serving import endpoints
    from studiolo.tuning import curated, failures

    _check(run, "", tune, canary)
    failing = failures.Failing(metric=metric or None, below=below, share=share, redact=redact)
    with studiolo.open_workspace() as workspace:
        if canary:
            endpoints.get(workspace, canary)
        record = workspace.runs.get(run)
        if tune and not retire and not override_contamination.strip():
            failures.refuse_unsaid(record)
        found = failures.failures(record, _labels(workspace, labels, []), failing)
        told = found.said(redacted=redact)
        if not found.rows:
            raise Invalid("no row came of it: nothing is kept", hint="; ".join(told))
        evalset = failures.evaluation_set(workspace, record)
        params = {"run": record.run_id, "below": below, "share": share, "redacted": redact}
        asset = curated.keep(
            workspace, name or f"{record.params.get('task') or 'eval'}-failures", found.rows,
            inputs=[f"run:{record.run_id}", evalset.ref], params=params,
        )  # fmt: skip
        if retire:
            left, rows = failures.retire(workspace, evalset, found.used, reason=retire)
            told.append(
                f"{evalset.ref} is archived; {left.ref} has the {rows:,} other rows: name it in the task's data"
            )
            told.append("compare base and tuned on the new version: the rows that are gone were failures")
        elif not tune:
            told.append("a training on it will ask why: --retire REASON, or override_contamination")
        return _closed(workspace, asset, told, (tune, set_, override_contamination, canary))


def canary_command(
    training: Annotated[str, typer.Argument(help="A training that has completed: its job.")],
    endpoint: Annotated[str, typer.Argument(help="The endpoint that its model shall take over.")],
    steps: Steps = "1,10,50,100",
    bake: Annotated[float, typer.Option(help="Seconds that a step lasts at least.")] = 600.0,
    requests: Annotated[int, typer.Option(help="Requests that a step needs.")] = 50,
) -> Answer:
    """Deploy what a training made, and roll it out under watch: where it is worse it loses its traffic again."""
    from studiolo.tuning import closing

    with studiolo.open_workspace() as workspace:
        parts = tuple(_number(part) for part in steps.split(","))
        rollout = closing.canary(workspace, training, endpoint, steps=parts, bake=bake, requests=requests)
    told = {"rollout": rollout.id, "deployment": rollout.plan.path, "model": rollout.model, "percent": rollout.percent}
    words = f"{rollout.id}: {rollout.plan.path} gets {rollout.percent:g} % of {endpoint!r}"
    return Answer(value=told, words=words, next=f"studiolo rollout watch {rollout.id}")


def _closed(
    workspace: Workspace, asset: Asset, told: list[str], then: tuple[str, list[str] | None, str, str],
    *, form: Form = "chat",
) -> Answer:  # fmt: skip
    """Go on with a training on the rows, and with a rollout of its model, where that is wanted."""
    from studiolo.commands.following import failure, followed
    from studiolo.tuning import closing

    tune, changed, reason, endpoint = then
    value: dict[str, Any] = {"data": asset.ref, "said": told}
    words = "\n".join([*told, f"kept as {asset.ref}"])
    if not tune:
        return Answer(value=value, words=words, next=f"studiolo finetune data {asset.ref}")
    wanted = closing.training_on(asset, tune, sets(changed), form=form, reason=reason or None)
    job = closing.tune(workspace, asset, wanted)
    value["job"] = job_shapes.job(workspace, job)
    words += f"\ntraining {job.name}"
    if not endpoint:
        return Answer(value=value, words=words, next=f"studiolo job stream {job.name}")
    typer.echo(words, err=True)
    ended = followed(workspace, job.name)
    value["job"] = job_shapes.job(workspace, ended)
    if (failed := failure(ended)) is not None:
        return Answer(value=value, words="", failure=failed)
    rollout = closing.canary(workspace, job.name, endpoint)
    value["rollout"] = rollout.id
    words = f"{rollout.id}: {rollout.plan.path} gets {rollout.percent:g} % of {endpoint!r}"
    return Answer(value=value, words=words, next=f"studiolo rollout watch {rollout.id}")


def _labels(workspace: Workspace, given: list[str] | None, chats: list[Logged]) -> dict[str, Label]:
    """Return what people said; a file goes before MLflow, and both before what was sent to a flow's /feedback."""
    from studiolo.tuning import labels

    found = labels.of_feedback(workspace)
    for each in sorted(given or [], key=lambda word: word != labels.MLFLOW):
        found |= labels.of_mlflow(workspace, chats) if each == labels.MLFLOW else labels.of_file(Path(each))
    return found


def _check(what: str, flow: str, tune: str, canary: str) -> None:
    if bool(what) == bool(flow):
        raise Invalid(
            "name an endpoint, or a served flow", hint="studiolo finetune from-traces ENDPOINT, or --flow NAME"
        )
    if canary and not tune:
        raise Invalid("a canary needs a model: say what is trained", hint="--tune SPEC.yml, or --tune BASE")


def _number(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        raise Invalid(f"{written!r} is no number of percent", hint="--steps 1,10,50,100") from None
