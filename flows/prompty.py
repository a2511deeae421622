"""*.prompty: a model, its parameters and inputs in a front matter, and the prompt below; read once into frozen objects.

The front matter ends at the first line of dashes after it began: such a line further down belongs to the prompt.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from flows.flow import MISSING, Flow, Input, Node, Output
from flows.references import Reference
from workspace.documents import Document, Step, parse_yaml, read_yaml
from workspace.errors import Invalid, Location, NotFound, did_you_mean
from workspace.paths import safe_join

KEYS = frozenset(
    {"$schema", "name", "description", "version", "authors", "tags", "model", "inputs", "outputs", "sample", "template",
     "base", "type", "display_name", "environment_variables"}
)  # fmt: skip
MODEL_KEYS = frozenset({"api", "configuration", "parameters", "response"})
INLINE = {
    "open_ai": frozenset({"api_key", "base_url", "organization"}),
    "azure_open_ai": frozenset({"api_key", "azure_endpoint", "api_version"}),
}
CONFIGURATION_KEYS = frozenset({"type", "connection", "model", "azure_deployment"}).union(*INLINE.values())
INPUT_KEYS = frozenset({"type", "default", "description", "is_chat_input", "is_chat_history", "enum", "is_required"})
APIS = ("chat", "completion")
RESPONSES = ("first", "all")
_TYPES = {"number": "double", "float": "double", "integer": "int", "boolean": "bool", "array": "list", "dict": "object",
          "str": "string"}  # fmt: skip
_FENCE = re.compile(r"^-{3,}[^\S\n]*$", re.MULTILINE)
_REFERENCE = re.compile(r"\$\{(env|file):(.*)\}", re.DOTALL)
LARGEST = 1_000_000  # characters of a file that is referred to


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Which model is asked, and how. `type` is open_ai or azure_open_ai, "" where only a connection says so."""

    api: str = "chat"
    type: str = ""
    connection: str = ""
    name: str = ""  # of the model, or of the deployment
    inline: Mapping[str, str] = field(default_factory=dict, repr=False)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    response: str = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompty:
    """A prompty, read. `outputs` are the keys that are kept of a JSON answer, all where there are none."""

    file: Path
    name: str
    description: str = ""
    model: Model = field(default_factory=Model)
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    sample: Mapping[str, Any] = field(default_factory=dict)
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    body_line: int = 1

    def filled(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return its inputs: the sample where nothing is given, else defaults; raises ValueError naming all missing."""
        values = dict(given) or dict(self.sample)
        found = {name: values.get(name, declared.default) for name, declared in self.inputs.items()}
        if missing := [name for name, value in found.items() if value is MISSING]:
            raise ValueError(f"missing required inputs: {', '.join(missing)}")
        return found


def read(file: Path) -> Flow:
    """Read a prompty as a flow of one node; raises Invalid with `file:line:column`."""
    prompty = load(file)
    file = file.resolve()
    node = Node(
        name=file.stem,
        type="prompty",
        path=file,
        source=file.name,
        inputs={name: Reference("inputs", (name,)) for name in prompty.inputs},
        connection=prompty.model.connection,
        api=prompty.model.api,
        at=Location(file, 1),
    )
    return Flow(
        name=prompty.name,
        folder=file.parent,
        file=file,
        kind="prompty",
        description=prompty.description,
        inputs=prompty.inputs,
        outputs={"output": Output(name="output", type="string", value=Reference(node.name, ()), is_chat_output=True)},
        nodes=(node,),
        environment_variables=prompty.environment_variables,
        sample=prompty.sample,
    )


def load(
    file: Path, *, override: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Prompty:
    """Read a prompty; `override` replaces parts of the front matter, mapping by mapping.

    `${env:NAME}` is looked up in `environment` (default: this process's own) and stays as it is where not set;
    `${file:path}` is the content of a JSON, YAML or text file in the prompty's folder.
    """
    document, body, body_line = parts(file)
    root = document.root if document.root is not None else {}
    if not isinstance(root, dict):
        raise Invalid("the front matter must be a mapping", at=document.at())
    _refuse_misspelled(root, KEYS, document)
    merged = _merged(root, override or {})
    folder, variables = file.resolve().parent, os.environ if environment is None else environment
    found = _resolved(merged, folder, variables, document, ())
    sample = _sample(found.get("sample"), folder, document)
    return Prompty(
        file=file.resolve(),
        name=str(found.get("name") or file.stem),
        description=str(found.get("description") or ""),
        model=_model(found.get("model"), document),
        inputs=_inputs(found.get("inputs"), sample, document),
        outputs=tuple(_mapping(found.get("outputs"), document, "outputs")),
        sample=sample,
        environment_variables={
            str(key): json.dumps(value) if isinstance(value, dict | list) else str(value)
            for key, value in _mapping(found.get("environment_variables"), document, "environment_variables").items()
        },
        body=body,
        body_line=body_line,
    )


def parts(file: Path) -> tuple[Document, str, int]:
    """Return the front matter as it is written, the prompt below it, and the line the prompt begins on."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"no file {str(file)!r}", hint="check the path") from None
    except UnicodeDecodeError:
        raise Invalid("not UTF-8", hint="save the file as UTF-8", at=Location(file)) from None
    fences = _FENCE.finditer(text)
    begin, end = next(fences, None), next(fences, None)
    if begin is None or end is None:
        raise Invalid(
            "a prompty begins with a front matter between two lines of `---`, the prompt follows", at=Location(file, 1)
        )
    before = text.count("\n", 0, begin.end())
    document = parse_yaml("\n" * before + text[begin.end() : end.start()], path=file)
    return document, text[end.end() :].removeprefix("\n"), text.count("\n", 0, end.end()) + 2


def resolve(value: Any, folder: Path, variables: Mapping[str, str]) -> Any:
    """Return a value with every text that is `${env:NAME}` or `${file:path}` replaced by what it means."""
    if isinstance(value, dict):
        return {key: resolve(item, folder, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, folder, variables) for item in value]
    if not isinstance(value, str) or not (match := _REFERENCE.fullmatch(value.strip())):
        return value
    if match[1] == "env":
        return variables.get(match[2], value)
    return _content(safe_join(folder, match[2].strip().removeprefix("./")), match[2])


def _content(path: Path, written: str) -> Any:
    if not path.is_file():
        raise NotFound(f"no file {written!r}", hint="paths are relative to the file that names them")
    if path.suffix.lower() in (".yaml", ".yml"):
        return read_yaml(path).root
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("not UTF-8", at=Location(path)) from None
    if len(text) > LARGEST:
        raise Invalid(f"larger than {LARGEST:,} characters", at=Location(path))
    if path.suffix.lower() != ".json":
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Invalid(f"not JSON: {error.msg}", at=Location(path, error.lineno, error.colno)) from None
    except RecursionError:
        raise Invalid("nested too deeply", at=Location(path)) from None


def _resolved(
    value: Any, folder: Path, variables: Mapping[str, str], document: Document, steps: tuple[Step, ...]
) -> dict[str, Any]:
    found = {}
    for key, item in value.items():
        try:
            found[key] = resolve(item, folder, variables)
        except (Invalid, NotFound) as error:
            if error.at is not None:
                raise
            raise type(error)(f"`{key}`: {error.message}", hint=error.hint, at=document.at(*steps, key)) from None
    return found


def _model(given: Any, document: Document) -> Model:
    model = _mapping(given, document, "model")
    _refuse_misspelled(model, MODEL_KEYS, document, "model")
    configuration = _configuration(model.get("configuration"), document)
    kind, inline = _kind(configuration, document)
    if configuration.get("connection") and inline:
        raise Invalid(
            f"the configuration names a connection and {sorted(inline)[0]!r}: it is one or the other",
            at=document.at("model", "configuration", "connection"),
        )
    return Model(
        api=_one_of(model.get("api"), APIS, document, "api"),
        type=kind,
        connection=str(configuration.get("connection") or ""),
        name=str(configuration.get("azure_deployment") or configuration.get("model") or ""),
        inline=inline,
        parameters=_mapping(model.get("parameters"), document, "model", "parameters"),
        response=_one_of(model.get("response"), RESPONSES, document, "response"),
    )


def _configuration(given: Any, document: Document) -> dict[str, Any]:
    if given is not None and not isinstance(given, dict) and hasattr(given, "__dataclass_fields__"):
        # A model configuration of flow code, given in place of the file's own.
        kind = "azure_openai" if hasattr(given, "azure_deployment") else "openai"
        return {"type": kind} | {name: value for name, value in vars(given).items() if not name.startswith("_")}
    found = _mapping(given, document, "model", "configuration")
    _refuse_misspelled(found, CONFIGURATION_KEYS, document, "model", "configuration")
    return found


def _kind(configuration: Mapping[str, Any], document: Document) -> tuple[str, dict[str, str]]:
    written = str(configuration.get("type") or "")
    kind = {"openai": "open_ai", "azureopenai": "azure_open_ai"}.get(written.replace("_", "").lower(), "")
    if written and not kind:
        raise Invalid(
            f"unknown type {written!r} of a model",
            hint=did_you_mean(written, ("openai", "azure_openai")),
            at=document.at("model", "configuration", "type"),
        )
    known = INLINE[kind] if kind else frozenset[str]().union(*INLINE.values())
    inline = {key: str(configuration[key]) for key in known if configuration.get(key)}
    if inline and not kind:
        kind = "azure_open_ai" if "azure_endpoint" in inline else "open_ai"
    return kind, inline


def _inputs(given: Any, sample: Mapping[str, Any], document: Document) -> dict[str, Input]:
    declared = _mapping(given, document, "inputs")
    if not declared:
        return {name: Input(name=name, type=_type_of(value)) for name, value in sample.items()}
    found = {}
    for name, each in declared.items():
        if not isinstance(each, dict):
            raise Invalid(f"input {name!r} needs `type`", hint="such as {type: string}", at=document.at("inputs", name))
        _refuse_misspelled(each, INPUT_KEYS, document, "inputs", name)
        kind = str(each.get("type") or "string")
        found[name] = Input(
            name=name,
            type=_TYPES.get(kind, kind),
            default=each.get("default", MISSING),
            description=str(each.get("description") or ""),
            is_chat_input=each.get("is_chat_input") is True,
            is_chat_history=each.get("is_chat_history", name == "chat_history") is True,
        )
    return found


def _type_of(value: Any) -> str:
    kinds = {bool: "bool", int: "int", float: "double", str: "string", list: "list"}
    return kinds.get(type(value), "object")


def _sample(given: Any, folder: Path, document: Document) -> dict[str, Any]:
    if isinstance(given, str) and given.endswith((".json", ".yaml", ".yml")):
        given = _resolved({"sample": f"${{file:{given}}}"}, folder, {}, document, ())["sample"]
    return _mapping(given, document, "sample")


def _mapping(value: Any, document: Document, *steps: Step) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(f"`{steps[-1]}` must be a mapping", at=document.at(*steps))
    return value


def _one_of(value: Any, known: tuple[str, ...], document: Document, key: str) -> str:
    if value is None:
        return known[0]
    if value not in known:
        raise Invalid(f"unknown {key} {value!r}", hint=did_you_mean(str(value), known), at=document.at("model", key))
    return str(value)


def _refuse_misspelled(given: Mapping[str, Any], known: Iterable[str], document: Document, *steps: Step) -> None:
    """Keys of other tools are let be; one that is nearly one of ours is a slip."""
    for key in given:
        if key not in known and (close := get_close_matches(str(key), sorted(known), n=1, cutoff=0.8)):
            raise Invalid(f"unknown key {key!r}", hint=f"did you mean {close[0]!r}?", at=document.at(*steps, key))


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merge: Callable[[Any, Any], Any] = lambda old, new: (  # noqa: E731 - said once
        _merged(old, new) if isinstance(old, dict) and isinstance(new, dict) else new
    )
    return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
