"""What scripts take from `azureml.ai.monitoring`, where it is not installed: a Collector that hands frames on."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

sink: Callable[[dict[str, Any], bytes], None] | None = globals().get("sink")


class CorrelationContext:
    """What joins an input to its output."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        self._id = id or str(uuid.uuid4())

    def get_id(self) -> str:
        """Return the identifier."""
        return self._id


class BasicCorrelationContext(CorrelationContext):
    """One whose identifier the script chooses."""


class Collector:
    """Keeps frames in the collection of its name: `context = Collector(name="model_inputs").collect(frame)`."""

    def __init__(self, *, name: str, on_error: Callable[[Exception], None] | None = None) -> None:
        self.name = name
        self._on_error = on_error

    def collect(self, data: Any, correlation_context: CorrelationContext | None = None) -> CorrelationContext:
        """Hand a DataFrame on, and return what joins it to the next; a failure never reaches the answer."""
        context = correlation_context or BasicCorrelationContext()
        try:
            if not hasattr(data, "to_json"):
                raise TypeError(f"a Collector takes a pandas DataFrame, not {type(data).__name__}")
            header = {
                "collection": self.name,
                "correlation": context.get_id(),
                "type": f"{type(data).__module__}.{type(data).__name__}",
            }
            if sink is not None:
                sink(header, data.to_json(orient="records").encode())
        except Exception as error:  # noqa: BLE001  the script says what becomes of failures
            if self._on_error is not None:
                self._on_error(error)
            else:
                print(json.dumps({"collector": self.name, "error": str(error)}))  # noqa: T201  into the engine's log
        return context
