"""The commands of what files name: data, models, environments and components by version, computes and the like by name.

They are the same for all kinds, so they are written once: `group("data", "Keep data, by version.")`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from studiolo import open_workspace
from studiolo.commands.changing import Add, Remove, Set, removals, sets
from studiolo.commands.formats import Answer
from studiolo.commands.groups import Group
from studiolo.commands.scoring_options import Yes, confirm
from workspace.errors import Invalid

COLUMNS = {
    "data": ("name", "version", "type", "path", "description"),
    "model": ("name", "version", "type", "stage", "description"),
    "environment": ("name", "version", "image", "description"),
    "component": ("name", "version", "type", "display_name", "description"),
    "datastore": ("name", "type", "description"),
    "compute": ("name", "type", "size", "provisioning_state"),
    "registry": ("name", "location", "description"),
    "connection": ("name", "type", "target"),
}
MOST = 1000

Name = Annotated[str, typer.Argument(help="Its name, or name:version.")]
OfFile = Annotated[Path | None, typer.Option("--file", "-f", help="The file, in Azure ML's YAML.")]
Named = Annotated[str, typer.Option("--name", "-n", help="Its name, instead of the file's.")]
Version = Annotated[str, typer.Option("--version", "-v", help="The version.")]
Label = Annotated[str, typer.Option("--label", "-l", help="A label, instead of a version: latest.")]
Description = Annotated[str, typer.Option("--description", help="What it is for.")]
Tags = Annotated[list[str] | None, typer.Option("--tags", help="key=value; again for more.")]
ArchivedOnly = Annotated[bool, typer.Option("--archived-only", help="Those that are archived.")]
IncludeArchived = Annotated[bool, typer.Option("--include-archived", help="Those that are archived too.")]
Most = Annotated[int, typer.Option("--max-results", "-r", min=1, help="How many.")]


def versioned(kind: str, about: str) -> Group:
    """Return the commands of a kind that has versions; `create` is each kind's own."""
    group = Group(help=about)

    @group.command("show")
    def show_command(name: Name, version: Version = "", label: Label = "") -> Answer:
        from jobs import assets

        with open_workspace() as workspace:
            called, asked = _parted(name, version)
            return Answer(value=assets.show(workspace, kind, called, version=asked, label=label or None))

    @group.command("list")
    def list_command(
        name: Annotated[str, typer.Option("--name", "-n", help="Every version of this one.")] = "",
        archived_only: ArchivedOnly = False,
        include_archived: IncludeArchived = False,
        max_results: Most = MOST,
    ) -> Answer:
        from jobs import assets

        wanted: assets.Archived = "only" if archived_only else "with" if include_archived else "without"
        with open_workspace() as workspace:
            found = assets.list_all(workspace, kind, name or None, archived=wanted)[:max_results]
        return Answer(value=found, columns=COLUMNS[kind], next="" if found else f"studiolo {kind} create -f FILE")

    @group.command("update")
    def update_command(
        name: Name, version: Version = "", label: Label = "", set_: Set = None, add: Add = None, remove: Remove = None
    ) -> Answer:
        from jobs import assets

        with open_workspace() as workspace:
            called, asked = _parted(name, version)
            return Answer(
                value=assets.update(
                    workspace, kind, called, sets(set_, add), removed=removals(remove), version=asked,
                    label=label or None,
                )
            )  # fmt: skip

    @group.command("archive")
    def archive_command(name: Name, version: Version = "", label: Label = "") -> Answer:
        from jobs import assets

        with open_workspace() as workspace:
            called, asked = _parted(name, version)
            assets.archive(workspace, kind, called, version=asked, label=label or None)
        return Answer(value=None, words=f"{name} archived", next=f"studiolo {kind} restore -n {called}")

    @group.command("restore")
    def restore_command(name: Name, version: Version = "", label: Label = "") -> Answer:
        from jobs import assets

        with open_workspace() as workspace:
            called, asked = _parted(name, version)
            assets.restore(workspace, kind, called, version=asked, label=label or None)
        return Answer(value=None, words=f"{name} restored")

    helps = {
        show_command: "Show a version: by its number, by a label, or the latest.",
        list_command: "List the latest version of each, or with --name every version of one.",
        update_command: "Change what is said of a version: its description and tags.",
        archive_command: "Hide a version, or all of them, from lists and from @latest; nothing goes.",
        restore_command: "Take back what was archived.",
    }
    return _told(group, helps)


