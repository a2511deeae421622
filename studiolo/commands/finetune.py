"""`studiolo finetune`: its commands, each in the file of its subject."""

from __future__ import annotations

from studiolo.commands.finetune_run import list_command
from studiolo.commands.groups import Group

app = Group(help="Fine-tune language models, and look at how it went.", no_args_is_help=True)

app.command("list")(list_command)
