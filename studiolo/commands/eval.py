"""`studiolo eval`: its commands, each in the file of its subject."""

from __future__ import annotations

import typer

from studiolo.commands.eval_compare import compare_command
from studiolo.commands.eval_judges import calibrate_command, contamination_command, scorers_command
from studiolo.commands.eval_runs import list_command, show_command
from studiolo.commands.eval_score import score_command

app = typer.Typer(help="Score runs, compare them row by row, gate on the result.", no_args_is_help=True)

app.command("score")(score_command)
app.command("compare")(compare_command)
app.command("list")(list_command)
app.command("show")(show_command)
app.command("scorers")(scorers_command)
app.command("calibrate")(calibrate_command)
app.command("contamination")(contamination_command)
