"""`studiolo rai`: what a model does to whom and why, whether that may go on, and the same model treated for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studiolo import open_workspace
from studiolo.commands.eval_options import GATE_FAILED, AsJson
from studiolo.commands.show import print_json, print_table
from workspace.errors import Invalid

if TYPE_CHECKING:
    from studiolo.responsible.asks import Done

app = typer.Typer(help="Look at models of tables: groups, errors, explanations; gate and mend.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="NAME, NAME:VERSION, a folder with an MLmodel, or azureml:… of a job.")]
Rows = Annotated[
    str, typer.Option("--data", help="Rows that it has not learnt from: a file, a folder or NAME:VERSION.")
]
Target = Annotated[str, typer.Option(help="The column that it predicts.")]
Who = Annotated[str, typer.Option("--sensitive", help="Columns whose groups are compared: sex,race.")]
Positive = Annotated[str, typer.Option(help="The class that people wish for; of two the last by name.")]
Fixed = Annotated[str, typer.Option(help="Further columns that counterfactuals leave as they are.")]
Only = Annotated[list[str] | None, typer.Option(help="COLUMN=up or COLUMN=down: what may only grow, or shrink.")]
Outputs = Annotated[
    list[Path] | None, typer.Option("--output", "-o", help="A .html or .json file, or scorecard.html; repeatable.")
]
Pickle = Annotated[bool, typer.Option("--allow-pickle", help="Load it though loading can run code.")]


@app.command("report")
def report_command(
    model: Model,
    data: Rows,
    target: Target,
    sensitive: Who = "",
    positive: Positive = "",
    fixed: Fixed = "",
    only: Only = None,
    output: Outputs = None,
    allow_pickle: Pickle = False,
    as_json: AsJson = False,
) -> None:
    """Measure MODEL by group, explain it, find where it errs and what would have to be otherwise."""
    question = _question(target, sensitive, positive, fixed, only)
    done = _reported(model, data, question, None, output, allow_pickle=allow_pickle)
    _tell(done, output or [], as_json=as_json)


@app.command("gate")
def gate_command(
    model: Model,
    data: Rows,
    target: Target,
    sensitive: Who = "",
    positive: Positive = "",
    rules: Annotated[Path | None, typer.Option(help="A YAML file with rules; options go before it.")] = None,
    least: Annotated[list[str] | None, typer.Option("--min", help="METRIC=NUMBER that all rows must reach.")] = None,
    difference: Annotated[
        list[str] | None, typer.Option("--max-difference", help="METRIC=NUMBER that groups may lie apart.")
    ] = None,
    ratio: Annotated[
        list[str] | None, typer.Option("--min-ratio", help="METRIC=NUMBER: the least group by the most.")
    ] = None,
    certain: Annotated[
        bool, typer.Option("--certain", help="A difference fails where its whole interval is beyond.")
    ] = False,
    output: Outputs = None,
    allow_pickle: Pickle = False,
    as_json: AsJson = False,
) -> None:
    """Let MODEL pass or not, by how well it does and how far groups lie apart: exit 3 if it may not."""
    said = _rules(rules)
    for key, given in (("performance", least), ("difference", difference), ("ratio", ratio)):
        said[key] = {**said.get(key, {}), **_numbers(key, given)}
    said |= {"certain": True} if certain else {}
    if not any(said.get(key) for key in ("performance", "difference", "ratio")):
        hint = "--min accuracy=0.8, --max-difference selection_rate=0.1, or --rules FILE"
        raise Invalid("the gate has no rule", hint=hint)
    question = _question(target, sensitive, positive, "", None)
    done = _reported(model, data, question, said, output, allow_pickle=allow_pickle)
    _tell(done, output or [], as_json=as_json)
    if not done.told["gate"]["passed"]:
        raise typer.Exit(GATE_FAILED)


@app.command("mitigate")
def mitigate_command(
    model: Model,
    data: Annotated[str, typer.Option("--data", help="The rows to learn from again.")],
    test: Annotated[str, typer.Option(help="Rows to compare both models on.")],
    target: Target,
    sensitive: Who,
    name: Annotated[str, typer.Option("--name", "-n", help="What the new model is called.")] = "",
    method: Annotated[str, typer.Option(help="reweigh, or reduction (fairlearn's grid search).")] = "reweigh",
    constraint: Annotated[str, typer.Option(help="Of a reduction: parity, opportunity or odds.")] = "parity",
    loss: Annotated[float, typer.Option(help="How much accuracy a reduction may cost: 0.02.")] = 0.02,
    as_json: AsJson = False,
) -> None:
    """Train MODEL again so that groups are treated more alike, and compare the two."""
    from studiolo.responsible import asks

    question = _question(target, sensitive, "", "", None)
    if not question["sensitive"]:
        raise Invalid("no groups are named", hint="--sensitive sex")
    plan = {"method": method, "constraint": constraint, "loss": loss}
    ask = asks.Ask(model=model, data=test, train=data, question=question, plan=plan)
    called = name or f"{Path(model.partition(':')[0]).name}-{method}"
    with open_workspace() as workspace:
        done = asks.mitigate(workspace, ask, called)
    if as_json:
        print_json({"model": done.asset.ref, **done.told})
        return
    before, after = done.told["before"], done.told["after"]
    print_table(("metric", "before", "after"), [(key, before[key], after.get(key)) for key in before])
    print(f"kept as {done.asset.ref}\nnext: studiolo rai report {done.asset.name}:{done.asset.version} --data {test}")


def _reported(
    model: str, data: str, question: dict[str, Any], rules: dict[str, Any] | None, output: list[Path] | None, *,
    allow_pickle: bool,
) -> Done:  # fmt: skip
    from studiolo.responsible import asks

    ask = asks.Ask(model=model, data=data, question=question, rules=rules, allow_pickle=allow_pickle)
    with open_workspace() as workspace:
        return asks.report(workspace, ask, output or [])


def _question(target: str, sensitive: str, positive: str, fixed: str, only: list[str] | None) -> dict[str, Any]:
    ways = dict(_pair(each, "--only") for each in only or ())
    for column, way in ways.items():
        if way not in ("up", "down"):
            raise Invalid(f"--only {column} is up or down, not {way!r}")
    return {
        "target": target,
        "sensitive": _listed(sensitive),
        "positive": positive,
        "fixed": _listed(fixed),
        "only": ways,
    }


def _rules(path: Path | None) -> dict[str, Any]:
    from workspace.documents import read_yaml

    if path is None:
        return {}
    root = read_yaml(path).root
    if not isinstance(root, dict):
        raise Invalid(f"{str(path)!r} is no mapping of rules", hint="difference: {selection_rate: 0.1}")
    return dict(root)


def _numbers(key: str, given: list[str] | None) -> dict[str, float]:
    found = {}
    for each in given or ():
        name, value = _pair(each, key)
        try:
            found[name] = float(value)
        except ValueError:
            raise Invalid(f"{value!r} is no number", hint="for example accuracy=0.8") from None
    return found


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Invalid(f"{option} takes NAME=VALUE, not {text!r}")
    return name, value


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _tell(done: Done, outputs: list[Path], *, as_json: bool) -> None:
    if as_json:
        print_json({"asset": done.asset.ref, **done.told})
        return
    gate: Mapping[str, Any] | None = done.told.get("gate")
    if gate is not None:
        print("\n".join([gate["word"], *(f"  {each}" for each in gate["failures"]),
                         *(f"  note: {each}" for each in gate["warnings"])]))  # fmt: skip
    report = done.told["report"]
    print(", ".join(f"{name} {value:.4g}" for name, value in report["metrics"].items() if value is not None))
    rows = [
        (sensitive["column"], each["metric"], each["difference"], f"{each['low']:.3g} to {each['high']:.3g}",
         each["ratio"], each["least"], each["most"])
        for sensitive in report["sensitive"] for each in sensitive["disparities"]
    ]  # fmt: skip
    if rows:
        print_table(("by", "metric", "difference", "interval", "ratio", "least", "most"), rows)
    print("\n".join([*(f"wrote {path}" for path in outputs), f"kept as {done.asset.ref}"]))
