"""`studiolo pf flow`: flows in prompt flow's words; most of it is what `studiolo flow` does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from studiolo.commands.pf_options import command, inputs, print_json, several, values, variables
from workspace.errors import Invalid, StudioloError

DETAIL = ".promptflow"


def add(commands: Any) -> None:
    """Add the commands of the group."""
    init = command(commands, "init", "make a flow from a template", _init)
    init.add_argument("--flow", required=True, help="the folder to make")
    init.add_argument("--type", choices=("standard", "evaluation", "chat"), default="standard")
    init.add_argument("--entry", help="the Python file with the function")
    init.add_argument("--function", help="the function in it")
    init.add_argument("--prompt-template", nargs="+", action="extend", metavar="NAME=FILE")
    init.add_argument("-y", "--yes", action="store_true", help="do not ask")
    test = command(commands, "test", "run a flow once", _test)
    test.add_argument("--flow", required=True, help="the flow folder or file, or module:name")
    test.add_argument("--node", help="run this node alone")
    test.add_argument("--variant", help="${node.variant}")
    test.add_argument("--interactive", action="store_true", help="talk to a chat flow")
    test.add_argument("--ui", action="store_true", help="open the flow in the browser")
    test.add_argument("--multi-modal", action="store_true", help="as --ui")
    test.add_argument("--collection", help="accepted and ignored")
    test.add_argument("--detail", type=Path, help="write what each node did here")
    test.add_argument("--skip-open-browser", action="store_true")
    several(test, "--inputs", "name=value …, or a JSON file")
    several(test, "--environment-variables", "NAME=value … or a .env file", none=True)
    several(test, "--init", "name=value … for a flex class, or a .json file")
    serve = command(commands, "serve", "serve a flow over HTTP", _serve)
    serve.add_argument("--source", required=True, help="the flow folder")
    serve.add_argument("--port", default="8080")
    serve.add_argument("--host", default="localhost")
    serve.add_argument("--engine", choices=("flask", "fastapi"), help="accepted; there is one engine")
    serve.add_argument("--skip-open-browser", action="store_true")
    several(serve, "--environment-variables", "NAME=value … or a .env file", none=True)
    several(serve, "--init", "name=value … for a flex class")
    build = command(commands, "build", "make a folder or an image of a flow", _build)
    build.add_argument("--source", required=True, help="the flow folder")
    build.add_argument("--output", required=True, help="the folder to make")
    build.add_argument("--format", choices=("docker", "executable"), default="docker")
    build.add_argument("--variant", help="${node.variant}")
    validate = command(commands, "validate", "check a flow", _validate)
    validate.add_argument("--source", required=True, help="the flow folder")
    save = command(commands, "save", "make a flow of a function", _save)
    save.add_argument("--entry", required=True, help="module:name")
    save.add_argument("--code", type=Path, help="the folder with the module")
    save.add_argument("--path", type=Path, help="the folder to make; else the flow is written beside the code")


def _test(given: argparse.Namespace) -> int:
    from studiolo import flow_tests

    if given.ui or given.multi_modal:
        print(flow_tests.page(given.flow))
        return 0
    with flow_tests.prepared(
        given.flow,
        variant=given.variant,
        environment=variables(given.environment_variables),
        init=values(given.init),
    ) as ready:
        if given.interactive:
            from studiolo.commands.flow_chat import converse

            converse(ready, inputs(given.inputs), verbose=given.verbose)
            return 0
        found = inputs(given.inputs)
        result = flow_tests.once(ready, _known(ready.flow, found) if given.node is None else found, node=given.node)
        if given.detail or not given.node:
            flow_tests.write_detail(result, given.detail or ready.flow.folder / DETAIL)
    if result.error:
        raise StudioloError(result.error, hint=f"the flow is {ready.flow.file}")
    _print_result(result.outputs["output"] if given.node else dict(result.outputs))
    return 0


def _known(flow: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Prompt flow warns of inputs that a flow does not have; it does not refuse them."""
    for name in [name for name in given if name not in flow.inputs]:
        print(f"warning: the flow has no input {name!r}", file=sys.stderr)
        del given[name]
    return given


def _print_result(made: Any) -> None:
    if isinstance(made, str):
        print(made)
    else:
        print_json(made)


def _validate(given: argparse.Namespace) -> int:
    from flows import check

    problems = [each for each in check.problems(given.source) if each.severity == "error"]
    if not problems:
        print_json({"result": "Succeeded"})
        return 0
    errors = [
        {"message": problem.message, "location": str(problem.at) if problem.at else None, "hint": problem.hint}
        for problem in problems
    ]
    print_json({"result": "Failed", "errors": errors})
    return 1


def _save(given: argparse.Namespace) -> None:
    from studiolo import pf_client

    print(f"Saved the flow in {pf_client.save_flow(given.entry, code=given.code, path=given.path)}.")


def _init(given: argparse.Namespace) -> None:
    options = {"--entry": given.entry, "--function": given.function}
    pairs = [text for each in given.prompt_template or [] for text in ("--prompt-template", each)]
    _flow("init", ["--flow", given.flow, "--type", given.type, *_options(options), *pairs])


def _serve(given: argparse.Namespace) -> None:
    options = {"--source": given.source, "--port": given.port, "--host": given.host}
    stated = [f"{name}={value}" for name, value in variables(given.environment_variables).items()]
    lists = _repeated("--environment-variables", stated) + _repeated("--init", given.init or [])
    _flow("serve", [*_options(options), *lists])


def _build(given: argparse.Namespace) -> None:
    options = {"--source": given.source, "--output": given.output, "--format": given.format, "--variant": given.variant}
    _flow("build", _options(options))


def _flow(name: str, arguments: list[str]) -> None:
    """Run the command of `studiolo flow` that does the same."""
    from typer.main import get_command

    from studiolo.commands.flow import app

    group: Any = get_command(app)
    if name not in group.commands:
        raise Invalid(f"`studiolo flow {name}` is not there")
    group(args=[name, *arguments], prog_name="studiolo flow", standalone_mode=False)


def _options(given: dict[str, str | None]) -> list[str]:
    return [part for name, value in given.items() if value is not None for part in (name, value)]


def _repeated(option: str, given: list[str]) -> list[str]:
    return [part for value in given for part in (option, value)]
