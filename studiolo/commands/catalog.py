"""`studiolo catalog`: its commands, each in the file of its subject."""

from __future__ import annotations

from studiolo.commands.catalog_card import card_command
from studiolo.commands.catalog_search import compare_command, search_command, show_command
from studiolo.commands.catalog_sync import sync_command
from studiolo.commands.groups import Group

app = Group(help="Find models, see what they need, and bring them here.", no_args_is_help=True)

app.command("search")(search_command)
app.command("show")(show_command)
app.command("compare")(compare_command)
app.command("card")(card_command)
app.command("sync")(sync_command)
