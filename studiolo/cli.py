"""The command line: it knows what each command is called and what it is for, and imports only the one that is run."""

from __future__ import annotations

import copy
import gc
import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from studiolo.arguments import spread
from workspace.errors import StudioloError
from workspace.settings import variable

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives ("module:attribute", a typer app or a function), what it does, and its part of the help."""

    where: str
    help: str
    panel: str


STUDIO, WORK, LOOK = "The studio", "Build and measure", "Look and keep"
COMMANDS = {
    "up": Entry("studiolo.commands.services:up", "Start the studio on this machine.", STUDIO),
    "down": Entry("studiolo.commands.services:down", "Stop the studio and its engines.", STUDIO),
    "status": Entry("studiolo.commands.services:status", "Show what is running, where, and since when.", STUDIO),
    "doctor": Entry("studiolo.commands.doctor:doctor", "Check this machine and this workspace.", STUDIO),
    "demo": Entry("studiolo.commands.demo:demo", "Ask, score, compare and report: the whole loop in minutes.", WORK),
    "flow": Entry("studiolo.commands.flow:app", "Test, run and check prompt flows.", WORK),
    "connection": Entry("studiolo.commands.connection:app", "Keep connections to services, sealed.", WORK),
    "pf": Entry("studiolo.commands.pf:pf", "Take prompt flow's own command lines.", WORK),
    "index": Entry("studiolo.commands.index:app", "Make folders of documents searchable, for flows.", WORK),
    "eval": Entry("studiolo.commands.eval:app", "Score runs and compare them.", WORK),
    "finetune": Entry("studiolo.commands.finetune:app", "Fine-tune language models, and look at how it went.", WORK),
    "rai": Entry("studiolo.commands.rai:app", "Look at models of tables: groups, errors, reasons; gate them.", WORK),
    "job": Entry("studiolo.commands.job:app", "Submit jobs, follow them, look at them, cancel them.", WORK),
    "az": Entry("studiolo.commands.az:az", "Take command lines that were written for `az ml`.", WORK),
    "shell": Entry("studiolo.commands.shell:shell", "Open a shell in which `az` works on this workspace.", WORK),
    "component": Entry("studiolo.commands.component:app", "Keep components, the steps of pipelines.", WORK),
    "data": Entry("studiolo.commands.data:app", "Keep data by name and version.", WORK),
    "environment": Entry("studiolo.commands.environment:app", "Keep what jobs run in, and make it.", WORK),
    "model": Entry("studiolo.commands.model:app", "Keep models by name and version.", WORK),
    "compute": Entry("studiolo.commands.compute:app", "Keep the names of what jobs run on.", WORK),
    "datastore": Entry("studiolo.commands.datastore:app", "Keep where data lies.", WORK),
    "registry": Entry("studiolo.commands.registry:app", "Keep shelves of assets for several workspaces.", WORK),
    "schedule": Entry("studiolo.commands.schedule:app", "Run jobs again and again.", WORK),
    "event-rule": Entry("studiolo.commands.event_rule:app", "Tell others what happens here.", WORK),
    "cluster": Entry("studiolo.commands.cluster:app", "Start a small Ray cluster here, to try it.", STUDIO),
    "catalog": Entry("studiolo.commands.catalog:app", "Find models, and bring them here.", WORK),
    "models": Entry("studiolo.commands.models:app", "Prepare the models that come with Studiolo.", WORK),
    "endpoint": Entry("studiolo.commands.endpoint:app", "Make endpoints, split their traffic, ask them.", WORK),
    "deployment": Entry("studiolo.commands.deployment:app", "Deploy models, scripts and flows behind endpoints.", WORK),
    "batch-endpoint": Entry("studiolo.commands.batch:endpoints", "Score files through batch endpoints.", WORK),
    "batch-deployment": Entry(
        "studiolo.commands.batch:deployments", "Deploy models and scripts behind batch endpoints.", WORK
    ),
    "key": Entry("studiolo.commands.key:app", "Make keys for the gateway, with limits and budgets.", WORK),
    "rollout": Entry("studiolo.commands.rollout:app", "Let a deployment take over, watched, step by step.", WORK),
    "bench": Entry("studiolo.commands.bench:app", "Put a load on an endpoint and measure it.", WORK),
    "engine": Entry("studiolo.commands.engine:app", "Install engines that have environments of their own.", WORK),
    "runs": Entry("studiolo.commands.runs:app", "List runs and show one.", LOOK),
    "trace": Entry("studiolo.commands.trace:app", "See what happened inside flows.", LOOK),
    "lineage": Entry("studiolo.commands.lineage:lineage", "Print what a run or an asset was made from.", LOOK),
    "explain": Entry("studiolo.commands.explain:explain", "Print where one answer of a model came from.", LOOK),
    "sql": Entry("studiolo.commands.sql:sql", "Ask the ledger in SQL.", LOOK),
    "sync": Entry("studiolo.commands.sync:sync", "Bring the ledger and MLflow up to date.", LOOK),
}


class _Promise(TyperCommand):
    """A command that is known by name; `keep` imports the real one."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.help, rich_help_panel=entry.panel)
        self._entry = entry

    def keep(self, wanted: str | None) -> Any:
        """Return the real command; of a group, `wanted` alone where it has that: making all of them takes time."""
        module, attribute = self._entry.where.split(":")
        found: typer.Typer | Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            command: Any = get_group(_with_only(found, wanted))
            command.name, command.help = self.name, command.help or self.help
            command.no_args_is_help = True
            return command
        alone = typer.Typer(add_completion=False)
        alone.command(self.name, context_settings=getattr(found, "context_settings", None))(found)
        return get_command(alone)


def _with_only(group: typer.Typer, name: str | None) -> typer.Typer:
    one = [each for each in group.registered_commands if each.name == name]
    if not one:
        return group
    small = copy.copy(group)
    small.registered_commands, small.registered_groups = one, []
    return small


class _Commands(TyperGroup):
    """The table above as a group: the help reads the table, running one imports it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, entry in COMMANDS.items():
            self.add_command(_Promise(name, entry))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.keep(next(iter(rest), None)) if isinstance(command, _Promise) else command, rest


app = typer.Typer(name="studiolo", cls=_Commands, no_args_is_help=True, rich_markup_mode="rich")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"studiolo {version('studiolo')}")  # noqa: T201
        raise typer.Exit


@app.callback(epilog="Start with `studiolo up`, then `studiolo demo`.")
def _studiolo(
    home: Annotated[
        Path | None, typer.Option(help="The workspace folder; default .studiolo here, or STUDIOLO_HOME.")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A whole GenAI and ML studio in one room: models, flows, evaluation, lineage."""
    if home is not None:
        # The same road as the variable: what is started from here works on the same workspace.
        os.environ[variable("home")] = str(home.expanduser().absolute())


def command_of(group: str, name: str) -> Any:
    """Return a command of a group, with its options, or None where there is none of that name."""
    return _Promise(group, COMMANDS[group]).keep(name).commands.get(name) if group in COMMANDS else None


def run(arguments: list[str]) -> None:
    """Run one command line, and end this process where it ends."""
    get_command(app)(args=spread(arguments), prog_name="studiolo")


def main() -> NoReturn:
    """Run the command line. One of our errors ends as a line and a hint; a bug keeps its traceback."""
    try:
        run(sys.argv[1:])
    except StudioloError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        # The end of the process frees everything; going through it first takes longer than some commands.
        if "_duckdb" not in sys.modules:  # it prints what it holds as leaks
            gc.freeze()
    sys.exit(0)


if __name__ == "__main__":
    main()
