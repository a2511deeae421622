"""The launch of engine `script`: a scoring script in processes of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving import python_environments
from serving.endpoints import Deployment
from serving.engines.launch import Launch, asked
from serving.engines.scoring_spec import HERE, ScoringSpec
from workspace.assets import FILENAME, Asset
from workspace.errors import Invalid, Unavailable
from workspace.home import Workspace
from workspace.paths import safe_join, write_atomically

OPTIONS = (
    "code", "scoring_script", "environment_variables", "requirements", "data_collector", "allow_pickle", "workers",
)  # fmt: skip
OVERHEAD = 120_000_000  # bytes of one process with a script's usual libraries
LOADING = 300.0  # seconds for `init()`
DRAIN = 10.0


def launch(workspace: Workspace, deployment: Deployment) -> Launch:
    """Return how the script is served."""
    return launched(workspace, spec_of_script(workspace, deployment, scorer="script_scorer.py"))


def spec_of_script(workspace: Workspace, deployment: Deployment, *, scorer: str) -> ScoringSpec:
    """Return what runs the script of a deployment, its folder laid out."""
    properties = deployment.properties
    script = str(properties.get("scoring_script") or "")
    if not script or not properties.get("code"):
        raise Invalid(f"{deployment.path} has no scoring script", hint="give it one in `code_configuration`")
    code = _code_folder(workspace, workspace.assets.get("component", properties["code"]))
    safe_join(code, script)
    return replace(spec_of(workspace, deployment, scorer=scorer), folder=str(code), script=script)


def options(deployment: Deployment) -> dict[str, Any]:
    """Return what of the properties makes it another engine; what is collected is kept under the deployment's name."""
    return asked(deployment.properties, OPTIONS) | {"deployment": deployment.path}


def spec_of(workspace: Workspace, deployment: Deployment, *, scorer: str) -> ScoringSpec:
    """Return what a scoring engine is told, for scripts and for MLflow's models alike."""
    properties = deployment.properties
    variables = {name: str(value) for name, value in (properties.get("environment_variables") or {}).items()}
    model = workspace.assets.get("model", deployment.model) if deployment.model else None
    return ScoringSpec(
        endpoint=deployment.endpoint,
        deployment=deployment.name,
        engine=deployment.engine,
        python=str(_python(properties.get("requirements"))),
        scorer=str(HERE / scorer),
        folder=str(workspace.home),
        model=str(workspace.assets.path(model)) if model else "",
        model_dir=str(_model_folder(workspace, model)) if model else "",
        variables=variables,
        workers=_count(variables.get("WORKER_COUNT") or properties.get("workers") or 1, "WORKER_COUNT"),
        patience=float(_count(variables.get("WORKER_TIMEOUT") or 300, "WORKER_TIMEOUT")),
        home=str(workspace.home),
        collected=properties.get("data_collector"),
    )


def launched(workspace: Workspace, spec: ScoringSpec) -> Launch:
    """Return the command that runs a spec, which is left in a file that only its owner reads: it may hold secrets."""
    text = spec.text()
    path = workspace.home / "services" / f"scoring-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    write_atomically(path, text)
    size = _size(Path(spec.model)) if spec.model else 0
    return Launch(
        command=[sys.executable, "-P", "-m", f"serving.engines.{spec.engine}", "--spec", str(path)],
        memory=OVERHEAD + spec.workers * (OVERHEAD + 2 * size),
        loading=LOADING,
        drain=DRAIN,
    )


def _python(kept: Mapping[str, Any] | None) -> Path:
    if not kept:
        return Path(sys.executable)
    asked = python_environments.of_kept(kept)
    if found := python_environments.find(asked):
        return found
    missing = ", ".join(python_environments.unsatisfied(asked)[:5])
    raise Unavailable(
        f"the environment of the deployment is gone: {missing}", hint="make it anew: studiolo deployment update -f FILE"
    )


def _model_folder(workspace: Workspace, model: Asset) -> Path:
    """The folder that holds the model under the name it was registered by, as AZUREML_MODEL_DIR does."""
    content = workspace.assets.path(model)
    if not model.is_folder:
        return content.parent
    name = Path(str(model.properties.get(FILENAME) or model.name)).name
    place = workspace.home / "engines" / "models" / f"{content.name[:16]}-{name}"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    link = place / name
    if not link.exists():
        temporary = place / f".{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(content, target_is_directory=True)
        temporary.replace(link)
    return place


def _code_folder(workspace: Workspace, code: Asset) -> Path:
    """A copy that scripts may write beside; the asset's own bytes are shared."""
    content = workspace.assets.path(code)
    place = workspace.home / "engines" / "code" / content.name[:32]
    if not place.exists():
        temporary = place.with_name(f".{place.name}-{os.getpid()}")
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(content, temporary, copy_function=shutil.copyfile)
        try:
            temporary.replace(place)
        except OSError:  # another has just made it
            shutil.rmtree(temporary, ignore_errors=True)
    return place


def _count(value: Any, name: str) -> int:
    if not str(value).isdecimal() or not 1 <= int(value) <= 10_000:
        raise Invalid(f"{name} must be a whole number of at least 1, not {value!r}")
    return int(value)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
