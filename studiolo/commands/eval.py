"""`studiolo eval`: its commands, each in the file of its subject."""

from __future__ import annotations

import typer

from studiolo.commands.eval_adapters import import_command, inspect_command, lm_eval_command
from studiolo.commands.eval_compare import compare_command
from studiolo.commands.eval_gate import bless_command, gate_command, plan_command
from studiolo.commands.eval_judges import calibrate_command, contamination_command, scorers_command
from studiolo.commands.eval_models import card_command, equivalence_command
from studiolo.commands.eval_run import run_command
from studiolo.commands.eval_runs import list_command, show_command, view_command
from studiolo.commands.eval_score import score_command

app = typer.Typer(help="Score runs, compare them row by row, gate on the result.", no_args_is_help=True)

app.command("run")(run_command)
app.command("score")(score_command)
app.command("compare")(compare_command)
app.command("gate")(gate_command)
app.command("bless")(bless_command)
app.command("plan")(plan_command)
app.command("list")(list_command)
app.command("show")(show_command)
app.command("view")(view_command)
app.command("scorers")(scorers_command)
app.command("calibrate")(calibrate_command)
app.command("contamination")(contamination_command)
app.command("equivalence")(equivalence_command)
app.command("card")(card_command)
app.command("import")(import_command)
app.command("lm-eval")(lm_eval_command)
app.command("inspect")(inspect_command)
