"""Evaluations from the door: a task's target and scorers get what they need of this workspace, and the run begins."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from evals import runner, scorers
from evals.cache import Cache
from evals.runner import Asked
from evals.scorers.applied import Applied
from evals.scorers.registry import Means, entries, is_quick
from evals.targets import function as functions
from evals.targets.endpoint import Endpoint
from evals.tasks import files
from evals.tasks.task import Scoring, Task
from workspace import Workspace
from workspace.errors import Invalid, NotFound, StudioloError

if TYPE_CHECKING:
    from evals.scorers.asking import ChatModel
    from evals.targets.target import Target
    from serving.local import Gateway

Event = runner.Started | runner.Scored | runner.Finished

INVOCATION = "eval.asked"  # the tag of a run that says how it was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person asks for. `target` is a model, an address or what a task file says of targets; `task` a file.

    `gateway` answers for the models of this workspace, where one is open already: opening one takes seconds.
    """

    task: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None
    limit: int | None = None
    epochs: int | None = None
    concurrency: int | None = None
    seed: int | None = None
    name: str | None = None
    resume: str | None = None
    retry_errors: bool = False
    cache: bool = True
    gateway: Gateway | None = None


def evaluate(
    workspace: Workspace, task: Task | str, target: Any = None, *, wanted: Wanted | None = None
) -> Iterator[Event]:
    """Run a task, read from a file or made here, against a target: a function, a model's name, or what the task says.

    >>> for event in studiolo.evaluate(workspace, "sums.yaml", "chat"): ...
    """
    wanted = wanted or Wanted()
    made = files.load(task, changes=wanted.changes) if isinstance(task, str) else task
    made = _adjusted(made, wanted)
    with ExitStack() as stack:
        asked_target = stack.enter_context(_target(workspace, made, wanted, target))
        applied = stack.enter_context(_applied(workspace, made))
        told = {"task": str(Path(task).resolve()) if isinstance(task, str) else "", "changes": dict(wanted.changes)}
        told |= {name: getattr(wanted, name) for name in ("target", "limit", "epochs", "seed")}
        asked = Asked(
            limit=wanted.limit, name=wanted.name, resume=wanted.resume, retry_errors=wanted.retry_errors,
            tags={INVOCATION: json.dumps(told, default=str)},
        )  # fmt: skip
        yield from runner.run(workspace, made, asked_target, applied, asked)


def run(workspace: Workspace, wanted: Wanted) -> Iterator[Event]:
    """Run what was asked for on the command line; what is not said of a run to go on with is as it was."""
    if wanted.resume is not None:
        wanted = _as_before(workspace, wanted)
    if wanted.task is None:
        raise Invalid("which task?", hint="studiolo eval run TASK.yaml, or --resume RUN")
    yield from evaluate(workspace, wanted.task, wanted.target, wanted=wanted)


def _as_before(workspace: Workspace, wanted: Wanted) -> Wanted:
    assert wanted.resume is not None  # noqa: S101 - the caller looked
    said = workspace.runs.get(wanted.resume).tags.get(INVOCATION)
    if said is None:
        raise Invalid(f"run {wanted.resume!r} was not begun by `eval run`", hint="name one that was")
    before = json.loads(said)
    return replace(
        wanted,
        task=wanted.task or before["task"] or None,
        changes={**before["changes"], **wanted.changes},
        **{
            name: before[name] if getattr(wanted, name) is None else getattr(wanted, name)
            for name in ("target", "limit", "epochs", "seed")
        },
    )


def _adjusted(task: Task, wanted: Wanted) -> Task:
    given = {name: getattr(wanted, name) for name in ("epochs", "concurrency", "seed")}
    return replace(task, **{name: value for name, value in given.items() if value is not None})


@contextmanager
def _target(workspace: Workspace, task: Task, wanted: Wanted, given: Any) -> Iterator[Target]:
    said = dict(task.target)
    if callable(given):
        yield functions.Function(function=given, concurrency=task.concurrency, timeout=task.limits.sample_seconds)
        return
    if given is not None:
        said = {key: value for key, value in said.items() if key in ("key", "api")} | _named(str(given))
    kind = next((kind for kind in ("endpoint", "flow", "function", "answers", "run", "model") if kind in said), None)
    if kind in (None, "model", "endpoint"):
        with _endpoint(workspace, task, said, wanted) as endpoint:
            yield endpoint
    elif kind == "function":
        yield functions.Function(
            function=functions.load(str(said["function"]), task.folder), name=str(said["function"]),
            concurrency=task.concurrency, timeout=task.limits.sample_seconds,
        )  # fmt: skip
    elif kind == "flow":
        from studiolo.evaluated_flows import target

        with target(workspace, task, said) as flow:
            yield flow
    elif kind == "run":
        yield _answered(workspace, str(said["run"]), said.get("answer"))
    else:
        yield functions.Answers(name="answers")


