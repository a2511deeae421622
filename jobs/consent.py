"""Whether loading a model logged by MLflow runs what somebody put into it: a pickle, or code that it brings along.

Formats are allowed by name; what is not known to be harmless needs a person's consent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workspace.documents import read_yaml
from workspace.errors import Invalid, NotFound

MLMODEL = "MLmodel"
# Types that skops puts together from numbers and names alone, without calling anything that the file could choose.
NUMBERS_ONLY = frozenset({
    "numpy.dtype", "collections.OrderedDict", "sklearn.utils._bunch.Bunch", "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.metrics._dist_metrics.EuclideanDistance64", "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._ball_tree.BallTree", "sklearn._loss.link.Interval", "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor", "lightgbm.sklearn.LGBMRanker",
    "xgboost.core.Booster", "xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRegressor",
    "xgboost.sklearn.XGBRanker",
})  # fmt: skip
# Loaders of Studiolo's own, which read JSON, safetensors and LightGBM's text.
OWN_LOADERS = frozenset(
    {
        "finetune.text.packing",
        "finetune.tabular.network",
        "finetune.tabular.forecaster",
        "finetune.tabular.pictures",
        "finetune.automl.model",
        "finetune.automl.forecast_model",
    }
)
PROPERTY = "allow_pickle"  # of a deployment: the digest of the model that may be loaded though it can run code


def objection(folder: Path) -> str | None:
    """Return why loading the model needs a person's consent, or None where its format holds numbers only.

    >>> objection(Path("forest"))
    'sklearn loads it with cloudpickle'
    """
    root = read_mlmodel(folder)
    flavors = root["flavors"]
    python = flavors.get("python_function") or {}
    if python.get("code") or root.get("model_code_path") or python.get("model_code_path"):
        return "it brings code of its own"
    loader = str(python.get("loader_module", ""))
    if loader in OWN_LOADERS:
        return None
    flavor = loader.removeprefix("mlflow.")
    judge = _HARMLESS.get(flavor)
    if loader != f"mlflow.{flavor}" or judge is None:
        return f"it is loaded by {loader}" if loader else "it says nothing of how it is loaded"
    return judge(flavors.get(flavor) or {})


def is_skops(folder: Path) -> bool:
    """Whether the model is one of scikit-learn in the format of skops."""
    flavor = read_mlmodel(folder)["flavors"].get("sklearn") or {}
    return flavor.get("serialization_format") == "skops"


def read_mlmodel(folder: Path) -> dict[str, Any]:
    """Return what the file MLmodel says, with its flavors as mappings."""
    if not (folder / MLMODEL).is_file():
        raise NotFound(f"{folder.name} has no file {MLMODEL}", hint="log or save the model with MLflow")
    document = read_yaml(folder / MLMODEL)
    flavors = document.get("flavors")
    if not isinstance(flavors, dict) or not all(isinstance(each, dict) for each in flavors.values()):
        raise Invalid("MLmodel lists no flavors", at=document.at("flavors"))
    root: dict[str, Any] = document.root
    return root


def _xgboost(flavor: Mapping[str, Any]) -> str | None:
    kind = str(flavor.get("model_class", "xgboost.core.Booster"))
    return None if kind.startswith("xgboost.") else f"it is an object of {kind}"


def _lightgbm(flavor: Mapping[str, Any]) -> str | None:
    if flavor.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
        return None
    return _sklearn(flavor)


def _sklearn(flavor: Mapping[str, Any]) -> str | None:
    written = str(flavor.get("serialization_format", "cloudpickle"))
    if written != "skops":
        return f"sklearn loads it with {written}"
    # The list of types to be trusted comes with the model, from whoever made it.
    asked = flavor.get("skops_trusted_types") or ()
    doubtful = [str(each) for each in asked if each not in NUMBERS_ONLY]
    return f"it asks to trust {', '.join(doubtful)}" if doubtful else None


def _onnx(_: Mapping[str, Any]) -> str | None:
    return None


_HARMLESS: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "sklearn": _sklearn,
    "onnx": _onnx,
}
