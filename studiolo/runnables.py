"""A flow as a LangChain Runnable, to stand in a chain beside others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.flow import MISSING
from studiolo.pf_flow import Flow, FlowContext
from workspace.errors import Invalid, MissingExtra

try:
    from langchain_core.runnables import Runnable, RunnableConfig
    from langchain_core.runnables.utils import AddableDict
except ImportError:
    raise MissingExtra("a flow as a Runnable needs langchain-core", hint="pip install 'studiolo[rag]'") from None

_JSON = {
    "int": "integer", "double": "number", "bool": "boolean", "string": "string", "list": "array", "object": "object",
}  # fmt: skip


class FlowRunnable(Runnable[Any, dict[str, Any]]):
    """Takes a flow's inputs by name, or the value of its one needed input; gives its outputs by name.

    The flow runs in this process, as `load_flow` runs it. Its nodes' failures are raised with their reason. Streaming
    gives the output that comes piece by piece as its pieces, the others once.
    """

    def __init__(self, flow: Flow, *, variant: str | None = None) -> None:
        self.name = flow.name
        self._whole, self._streaming = flow, Flow(flow.path)
        self._whole.context = FlowContext(variant=variant)
        self._streaming.context = FlowContext(variant=variant, streaming=True)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:  # noqa: A002
        """Run the flow; raises what a node raised."""
        return self._call_with_config(self._run, self._named(input), config, **kwargs)

    def stream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[dict[str, Any]]:
        """Yield outputs as they come: `{"answer": "Hel"}`, `{"answer": "lo"}`; they add up to what `invoke` gives."""
        yield from self._transform_stream_with_config(iter([self._named(input)]), self._pieces, config, **kwargs)

    def get_input_jsonschema(self, config: RunnableConfig | None = None, **_: Any) -> dict[str, Any]:
        """Return what the flow takes."""
        del config  # nothing in it changes that
        inputs = self._whole.inputs
        return {
            "title": self.name, "type": "object",
            "properties": {name: _schema(each) for name, each in inputs.items()},
            "required": [name for name, each in inputs.items() if each.default is MISSING],
        }  # fmt: skip

    def get_output_jsonschema(self, config: RunnableConfig | None = None, **_: Any) -> dict[str, Any]:
        """Return what the flow gives."""
        del config
        properties = {name: _schema(each) for name, each in self._whole.outputs.items()}
        return {"title": self.name, "type": "object", "properties": properties}

    def _named(self, given: Any) -> dict[str, Any]:
        if isinstance(given, Mapping):
            return dict(given)
        flow = self._whole.flow
        needed = [name for name, each in flow.inputs.items() if each.default is MISSING]
        choice = needed if len(needed) == 1 else [flow.chat_input] if flow.chat_input else list(flow.inputs)
        if len(choice) != 1:
            raise Invalid(f"flow {self.name!r} takes several inputs", hint=f"give a dict with {', '.join(flow.inputs)}")
        return {choice[0]: given}

    def _run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        made = self._whole(**inputs)
        return made if isinstance(made, dict) else {"output": made}

    def _pieces(self, inputs: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for given in inputs:
            made = self._streaming(**given)
            made = made if isinstance(made, dict) else {"output": made}
            whole = {name: value for name, value in made.items() if not _comes(value)}
            if whole:
                yield AddableDict(whole)
            for name, value in made.items():
                if _comes(value):
                    yield from (AddableDict({name: piece}) for piece in value)


def as_runnable(flow: str | Path, *, variant: str | None = None) -> FlowRunnable:
    """Return a flow folder or file as a LangChain Runnable: `as_runnable("ask") | StrOutputParser()`.

    Raises NotFound or Invalid where there is no flow, MissingExtra where langchain-core is not installed.
    """
    loaded = Flow.load(flow)
    if not isinstance(loaded, Flow):
        raise Invalid("a prompty is no flow here", hint="name a flow folder, or call the prompty itself")
    return FlowRunnable(loaded, variant=variant)


def _comes(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes | Mapping | list | tuple | set)


def _schema(declared: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": _JSON[declared.type]} if declared.type in _JSON else {}
    if declared.description:
        found["description"] = declared.description
    default = getattr(declared, "default", MISSING)
    return found if default is MISSING or default is None else {**found, "default": default}