def _named(given: str) -> dict[str, Any]:
    """Read a target as people write it: an address with its model, a flow, a function, a run, or a model's name."""
    kind, _, rest = given.partition(":")
    if kind in ("flow", "run", "function", "model") and rest:
        return {kind: rest}
    if kind in ("http", "https"):
        address, _, model = given.partition("#")
        return {"endpoint": address} | ({"model": model} if model else {})
    return {"model": given}


@contextmanager
def _endpoint(workspace: Workspace, task: Task, said: Mapping[str, Any], wanted: Wanted) -> Iterator[Endpoint]:
    from flows.prices import FILE, Prices

    with ExitStack() as stack:
        kept = Cache(workspace.home) if wanted.cache else None
        if kept is not None:
            stack.callback(kept.close)
        model = str(said.get("model") or workspace.settings.model)
        revision, headers = "", dict[str, str]()
        if "endpoint" in said:
            base_url, key = _address(str(said["endpoint"])), _key(workspace, said.get("key"))
        else:
            from serving.local import local_gateway

            gateway = wanted.gateway or stack.enter_context(local_gateway(workspace))
            base_url, key = gateway.base_url, gateway.token
            revision = _revision(workspace, model)
        yield Endpoint(
            base_url=base_url, model=model, key=key, api=said.get("api") or "chat", generate=task.generate,
            choosing=task.choosing, revision=revision, concurrency=task.concurrency,
            timeout=task.limits.sample_seconds, prices=Prices.read(workspace.home / FILE), cache=kept, headers=headers,
        )  # fmt: skip


def _address(given: str) -> str:
    """Return an address as it may be kept: what is asked for is shown with the run."""
    if "@" in given.partition("://")[2].partition("/")[0]:
        raise Invalid(
            "an address with a password in it is refused", hint="keep it in a connection: target: {key: NAME}"
        )
    return given


def _key(workspace: Workspace, connection: Any) -> str:
    """Return the key that a connection holds; a key itself is in no task file."""
    if connection is None:
        return ""
    from flows import connection_store

    return connection_store.get(workspace, str(connection)).api_key


def _revision(workspace: Workspace, model: str) -> str:
    try:
        return workspace.assets.get("model", model).digest
    except (NotFound, Invalid):
        return ""  # an endpoint's name; the gateway tells which model has answered


def _answered(workspace: Workspace, name: str, output: Any) -> functions.Answers:
    """Take the answers of a run that is over: of a flow its lines, of an evaluation its samples."""
    from evals import samples
    from evals.score import answer_of
    from evals.targets.target import Answer

    record = workspace.runs.get(name)
    found: dict[int, Answer] = {}
    if record.kind == "eval":
        for sample in samples.read(record.directory):
            found.setdefault(sample.number, Answer(text=sample.answer, error=sample.error, outputs=sample.outputs))
    elif record.kind == "flow":
        import flows

        for line in flows.lines(record):
            text = answer_of(line.outputs, output) if line.outputs and line.error is None else None
            error = None if text is not None else str(line.error or "the line has no outputs")
            found[line.number] = Answer(text=text, error=error, outputs=line.outputs or {})
    else:
        raise Invalid(f"run {record.name!r} is of kind {record.kind!r}", hint="name a run of a flow or an evaluation")
    return functions.Answers(name=f"run {record.name}", given=found, made_of=(record.ref,), digest=record.run_id)


@contextmanager
def _applied(workspace: Workspace, task: Task) -> Iterator[Sequence[Applied]]:
    with ExitStack() as stack:
        means = _means(workspace, stack)
        yield tuple(_placed(workspace, task, each, means, stack) for each in task.scorings)


def _placed(workspace: Workspace, task: Task, asked: Scoring, means: Means, stack: ExitStack) -> Applied:
    try:
        return _scorer(workspace, task, asked, means, stack)
    except StudioloError as error:
        error.at = error.at or asked.at
        raise


def _scorer(workspace: Workspace, task: Task, asked: Scoring, means: Means, stack: ExitStack) -> Applied:
    if asked.flow is not None:
        from studiolo.evaluated_flows import scorer

        return Applied(asked.label, stack.enter_context(scorer(workspace, task, asked)))
    name = asked.name
    if ".py:" in name:  # a decorated function of a file beside the task
        own = functions.load(name, task.folder)
        name = next((entry.name for entry in entries() if entry.function is own), name)
        if ".py:" in name:
            raise Invalid(f"{asked.name!r} is no scorer", hint="decorate it: @scorer('name')")
    return Applied(asked.label, scorers.get(name, means=means, **asked.settings), quick=is_quick(name))


def _means(workspace: Workspace, stack: ExitStack) -> Means:
    """What scorers ask models with: the gateway, which is opened when the first one asks."""
    from evals.scorers.asking import ChatModel

    opened: list[Any] = []
    lock = Lock()  # scorers ask on several threads, and one gateway is enough

    def model(name: str | None) -> ChatModel:
        with lock:
            if not opened:
                from serving.local import local_gateway

                opened.append(stack.enter_context(local_gateway(workspace)))
        return ChatModel(base_url=opened[0].base_url, api_key=opened[0].token, model=name or workspace.settings.model)

    return Means(model=model, embedder=lambda name: model(name or workspace.settings.embedder))
