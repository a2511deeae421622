"""One line on its way through the graph: what has ended, what waits, and what becomes of it."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flows.flow import Node
from flows.line_trace import LineTrace
from flows.plan import SKIPPED, Job, Plan
from flows.results import BYPASSED, COMPLETED, FAILED, SCALARS, WAITING, LineRecord, NodeRecord, plain, strict
from flows.spans import Span
from flows.streams import Stream

Done = Callable[[LineRecord], None]


class Line:
    """The state of one line. Only the leading thread of the runner changes it."""

    __slots__ = (
        "deadline", "done", "inputs", "left", "number", "outputs", "over", "plan", "records", "repeats", "running",
        "started_at", "stream", "tolerant", "trace", "values", "waits",
        "within",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        number: int,
        inputs: Mapping[str, Any],
        done: Done,
        *,
        size: int = 0,
        stream: bool = False,
        within: bool = False,
        tolerant: bool = False,
        trace: LineTrace | None = None,
    ) -> None:
        self.trace = trace
        self.plan, self.number, self.inputs, self.done = plan, number, inputs, done
        self.values = inputs  # as nodes see them: images for what names them
        self.stream, self.within, self.tolerant = stream, within, tolerant
        self.outputs: list[Any] = [None] * max(size, len(plan.jobs))
        self.waits = plan.waits
        self.left = len(plan.jobs)
        self.running = 0
        self.records: list[NodeRecord | None] = [None] * len(plan.jobs)
        self.repeats: dict[int, Repeat] = {}
        self.over = False
        self.started_at = time.time()
        self.deadline = 0.0

    def ready_after(self, job: Job, output: Any) -> list[int]:
        """Note that a node has ended, and return the nodes that waited for nothing else."""
        self.outputs[job.index] = output
        self.left -= 1
        ready = []
        for user in job.users:
            self.waits[user] -= 1
            if self.waits[user] == 0:
                ready.append(user)
        return ready

    def completed(self, job: Job, span: Span, output: Any) -> None:
        """Keep what a node did."""
        self.records[job.index] = _record(job.node, COMPLETED, span, plain(self._written(_unstreamed(output))))

    def failed(self, job: Job, span: Span, problem: BaseException) -> str:
        """Keep how a node failed; return what is said of the line."""
        said = described(problem, job.node)
        span.error = said
        self.records[job.index] = _record(job.node, FAILED, span, None)
        return f"node {job.node.name!r}: {said}"

    def bypassed(self, job: Job) -> None:
        """Keep that a node did not run."""
        self.records[job.index] = NodeRecord(name=job.node.name, type=job.node.type, status=BYPASSED)

    def waiting(self, job: Job, span: Span) -> None:
        """Keep that a node waits for a person."""
        self.records[job.index] = _record(job.node, WAITING, span, None)

    def end(self, error: str | None) -> LineRecord:
        """Return what became of the line; called once."""
        self.over = True
        made: dict[str, Any] | None = None
        status = FAILED if error else WAITING if self.left else COMPLETED
        if status == COMPLETED:
            try:
                made = self._made()
            except (ValueError, LookupError, AttributeError, TypeError) as problem:
                error, status = f"output: {problem}", FAILED
        return LineRecord(
            number=self.number,
            status=status,
            inputs=self.inputs,
            outputs=made,
            error=error,
            nodes=tuple(record for record in self.records if record is not None),
            duration=time.time() - self.started_at,
            trace=self.trace.id if self.trace else "",
        )

    def _made(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, place in self.plan.outputs.items():
            skipped = place.source >= 0 and self.outputs[place.source] is SKIPPED
            value = None if skipped and not place.path else place.value(self.values, self.outputs)
            if isinstance(value, Stream):
                made[name] = value if self.stream else value.joined()
                continue
            try:
                made[name] = strict(self._written(value))
            except (TypeError, ValueError, RecursionError) as error:
                raise TypeError(f"{name!r} cannot be written as JSON: {error}") from None
        if self.plan.flow.kind != "dag" and list(made) == ["output"] and isinstance(made["output"], dict):
            return made["output"]
        return made

    def _written(self, value: Any) -> Any:
        """An image becomes a file, or what the kit says; without images nothing is looked at."""
        if "flows.images" not in sys.modules or type(value) in SCALARS:
            return value
        from flows import images

        form = self.plan.flow.message_format
        return images.replace_all(value, self.plan.kit.write_image or partial(images.inline, form=form))


class Repeat:
    """A node with `map` for one line: the items, what came of them, and how many are running."""

    __slots__ = ("items", "left", "next", "results", "running", "span")

    def __init__(self, items: list[Any], span: Span) -> None:
        self.items = items
        self.results: list[Any] = [None] * len(items)
        self.next = self.running = 0
        self.left = len(items)
        self.span = span

    def ended(self, item: int, span: Span, output: Any) -> None:
        """Keep what came of one item."""
        self.results[item] = output
        self.left -= 1
        self.running -= 1
        self.span.children.append(span)


def described(problem: BaseException, node: Node) -> str:
    """Say what went wrong in a node: the exception, and the place where it is in the node's own file."""
    own = [frame for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == str(node.path)]
    said = str(problem) or type(problem).__name__
    if not own:
        return said
    return f"{type(problem).__name__}: {said} ({own[-1].filename.rpartition('/')[2]}:{own[-1].lineno})"


def _record(node: Node, status: str, span: Span, output: Any) -> NodeRecord:
    if span.children or span.model or span.prompt_tokens or span.completion_tokens or span.cost is not None:
        return NodeRecord(
            name=node.name, type=node.type, status=status, inputs=span.inputs, output=output, error=span.error,
            started_at=span.started_at, ended_at=span.ended_at, tokens=span.tokens(), model=span.answered_by(),
            cost=span.total_cost(), spans=tuple(child.record() for child in span.children),
        )  # fmt: skip
    return NodeRecord(
        name=node.name, type=node.type, status=status, inputs=span.inputs, output=output, error=span.error,
        started_at=span.started_at, ended_at=span.ended_at,
    )  # fmt: skip


def _unstreamed(value: Any) -> Any:
    return value.so_far() if isinstance(value, Stream) else value


def holds_images(inputs: Mapping[str, Any]) -> bool:
    """Whether there are images in the inputs of a line, which are loaded before it begins."""
    from flows import images  # here: few flows have any

    return images.holds(dict(inputs))
