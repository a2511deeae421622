"""A plain Python function as target, and answers that are there already."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals.cache import key_of
from evals.samples import as_text
from evals.scorers.applied import Threads
from evals.targets.target import Answer, Question
from evals.tasks.rows import Row
from workspace.errors import Invalid, NotFound


@dataclass(kw_only=True)
class Function:
    """A function that is given a row's inputs, by name where it names them, else as one mapping.

    It returns the answer, or a mapping with `answer` and what came beside it; it may be async. What it raises is the
    sample's error.
    """

    function: Callable[..., Any]
    name: str = ""
    concurrency: int = 16
    timeout: float = 120.0

    def __post_init__(self) -> None:
        self.name = self.name or getattr(self.function, "__qualname__", type(self.function).__name__)
        try:
            self.digest = key_of(inspect.getsource(self.function)).hex()
        except (OSError, TypeError):
            self.digest = key_of(self.name).hex()
        self.made_of: tuple[str, ...] = ()
        self._call = _caller(self.function)

    async def open(self, questions: Sequence[tuple[Row, int]], folder: Path) -> None:  # noqa: ARG002
        """Start the threads on which it runs."""
        self._threads = Threads(0 if inspect.iscoroutinefunction(self.function) else self.concurrency)

    async def close(self) -> None:
        """Let the threads end."""
        self._threads.close()

    async def answer(self, question: Question) -> Answer:
        """Call it."""
        began = time.monotonic()
        try:
            if inspect.iscoroutinefunction(self.function):
                import asyncio

                result = await asyncio.wait_for(self._call(question), self.timeout)
            else:
                result = await self._threads.run(lambda: self._call(question), seconds=self.timeout)
        except TimeoutError:
            return Answer(error=f"no answer within {self.timeout:g} seconds", asked=dict(question.row.inputs))
        except Exception as error:  # noqa: BLE001 - anyone's code; its failure is this row's
            return Answer(error=f"{type(error).__name__}: {error}", asked=dict(question.row.inputs))
        return replace(_answered(result), seconds=time.monotonic() - began, asked=dict(question.row.inputs))


@dataclass(kw_only=True)
class Answers:
    """Answers that are there: of the data's own column, or of an earlier run, by the number of the row."""

    name: str
    given: Mapping[int, Answer] | None = None
    made_of: tuple[str, ...] = ()
    digest: str = ""

    async def open(self, questions: Sequence[tuple[Row, int]], folder: Path) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to close."""

    async def answer(self, question: Question) -> Answer:
        """Look it up."""
        if self.given is not None:
            return self.given.get(question.number, Answer(error="the run has no line of this row"))
        if question.row.answer is None:
            return Answer(error="the row has no answer")
        return Answer(text=question.row.answer)


def load(entry: str, folder: Path) -> Callable[..., Any]:
    """Return a function: "file.py:name" beside the task, or "package.module:name"."""
    where, _, name = entry.rpartition(":")
    if not where:
        raise Invalid(f"{entry!r} names no function", hint="file.py:name or package.module:name")
    path = folder / where
    try:
        if where.endswith(".py"):
            spec = importlib.util.spec_from_file_location(f"studiolo_target_{path.stem}", path)
            if spec is None or spec.loader is None or not path.is_file():
                raise NotFound(f"no file {str(path)!r}", hint="a path from the task's folder")
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
        found: Callable[..., Any] = getattr(module, name)
    except (ImportError, AttributeError) as error:
        raise NotFound(f"no function {entry!r}: {error}", hint="file.py:name or package.module:name") from None
    return found


def _caller(function: Callable[..., Any]) -> Callable[[Question], Any]:
    parameters = inspect.signature(function).parameters
    if len(parameters) == 1:
        (only,) = parameters
        return lambda asked: function(asked.row.inputs.get(only, dict(asked.row.inputs)))
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return lambda asked: function(**asked.row.inputs)
    return lambda asked: function(**{name: asked.row.inputs[name] for name in parameters if name in asked.row.inputs})


def _answered(result: Any) -> Answer:
    if isinstance(result, Mapping) and "answer" in result:
        return Answer(
            text=None if result["answer"] is None else as_text(result["answer"]),
            outputs={key: value for key, value in result.items() if key != "answer"},
        )
    return Answer(error="the function returned nothing") if result is None else Answer(text=as_text(result))
