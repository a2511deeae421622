"""The schema of tool YAML: the tools that a package brings, by id."""

from __future__ import annotations

from flows import package_tools
from flows.schemas import parts
from flows.schemas.parts import Schema

_DRAWN = "For whoever draws the tool; running it does not read this."


def schema() -> Schema:
    """Return the schema. Packages say more than we read, so unknown keys are let be."""
    return {
        "title": "tool YAML",
        "description": "Tools of a package by id; a function named by the entry point `package_tools` returns them.",
        "type": "object",
        "additionalProperties": {"$ref": "#/$defs/tool"},
        "$defs": {"tool": _tool(), "input": _input(), "function": _function()},
        "examples": [
            {
                "my_package.search.find": {
                    "name": "Find", "type": "python", "module": "my_package.search", "function": "find",
                    "inputs": {"query": {"type": ["string"]}, "top": {"type": ["int"], "default": 3}},
                }
            }
        ],
    }  # fmt: skip


def _tool() -> Schema:
    properties = {
        "name": parts.text("What people call it."),
        "type": parts.choice(package_tools.TYPES, "What kind of tool it is."),
        "module": parts.text("The module that has it.", examples=["my_package.search"]),
        "function": parts.text("The function, or the method of the class.", examples=["find"]),
        "class_name": parts.text("The class, where it is a method."),
        "description": parts.text("What it does."),
        "inputs": parts.names("What it takes, by name.", {"$ref": "#/$defs/input"}),
        "deprecated_tools": {"type": "array", "items": {"type": "string"},
                             "description": "Ids of tools that it replaces: flows that name them get this one."},
        "default_prompt": parts.text(f"A prompt to begin with. {_DRAWN}"),
        "category": parts.text(_DRAWN),
        "tags": parts.anything(_DRAWN),
        "icon": parts.either(
            f"An image as a data URL, or one for light and one for dark. {_DRAWN}",
            {"type": "string"},
            parts.mapping("Two images.", {"light": parts.text("On light."), "dark": parts.text("On dark.")}),
        ),
    }  # fmt: skip
    return {**parts.mapping("A tool.", properties, required=package_tools.NEEDED), "additionalProperties": True}


def _input() -> Schema:
    kinds: Schema = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    one_or_more = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    properties = {
        "type": {"anyOf": [kinds, {"type": "string", "minLength": 1}], "description": "The types it may have.",
                 "examples": [["string"], ["OpenAIConnection", "AzureOpenAIConnection"]]},
        "default": parts.anything("What it is where nothing is said."),
        "description": parts.text("What it means."),
        "enum": {"type": "array", "description": f"What it can be. {_DRAWN}"},
        "dynamic_list": {"$ref": "#/$defs/function", "description": f"Lists what it can be. {_DRAWN}"},
        "generated_by": {"$ref": "#/$defs/function", "description": f"Makes it from other inputs. {_DRAWN}"},
        "enabled_by": {**one_or_more, "description": f"Inputs of the tool it depends on. {_DRAWN}"},
        "enabled_by_value": {"type": "array", "description": f"Their values that ask for it. {_DRAWN}"},
        "enabled_by_type": {"type": "array", "description": f"Their types that ask for it. {_DRAWN}"},
        "allow_manual_entry": parts.flag(f"Other values than the listed ones may be written. {_DRAWN}"),
        "is_multi_select": parts.flag(f"Several may be chosen. {_DRAWN}"),
        "ui_hints": parts.anything(_DRAWN),
        "custom_type": {"type": "array", "items": {"type": "string"},
                        "description": "The package's own connection types it takes."},
    }  # fmt: skip
    return {**parts.mapping("An input.", properties, required=["type"]), "additionalProperties": True}


def _function() -> Schema:
    properties = {
        "func_path": parts.text("module.function, or file.py:function.", examples=["my_package.search.list_indexes"]),
        "func_kwargs": parts.anything("Its arguments."),
        "reverse_func_path": parts.text("Takes a generated value apart again."),
    }
    return {**parts.mapping("A function.", properties, required=["func_path"]), "additionalProperties": True}
