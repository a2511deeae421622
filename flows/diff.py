"""What is different between two flows, in their own words: nodes, parameters, prompts and code, inputs and outputs.

The order of nodes, comments, keys that mean nothing and defaults that are written out make no difference.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from flows import graph, includes
from flows.references import Reference, parse
from workspace.documents import Document, read_yaml
from workspace.errors import Invalid, Location, StudioloError

CODE = (".py", ".jinja2", ".jinja", ".j2", ".prompty")
PROMPTS = ("llm", "prompt", "custom_llm")
LARGEST = 1_000_000  # bytes of a file that is shown line by line
_DEEPEST = 4  # flows within flows
_SILENT = {"$schema", "id", "version", "comment", "provider", "module", "enable_cache", "skip", "tool", "display_name"}
_DEFAULTS: Mapping[str, Any] = {
    "api": "chat", "source.type": "code", "aggregation": False, "use_variants": False, "message_format": "basic",
    "type": "standard", "connection": "", "cache": False, "is_chat_input": False, "is_chat_output": False,
    "evaluation_only": False, "language": "python", "model.api": "chat", "model.response": "first",
}  # fmt: skip
_SECTIONS = {"inputs": "input", "outputs": "output", "init": "init"}
_LEFT_OUT = {"__pycache__", "node_modules", "venv"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference. `where` is a part of the flow, "node ask", `field` what of it; without one the part as a whole.

    `text` is a unified diff where what changed is a text of several lines.
    """

    kind: Literal["added", "removed", "changed"]
    where: str
    field: str = ""
    before: Any = None
    after: Any = None
    text: str = ""


@dataclass(slots=True)
class _Sheet:
    """A flow as parts with fields, and texts by the part and what they are to it."""

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    texts: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)  # (part, what): (path, content)
    inner: dict[str, Path] = field(default_factory=dict)  # flows that are nodes


def compare(before: Path, after: Path) -> list[Change]:
    """Return what is different between two flow folders or files; the same list whichever order nodes stand in."""
    return [*_compared(graph.find_file(before), graph.find_file(after), 0)]


def told(changes: list[Change]) -> Iterator[str]:
    """Yield the changes as lines to read: `+` what is new, `-` what is gone, `~` what is different."""
    last = ""
    for each in changes:
        if not each.field:
            yield f"{'+' if each.kind == 'added' else '-'} {each.where}{_summary(each)}"
            last = each.where
            continue
        if each.where != last:
            yield f"~ {each.where}"
            last = each.where
        if not each.where.startswith("file "):
            yield f"    {each.field}{_values(each)}"
        yield from (f"      {line}" for line in each.text.splitlines())


def _compared(before: Path, after: Path, depth: int) -> Iterator[Change]:
    old, new = _sheet(before), _sheet(after)
    for where in [*old.parts, *(name for name in new.parts if name not in old.parts)]:
        if where not in new.parts:
            yield Change(kind="removed", where=where, before=old.parts[where])
        elif where not in old.parts:
            yield Change(kind="added", where=where, after=new.parts[where])
        else:
            yield from _fields(where, old.parts[where], new.parts[where])
        yield from _texts(where, old, new)
        if where in old.inner and where in new.inner and depth < _DEEPEST:
            for each in _compared(old.inner[where], new.inner[where], depth + 1):
                yield replace(each, where=f"{where} / {each.where}")


