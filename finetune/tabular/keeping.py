"""Trained models as MLflow models that load without a pickle: skops for scikit-learn's, else loaders of our own."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.tabular.problems import Problem
from finetune.tabular.training import Trained
from jobs.consent import NUMBERS_ONLY
from workspace.errors import Invalid

if TYPE_CHECKING:
    from pandas import DataFrame

ABOUT = "problem.json"  # beside MLmodel: what was learnt of which columns
_EXAMPLE = 3  # rows


def keep(trained: Trained, folder: Path) -> Path:
    """Write a model of scikit-learn's interface as an MLflow model, and beside it what it has learnt."""
    keep_learner(trained.model, trained.given(trained.looked.rows.head(200)), folder)
    write_about(folder, trained.problem, numbers=trained.looked.numbers, categories=trained.looked.categories,
                metrics=trained.metrics, findings=[str(each) for each in trained.findings])  # fmt: skip
    return folder


def keep_learner(model: Any, example: DataFrame, folder: Path) -> None:
    """Write a model of scikit-learn's interface in skops; one that would need a pickle is refused."""
    import mlflow.sklearn
    import skops.io
    from mlflow.models import infer_signature

    asked = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    if doubtful := [each for each in asked if each not in NUMBERS_ONLY]:
        raise Invalid(f"this model cannot be kept without a pickle: {', '.join(doubtful)}", hint="another algorithm")
    with _quiet():
        mlflow.sklearn.save_model(
            model,
            folder,
            signature=infer_signature(example, model.predict(example)),
            input_example=example.head(_EXAMPLE),
            serialization_format="skops",
            skops_trusted_types=list(asked) or None,
            pip_requirements=requirements(["scikit-learn", "skops", "pandas", *_packages(asked)]),
        )


def keep_own(folder: Path, data: Path, *, loader: str, example: DataFrame, said: Any) -> Path:
    """Write what one of our own loaders reads as an MLflow model: `loader="finetune.tabular.network"`."""
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    with _quiet():
        mlflow.pyfunc.save_model(
            folder,
            loader_module=loader,
            data_path=str(data),
            signature=infer_signature(example, said),
            input_example=example.head(_EXAMPLE),
            pip_requirements=requirements(["studiolo", "pandas", "numpy"]),
        )
    return folder


def write_about(folder: Path, problem: Problem, **more: Any) -> None:
    """Write beside a model what it has learnt: for those who explain, judge or mend it."""
    told = {"task": problem.task, "targets": problem.targets, "group": problem.group, **more}
    (folder / ABOUT).write_text(json.dumps(told, indent=1, default=_listed) + "\n")


def about(folder: Path) -> Mapping[str, Any]:
    """Return what is told of a model, nothing where it is not of ours."""
    path = folder / ABOUT
    return json.loads(path.read_text()) if path.is_file() else {}


def requirements(names: Sequence[str]) -> list[str]:
    """Return packages as they are here: what a model asks for where it is served."""
    return [f"{name}=={metadata.version(name)}" for name in ("mlflow", *names)]


def _packages(types: Sequence[str]) -> list[str]:
    roots = {each.partition(".")[0] for each in types}
    named = {"lightgbm": "lightgbm", "xgboost": "xgboost-cpu"}
    found = [named[root] for root in sorted(roots & set(named))]
    return [_there(name) for name in found]


def _there(name: str) -> str:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return name.removesuffix("-cpu")
    return name


class _quiet(warnings.catch_warnings):  # noqa: N801 - it is used as a word
    """Without MLflow's advice on pickles and integers, which is followed here."""

    def __enter__(self) -> Any:
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value)
