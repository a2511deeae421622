"""Models that MLflow has written, loaded to be asked: predictions, and chances where they are told."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.tabular import keeping, tables
from jobs import consent
from workspace.errors import Denied, Invalid

if TYPE_CHECKING:
    from pandas import DataFrame

PREDICTION, CHANCE = "prediction", "chance of "


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A model that can be asked: by MLflow's function, and by its own `predict_proba` where it has one."""

    function: Any
    learner: Any  # scikit-learn's model, or ours; None of others
    names: tuple[str, ...]  # of the columns that it takes; none where it does not say
    types: Mapping[str, str]
    about: Mapping[str, Any]

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes in the order of the chances."""
        found = getattr(self.learner, "classes_", None)
        return () if found is None or isinstance(found, list) else tuple(found)

    def given(self, table: DataFrame) -> DataFrame:
        """Return the columns of a table that the model takes, in the types that it takes."""
        if not self.names:
            return table
        tables.has(table, self.names)
        found = table[list(self.names)].copy()
        import pandas

        for name, kind in self.types.items():
            if kind in ("double", "float"):
                column = found[name].astype(object) if found[name].dtype == bool else found[name]
                found[name] = pandas.to_numeric(column, errors="coerce").astype(float)
            elif kind == "string":
                there = found[name].notna()
                found[name] = found[name].astype(str).astype(object).where(there, None)
        return found

    def predict(self, table: DataFrame) -> Any:
        """Return what the model says of each row."""
        import numpy

        try:
            return numpy.asarray(self.function.predict(self.given(table)))
        except (ValueError, TypeError) as error:
            raise Invalid(f"the model cannot answer: {error}") from error

    def chances(self, table: DataFrame) -> Any:
        """Return the chance of each class, or None where the model does not tell it."""
        if not self.classes or not hasattr(self.learner, "predict_proba"):
            return None
        return self.learner.predict_proba(self.given(table))

    def beside(self, table: DataFrame) -> DataFrame:
        """Return the table with what the model says beside each row."""
        said = self.predict(table)
        found = table.copy()
        if said.ndim == 2 and said.shape[1] > 1:
            names = self.about.get("targets") or range(said.shape[1])
            for place, name in enumerate(names):
                found[f"{PREDICTION} {name}"] = said[:, place]
            return found
        found[PREDICTION] = said.reshape(len(table))
        chances = self.chances(table)
        if chances is not None:
            for place, name in enumerate(self.classes):
                found[f"{CHANCE}{name}"] = chances[:, place]
        return found


def load(folder: Path, *, allow_pickle: bool = False) -> Asked:
    """Load a model; one whose format can run code only where that is allowed."""
    import mlflow.pyfunc

    if not allow_pickle and (objection := consent.objection(folder)):
        hint = "allow it, if you trust whoever made it: --allow-pickle"
        raise Denied(f"loading the model can run code: {objection}", hint=hint)
    function = mlflow.pyfunc.load_model(str(folder))
    schema = function.metadata.get_input_schema()
    named = schema is not None and schema.has_input_names() and not schema.is_tensor_spec()
    names = tuple(schema.input_names()) if named else ()
    types = {each.name: each.type.name for each in schema.inputs} if named else {}
    learner = _learner(folder, function)
    return Asked(function=function, learner=learner, names=names, types=types, about=keeping.about(folder))


def _learner(folder: Path, function: Any) -> Any:
    flavors = function.metadata.flavors
    if "sklearn" in flavors:
        return function.get_raw_model()
    loader = flavors["python_function"]["loader_module"]
    if loader not in consent.OWN_LOADERS:
        return None
    return importlib.import_module(loader).load(folder / flavors["python_function"]["data"])
