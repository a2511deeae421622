"""What is asked of the process that loads the model, and what is kept of its answer; light, so that commands are."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import consent
from jobs.data import places
from jobs.files.references import target as target_of
from workspace.errors import Denied, Invalid
from workspace.paths import write_atomically

if TYPE_CHECKING:
    from workspace.assets import Asset
    from workspace.home import Workspace

HTML, JSON, SCORECARD = "report.html", "report.json", "scorecard.html"
_WORKER = "studiolo.responsible.worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A report or a mitigation: the model and the data as people name them, and what is to be found out."""

    model: str
    data: str
    question: Mapping[str, Any]
    rules: Mapping[str, Any] | None = None
    train: str = ""  # of a mitigation: the rows to learn from
    plan: Mapping[str, Any] = field(default_factory=dict)
    allow_pickle: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of it: as plain data, and the asset that it is kept as."""

    told: Mapping[str, Any]
    asset: Asset


def report(workspace: Workspace, ask: Ask, outputs: Sequence[Path] = ()) -> Done:
    """Make a report of a model and keep it; `outputs` are copies: .html, .json, and *scorecard*.html."""
    for path in outputs:
        if path.suffix not in (".html", ".json"):
            raise Invalid(f"no report ends in {path.suffix!r}: {str(path)!r}", hint="use .html, .json, scorecard.html")
    with tempfile.TemporaryDirectory() as place:
        told, inputs = _worked(workspace, ask, Path(place))
        name = f"rai-{_word(ask.model)}"
        with workspace.run("rai", inputs=inputs, params=_params(ask)) as run:
            run.log_metrics(_metrics(told["report"]))
            for file in (HTML, JSON, SCORECARD):
                run.log_artifact(f"report/{file}", (Path(place) / file).read_text(encoding="utf-8"))
            asset = workspace.assets.put("report", name, run.directory / "artifacts" / "report")
            run.output(asset)
        for path in outputs:
            kind = JSON if path.suffix == ".json" else SCORECARD if "scorecard" in path.name else HTML
            write_atomically(path, (Path(place) / kind).read_text(encoding="utf-8"), mode=0o644)
    return Done(told=told, asset=asset)


def mitigate(workspace: Workspace, ask: Ask, name: str) -> Done:
    """Train a model again so that groups are treated more alike, and keep it as a model of this name."""
    with tempfile.TemporaryDirectory() as place:
        told, inputs = _worked(workspace, ask, Path(place))
        with workspace.run("mitigation", inputs=inputs, params={**_params(ask), **ask.plan}) as run:
            flat = {f"{when}_{metric}": value for when in ("before", "after") for metric, value in told[when].items()}
            run.log_metrics({metric: value for metric, value in flat.items() if value is not None})
            run.log_artifact("comparison.html", (Path(place) / "comparison.html").read_text(encoding="utf-8"))
            asset = workspace.assets.put("model", name, Path(place) / "model", properties={"type": "mlflow_model"})
            run.output(asset)
    return Done(told=told, asset=asset)


def _worked(workspace: Workspace, ask: Ask, place: Path) -> tuple[dict[str, Any], list[Any]]:
    """Let a process of its own load the model and do the work; return what it says, and the assets that it used."""
    inputs: list[Any] = []
    folder = _model(workspace, ask.model, inputs)
    if not ask.allow_pickle and (objection := consent.objection(folder)):
        hint = "allow it, if you trust whoever made it: --allow-pickle"
        raise Denied(f"loading the model can run code: {objection}", hint=hint)
    spec = {
        "model": str(folder), "data": str(_data(workspace, ask.data, inputs)), "names": [ask.model, ask.data],
        "train": str(_data(workspace, ask.train, inputs)) if ask.train else "", "question": dict(ask.question),
        "rules": ask.rules, "plan": dict(ask.plan), "allow_pickle": ask.allow_pickle,
    }  # fmt: skip
    (place / "ask.json").write_text(json.dumps(spec))
    done = subprocess.run(
        [sys.executable, "-P", "-m", _WORKER, str(place)], capture_output=True, text=True, check=False
    )
    answer = place / "answer.json"
    if not answer.is_file():
        raise Invalid("the model could not be looked at", hint=(done.stderr.strip() or "it said nothing")[-2000:])
    told: dict[str, Any] = json.loads(answer.read_text())
    if "error" in told:
        raise Invalid(told["error"], hint=told["hint"])
    return told, inputs


def _model(workspace: Workspace, named: str, inputs: list[Any]) -> Path:
    if (Path(named) / consent.MLMODEL).is_file():
        return Path(named).resolve()
    target = target_of(named, Path.cwd()) if ":/" in named else None
    if target is not None:
        return places.find(workspace, target, kind="model")
    asset = workspace.assets.get("model", named.removeprefix("azureml:"))
    inputs.append(asset)
    return workspace.assets.path(asset)


def _data(workspace: Workspace, named: str, inputs: list[Any]) -> Path:
    if Path(named).exists():
        return Path(named).resolve()
    if ":/" in named:
        return places.find(workspace, target_of(named, Path.cwd()))
    asset = workspace.assets.get("data", named.removeprefix("azureml:"))
    inputs.append(asset)
    return places.content(workspace, asset)


def _params(ask: Ask) -> dict[str, Any]:
    return {"model": ask.model, "data": ask.data, **{key: value for key, value in ask.question.items() if value}}


def _metrics(report: Mapping[str, Any]) -> dict[str, float]:
    found = {name: value for name, value in report["metrics"].items() if value is not None}
    for sensitive in report["sensitive"]:
        for each in sensitive["disparities"]:
            key = f"{_word(sensitive['column'])}_{each['metric']}_difference"
            found |= {key: each["difference"]} if each["difference"] is not None else {}
    return found


def _word(name: str) -> str:
    return "".join(each if each.isalnum() or each in "_-." else "-" for each in name).strip("-.")[-80:] or "model"
