"""The schema of flow.dag.yaml."""

from __future__ import annotations

from flows import dag
from flows.flow import Each, Retry
from flows.llm import known_parameters
from flows.schemas import parts
from flows.schemas.parts import Schema
from flows.values import TYPES

_OURS = "Of Studiolo; prompt flow does not know it. "


def schema() -> Schema:
    """Return the schema."""
    properties = parts.words(type_of_flow=dag.FLOW_TYPES) | {
        "inputs": parts.names("What goes in, by name.", {"$ref": "#/$defs/input"}),
        "outputs": parts.names("What comes out, by name.", {"$ref": "#/$defs/output"}),
        "nodes": {
            "type": "array",
            "minItems": 1,
            "items": {"$ref": "#/$defs/node"},
            "description": "The steps. Their order in the file does not matter: references say what waits for what.",
        },
        "node_variants": parts.names("Ways in which a node can be, for nodes that say `use_variants: true`.",
                                     {"$ref": "#/$defs/variants"}),
        "message_format": parts.choice(dag.MESSAGE_FORMATS, "How images stand in inputs and outputs.", default="basic"),
    }  # fmt: skip
    return {
        "title": "flow.dag.yaml",
        **parts.mapping(
            "A flow: inputs, nodes that use each other's outputs, outputs.",
            parts.ordered(dag.FLOW_KEYS, properties),
            required=["nodes"],
        ),
        "$defs": {
            "input": parts.flow_input(dag.INPUT_KEYS),
            "output": _output(),
            "node": _node(),
            "variants": _variants(),
            "source": _source(),
            "activate": _activate(),
            "retry": _retry(),
            "map": _map(),
        },
    }


def _output() -> Schema:
    properties = {
        "type": parts.choice(sorted(TYPES), "What it is meant to be; a value of another type is let through."),
        "reference": parts.anything(
            "Where it comes from: a whole text `${node.output}` or `${inputs.name}`, with a path after it; else a "
            "literal.",
            examples=["${answer.output}", "${search.output.hits[0].title}", "${inputs.question}"],
        ),
        "description": parts.text("What the output means."),
        "is_chat_output": parts.flag("What is said back in a chat. At most one output of a chat flow has it."),
        "evaluation_only": parts.flag("Left out of what a served flow answers."),
    }
    return parts.mapping("An output.", parts.ordered(dag.OUTPUT_KEYS, properties), required=["type", "reference"])


def _node() -> Schema:
    return {
        **parts.mapping("A step.", parts.ordered(dag.NODE_KEYS, _peer_keys() | _our_keys()), required=["name"]),
        "if": {"properties": {"use_variants": {"const": True}}, "required": ["use_variants"]},
        "else": {
            "required": ["type"],
            "if": {"properties": {"type": {"const": "approval"}}},
            "else": {"required": ["source"]},
        },
    }


def _peer_keys() -> dict[str, Schema]:
    known = ", ".join(sorted(known_parameters()))
    return {
        "name": parts.text("What others call it: `${name.output}`.", minLength=1),
        "type": {"oneOf": [{"const": kind, "description": _KINDS[kind]} for kind in dag.NODE_TYPES],
                 "description": "What kind of step it is."},
        "source": {"$ref": "#/$defs/source"},
        "inputs": parts.names(
            "What it is given, by name: references or literals. Literals become what the parameter is annotated as; "
            f"null and empty text are left out. Inputs of an llm node with these names are parameters of the API, all "
            f"others are variables of its prompt: {known}.",
            True,
            examples=[{"question": "${inputs.question}", "temperature": 0, "model": "smollm2-135m-instruct"}],
        ),
        "connection": parts.text("The connection of an llm node. None, `default` and `studiolo`: the local gateway."),
        "api": parts.choice(("chat", "completion"), "Which API an llm node asks.", default="chat"),
        "provider": parts.text("Not read: the type of the connection says it.", examples=["AzureOpenAI", "OpenAI"]),
        "module": parts.text("Not read.", examples=["promptflow.tools.openai"]),
        "aggregation": parts.flag("Runs once, after all lines; what it takes from lines are lists over the completed "
                                  "ones, in line order."),
        "reduce": parts.flag("The old spelling of `aggregation`."),
        "activate": {"$ref": "#/$defs/activate"},
        "use_variants": parts.flag("The node is described under `node_variants`; it says nothing else here."),
        "enable_cache": parts.flag("Of prompt flow, without an effect there or here. See `cache`."),
        "comment": parts.text("For people."),
        "tool": parts.text("Of old files; not read."),
        "skip": parts.anything("Of old files; not read."),
    }  # fmt: skip


