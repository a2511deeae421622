"""Runs the lines of one flow in this process: quick functions at once, slow ones in threads, async nodes on one loop.

One thread leads: it alone changes the state of lines, and calls nodes that have lately been quick itself, because
handing them to another thread would cost more than they do. Where such a call turns out to be slow after all, a watch
gives the lead to a new thread, and the old one hands its result in like any other. So nothing a node does can stop the
others, no thread is needed per line, and a line of quick functions costs little more than calling them.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from flows.calls import SLOW, STUCK, NodeTimeout, call, call_async, learn, shown
from flows.line import Done, Line, Repeat, holds_images
from flows.line_trace import LineTrace
from flows.plan import SKIPPED, Job, Plan, compile_aggregation, compile_lines
from flows.results import LineRecord, NodeRecord
from flows.spans import Span
from flows.steps import KIT, Kit, Waits

if TYPE_CHECKING:
    import asyncio

THREADS = 256


class Runner:
    """Runs lines of a flow, `concurrency` at the same time; `line_timeout` is in seconds. Close it when done.

    `idle` is called on the leading thread whenever it has nothing to do for now.
    """

    def __init__(
        self,
        kit: Kit,
        *,
        concurrency: int,
        line_timeout: float | None = None,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self.kit = kit
        kit.within = self.start_within
        self.plan = compile_lines(kit)
        self._concurrency = concurrency
        self._line_timeout = line_timeout
        self._idle = idle
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._pool = ThreadPoolExecutor(THREADS, "node")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._turn = 0  # whose lead it is
        self._calling: tuple[float, Job] | None = None  # since when the leader is in which node
        self._active: set[Line] = set()
        self._pending: deque[tuple[Line, Mapping[str, Any] | None]] = deque()
        self._alarms: list[tuple[float, int, Any]] = []
        self._counter = itertools.count()
        self._closing = threading.Event()
        threading.Thread(target=self._lead, args=(0,), name="lead", daemon=True).start()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def start(
        self,
        number: int,
        inputs: Mapping[str, Any],
        done: Done,
        *,
        given: Mapping[str, Any] | None = None,
        stream: bool = False,
        trace: LineTrace | None = None,
    ) -> Line:
        """Have a line run; `done` gets its record on the leading thread. `given` are outputs that are known already.

        With `stream`, outputs that come piece by piece are given as they are, an iterator of pieces.
        """
        line = Line(self.plan, number, inputs, done, stream=stream, trace=trace)
        if self.plan.may_load and holds_images(inputs):
            self._pool.submit(self._load, line, given)
        else:
            self._events.put((_BEGIN, line, given))
        return line

    def _load(self, line: Line, given: Mapping[str, Any] | None) -> None:
        """Read the images that the inputs name, beside the lead: that may take long."""
        from flows import images

        try:
            line.values = images.load(dict(line.inputs), form=self.plan.flow.message_format)
        except ValueError as problem:
            self.abandon(line, f"input: {problem}")
        else:
            self._events.put((_BEGIN, line, given))

    def abandon(self, line: Line, why: str) -> None:
        """End a line that nobody waits for: it fails, no further node of it starts, and what runs is left."""
        self._events.put((_GONE, line, why))

    def start_within(self, plan: Plan, inputs: Mapping[str, Any], done: Done, trace: LineTrace | None) -> None:
        """Have a line of another plan run: the flow that is a node of this one. It takes no slot of its own."""
        self._events.put((_BEGIN, Line(plan, 0, inputs, done, within=True, trace=trace), None))

    def run(self, inputs: Mapping[str, Any], *, given: Mapping[str, Any] | None = None) -> LineRecord:
        """Run one line and wait for it."""
        box: SimpleQueue[LineRecord] = SimpleQueue()
        self.start(0, inputs, box.put, given=given)
        return box.get()

    def aggregate(self, inputs: Mapping[str, list[Any]], outputs: Mapping[str, list[Any]]) -> tuple[NodeRecord, ...]:
        """Run the aggregation nodes once over lists: the flow's inputs and the nodes' outputs, one value a line.

        A node that fails stops only those that need it.
        """
        plan = compile_aggregation(self.kit, outputs)
        box: SimpleQueue[LineRecord] = SimpleQueue()
        line = Line(plan, 0, inputs, box.put, size=len(plan.jobs) + len(outputs), within=True, tolerant=True)
        line.outputs[len(plan.jobs) :] = outputs.values()
        self._events.put((_BEGIN, line, None))
        return box.get().nodes

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of async nodes, running in a thread of its own; started at first use."""
        with self._lock:
            if self._loop is None:
                import asyncio

                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="loop", daemon=True).start()
            return self._loop

    def close(self) -> None:
        """Stop; what still runs is left."""
        self._closing.set()
        self._events.put((_END,))
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._loop is not None:
            import asyncio

            asyncio.run_coroutine_threadsafe(self.kit.aclose(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)

    # The leading thread

    def _lead(self, turn: int) -> None:
        KIT.set(self.kit)
        handlers = (self._begin, self._advance, self._ended, self._expired, self._again, self._gone)
        while self._turn == turn:
            if self._events.empty():
                self._idle()
            event = self._events.get()
            if event[0] == _END:
                return
            if self._turn != turn:
                self._events.put(event)
                return
            handlers[event[0]](turn, *event[1:])
            while self._pending and len(self._active) < self._concurrency and self._turn == turn:
                self._begin(turn, *self._pending.popleft())

    def _gone(self, _turn: int, line: Line, why: str) -> None:
        if not line.over:
            self._over(line, why)

    def _begin(self, turn: int, line: Line, given: Mapping[str, Any] | None) -> None:
        if line.over:
            return  # abandoned while it waited
        if not line.within:
            if len(self._active) >= self._concurrency:
                self._pending.append((line, given))
                return
            if self._line_timeout:
                line.deadline = time.monotonic() + self._line_timeout
            self._active.add(line)  # last: from now on the watch looks at its deadline
        ready = list(line.plan.sources)
        if given:
            for job in line.plan.jobs:
                if job.node.name in given:
                    now = time.time()
                    line.completed(
                        job, Span("node", job.node.name, inputs={}, started_at=now, ended_at=now), given[job.node.name]
                    )
                    ready += line.ready_after(job, given[job.node.name])
            ready = [index for index in ready if line.plan.jobs[index].node.name not in given]
        self._advance(turn, line, ready)

    def _advance(self, turn: int, line: Line, ready: list[int]) -> None:
        """Start what is ready; what is quick runs here, one after the other, until nothing is left to do at once."""
        jobs, inputs = line.plan.jobs, line.values
        while ready and not line.over:
            job = jobs[ready.pop()]
            try:
                if job.is_bypassed(inputs, line.outputs):
                    line.bypassed(job)
                    output = job.otherwise.value(inputs, line.outputs) if job.otherwise else SKIPPED
                    ready += line.ready_after(job, output)
                    continue
                values = job.values(inputs, line.outputs)
                if job.over is not None:
                    ready += self._repeat(line, job, values)
                    continue
            except Exception as problem:  # noqa: BLE001 - a property of the flow's own objects may raise anything
                self._fail(line, job, Span("node", job.node.name, inputs={}, started_at=time.time()), problem)
                continue
            span = Span("node", job.node.name, inputs=shown(values))
            if job.runs_beside or job.quick < 0 or (job.quick == 0 and ready):
                line.running += 1
                self._dispatch(line, job, span, values, None, 0)
                continue
            line.running += 1  # before the call: who takes the lead meanwhile must see it
            self._calling = (time.monotonic(), job)
            outcome = call(line, job, span, values, self.kit)
            with self._lock:
                deposed = self._turn != turn
                if not deposed:  # else it is another's call by now
                    self._calling = None
            if deposed:
                # In this order: once this node has ended, nothing else may be left to begin.
                self._events.put((_READY, line, ready))
                self._events.put((_ENDED, line, job, span, outcome, None, 0))
                return
            line.running -= 1
            learn(job, span, led=True)
            output, failure = outcome
            if failure is None:
                line.completed(job, span, output)
                ready += line.ready_after(job, output)
            elif isinstance(failure, Waits):
                line.waiting(job, span)
            elif self._tries_again(line, job, span, failure, None, 0):
                line.running += 1
            else:
                self._fail(line, job, span, failure)
        self._finish(line)

    def _finish(self, line: Line) -> None:
        if not line.over and line.running == 0:
            # Nothing left to do, or what is left waits for a person.
            self._over(line, None)

    def _over(self, line: Line, error: str | None) -> None:
        self._active.discard(line)
        line.done(line.end(error))

    def _fail(self, line: Line, job: Job, span: Span, problem: BaseException) -> None:
        span.ended_at = span.ended_at or time.time()
        error = line.failed(job, span, problem)
        if not line.over and not line.tolerant:
            self._over(line, error)

    def _ended(
        self, turn: int, line: Line, job: Job, span: Span, outcome: tuple[Any, Any], item: int | None, attempt: int
    ) -> None:
        if line.over or line.records[job.index] is not None:
            return  # too late: the line has failed, or the node was given up
        output, problem = outcome
        learn(job, span, led=False)
        line.running -= 1
        ready: list[int] = []
        if isinstance(problem, Waits):
            line.waiting(job, span)
        elif problem is not None:
            if self._tries_again(line, job, span, problem, item, attempt):
                line.running += 1
            else:
                self._fail(line, job, span, problem)
        elif item is None:
            line.completed(job, span, output)
            ready = line.ready_after(job, output)
        else:
            repeat = line.repeats[job.index]
            repeat.ended(item, span, output)
            ready = self._next_items(line, job, repeat)
        self._advance(turn, line, ready)

    def _tries_again(
        self, line: Line, job: Job, span: Span, problem: BaseException, item: int | None, attempt: int
    ) -> bool:
        retry = job.node.retry
        if retry is None or attempt >= retry.max:
            return False
        if retry.on and not any(each.__name__ in retry.on for each in type(problem).__mro__):
            return False
        span.error = f"{type(problem).__name__}: {problem}"
        delay = retry.delay * retry.backoff**attempt * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        self._alarm(delay, (_AGAIN, line, job, span, item, attempt + 1))
        return True

    def _again(self, _turn: int, line: Line, job: Job, earlier: Span, item: int | None, attempt: int) -> None:
        if line.over:
            return
        values = job.values(line.values, line.outputs)
        if item is not None:
            values |= job.item_values(line.repeats[job.index].items[item])
        # The tries before are kept under the one that counts.
        span = Span("node", job.node.name, inputs=earlier.inputs, children=[*earlier.children, earlier])
        earlier.kind, earlier.children = "try", []
        self._dispatch(line, job, span, values, item, attempt)

    def _expired(self, turn: int, line: Line, job: Job | None, span: Span | None) -> None:
        if line.over or (job is not None and line.records[job.index] is not None):
            return
        if job is None or span is None:
            self._over(line, f"Line {line.number} execution timeout for exceeding {self._line_timeout:g} seconds")
            return
        if span.ended_at:
            return  # an earlier try
        line.running -= 1
        self._fail(line, job, span, NodeTimeout(f"took longer than {job.node.timeout:g} seconds"))
        self._advance(turn, line, [])

    # Nodes over lists

    def _repeat(self, line: Line, job: Job, values: dict[str, Any]) -> list[int]:
        assert job.over is not None  # noqa: S101 - the caller looked
        items = job.over.value(line.values, line.outputs)
        span = Span("node", job.node.name, inputs=shown(values), started_at=time.time())
        if not isinstance(items, list | tuple):
            raise TypeError(f"`map` of node {job.node.name!r} needs a list, not {type(items).__name__}")
        line.repeats[job.index] = repeat = Repeat(list(items), span)
        return self._next_items(line, job, repeat)

    def _next_items(self, line: Line, job: Job, repeat: Repeat) -> list[int]:
        if repeat.left == 0:
            repeat.span.ended_at = time.time()
            line.completed(job, repeat.span, repeat.results)
            return line.ready_after(job, repeat.results)
        assert job.node.each is not None  # noqa: S101 - only such nodes repeat
        while repeat.next < len(repeat.items) and repeat.running < job.node.each.concurrency:
            values = job.values(line.values, line.outputs) | job.item_values(repeat.items[repeat.next])
            span = Span("node", job.node.name, inputs=shown(values))
            line.running += 1
            repeat.running += 1
            repeat.next += 1
            self._dispatch(line, job, span, values, repeat.next - 1, 0)
        return []

    # Other threads

    def _dispatch(
        self, line: Line, job: Job, span: Span, values: dict[str, Any], item: int | None, attempt: int
    ) -> None:
        """Run a node beside the lead: on the loop where it is async, else in a thread."""
        if job.node.timeout:
            self._alarm(job.node.timeout, (_EXPIRED, line, job, span))
        if job.step.is_async:
            loop = self.loop()
            coroutine = self._call_async(line, job, span, values, item, attempt)
            loop.call_soon_threadsafe(loop.create_task, coroutine)
        else:
            self._pool.submit(self._call_in_thread, line, job, span, values, item, attempt)

    def _call_in_thread(
        self, line: Line, job: Job, span: Span, values: dict[str, Any], item: int | None, attempt: int
    ) -> None:
        outcome = call(line, job, span, values, self.kit)
        self._events.put((_ENDED, line, job, span, outcome, item, attempt))

    async def _call_async(
        self, line: Line, job: Job, span: Span, values: dict[str, Any], item: int | None, attempt: int
    ) -> None:
        outcome = await call_async(line, job, span, values, self.kit)
        self._events.put((_ENDED, line, job, span, outcome, item, attempt))

    # The watch

    def _alarm(self, delay: float, event: tuple[Any, ...]) -> None:
        heapq.heappush(self._alarms, (time.monotonic() + delay, next(self._counter), event))

    def _watch(self) -> None:
        looked = 0.0
        while not self._closing.wait(STUCK):
            now = time.monotonic()
            while self._alarms and self._alarms[0][0] <= now:
                self._events.put(heapq.heappop(self._alarms)[2])
            if self._line_timeout and now - looked > min(0.2, self._line_timeout / 4):
                looked = now
                for line in self._active.copy():
                    if line.deadline < now:
                        self._events.put((_EXPIRED, line, None, None))
            with self._lock:
                if self._calling is not None and now - self._calling[0] > STUCK:
                    self._calling[1].quick = SLOW
                    self._calling = None
                    self._turn += 1
                    threading.Thread(target=self._lead, args=(self._turn,), name="lead", daemon=True).start()


_BEGIN, _READY, _ENDED, _EXPIRED, _AGAIN, _GONE, _END = range(7)
