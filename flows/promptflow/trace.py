"""`@trace`: what a function was given and gave back, as a span inside the node that runs it."""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from flows import spans

TRACED = "__studiolo_traced__"


class ThreadPoolExecutorWithContext(ThreadPoolExecutor):
    """A thread pool whose work knows in which node it runs, so that traced functions land there."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a function run in the caller's context."""
        return super().submit(contextvars.copy_context().run, fn, *args, **kwargs)


def start_trace(
    *,
    resource_attributes: dict[str, Any] | None = None,
    session: str | None = None,
    collection: str | None = None,
    **_others: Any,
) -> None:
    """Do nothing: a flow that runs here is traced, and no service has to be started for it."""


def trace(function: Callable[..., Any] | None = None) -> Any:
    """Record each call of a function inside a node as a child span; outside a node the function runs as it is.

    Plain and async functions, generators and async generators stay what they are.
    """
    if function is None:
        return trace
    if hasattr(function, TRACED):
        return function
    traced = _wrapped(function)
    setattr(traced, TRACED, True)
    return traced


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    name = getattr(function, "__name__", type(function).__name__)

    def opened(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return spans.child("function", name, inputs=_inputs(function, args, kwargs))

    if inspect.iscoroutinefunction(function):

        async def run_async(*args: Any, **kwargs: Any) -> Any:
            if spans.current() is None:
                return await function(*args, **kwargs)
            with opened(args, kwargs) as span:
                span.output = await function(*args, **kwargs)
                return span.output

        return functools.wraps(function)(run_async)
    if inspect.isasyncgenfunction(function):

        async def yield_async(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            if spans.current() is None:
                async for item in function(*args, **kwargs):
                    yield item
                return
            with opened(args, kwargs) as span:
                span.output = []
                async for item in function(*args, **kwargs):
                    span.output.append(item)
                    yield item

        return functools.wraps(function)(yield_async)
    if inspect.isgeneratorfunction(function):

        def yield_plain(*args: Any, **kwargs: Any) -> Iterator[Any]:
            if spans.current() is None:
                yield from function(*args, **kwargs)
                return
            with opened(args, kwargs) as span:
                span.output = []
                for item in function(*args, **kwargs):
                    span.output.append(item)
                    yield item

        return functools.wraps(function)(yield_plain)

    def run(*args: Any, **kwargs: Any) -> Any:
        if spans.current() is None:
            return function(*args, **kwargs)
        with opened(args, kwargs) as span:
            span.output = function(*args, **kwargs)
            return span.output

    return functools.wraps(function)(run)


def _inputs(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        given = inspect.signature(function).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):  # a wrong call is the function's own to refuse
        given = dict(kwargs)
    return {name: value for name, value in given.items() if name not in ("self", "cls")}
