"""The schema of the front matter of a *.prompty."""

from __future__ import annotations

from flows import prompty
from flows.llm import known_parameters
from flows.schemas import parts
from flows.schemas.parts import Schema

_ANYWHERE = "Anywhere, `${env:NAME}` is a variable of the environment and `${file:path}` the content of a file."


def schema() -> Schema:
    """Return the schema. Other tools' keys may stand beside ours, so unknown ones are let be."""
    properties = {key: each for key, each in parts.words().items() if key in prompty.KEYS} | {
        "type": parts.text("Read by other tools."),
        "tags": parts.anything("Words to find it by."),
        "authors": {"type": "array", "items": {"type": "string"}, "description": "Who wrote it."},
        "base": parts.text("Read by other tools."),
        "template": parts.anything("Read by other tools; the prompt is Jinja.", default="jinja2"),
        "model": {"$ref": "#/$defs/model"},
        "inputs": parts.names(
            "What the prompt uses, by name. Left out: the sample's.",
            {**parts.flow_input(prompty.INPUT_KEYS, requires_type=False), "additionalProperties": True},
        ),
        "outputs": parts.names("The keys that are kept of a JSON answer; all where there are none.", True),
        "sample": parts.either(
            "Inputs that are used where none at all are given; a text names a JSON or YAML file.",
            {"type": "object"},
            {"type": "string"},
            {"type": "null"},
            examples=[{"question": "How far is the moon?"}, "${file:sample.json}"],
        ),
    }
    properties["inputs"]["additionalProperties"]["properties"]["type"] = parts.text(
        "What kind of value it is; not enforced.", default="string", examples=["string", "list", "image"]
    )
    return {
        "title": "the front matter of a .prompty",
        **parts.mapping(f"A prompt with its model. {_ANYWHERE}", parts.ordered(prompty.KEYS, properties)),
        "additionalProperties": True,
        "$defs": {"model": _model(), "configuration": _configuration()},
    }


def _model() -> Schema:
    known = dict.fromkeys(sorted(known_parameters() - {"model", "deployment_name"}), True)
    properties = {
        "api": parts.choice(prompty.APIS, "Which API is asked.", default="chat"),
        "configuration": {"$ref": "#/$defs/configuration"},
        "parameters": {
            "type": ["object", "null"],
            "description": "Parameters of the API, passed on as they are.",
            "properties": known,
            "examples": [{"temperature": 0, "max_tokens": 128, "response_format": {"type": "json_object"}}],
        },
        "response": parts.choice(prompty.RESPONSES, "The first answer as text or JSON, or all that the model said.",
                                 default="first"),
    }  # fmt: skip
    return {
        **parts.mapping("Which model is asked, and how.", parts.ordered(prompty.MODEL_KEYS, properties)),
        "type": ["object", "null"],
        "additionalProperties": True,
    }


def _configuration() -> Schema:
    properties = {
        "type": parts.choice(("openai", "azure_openai"), "Whose API it is.", default="openai"),
        "connection": parts.text("A connection by name, instead of keys written here."),
        "model": parts.text("The model.", examples=["smollm2-135m-instruct"]),
        "azure_deployment": parts.text("The deployment, of Azure OpenAI."),
        "azure_endpoint": parts.text("Where the service is, of Azure OpenAI."),
        "api_key": parts.text("A key; better a connection, or a variable.", examples=["${env:OPENAI_API_KEY}"]),
        "api_version": parts.text("The version of Azure's API."),
        "base_url": parts.text("Where OpenAI's routes begin."),
        "organization": parts.text("The organisation at OpenAI."),
    }
    inline = sorted(frozenset[str]().union(*prompty.INLINE.values()))
    return {
        **parts.mapping(
            "Where the model is. Empty: a connection from OPENAI_API_KEY or AZURE_OPENAI_ENDPOINT, else the local "
            "gateway.",
            parts.ordered(prompty.CONFIGURATION_KEYS, properties),
        ),
        "type": ["object", "null"],
        "additionalProperties": True,
        "if": {"required": ["connection"]},
        "then": {"not": {"anyOf": [{"required": [key]} for key in inline]}},
    }
