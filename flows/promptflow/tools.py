"""What flow code marks its tools with: `@tool`, tool classes, and the settings of inputs for whoever draws them."""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from flows.python_tools import MARK

SETTINGS = "__studiolo_tool_settings__"
GIVEN = ("subscription_id", "resource_group_name", "workspace_name")  # list functions are given these where they ask


class ToolType(StrEnum):
    """The kinds of tools."""

    LLM = "llm"
    PYTHON = "python"
    CSHARP = "csharp"
    PROMPT = "prompt"
    CUSTOM_LLM = "custom_llm"


class ToolProvider(ABC):  # noqa: B024 - a mark: its subclasses hold methods marked @tool
    """A class whose methods are tools; literal inputs named as parameters of `__init__` make the instance."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: B027 - as subclasses call it
        ...


class DynamicList:
    """An input whose choices a function lists: `[{"value": …, "display_value": …}]`."""

    def __init__(self, function: str | Callable[..., Any], input_mapping: Mapping[str, str] | None = None) -> None:
        self.func_path = path_of(function)
        self.func_kwargs = _mapped(function, dict(input_mapping or {}))

    def written(self) -> dict[str, Any]:
        """Return it as tool YAML says it."""
        return {"func_path": self.func_path} | ({"func_kwargs": self.func_kwargs} if self.func_kwargs else {})


class GeneratedBy:
    """An input whose value a function makes from other inputs, and another one takes apart again."""

    def __init__(
        self,
        function: str | Callable[..., Any],
        reverse_function: str | Callable[..., Any],
        input_settings: Mapping[str, InputSetting] | None = None,
    ) -> None:
        self.func_path = path_of(function)
        self.reverse_func_path = path_of(reverse_function)
        self.input_settings = dict(input_settings or {})
        self.func_kwargs = _mapped(function, None)

    def written(self) -> dict[str, Any]:
        """Return it as tool YAML says it."""
        found: dict[str, Any] = {"func_path": self.func_path, "reverse_func_path": self.reverse_func_path}
        for argument in self.func_kwargs:
            setting = self.input_settings.get(argument["name"])
            argument.update(setting.written() if setting else {})
        return found | ({"func_kwargs": self.func_kwargs} if self.func_kwargs else {})


class InputSetting:
    """How one input of a tool is shown: its choices, when it is enabled, where its value comes from."""

    def __init__(
        self,
        *,
        is_multi_select: bool | None = None,
        allow_manual_entry: bool | None = None,
        enabled_by: str | None = None,
        enabled_by_value: list[Any] | None = None,
        dynamic_list: DynamicList | None = None,
        generated_by: GeneratedBy | None = None,
        **others: Any,
    ) -> None:
        self.is_multi_select = is_multi_select
        self.allow_manual_entry = allow_manual_entry
        self.enabled_by = enabled_by
        self.enabled_by_value = enabled_by_value
        self.dynamic_list = dynamic_list
        self.generated_by = generated_by
        self.others = others
        vars(self).update({name: value for name, value in others.items() if name != "others"})

    def written(self) -> dict[str, Any]:
        """Return it as tool YAML says it; what is not set is left out."""
        names = ("enabled_by", "enabled_by_value", "is_multi_select", "allow_manual_entry")
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        for name, value in (("dynamic_list", self.dynamic_list), ("generated_by", self.generated_by)):
            if value is not None:
                found[name] = value.written() if isinstance(value, DynamicList | GeneratedBy) else value
        return found | self.others


def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    type: str | None = None,  # noqa: A002 - as flow code writes it
    input_settings: Mapping[str, InputSetting] | None = None,
    streaming_option_parameter: str | None = None,
    **extra: Any,
) -> Any:
    """Mark a function or method as a tool, as `@tool` or `@tool(name=…)`; it stays the function it is."""
    if type is not None and type not in {kind.value for kind in ToolType}:
        raise ValueError(f"a tool cannot be of type {type!r}: use one of {', '.join(kind.value for kind in ToolType)}")
    settings = {"name": name, "description": description, "type": type, "input_settings": dict(input_settings or {}),
                "streaming_option_parameter": streaming_option_parameter, "extra": extra}  # fmt: skip

    def mark(marked: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(marked):
            raise TypeError(f"@tool marks a function, not {marked!r}")
        setattr(marked, MARK, marked.__module__)
        setattr(marked, SETTINGS, settings)
        return marked

    return mark if function is None else mark(function)


def settings_of(function: Any) -> dict[str, Any]:
    """Return what `@tool` was given for a function."""
    found: dict[str, Any] = getattr(function, SETTINGS, None) or {}
    return found


def path_of(function: str | Callable[..., Any]) -> str:
    """Return a function as "module.name", or the text that says so already."""
    if isinstance(function, str):
        return function
    return f"{function.__module__}.{function.__qualname__}"


def _mapped(function: str | Callable[..., Any], mapping: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """Return the arguments of a function of the designer; `mapping` names the inputs that feed them, None: its own."""
    if isinstance(function, str):
        return [{"name": name, "reference": f"${{inputs.{source}}}"} for name, source in (mapping or {}).items()]
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) or name in GIVEN:
            continue
        argument: dict[str, Any] = {"name": name, "type": [type_name(parameter.annotation)]}
        if parameter.default is not parameter.empty:
            argument |= {"optional": True} | ({} if parameter.default is None else {"default": parameter.default})
        if mapping is None or name in mapping:
            argument["reference"] = f"${{inputs.{name if mapping is None else mapping[name]}}}"
        found.append(argument)
    return found


def type_name(annotation: Any) -> str:
    """Return what tool YAML calls the type of a parameter."""
    if annotation is inspect.Parameter.empty:
        return "object"
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "object")
    return _TYPES.get(name, name if name in _KNOWN or name.endswith("Connection") else "object")


_TYPES = {
    "str": "string", "float": "double", "Secret": "secret", "PromptTemplate": "prompt_template",
    "FilePath": "file_path", "Image": "image", "AssistantDefinition": "assistant_definition",
}  # fmt: skip
_KNOWN = frozenset({"int", "bool", "list", "object"})
