"""Control flow: steps that decide which steps run, and loops that run a step again and again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jobs.files.control_flow import DoWhile, IfElse, Items, ParallelFor
from jobs.files.expressions import bindings
from jobs.files.ports import PRIMITIVES, Input, Value
from jobs.files.reading import Place, Reading
from jobs.pipelines.order import body_of
from jobs.pipelines.wiring import Given, Outcome, Wiring, component_of, fitted, truth, type_of_output
from jobs.states import COMPLETED, FAILED
from workspace.blobs import files_of
from workspace.documents import Document
from workspace.errors import Invalid, NotFound

if TYPE_CHECKING:
    from jobs.pipelines.process import Pipeline, Work


def if_else(pipeline: Pipeline, key: str, step: IfElse) -> Outcome:
    """Decide which steps run."""
    condition = step.condition
    holds = truth(pipeline.wiring.value(condition) if isinstance(condition, str) else condition)
    pipeline.chosen[key] = holds
    return Outcome(status=COMPLETED, why=str(holds))


def do_while(pipeline: Pipeline, key: str, step: DoWhile) -> Work:  # noqa: ARG001  as all that steps do
    """Run a step again while its output says so; outputs of one turn are inputs of the next."""
    body = body_of(step)
    node = pipeline.job.steps[body]
    inputs = pipeline.wiring.inputs_of(body, node)
    outcome = Outcome(status=COMPLETED)
    for turn in range(step.limits.max_iteration_count):
        outcome = yield from pipeline.turn(body, f"{body}.{turn}", inputs)
        pipeline.wiring.outcomes[body] = outcome
        if not outcome.is_completed or not _goes_on(pipeline, body, step):
            break
        inputs = fitted(component_of(node), {**inputs, **_mapped(pipeline, body, step)})
    return outcome


def parallel_for(pipeline: Pipeline, key: str, step: ParallelFor) -> Work:
    """Run a step once for each item, several at the same time."""
    body = body_of(step)
    node = pipeline.job.steps[body]
    shared = pipeline.wiring.inputs_of(body, node)
    items = items_of(step, pipeline.wiring, pipeline.around.folder)
    most = step.max_concurrency or len(items)
    waiting = list(enumerate(items))[::-1]
    running: dict[str, int] = {}
    outcomes: dict[int, Outcome] = {}
    while waiting or running:
        while waiting and len(running) < most:
            number, item = waiting.pop()
            own = {name: pipeline.wiring.value(value) for name, value in item.items()}
            job = pipeline.begin(body, f"{body}.{number}", fitted(component_of(node), {**shared, **own}))
            if job.ended:
                outcomes[number] = pipeline.ended(f"{body}.{number}", job)
            else:
                running[job.name] = number
        if running:
            ended = yield set(running)
            number = running.pop(ended.name)
            outcomes[number] = pipeline.ended(f"{body}.{number}", ended)
    return _gathered(pipeline, key, body, [outcomes[number] for number in sorted(outcomes)])


def _goes_on(pipeline: Pipeline, body: str, step: DoWhile) -> bool:
    if step.condition is None:
        return True
    return truth(pipeline.wiring.find(f"parent.jobs.{body}.outputs.{_port(step.condition)}"))


def _mapped(pipeline: Pipeline, body: str, step: DoWhile) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for output, names in step.mapping.items():
        value = pipeline.wiring.find(f"parent.jobs.{body}.outputs.{_port(output)}")
        found |= {_port(name): value for name in names}
    return found


def _port(written: str) -> str:
    """Return a port that is named, or meant by an expression: `${{parent.jobs.train.outputs.again}}`."""
    return bindings(written)[0].name if bindings(written) else written


def items_of(step: ParallelFor, wiring: Wiring, folder: Path) -> Sequence[Mapping[str, Value]]:
    """Return what a loop goes over; where an expression stands for it, JSON is read."""
    found = wiring.value(step.items) if isinstance(step.items, str) else step.items
    if isinstance(found, Input):
        found = _read(_place(wiring, step))
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except json.JSONDecodeError as error:
            raise Invalid(f"the items of a loop are no JSON: {error.msg}", at=step.origin.at("items")) from None
    if isinstance(found, tuple):
        return found  # as the file was read
    read = Items().read(Place(Reading(Document(folder, {}))), found)
    return cast("tuple[Mapping[str, Value], ...]", read)


def _place(wiring: Wiring, step: ParallelFor) -> Path:
    wire = bindings(step.items)[0]
    if wire.node is None:
        raise Invalid("the items of a loop come from a literal or from a step", at=step.origin.at("items"))
    return wiring.outcomes[wire.node].outputs[wire.name].place


def _read(place: Path) -> Any:
    """Read items from what a step has left: JSON, or a line of JSON each; of a folder, its one file."""
    files = [place] if place.is_file() else files_of(place)
    found = [path for path in files if path.suffix in (".json", ".jsonl", "")]
    if len(found) != 1:
        raise NotFound(f"the items of a loop are one file of JSON, and {place} has {len(found)}")
    text = found[0].read_text()
    if text.lstrip().startswith(("[", "{")) and found[0].suffix != ".jsonl":
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            pass  # a line each, then
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _gathered(pipeline: Pipeline, key: str, body: str, outcomes: Sequence[Outcome]) -> Outcome:
    """Return what all turns have left: of each output a folder with a folder or file for each turn."""
    for number, outcome in enumerate(outcomes):
        if not outcome.is_completed:
            told = f"item {number}: {outcome.why or outcome.status.lower()}"
            return Outcome(status=FAILED, job=outcome.job, why=told)
    outputs = {}
    ports = dict.fromkeys(port for outcome in outcomes for port in outcome.outputs)
    for port in ports:
        left = [outcome.outputs[port] for outcome in outcomes if port in outcome.outputs]
        kind = type_of_output(pipeline.job.steps[body], port)
        outputs[port] = _together(pipeline, f"{pipeline.family.name_of(key)}-{port}", left, kind)
    return Outcome(status=COMPLETED, outputs=outputs, is_gathered=True)


def _together(pipeline: Pipeline, name: str, left: Sequence[Given], kind: str) -> Given:
    workspace = pipeline.workspace
    if kind in PRIMITIVES:
        text = json.dumps([given.literal(kind) for given in left])
        asset = workspace.assets.put("data", name, text.encode())
        return Given(path=f"azureml:{asset.ref}", type="uri_file", place=workspace.assets.path(asset))
    blob = workspace.blobs.add_files(_files(left))
    asset = workspace.assets.put("data", name, blob)
    return Given(path=f"azureml:{asset.ref}", type="uri_folder", place=workspace.assets.path(asset))


def _files(left: Sequence[Given]) -> Iterator[tuple[str, Path]]:
    for number, given in enumerate(left):
        if given.place.is_file():
            yield str(number), given.place
        else:
            for path in files_of(given.place):
                yield f"{number}/{path.relative_to(given.place).as_posix()}", path
