"""Commands of Azure's command line about what needs no keeping here: accounts, groups, extensions, the workspace.

They do nothing and say what scripts want to hear. The names that `az configure --defaults` sets are kept, to be told.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from studiolo import open_workspace
from studiolo.commands.az_words import Words
from studiolo.commands.formats import Answer, Format, print_answer
from workspace.errors import Invalid
from workspace.home import Workspace
from workspace.paths import write_atomically
from workspace.settings import Settings

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
USAGE = """\
Usage: studiolo az ml GROUP VERB [OPTIONS]

Command lines written for Azure's, on this workspace. `studiolo shell` puts an `az` on PATH.
Groups: job, component, data, environment, model, compute, datastore, connection, registry, schedule, online-endpoint,
online-deployment, batch-endpoint, batch-deployment, workspace.
Beside `az ml`, account, group, extension, configure and log-ins are taken and do nothing."""
KEPT = "az.json"  # in the workspace: what `az configure --defaults` has set
DEFAULTS = {"group": "studiolo", "workspace": "studiolo", "location": "local"}
_ML = {"name": "ml", "version": "2.99.0", "extensionType": "whl", "path": "", "experimental": False, "preview": False}


def answer(words: Words) -> None:
    """Answer one of these commands, or say that there is no counterpart."""
    path, options = words.path, _options(words)
    if not path or path == ("ml",) or words.asks_help:
        print(USAGE)
        return
    told = _told(path, options | dict(words.globals))
    output = options.get("-o") or options.get("--output") or "json"
    if output not in get_args(Format):
        raise Invalid(f"-o {output!r} is no format", hint=f"known: {', '.join(get_args(Format))}")
    format_: Format = output  # type: ignore[assignment]  # it is one of them
    print_answer(Answer(value=told), format_, options.get("--query"))


def _told(path: tuple[str, ...], options: dict[str, str]) -> Any:
    for length in (3, 2, 1):
        if found := _ANSWERS.get(path[:length]):
            return found(options)
    if path[0] == "ml":
        raise Invalid(f"`az {' '.join(path)}` has no counterpart on this machine", hint="studiolo --help")
    known = ", ".join(sorted({each[0] for each in _ANSWERS}))
    what = " ".join(path)
    raise Invalid(f"`az {what}` has no counterpart on this machine", hint=f"beside `az ml` these are taken: {known}")


def _options(words: Words) -> dict[str, str]:
    """Return options with their values; several values of one are joined by spaces."""
    found: dict[str, str] = {}
    option = ""
    for word in words.rest:
        if word.startswith("-"):
            option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
            found[option] = value if equals else ""
        else:
            found[option] = f"{found.get(option, '')} {word}".strip()
    return found


def _account(_: dict[str, str]) -> dict[str, Any]:
    return {
        "environmentName": "AzureCloud", "id": SUBSCRIPTION, "isDefault": True, "name": "Studiolo on this machine",
        "state": "Enabled", "tenantId": SUBSCRIPTION, "user": {"name": "studiolo", "type": "user"},
    }  # fmt: skip


def _group(options: dict[str, str]) -> dict[str, Any]:
    name = _first(options, "--name", "-n", "--resource-group", "-g") or _defaults()["group"]
    location = _first(options, "--location", "-l") or _defaults()["location"]
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}", "location": location, "name": name,
        "properties": {"provisioningState": "Succeeded"}, "tags": None,
    }  # fmt: skip


def _configure(options: dict[str, str]) -> Any:
    """Keep default names, or tell them."""
    given = _first(options, "--defaults", "-d")
    if "-l" in options or "--list-defaults" in options:
        return [{"name": name, "source": "studiolo", "value": value} for name, value in _defaults().items()]
    if given:
        pairs = dict(pair.partition("=")[::2] for pair in given.split())
        home = Settings.from_environment().home.expanduser().absolute()
        with open_workspace():
            write_atomically(home / KEPT, json.dumps(_defaults() | pairs))
    return None


def _workspace(options: dict[str, str]) -> dict[str, Any]:
    name = _first(options, "--name", "-n", "--workspace-name", "-w")
    if file := _first(options, "--file", "-f"):
        from jobs.files import read_workspace

        name = name or read_workspace(Path(file)).name
    name = name or _defaults()["workspace"]
    group = _first(options, "--resource-group", "-g") or _defaults()["group"]
    with open_workspace() as workspace:
        return _shape(workspace, name, group)


def _shape(workspace: Workspace, name: str, group: str) -> dict[str, Any]:
    settings = workspace.settings
    tracking = settings.mlflow_tracking_uri or f"http://127.0.0.1:{settings.mlflow_port}"
    base = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.MachineLearningServices"
    return {
        "name": name,
        "display_name": name,
        "description": f"Studiolo in {workspace.home}",
        "id": f"{base}/workspaces/{name}",
        "location": _defaults()["location"],
        "resource_group": group,
        "resourceGroup": group,
        "mlflow_tracking_uri": tracking,
        "discovery_url": f"http://127.0.0.1:{settings.control_port}",
        "provisioning_state": "Succeeded",
        "public_network_access": "Disabled",
        "tags": {},
    }


def _no_workspace_goes(_: dict[str, str]) -> None:
    home = Settings.from_environment().home.expanduser().absolute()
    print(f"note: the workspace stays; it is the folder {home}", file=sys.stderr)


def _defaults() -> dict[str, str]:
    path = Settings.from_environment().home.expanduser().absolute() / KEPT
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return DEFAULTS | kept


def _first(options: dict[str, str], *names: str) -> str:
    return next((options[name] for name in names if options.get(name)), "")


def _nothing(_: dict[str, str]) -> None:
    return None


_ANSWERS: dict[tuple[str, ...], Callable[[dict[str, str]], Any]] = {
    ("account", "show"): _account,
    ("account", "list"): lambda options: [_account(options)],
    ("account", "set"): _nothing,
    ("account", "clear"): _nothing,
    ("group", "show"): _group,
    ("group", "create"): _group,
    ("group", "list"): lambda options: [_group(options)],
    ("group", "exists"): lambda _: True,
    ("group", "delete"): _nothing,
    ("group", "wait"): _nothing,
    ("extension", "list"): lambda _: [_ML],
    ("extension", "show"): lambda _: _ML,
    ("extension",): _nothing,
    ("configure",): _configure,
    ("login",): lambda options: [_account(options)],
    ("logout",): _nothing,
    ("upgrade",): _nothing,
    ("config",): _nothing,
    ("provider",): _nothing,
    ("feature",): _nothing,
    ("cloud",): _nothing,
    ("version",): lambda _: {"azure-cli": "2.99.0", "azure-cli-core": "2.99.0", "extensions": {"ml": _ML["version"]}},
    ("--version",): _nothing,
    ("ml", "workspace", "list"): lambda options: [_workspace(options)],
    ("ml", "workspace", "delete"): _no_workspace_goes,
    ("ml", "workspace", "diagnose"): lambda _: {"value": {}},
    ("ml", "workspace", "sync-keys"): _nothing,
    ("ml", "workspace", "provision-network"): _nothing,
    ("ml", "workspace", "show"): _workspace,
    ("ml", "workspace", "create"): _workspace,
    ("ml", "workspace", "update"): _workspace,
}
