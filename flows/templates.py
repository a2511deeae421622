"""Prompt templates: Jinja as prompt flow sets it up, and the prompt nodes made of it."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Template as Compiled
from jinja2 import TemplateError, TemplateSyntaxError, meta, nodes

from flows import chat_text, sandbox
from flows.chat_text import COLON, OPEN, WHOLE, Prompt
from flows.flow import Node
from flows.references import Reference
from workspace.errors import Invalid, Location

if TYPE_CHECKING:
    from flows.steps import Kit, Step

LONGEST_SOURCE = 1_000_000  # characters
_IMAGE = re.compile(r"!\[\s*image\s*\]\(\{\{(\s*[^\s{}]+\s*)\}\}\)")
_PROBLEMS = (
    TemplateError, TypeError, ArithmeticError, LookupError, AttributeError, MemoryError, RecursionError, SyntaxError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Template:
    """A template made ready; `names` are the values it reads, `pictures` those it shows as images."""

    names: frozenset[str]
    _compiled: Compiled
    pictures: frozenset[str] = frozenset()

    def render(self, values: Mapping[str, Any], *, kind_of_list: type[list[Any]] = list) -> Prompt:
        """Return the template filled in; unknown names are empty. Raises ValueError with the reason.

        `kind_of_list` says how a list looks that is put into the text as a whole.
        """
        images: dict[str, Any] = {}
        try:
            with sandbox.budget():
                given = {name: _shown(values[name], images, kind_of_list) for name in self.names if name in values}
                marked = "".join(_bounded(self._compiled.generate(given)))
        except _PROBLEMS as error:
            raise ValueError(f"the template cannot be rendered: {_reason(error)}") from error
        return Prompt(marked, images)


def prepare(source: str, *, at: Location | None = None) -> Template:
    """Compile a template; raises Invalid, with the line where `at` says which file it is."""
    if len(source) > LONGEST_SOURCE:
        raise Invalid(f"a template of more than {LONGEST_SOURCE:,} characters", at=at)
    environment = _environment()
    try:
        tree = environment.parse(_IMAGE.sub(r"\n{{\1}}\n", source))
        names = frozenset(meta.find_undeclared_variables(tree))
        pictures = frozenset(name.strip() for name in _IMAGE.findall(source))
        return Template(names, environment.compiled(_marked(tree)), pictures)
    except TemplateSyntaxError as error:
        place = Location(at.path, (at.line or 1) + error.lineno - 1) if at else None
        raise Invalid(f"not a template: {error.message}", at=place) from None
    except (*_PROBLEMS, ValueError) as error:
        raise Invalid(f"not a template: {_reason(error)}", at=at) from None


def render(source: str, values: Mapping[str, Any]) -> Prompt:
    """Return the template filled with `values`; unknown names are empty. Raises ValueError with the reason."""
    try:
        template = prepare(source)
    except Invalid as error:
        raise ValueError(f"the template cannot be rendered: {error.message}") from None
    return template.render(values)


def read(path: Path) -> Template:
    """Compile the template in a file; raises Invalid with its line."""
    try:
        source = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("not UTF-8", hint="save the file as UTF-8", at=Location(path)) from None
    return prepare(source, at=Location(path, 1))


def make(node: Node, kit: Kit) -> Step:
    """Make a prompt node ready: its output is a text that keeps its headings when it goes into a model's node."""
    from flows.steps import Step

    if node.path is None:
        raise Invalid(f"node {node.name!r} needs a template", at=node.at)
    template = read(node.path)
    return Step(node=node, call=lambda **values: template.render(values), constants=constants(node, template, kit))


def constants(node: Node, template: Template, kit: Kit) -> dict[str, Any]:
    """Return a node's literals; images for those that name one and are shown as one, or hold one.

    Raises ValueError for what is no image of the flow's folder.
    """
    found = {name: value for name, value in node.inputs.items() if not isinstance(value, Reference)}
    pictured = template.pictures & set(found)
    if not pictured and not any(isinstance(value, list | dict) for value in found.values()):
        return found
    from flows import images

    place = images.Place(kit.flow.folder)
    for name, value in found.items():
        if name in pictured or isinstance(value, list | dict):
            settled = images.settle(value, place) if name in pictured else images.settle_all(value, place)
            found[name] = images.load(settled, form=kit.flow.message_format)
    return found


@functools.cache
def _environment() -> sandbox.Sandbox:
    return sandbox.Sandbox()


