"""Outputs of nodes with `cache: true`, found by what they were made of: code, prompt, inputs, model revision."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows import spans
from flows.flow import Flow, Node
from flows.steps import Kit, Step
from workspace.paths import write_atomically

FOLDER = "flow-cache"


class NodeCache:
    """One node's outputs in the workspace. What JSON cannot say exactly is not kept."""

    def __init__(self, home: Path, flow: Flow, node: Node, *, model: str = "") -> None:
        self._folder = home / FOLDER
        self._made_of = hashlib.sha256(_written(flow, node, model)).digest()

    def key(self, values: Mapping[str, Any]) -> str | None:
        """Return what stands for these inputs, or None where they cannot be told exactly."""
        try:
            told = json.dumps(values, sort_keys=True, ensure_ascii=False)
            if json.loads(told) != values:
                return None
        except (TypeError, ValueError, RecursionError):
            return None
        return hashlib.sha256(self._made_of + told.encode("utf-8", "surrogatepass")).hexdigest()

    def get(self, key: str) -> tuple[Any] | None:
        """Return the output in a tuple, or None where it is not known."""
        try:
            return (json.loads(self._path(key).read_bytes())["output"],)
        except (OSError, ValueError, KeyError):
            return None

    def put(self, key: str, output: Any) -> None:
        """Keep an output, whole or not at all."""
        try:
            told = json.dumps({"output": output}, ensure_ascii=False)
            if json.loads(told)["output"] != output:
                return
        except (TypeError, ValueError, RecursionError):
            return
        path = self._path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, told.encode("utf-8", "surrogatepass"))

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key[2:]}.json"


def _written(flow: Flow, node: Node, model: str) -> bytes:
    """What the node is: its file and the modules beside it that its code may import, its tool, its connection."""
    python = ".".join(map(str, sys.version_info[:2]))
    parts = [node.type, node.source, node.tool, node.api, node.connection, model, python]
    total = "\0".join(parts).encode()
    beside = sorted(flow.folder.rglob("*.py")) if node.type in ("python", "custom_llm", "langchain") else []
    for path in [*([node.path] if node.path and node.path.is_file() else []), *beside]:
        total += path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest()
    return total


def kept(step: Step, kit: Kit) -> Step:
    """Return the step as one that looks for its output before it is made, and keeps it after."""
    if kit.home is None:
        return step
    revision = kit.revisions.get(str(step.node.inputs.get("model") or ""), "")
    cache = NodeCache(kit.home, kit.flow, step.node, model=revision)

    def call(**values: Any) -> Any:
        key = cache.key(values)
        if key is not None and (found := cache.get(key)):
            _tell()
            return found[0]
        output = step.call(**values)
        if key is not None:
            cache.put(key, output)
        return output

    async def call_async(**values: Any) -> Any:
        key = cache.key(values)
        if key is not None and (found := cache.get(key)):
            _tell()
            return found[0]
        output = await step.call(**values)
        if key is not None:
            cache.put(key, output)
        return output

    return replace(step, call=call_async if step.is_async else call)


def _tell() -> None:
    if (span := spans.current()) is not None:
        span.children.append(spans.Span("chain", "cache", started_at=time.time(), attributes={"cached": True}))
