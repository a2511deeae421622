"""A prompt flow evaluation flow as scorer, unchanged: its line judges a sample, its aggregation nodes all of them."""

from __future__ import annotations

import queue
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.samples import Sample, Score
from flows.aggregation import has_aggregation
from flows.connections import Connection
from flows.crew import Conditions, Crew, Task, crew, without_log
from flows.flow import MISSING, Flow
from flows.mapping import converted
from flows.results import COMPLETED, LineRecord, NodeRecord, to_json
from workspace.errors import Invalid, did_you_mean

AT_ONCE = 2  # worker processes
_REFERENCE = re.compile(r"\$\{(data|run\.inputs|run\.outputs|sample)\.([^{}]+)\}")
_EXPECTED = frozenset({"groundtruth", "ground_truth", "expected", "reference", "label"})
_ANSWER = frozenset({"answer", "prediction", "output", "response"})
_WORDS = {"correct": 1.0, "incorrect": 0.0, "true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "pass": 1.0, "fail": 0.0}


@dataclass(kw_only=True)
class FlowScorer:
    """A flow that judges samples. `mapping` says what its inputs are: ${data.x}, ${run.outputs.x}, ${sample.answer}.

    Inputs that are not mapped go by name. The score is the output that is a number, a truth, or a word such as
    "Correct"; where several are, the one called `score`, or the first.
    """

    flow: Flow
    connections: Mapping[str, Connection]
    mapping: Mapping[str, Any] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)

    def __post_init__(self) -> None:
        for name in self.mapping:
            if name not in self.flow.inputs:
                raise Invalid(
                    f"flow {self.flow.name!r} has no input {name!r}", hint=did_you_mean(name, self.flow.inputs)
                )
        self._open = ExitStack()
        self._crews: queue.SimpleQueue[Crew | None] = queue.SimpleQueue()
        for _ in range(AT_ONCE):
            self._crews.put(None)  # begun when it is needed

    def __call__(self, sample: Sample) -> Score:
        """Judge a sample with one line of the flow."""
        try:
            inputs = converted(self.flow, self._inputs(sample))
        except ValueError as error:
            return Score(error=str(error))
        line = self._line(inputs)
        if line.error is not None or line.outputs is None:
            return Score(error=str(line.error or "the flow has no outputs"))
        details: dict[str, Any] = {"outputs": line.outputs}
        if has_aggregation(self.flow):
            details |= {"inputs": inputs, "nodes": {node.name: node.output for node in line.nodes}}
        value = _value(line.outputs)
        if value is None:
            return Score(error=f"no output of the flow is a number: {line.outputs}", details=details)
        return Score(value=value, details=details)

    def metrics(self, scores: Iterable[Score]) -> Mapping[str, float]:
        """Return what the flow's aggregation nodes log over all scores."""
        if not has_aggregation(self.flow):
            return {}
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as log:
            for number, line in enumerate(_lines(scores)):
                log.write(to_json(LineRecord(number=number, **line)))
            log.flush()
            crew_ = self._crews.get() or self._begun()
            _, found = crew_.aggregate(Path(log.name))
            self._crews.put(crew_)
        return found

    def close(self) -> None:
        """End its processes."""
        self._open.close()

    def _line(self, inputs: Mapping[str, Any]) -> LineRecord:
        crew_ = self._crews.get()
        try:
            crew_ = crew_ or self._begun()
            line = crew_.test(Task(0, inputs))
        except BaseException:
            self._crews.put(None)  # a worker that died is begun anew
            raise
        self._crews.put(crew_)
        return line

    def _begun(self) -> Crew:
        return self._open.enter_context(crew(self.flow, self.connections, without_log(self.conditions)))

    def _inputs(self, sample: Sample) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, declared in self.flow.inputs.items():
            value = _mapped(sample, self.mapping[name]) if name in self.mapping else _named(sample, name)
            if value is not MISSING:
                found[name] = value
            elif declared.default is MISSING:
                raise ValueError(f"input {name!r} of flow {self.flow.name!r} has no value: map it")
        return found


def _mapped(sample: Sample, source: Any) -> Any:
    found = _REFERENCE.fullmatch(source) if isinstance(source, str) else None
    if found is None:
        return source
    places: dict[str, Mapping[str, Any]] = {
        "data": {**sample.inputs, **sample.metadata, "expected": sample.expected},
        "run.inputs": sample.inputs,
        "run.outputs": {"answer": sample.answer, **sample.outputs},
        "sample": {"answer": sample.answer, "expected": sample.expected, "name": sample.name},
    }
    return places[found[1]].get(found[2], MISSING)


def _named(sample: Sample, name: str) -> Any:
    for place in (sample.outputs, sample.metadata, sample.inputs):
        if name in place:
            return place[name]
    if name in _EXPECTED and sample.expected is not None:
        return sample.expected
    return sample.answer if name in _ANSWER else MISSING


def _value(outputs: Mapping[str, Any]) -> float | None:
    for name in sorted(outputs, key=lambda each: each != "score"):
        value = outputs[name]
        if isinstance(value, bool | int | float):
            return float(value)
        if isinstance(value, str) and value.strip().lower() in _WORDS:
            return _WORDS[value.strip().lower()]
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                continue
    return None


def _lines(scores: Iterable[Score]) -> Iterator[dict[str, Any]]:
    for score in scores:
        if "nodes" not in score.details:
            continue
        nodes = tuple(
            NodeRecord(name=name, type="", status=COMPLETED, output=output)
            for name, output in score.details["nodes"].items()
        )
        yield {
            "status": COMPLETED, "inputs": score.details["inputs"], "outputs": score.details["outputs"], "error": None,
            "nodes": nodes, "duration": 0.0,
        }  # fmt: skip