def _our_keys() -> dict[str, Schema]:
    return {
        "retry": {"$ref": "#/$defs/retry"},
        "timeout": parts.number(f"{_OURS}Seconds after which one try of the node fails.", examples=[30]),
        "cache": parts.flag(f"{_OURS}Keep outputs in the workspace, found again by code, prompt, inputs and the "
                            "model's weights."),
        "map": {"$ref": "#/$defs/map"},
        "pin": parts.anything(f"{_OURS}An output that stands in for running the node: to try what comes after it."),
    }  # fmt: skip


_KINDS = {
    "llm": "Fills a prompt and asks a model.",
    "prompt": "Fills a template; its output is a text.",
    "python": "Calls the one function marked @tool in a file, or a tool of an installed package.",
    "custom_llm": "Calls a tool of a package that takes a prompt.",
    "langchain": f"{_OURS}Invokes a LangChain Runnable: the file and its variable or function, `chain.py:chain`.",
    "flow": f"{_OURS}Runs another flow, `source: {{path: ../other}}`; its outputs by name are the node's output.",
    "approval": f"{_OURS}Shows its inputs to a person; the line waits until they have decided. Needs no source.",
}


def _source() -> Schema:
    properties = {
        "type": parts.choice(dag.SOURCE_TYPES, "Where the tool is.", default="code"),
        "path": parts.text("A file of the flow, relative to the flow file; of a flow node the folder of the flow.",
                           examples=["answer.jinja2", "tidy.py"]),
        "tool": parts.text("The id of a package's tool.", examples=["my_package.tools.search"]),
    }  # fmt: skip
    packaged = {"properties": {"type": {"enum": ["package", "package_with_prompt"]}}, "required": ["type"]}
    return {
        **parts.mapping("Where the step's code or prompt is.", parts.ordered(dag.SOURCE_KEYS, properties)),
        "if": packaged,
        "then": {"required": ["tool"]},
        "else": {"required": ["path"]},
    }


def _activate() -> Schema:
    properties = {
        "when": parts.anything("The value to look at.", examples=["${sort.output.route}"]),
        "is": parts.anything("What it must equal: 1 is not \"1\"."),
        "else": parts.anything(f"{_OURS}The node's output where it does not run. Without it the node is bypassed.",
                               examples=["${inputs.question}", {"approved": True}]),
    }  # fmt: skip
    return parts.mapping("Run the node only under a condition.", properties, required=["when", "is"])


def _retry() -> Schema:
    plain = Retry()
    properties = {
        "max": {"type": "integer", "minimum": 0, "default": plain.max, "description": "More tries after the first."},
        "delay": parts.number("Seconds before the second try.", default=plain.delay),
        "backoff": parts.number("What the delay grows by with each try.", default=plain.backoff),
        "on": parts.either(
            "Names of the exceptions that are worth another try.",
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}},
            default=[],
            examples=[["ConnectionError", "TimeoutError"]],
        ),
    }
    return parts.either(
        f"{_OURS}Try the node again after a failure. A number is `max`.",
        {"type": "integer", "minimum": 0},
        parts.mapping("How often, after how long, and after what.", parts.ordered(dag.RETRY_KEYS, properties)),
        {"type": "null"},
        examples=[3, {"max": 4, "delay": 0.5, "backoff": 2, "on": ["ConnectionError"]}],
    )


def _map() -> Schema:
    plain = Each(over=None)
    properties = {
        "over": parts.anything("The list.", examples=["${split.output}"]),
        "as": parts.text("What the node's inputs call the item.", default=plain.name, pattern=r"^[A-Za-z_]\w*$"),
        "concurrency": {"type": "integer", "minimum": 1, "default": plain.concurrency,
                        "description": "How many items at the same time."},
    }  # fmt: skip
    return parts.either(
        f"{_OURS}Run the node once per item of a list; its output is the list of outputs. A text is `over`.",
        {"type": "string"},
        parts.mapping(
            "Which list, and what its items are called.", parts.ordered(dag.MAP_KEYS, properties), required=["over"]
        ),
        {"type": "null"},
        examples=[{"over": "${split.output}", "as": "chapter"}],
    )


def _variants() -> Schema:
    node = parts.mapping("The node, without its name.", _peer_keys() | _our_keys(), required=["type"])
    node["properties"] = {**node["properties"], "name": parts.text("Not read.")}
    each = parts.mapping(
        "One way in which the node can be.",
        {"node": node, "description": parts.text("What is special about it.")},
        required=["node"],
    )
    properties = {
        "default_variant_id": parts.text("The variant that is used unless --variant says another."),
        "variants": {"type": "object", "description": "The variants, by id.", "additionalProperties": each},
    }
    return parts.mapping("The ways in which one node can be.", properties, required=["default_variant_id", "variants"])
