"""Connections in files: YAML of every type, `.env` files, and the JSON that a served flow is given."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.connections import KINDS, STRONG, Connection, check_provider, kind_of, make, variable_of
from workspace.documents import read_yaml
from workspace.errors import Invalid, Location, NotFound

LARGEST = 1_000_000  # bytes


def read(path: Path, *, name: str | None = None, changes: Mapping[str, str] | None = None) -> Connection:
    """Read a connection from YAML or from a `.env` file, whose lines are all secrets and which needs a `name`.

    `changes` are fields that the file says otherwise: `{"configs.endpoint": "…"}`. Secrets may be missing values.
    """
    if path.name.endswith(".env"):
        return _from_env_file(path, name, changes or {})
    document = read_yaml(path)
    if not isinstance(document.root, dict):
        raise Invalid("a connection is a mapping with name and type", at=document.at())
    fields = changed(document.root, changes or {})
    if not isinstance(fields.get("type"), str):
        hint = f"add `type`, one of {', '.join(KINDS)}"
        raise Invalid("a connection needs a type", hint=hint, at=document.at("type"))
    found = name or fields.get("name")
    if not found or not isinstance(found, str):
        raise Invalid("a connection needs a name", hint="add `name`, or give --name", at=document.at("name"))
    return make(found, kind_of(fields["type"], at=document.at("type")), fields, at=document.at)


def changed(fields: Mapping[str, Any], changes: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a file with some of them set anew.

    >>> changed({"configs": {"a": "1"}}, {"configs.b": "2"})
    {'configs': {'a': '1', 'b': '2'}}
    """
    found: dict[str, Any] = dict(fields)
    custom = str(found.get("type", "")).casefold().startswith("custom")
    for key, value in changes.items():
        part, dot, rest = key.partition(".")
        if not dot and custom and part not in found:
            part, rest = ("configs" if part in (found.get("configs") or {}) else "secrets"), part
            if rest not in (found.get(part) or {}):
                hint = f"for a new one: configs.{rest}=… or secrets.{rest}=…"
                raise Invalid(f"the connection has no {rest[:80]!r}", hint=hint)
        if not rest:
            found[part] = value
            continue
        inner = found.get(part) or {}
        if part not in ("configs", "secrets") or not isinstance(inner, dict):
            raise Invalid(f"no field {key[:80]!r}", hint="configs.NAME or secrets.NAME of a custom connection")
        found[part] = {**inner, rest: value}
    return found


def from_environment(environment: Mapping[str, str] | None = None) -> dict[str, Connection]:
    """Return the connections of the file that PROMPTFLOW_CONNECTIONS names; Invalid where another provider is asked."""
    variables = os.environ if environment is None else environment
    check_provider(variables.get("PF_CONNECTION_PROVIDER", ""))
    named = variables.get("PROMPTFLOW_CONNECTIONS", "")
    return read_json(Path(named)) if named else {}


def read_json(path: Path) -> dict[str, Connection]:
    """Read `{name: {"type": "OpenAIConnection", "value": {…}, "secret_keys": […]}}`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise NotFound(f"cannot read the connections in {path}: {error.strerror}", hint="check the path") from None
    try:
        given = json.loads(raw)
    except ValueError as error:
        line = getattr(error, "lineno", None)
        # `from None`: the error of the parser holds the whole text.
        raise Invalid("not JSON", at=Location(path, line)) from None
    if not isinstance(given, dict):
        raise Invalid("connections are an object: a name, and what it means", at=Location(path))
    return {name: _from_json(path, name, each) for name, each in given.items()}


def template(connection: Connection) -> str:
    """Return the connection as YAML that holds no secret: each is `${env:NAME_FIELD}`, for a folder that is shared."""
    secrets = {key: f"${{env:{variable_of(connection.name, key)}}}" for key in connection.secrets}
    fields = document(connection.name, connection.type, connection.configs, secrets)
    for key in [key for key in fields.get("configs", {}) if key.startswith(STRONG)]:
        fields[key.removeprefix(STRONG)] = fields["configs"].pop(key)
    return "".join(_lines(fields))


def document(name: str, kind: str, configs: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return a connection in the fields of its file."""
    if kind == "custom":
        return {"name": name, "type": kind, "configs": dict(configs), "secrets": dict(secrets)}
    return {"name": name, "type": kind, **secrets, **configs}


def _lines(fields: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Write YAML; a text in JSON is one in YAML, whatever is in it."""
    for key, value in fields.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{json.dumps(key, ensure_ascii=False)}:\n"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}\n"


def _from_env_file(path: Path, name: str | None, changes: Mapping[str, str]) -> Connection:
    from dotenv import dotenv_values

    if not name:
        raise Invalid("a connection from a .env file needs a name", hint="give --name")
    if not path.is_file():
        raise NotFound(f"no file {str(path)!r}", hint="check the path")
    if path.stat().st_size > LARGEST:
        raise Invalid(f"larger than {LARGEST:,} bytes", at=Location(path))
    try:
        values = dotenv_values(path, encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("not UTF-8", hint="save the file as UTF-8", at=Location(path)) from None
    if not values:
        raise Invalid("nothing is set here", hint="write lines as NAME=value", at=Location(path))
    fields = changed({"type": "custom", "secrets": dict(values)}, changes)
    return make(name, KINDS["custom"], fields, at=lambda *_: Location(path))


def _from_json(path: Path, name: str, given: Any) -> Connection:
    values = given.get("value") if isinstance(given, dict) else None
    if not isinstance(values, dict):
        hint = 'for example {"type": "OpenAIConnection", "value": {"api_key": "…"}}'
        raise Invalid(f"connection {name[:80]!r} has no type and value", hint=hint, at=Location(path))
    kind = kind_of(given.get("type"), at=Location(path))
    fields = values
    if kind.type == "custom":
        secret = set(given.get("secret_keys") or ())
        fields = {"configs": {key: value for key, value in values.items() if key not in secret},
                  "secrets": {key: value for key, value in values.items() if key in secret}}  # fmt: skip
        if not fields["secrets"]:
            return Connection(name=name, type=kind.type, configs=fields["configs"])
    else:
        fields = {key: value for key, value in values.items() if key in (*kind.configs, "api_key")}
    return make(name, kind, fields, at=lambda *_: Location(path))
