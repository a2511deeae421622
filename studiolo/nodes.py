"""What a person types for a run or an asset, and the node of the lineage graph that they mean."""

from __future__ import annotations

from workspace.assets import KINDS
from workspace.errors import NotFound
from workspace.home import Workspace


def find(workspace: Workspace, text: str) -> str:
    """Return the node: `find(workspace, "report:demo") == "report:demo:1"`, the newest version if none is named.

    A run is named by its name, its id or the first letters of it; an asset by kind:name, kind:name:version,
    kind:name@label, or by its name alone where no run and no asset of another kind has it.
    """
    kind, _, rest = text.partition(":")
    if kind in KINDS and rest:
        return workspace.assets.get(kind, rest).ref
    if kind == "run" and rest:
        return workspace.runs.get(rest).ref
    try:
        return workspace.runs.get(text).ref
    except NotFound as error:
        named = _assets(workspace, text)
        if len(named) == 1:
            return named[0]
        if named:
            raise NotFound(f"{text!r} could be {' or '.join(named)}", hint="name the kind too") from None
        raise NotFound(f"no run and no asset {text!r}", hint=error.hint) from None


def _assets(workspace: Workspace, name: str) -> list[str]:
    found = []
    for kind in KINDS:
        try:
            found.append(workspace.assets.get(kind, name).ref)
        except NotFound:
            continue
    return found