def shared(group: Group, kind: str) -> None:
    """Give a group the command that puts a version into a registry."""

    @group.command("share")
    def share_command(
        name: Name,
        version: Version = "",
        registry: Annotated[str, typer.Option("--registry-name", "-r", help="The registry that gets it.")] = "",
        as_name: Annotated[str, typer.Option("--share-with-name", help="What it is called there.")] = "",
        as_version: Annotated[str, typer.Option("--share-with-version", help="Its version there.")] = "",
    ) -> Answer:
        """Put a version into a registry, under another name where one is given; files name it azureml://registries/…"""
        from jobs import assets

        if not registry:
            raise Invalid("no registry is named", hint="--registry-name NAME; studiolo registry list")
        with open_workspace() as workspace:
            meant = _parted(name, version)
            found = assets.share(workspace, kind, meant, registry, name=as_name, version=as_version)
        return Answer(value=found)


def unversioned(kind: str, about: str) -> Group:
    """Return the commands of a kind that has a name alone; `create` is each kind's own."""
    group = Group(help=about)

    @group.command("show")
    def show_command(name: Name) -> Answer:
        from jobs import assets

        with open_workspace() as workspace:
            return Answer(value=assets.show(workspace, kind, name))

    @group.command("list")
    def list_command(max_results: Most = MOST) -> Answer:
        from jobs import assets

        with open_workspace() as workspace:
            found = assets.list_all(workspace, kind)[:max_results]
        return Answer(value=found, columns=COLUMNS[kind], next="" if found else f"studiolo {kind} create -f FILE")

    @group.command("update")
    def update_command(name: Name, set_: Set = None, add: Add = None, remove: Remove = None) -> Answer:
        from jobs import assets

        with open_workspace() as workspace:
            return Answer(value=assets.update(workspace, kind, name, sets(set_, add), removed=removals(remove)))

    @group.command("delete")
    def delete_command(name: Name, yes: Yes = False) -> None:
        from jobs import assets

        confirm(f"Forget the {kind} {name}?", yes=yes)
        with open_workspace() as workspace:
            assets.delete(workspace, kind, name)

    helps = {
        show_command: "Show one.",
        list_command: "List them.",
        update_command: "Change it, key by key.",
        delete_command: "Forget it; what it names elsewhere stays.",
    }
    return _told(group, helps)


def create(kind: str, file: Path | None, given: dict[str, Any], set_: list[str] | None = None) -> Answer:
    """Make what a file says; `given` are the options, which go before what it says."""
    from jobs import assets

    said = {key: value for key, value in given.items() if value not in ("", None, {})}
    with open_workspace() as workspace:
        if file is not None:
            overrides = (*said.items(), *sets(set_))
            shown = assets.create(workspace, kind, file, tuple(overrides))
        elif said:
            shown = assets.create(workspace, kind, said, sets(set_), folder=Path.cwd())
        else:
            raise Invalid(f"a {kind} needs a file, or options", hint=f"studiolo {kind} create -f FILE")
    return Answer(value=shown, next=f"studiolo {kind} show -n {shown['name']}")


def tags_of(given: list[str] | None) -> dict[str, str]:
    """Return `a=b` texts as a mapping."""
    found = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Invalid(f"--tags takes key=value, not {text!r}", hint="for example --tags team=blue")
        found[key] = value
    return found


def mounted(path: str, folder: Path, mode: str) -> Answer:
    """Lay data out in a folder, for reading."""
    from jobs.data.mounting import lay_out

    if mode != "ro_mount":
        hint = "write to its own place, or let a job leave it as an output"
        raise Invalid(f"data is shown for reading alone, not by {mode!r}", hint=hint)
    with open_workspace() as workspace:
        shown = lay_out(workspace, path, folder)
    return Answer(value=str(shown), words=str(shown))


def _parted(name: str, version: str) -> tuple[str, str | None]:
    """Return a name and a version where it is written with it: `_parted("rows:3", "") == ("rows", "3")`."""
    called, colon, inside = name.removeprefix("azureml:").partition(":")
    if colon and version and version != inside:
        raise Invalid(f"two versions are given: {inside!r} and {version!r}")
    return called, version or inside or None


def _told(group: Group, helps: dict[Any, str]) -> Group:
    """Give commands that were made in a function their help, which is told of no other way."""
    by_name = {function.__name__: text for function, text in helps.items()}
    for command in group.registered_commands:
        if command.callback is not None and command.callback.__name__ in by_name:
            command.help = by_name[command.callback.__name__]
    return group
