"""`studiolo finetune`: its commands, each in the file of its subject."""

from __future__ import annotations

from studiolo.commands.finetune_after import card_command, compare_command, export_command, merge_command
from studiolo.commands.finetune_data import data_command
from studiolo.commands.finetune_rows import canary_command, from_failures_command, from_traces_command
from studiolo.commands.finetune_run import list_command, plan_command, run_command, show_command
from studiolo.commands.groups import Group

app = Group(help="Fine-tune language models, and look at how it went.", no_args_is_help=True)

app.command("run")(run_command)
app.command("plan")(plan_command)
app.command("list")(list_command)
app.command("show")(show_command)
app.command("data")(data_command)
app.command("from-traces")(from_traces_command)
app.command("from-failures")(from_failures_command)
app.command("canary")(canary_command)
app.command("merge")(merge_command)
app.command("export")(export_command)
app.command("compare")(compare_command)
app.command("card")(card_command)
