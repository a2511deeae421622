"""What the schemas of several formats say alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flows.values import TYPES

Schema = dict[str, Any]

REFERENCE = r"^\s*\$\{.+\}\s*$"


def text(description: str, **more: Any) -> Schema:
    """Return the schema of a text."""
    return {"type": "string", "description": description, **more}


def flag(description: str, *, default: bool = False) -> Schema:
    """Return the schema of true or false."""
    return {"type": "boolean", "default": default, "description": description}


def number(description: str, **more: Any) -> Schema:
    """Return the schema of a number that is not below zero."""
    return {"type": "number", "minimum": 0, "description": description, **more}


def anything(description: str, **more: Any) -> Schema:
    """Return the schema of any value."""
    return {"description": description, **more}


def choice(values: Iterable[str], description: str, **more: Any) -> Schema:
    """Return the schema of one of some words."""
    return {"enum": list(values), "description": description, **more}


def either(description: str, *schemas: Schema, **more: Any) -> Schema:
    """Return the schema of a value that may be written in several ways."""
    return {"anyOf": list(schemas), "description": description, **more}


def mapping(description: str, properties: Mapping[str, Any], *, required: Iterable[str] = (), **more: Any) -> Schema:
    """Return the schema of a mapping with known keys and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        **({"required": list(required)} if required else {}),
        "additionalProperties": False,
        **more,
    }


def names(description: str, each: Mapping[str, Any] | bool, **more: Any) -> Schema:
    """Return the schema of a mapping whose keys the author chooses."""
    return {"type": ["object", "null"], "description": description, "additionalProperties": each, **more}


def ordered(known: Iterable[str], properties: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the properties, checked to be exactly the keys that a reader knows."""
    if (told := set(properties)) != (read := set(known)):
        raise LookupError(f"keys without a schema or a reader: {sorted(told ^ read)}")
    return dict(properties)


def words(*, type_of_flow: Iterable[str] | None = None) -> dict[str, Schema]:
    """Return what a flow file of any kind says of itself."""
    kind = {"examples": ["standard"]} if type_of_flow is None else {"enum": list(type_of_flow)}
    return {
        "$schema": text("The schema an editor checks the file against; it changes nothing."),
        "version": {"type": ["string", "number"], "description": "Kept and shown, without further meaning."},
        "id": text("Kept, without further meaning.", default="default_flow_id"),
        "name": text("What the flow and its assets are called.", default="the folder's name"),
        "display_name": text("A name for people."),
        "type": {**kind, "default": "standard", "description": "What the flow is for; it runs alike."},
        "description": text("What the flow does, in a sentence."),
        "tags": names("Words to find it by.", True),
        "environment": environment(),
        "environment_variables": variables("Variables for the flow's code. They go over those of the machine."),
        "additional_includes": includes(),
        "language": choice(("python", "csharp"), "Flows in C# are refused.", default="python"),
    }


def environment() -> Schema:
    """Return what is installed where the flow is built into an image."""
    return {
        "type": ["object", "null"],
        "description": "What `flow build` installs; running here uses what is installed.",
        "properties": {
            "python_requirements_txt": text("A requirements file beside the flow.", examples=["requirements.txt"]),
            "image": text("The image to build on."),
            "conda_file": text("A conda file."),
            "setup_sh": text("A script to run while building."),
        },
    }


def variables(description: str) -> Schema:
    """Return environment variables."""
    more = "`${connection.field}` takes a field of a connection; lists and mappings are given as JSON."
    return names(f"{description} {more}", True, examples=[{"LOG_LEVEL": "info", "API_KEY": "${my_connection.key}"}])


def includes() -> Schema:
    """Return files from outside the flow's folder."""
    return {
        "type": ["array", "null"],
        "items": {"type": "string"},
        "description": "Files and folders of the project that are copied beside the flow's own, by their last name. "
        "`folder.zip` of a folder is that folder, zipped.",
        "examples": [["../shared/units.py"]],
    }


def flow_input(known: Iterable[str], kinds: Iterable[str] = TYPES, *, requires_type: bool = True) -> Schema:
    """Return one declared input."""
    properties = {
        "type": choice(sorted(kinds), "What a value is converted to."),
        "default": anything("Used where the caller says nothing; converted to the type. null: there is none."),
        "description": text("What the input means."),
        "enum": {"type": "array", "description": "Values to choose from, for whoever draws the input."},
        "is_chat_input": flag("What the person says in a chat. One input of a chat flow has it."),
        "is_chat_history": flag("The turns so far. An input named chat_history is one unless it says false."),
        "is_chat_output": flag("What is said back in a chat."),
        "is_required": flag("Read by other tools.", default=True),
    }
    found = {key: each for key, each in properties.items() if key in set(known)}
    return mapping("An input.", ordered(known, found), required=["type"] if requires_type else [])