def is_image(value: Any) -> bool:
    """Whether a value is an image: bytes that know what they show."""
    return isinstance(value, bytes) and hasattr(value, "to_base64")


class Lines(list[Any]):
    """A list that looks like its items, one a line: how prompt flow shows lists to Azure's chat models."""

    def __str__(self) -> str:
        return "\n".join(str(item) for item in self)


def _shown(value: Any, images: dict[str, Any], kind_of_list: type[list[Any]]) -> Any:
    """Return a value as a template sees it: a copy, which the template may change; images as tokens."""
    if isinstance(value, Prompt):
        images.update(value.images)
        return value.marked
    if type(value) is dict:
        return {key: _shown(item, images, kind_of_list) for key, item in value.items()}
    if type(value) is list:
        return kind_of_list(_shown(item, images, kind_of_list) for item in value)
    if is_image(value):
        token = f"image://{hashlib.sha1(value, usedforsecurity=False).hexdigest()}"
        images[token] = value
        return token
    return value


def _bounded(pieces: Any) -> Any:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > sandbox.LONGEST:
            raise ValueError(f"the rendered prompt is longer than {sandbox.LONGEST:,} characters")
        yield piece


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it calls itself too often"
    return chat_text.MARK.sub("", str(error)) or type(error).__name__


# Marking the headings that the template's author wrote


def _marked(tree: nodes.Template) -> nodes.Template:
    for output in list(tree.find_all(nodes.Output)):
        output.nodes = _marked_pieces(output.nodes)
    for assigned in tree.find_all(nodes.Assign):
        _mark_constants(assigned.node)
    return tree


def _marked_pieces(pieces: list[nodes.Expr]) -> list[nodes.Expr]:
    merged: list[nodes.Expr] = []
    for piece in pieces:  # a comment in the middle splits a text in two
        if isinstance(piece, nodes.TemplateData) and merged and isinstance(merged[-1], nodes.TemplateData):
            merged[-1] = nodes.TemplateData(merged[-1].data + piece.data, lineno=merged[-1].lineno)
        else:
            merged.append(piece)
    made: list[nodes.Expr] = []
    for index, piece in enumerate(merged):
        if isinstance(piece, nodes.TemplateData):
            made.append(nodes.TemplateData(_marked_text(piece.data), lineno=piece.lineno))
            continue
        _mark_constants(piece)
        before = merged[index - 1] if index else None
        after = merged[index + 1] if index + 1 < len(merged) else None
        if _is_role(piece) and _begins_line(before) and _goes_on_with_colon(after):
            made.append(nodes.TemplateData(OPEN, lineno=piece.lineno))
        made.append(piece)
    return made


def _marked_text(text: str) -> str:
    text = chat_text.HEADING.sub(rf"\1{WHOLE}\2", text)
    text = chat_text.FIELD.sub(rf"\1{WHOLE}\2", text)
    text = chat_text.ROLE_AT_END.sub(rf"\1{OPEN}\2", text)
    return chat_text.COLON_AT_START.sub(lambda match: COLON + match[0], text)


def _mark_constants(piece: nodes.Node) -> None:
    """Text that the author wrote inside an expression is the author's as well."""
    if isinstance(piece, nodes.Const):
        if isinstance(piece.value, str):
            piece.value = chat_text.HEADING.sub(rf"\1{WHOLE}\2", piece.value)
    elif isinstance(piece, nodes.Concat | nodes.Add | nodes.CondExpr):
        for part in piece.iter_child_nodes():
            if not (isinstance(piece, nodes.CondExpr) and part is piece.test):
                _mark_constants(part)


def _is_role(piece: nodes.Expr) -> bool:
    """Whether an expression names a role by what it is called: `item.role`, `"user" if … else "assistant"`."""
    parts = [piece, *piece.find_all(nodes.Expr)]
    names = [each.name for each in parts if isinstance(each, nodes.Name)]
    names += [each.attr for each in parts if isinstance(each, nodes.Getattr)]
    said = {each.value.strip().lower() for each in parts if isinstance(each, nodes.Const) and type(each.value) is str}
    return any("role" in name.lower() for name in (*names, *said)) or not said.isdisjoint(chat_text.ROLES)


def _begins_line(before: nodes.Expr | None) -> bool:
    return before is None or (
        isinstance(before, nodes.TemplateData) and chat_text.LINE_AT_END.search(before.data) is not None
    )


def _goes_on_with_colon(after: nodes.Expr | None) -> bool:
    return isinstance(after, nodes.TemplateData) and chat_text.COLON_AT_START.match(after.data) is not None
