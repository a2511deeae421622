"""What aggregation nodes see: one list per flow input and node, with a value for each completed line, in line order."""

from __future__ import annotations

from collections.abc import Iterable

from flows.flow import Flow
from flows.results import LineRecord

Lists = dict[str, list[object]]


def has_aggregation(flow: Flow) -> bool:
    """Whether something of the flow runs once over all lines; of a flex class that is known when it is made."""
    return flow.kind == "flex" or any(node.aggregation for node in flow.nodes)


def gather(flow: Flow, lines: Iterable[LineRecord]) -> tuple[Lists, Lists]:
    """Return the lists of flow inputs and of node outputs that aggregation nodes use; a node that did not run is None.

    Old and new lines of a resumed run stand in line order in all of them: rows stay together.
    """
    inputs: Lists = {}
    outputs: Lists = {}
    aggregations = {node.name for node in flow.nodes if node.aggregation}
    for node in flow.nodes:
        for reference in node.references() if node.aggregation else ():
            if reference.is_input:
                inputs[str(reference.path[0])] = []
            elif reference.source not in aggregations:
                outputs[reference.source] = []
    for line in lines:
        for name, values in inputs.items():
            values.append(line.inputs.get(name))
        made = {node.name: node.output for node in line.nodes} if outputs else {}
        for name, values in outputs.items():
            values.append(made.get(name))
    return inputs, outputs