def _fields(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for key in [*old, *(name for name in new if name not in old)]:
        if key not in new:
            yield Change(kind="removed", where=where, field=key, before=old[key])
        elif key not in old:
            yield Change(kind="added", where=where, field=key, after=new[key])
        elif not _same(old[key], new[key]):
            yield Change(kind="changed", where=where, field=key, before=old[key], after=new[key])


def _same(one: Any, other: Any) -> bool:
    # 1, 1.0 and True are equal in Python, and not the same in a flow.
    return json.dumps(one, sort_keys=True, default=repr) == json.dumps(other, sort_keys=True, default=repr)


def _texts(where: str, old: _Sheet, new: _Sheet) -> Iterator[Change]:
    for key in {key: None for key in [*old.texts, *new.texts] if key[0] == where}:
        one, other = old.texts.get(key), new.texts.get(key)
        if one and other and one[1] == other[1]:
            continue
        names = (one or other or ("", ""))[0], (other or one or ("", ""))[0]
        text = "".join(
            difflib.unified_diff(
                _lines(one),
                _lines(other),
                f"a/{names[0]}" if one else "/dev/null",
                f"b/{names[1]}" if other else "/dev/null",
            )
        )
        kind: Literal["added", "removed", "changed"] = "changed" if one and other else "added" if other else "removed"
        yield Change(kind=kind, where=where, field=f"{key[1]} {names[1]}", text=text)


def _lines(text: tuple[str, str] | None) -> list[str]:
    found = (text[1] if text else "").splitlines(keepends=True)
    if found and not found[-1].endswith("\n"):
        found[-1] += "\n"
    return found


def _sheet(file: Path) -> _Sheet:
    sheet = _Sheet()
    kind = graph.format_of(file)
    if kind == "prompty":
        from flows import prompty

        document, body, _ = prompty.parts(file)
        root = document.root or {}
        sheet.texts["flow", "prompt"] = (file.name, body)
    else:
        document = read_yaml(file)
        root = document.root
    if not isinstance(root, dict):
        raise Invalid(f"{file.name} is no flow", hint=f"studiolo flow validate {file}")
    known = {"nodes", "node_variants", *_SECTIONS}
    sheet.parts["flow"] = {"format": kind} | _flat({key: value for key, value in root.items() if key not in known})
    for section, word in _SECTIONS.items():
        for name, given in _mapping(root.get(section)).items():
            sheet.parts[f"{word} {name}"] = _flat(given if isinstance(given, dict) else {"value": given})
    included = () if kind == "prompty" else _included(document)
    if kind == "dag":
        _add_nodes(sheet, file, root, included)
    if kind != "prompty":
        for path, name in (*_beside(file), *_within(included)):
            if name not in {shown for shown, _ in sheet.texts.values()}:
                sheet.parts[f"file {name}"] = {}
                sheet.texts[f"file {name}", "text"] = (name, _read(path))
    return sheet


def _add_nodes(sheet: _Sheet, file: Path, root: Mapping[str, Any], included: tuple[Path, ...]) -> None:
    variants = _mapping(root.get("node_variants"))
    for node in root.get("nodes") or []:
        if not isinstance(node, dict) or not node.get("name"):
            continue
        where = f"node {node['name']}"
        sheet.parts[where] = _flat({key: value for key, value in node.items() if key != "name"})
        _add_source(sheet, file, where, node, included)
        if node.get("use_variants") is not True:
            continue
        given = _mapping(variants.get(node["name"]))
        sheet.parts[where] = {"default variant": given.get("default_variant_id")}
        for choice, variant in _mapping(given.get("variants")).items():
            inner = _mapping(_mapping(variant).get("node"))
            name = f"node {node['name']}, variant {choice}"
            sheet.parts[name] = _flat(inner)
            _add_source(sheet, file, name, inner, included)


def _add_source(sheet: _Sheet, file: Path, where: str, node: Mapping[str, Any], included: tuple[Path, ...]) -> None:
    relative = str(_mapping(node.get("source")).get("path") or "").partition(":")[0]
    if not relative:
        return
    at = Location(file)
    try:
        if node.get("type") == "flow":
            sheet.inner[where] = graph.find_file(includes.sub_flow(file, relative, at=at))
        else:
            what = "prompt" if node.get("type") in PROMPTS else "code"
            sheet.texts[where, what] = (relative, _read(includes.find(file, relative, included, at=at)))
    except StudioloError:
        return  # not there, or outside: `flow validate` tells


def _included(document: Document) -> tuple[Path, ...]:
    try:
        return includes.resolve(document)
    except StudioloError:
        return ()


def _beside(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield code in the flow's folder, with its name there: what tools import, or an entry does."""
    for path in sorted(file.parent.rglob("*")):
        relative = path.relative_to(file.parent)
        hidden = any(part.startswith(".") or part in _LEFT_OUT for part in relative.parts)
        if not hidden and path != file and path.is_file() and (path.suffix in CODE or path.name == "requirements.txt"):
            yield path, relative.as_posix()


def _within(included: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    for include in included:
        for path in sorted(include.rglob("*")) if include.is_dir() else [include]:
            if path.is_file() and path.suffix in CODE:
                yield path, path.relative_to(include.parent).as_posix()


def _read(path: Path) -> str:
    raw = path.read_bytes()
    if len(raw) > LARGEST:
        return f"{len(raw):,} bytes\n"
    return raw.decode("utf-8", "replace")


def _flat(given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return fields by their path; what means nothing, and what is the default anyway, is left out."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        path = f"{prefix}{key}"
        if not prefix and key in _SILENT:
            continue
        if key == "reduce":
            path = "aggregation"
        inputs = prefix == "inputs."
        if isinstance(value, dict) and value and not inputs and key not in ("default", "is", "else", "pin"):
            found |= _flat(value, f"{path}.")
        elif not (value is None and key != "pin") and not (inputs and value == "") and not _is_default(path, value):
            found[path] = _plain(value)
    return found


def _is_default(path: str, value: Any) -> bool:
    return path in _DEFAULTS and _same(_DEFAULTS[path], value)


def _plain(value: Any) -> Any:
    """A reference in its one spelling: `${a}` is `${a.output}`, `${flow.x}` is `${inputs.x}`."""
    try:
        reference = parse(value)
    except ValueError:
        return value
    return value if reference is None else _spelled(reference)


def _spelled(reference: Reference) -> str:
    start = "inputs" if reference.is_input else f"{reference.source}.output"
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in reference.path)
    return f"${{{start}{''.join(steps)}}}"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _summary(change: Change) -> str:
    given = change.after if change.kind == "added" else change.before
    told = [str(given[key]) for key in ("type", "source.path", "reference") if isinstance(given, dict) and key in given]
    return f" ({', '.join(told)})" if told else ""


def _values(change: Change) -> str:
    if change.text:
        return "" if change.kind == "changed" else f" {change.kind}"
    if change.kind == "added":
        return f": + {_shown(change.after)}"
    if change.kind == "removed":
        return f": - {_shown(change.before)}"
    return f": {_shown(change.before)} → {_shown(change.after)}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
