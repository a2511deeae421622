"""`studiolo catalog`: its commands, each in the file of its subject."""

from __future__ import annotations

from studiolo.commands.catalog_card import card_command
from studiolo.commands.catalog_fit import fit_command
from studiolo.commands.catalog_provider import app as providers
from studiolo.commands.catalog_pull import list_command, pull_command, rm_command, verify_command
from studiolo.commands.catalog_search import compare_command, search_command, show_command
from studiolo.commands.catalog_serve import serve_command
from studiolo.commands.catalog_sync import sync_command
from studiolo.commands.groups import Group

app = Group(help="Find models, see what they need, and bring them here.", no_args_is_help=True)

app.command("search")(search_command)
app.command("show")(show_command)
app.command("compare")(compare_command)
app.command("card")(card_command)
app.command("fit")(fit_command)
app.command("sync")(sync_command)
app.command("pull")(pull_command)
app.command("list")(list_command)
app.command("verify")(verify_command)
app.command("rm")(rm_command)
app.command("serve")(serve_command)
app.add_typer(providers, name="provider")
