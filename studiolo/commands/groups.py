"""Groups of commands that return what they found: how it is printed is asked and done here, once for all of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args

import typer
from typer.models import ArgumentInfo

from studiolo.commands.formats import Answer, Format, print_answer
from workspace.errors import Invalid

Command = TypeVar("Command", bound=Callable[..., Any])

_Output = Annotated[Format | None, typer.Option("--output", "-o", help="How to print it.")]
_Query = Annotated[str | None, typer.Option("--query", help="The part to print, in JMESPath.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, as -o json.")]
_Name = Annotated[str, typer.Option("--name", "-n", help="NAME, as an option.")]
_ASKED = (("print_as", _Output, None), ("print_part", _Query, None), ("as_json", _Json, False))


class Group(typer.Typer):
    """A group whose commands return an Answer, or None. Each takes `--output`, `--query` and `--json`.

    An argument `name` can be given as `--name` too, as people who know `az` write it.
    """

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Command], Command]:
        """Add a command, as in any group."""
        add = super().command(name, **settings)

        def added(function: Command) -> Command:
            add(_printing(function))
            return function

        return added


def _printing(function: Callable[..., Answer | None]) -> Callable[..., None]:
    """Return a command that prints what the function returns, with the options for it."""
    signature = inspect.signature(function, eval_str=True)
    parameters = list(signature.parameters.values())
    asked = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in _ASKED
    ]
    is_named = any(_is_name(each) for each in parameters)
    is_needed = any(_is_name(each) and each.default is inspect.Parameter.empty for each in parameters)
    if is_named:
        parameters = [each.replace(default="") if _is_name(each) else each for each in parameters]
        asked.insert(0, inspect.Parameter("name_option", inspect.Parameter.KEYWORD_ONLY, default="", annotation=_Name))

    @functools.wraps(function)
    def command(
        *, print_as: Format | None, print_part: str | None, as_json: bool, name_option: str = "", **given: Any
    ) -> None:
        if is_named:
            given["name"] = _one(given["name"], name_option, is_needed=is_needed)
        answer = function(**given)
        if answer is not None:
            print_answer(answer, print_as or ("json" if as_json else None), print_part)

    made: Any = command
    made.__signature__ = signature.replace(parameters=[*parameters, *asked])
    made.__annotations__ = {each.name: each.annotation for each in (*parameters, *asked)}
    return command


def _is_name(parameter: inspect.Parameter) -> bool:
    told = get_args(parameter.annotation)[1:]
    return parameter.name == "name" and any(isinstance(each, ArgumentInfo) for each in told)


def _one(argument: str, option: str, *, is_needed: bool) -> str:
    if argument and option and argument != option:
        raise Invalid(f"two names are given: {argument!r} and {option!r}")
    if is_needed and not argument and not option:
        raise Invalid("the name is missing", hint="give it as --name NAME")
    return argument or option
