"""`studiolo eval import`, `lm-eval` and `inspect`: evaluations that were written for other tools."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studiolo.arguments import pairs
from studiolo.commands.eval_options import AsJson
from workspace.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evals.adapters.harness import Endpoint
    from evals.samples import Sample
    from workspace import RunRecord, Workspace

Target = Annotated[str, typer.Option("--model", "--target", help="A model's or endpoint's name, or http://…/v1#model.")]
Name = Annotated[str | None, typer.Option(help="A name for the run; of several tasks the beginning of each name.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first rows.")]


def import_command(
    file: Annotated[Path, typer.Argument(help="A promptfoo configuration: promptfooconfig.yaml.")],
    to: Annotated[Path, typer.Option("--to", help="The folder for the tasks and their rows.")] = Path("evals"),
) -> None:
    """Turn a promptfoo configuration into tasks: one for each prompt and provider, which share their rows."""
    from evals.adapters import promptfoo
    from studiolo.commands.formats import as_yaml

    found = promptfoo.read(file)
    paths = [to / "rows.jsonl", *(to / f"{each.name}.yaml" for each in found.tasks)]
    if taken := [path for path in paths if path.exists()]:
        raise Conflict(f"{str(taken[0])!r} is there already", hint="--to another folder")
    to.mkdir(parents=True, exist_ok=True)
    paths[0].write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows), "utf-8")
    for path, each in zip(paths[1:], found.tasks, strict=True):
        path.write_text(as_yaml(dict(each.task)), "utf-8")
    typer.echo(f"{len(found.rows)} tests, {len(found.tasks)} tasks in {to}")
    for line in found.left_out:
        typer.echo(f"note: {line}", err=True)
    typer.echo(f"next: studiolo eval run {paths[1]}")


def lm_eval_command(
    tasks: Annotated[list[str], typer.Option("--task", help="A task or group of lm-evaluation-harness; repeatable.")],
    model: Target,
    include: Annotated[Path | None, typer.Option(help="A folder with task files of your own.", exists=True)] = None,
    limit: Limit = None,
    few_shot: Annotated[int | None, typer.Option(min=0, help="Examples before each question.")] = None,
    chat: Annotated[bool, typer.Option(help="Ask as a chat, for tasks that generate.")] = False,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="The folder of its tokenizer, where the model is not here.", exists=True),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions at once.")] = 8,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Run tasks of lm-evaluation-harness, by its own package, against an endpoint; each becomes a run of ours."""
    from evals.adapters import lm_eval

    with _asked(model) as (workspace, endpoint, folder):
        ask = lm_eval.Ask(
            tasks=tasks, include=include and include.resolve(), limit=limit, few_shot=few_shot, chat=chat,
            tokenizer=tokenizer or _tokenizer(workspace, model), concurrency=concurrency,
        )  # fmt: skip
        found = _followed(lm_eval.measured(endpoint, ask, folder))
        _keep(workspace, endpoint, "lm-evaluation-harness", found, name, as_json=as_json)


def inspect_command(
    task: Annotated[str, typer.Argument(help="FILE.py, FILE.py@NAME, or a task of an installed package.")],
    model: Target,
    limit: Limit = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Ask each row so often.")] = None,
    argument: Annotated[list[str] | None, typer.Option("-T", help="key=value for the task; repeatable.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions at once.")] = 16,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Run a TASK of Inspect, by its own package, against an endpoint; it becomes a run of ours."""
    from evals.adapters import inspect_ai

    ask = inspect_ai.Ask(
        task=task, limit=limit, epochs=epochs, concurrency=concurrency,
        arguments=pairs(argument, example="split=test"),
    )  # fmt: skip
    with _asked(model) as (workspace, endpoint, folder):
        found = _followed(inspect_ai.measured(endpoint, ask, folder))
        title = task.rpartition("@")[2] if "@" in task else Path(task).stem
        _keep(workspace, endpoint, "Inspect", {title: found}, name, as_json=as_json)


@contextmanager
def _asked(model: str) -> Iterator[tuple[Workspace, Endpoint, Path]]:
    from evals.adapters.harness import Endpoint
    from serving.local import local_gateway
    from studiolo import open_workspace

    with open_workspace() as workspace, tempfile.TemporaryDirectory(prefix="studiolo-") as folder, ExitStack() as stack:
        if model.startswith(("http://", "https://")):
            address, _, name = model.partition("#")
            if not name:
                raise Invalid(f"{model!r} names no model", hint="put it behind the address: http://…/v1#model")
            endpoint = Endpoint(base_url=address, model=name)
        else:
            gateway = stack.enter_context(local_gateway(workspace))
            endpoint = Endpoint(base_url=gateway.base_url, model=model, key=gateway.token)
        yield workspace, endpoint, Path(folder)


def _tokenizer(workspace: Workspace, model: str) -> Path | None:
    """Return the folder of a model that is kept here and has a tokenizer."""
    try:
        folder = workspace.assets.path(workspace.assets.get("model", model))
    except (NotFound, Invalid):
        return None  # an endpoint's name, or a model that is elsewhere
    return folder if (folder / "tokenizer.json").is_file() else None


def _followed(events: Iterator[Any]) -> Any:
    """Show what a harness prints, where somebody looks, and return what it found."""
    from evals.adapters.harness import Said

    for event in events:
        if not isinstance(event, Said):
            return event
        if sys.stderr.isatty():
            typer.echo(f"  {event.line[:200]}", err=True)
    raise Invalid("the harness found nothing")


def _keep(
    workspace: Workspace,
    endpoint: Endpoint,
    harness: str,
    found: dict[str, Sequence[Sample]],
    name: str | None,
    *,
    as_json: bool,
) -> None:
    from evals import results
    from evals.adapters.harness import record

    if not found:
        raise Invalid(f"{harness} has left no samples", hint="check the task's name and its data")
    kept: list[RunRecord] = []
    for task, samples in found.items():
        called = None if name is None else name if len(found) == 1 else f"{name}-{task}"
        kept.append(record(workspace, samples, name=called, harness=harness, task=task, endpoint=endpoint))
    if as_json:
        typer.echo(json.dumps([results.plain(each) for each in kept], default=str))
        return
    for each in kept:
        typer.echo(f"{each.params['task']}: run {each.name}")
        for line in results.words(results.read(each).metrics):
            typer.echo(f"  {line}")
    typer.echo(f"next: studiolo eval show {kept[0].name}")
