"""The same model, trained again so that groups are treated more alike; what comes out is an ordinary model.

`reweigh` gives rows weights by which class and group are independent (Kamiran and Calders); `reduction` is fairlearn's
grid search: many trainings under differently hard constraints, of which one is taken; small groups have no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finetune.responsible.groups import SMALL
from workspace.errors import Invalid

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Method = Literal["reweigh", "reduction"]
METHODS: tuple[Method, ...] = ("reweigh", "reduction")
Constraint = Literal["parity", "opportunity", "odds"]
CONSTRAINTS: tuple[Constraint, ...] = ("parity", "opportunity", "odds")
_GRID, _REACH = 11, 0.5  # beyond that all rows get one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How it is done: `parity` wants equal selection rates, `opportunity` equal true positive rates, `odds` both.

    Of the models of a grid the most even one is taken that loses at most `loss` of accuracy on rows held out.
    """

    method: Method = "reweigh"
    constraint: Constraint = "parity"
    loss: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise Invalid(f"no method {self.method!r}", hint=f"known: {', '.join(METHODS)}")
        if self.constraint not in CONSTRAINTS:
            raise Invalid(f"no constraint {self.constraint!r}", hint=f"known: {', '.join(CONSTRAINTS)}")
        if not 0 <= self.loss < 1:
            raise Invalid(f"the loss that is put up with is a share, not {self.loss}", hint="2 points are 0.02")


def mitigate(model: Any, given: DataFrame, target: Series, groups: Series, plan: Plan) -> Any:
    """Return the model trained again on these rows: a pipeline of the same steps with the same settings."""
    from sklearn.pipeline import Pipeline

    if not isinstance(model, Pipeline):
        hint = "train_sklearn, train_xgboost and train_lightgbm make models that can be"
        raise Invalid("only pipelines of scikit-learn are trained again", hint=hint)
    if plan.method == "reweigh":
        return _fitted(model, given, target, weights(target, groups))
    return _reduced(model, given, target, groups, plan)


def weights(target: Series, groups: Series) -> Any:
    """Return a weight for each row: how often its class and group would meet by chance, by how often they do."""
    import pandas

    counts = pandas.crosstab(groups, target)
    expected = counts.sum(axis=1).to_numpy()[:, None] * counts.sum(axis=0).to_numpy()[None, :] / len(target)
    table = pandas.DataFrame(expected, counts.index, counts.columns) / counts.where(counts > 0)
    places = zip(groups, target, strict=True)
    found = table.stack()
    return pandas.Series([found[place] for place in places]).to_numpy()


def _fitted(model: Any, given: DataFrame, target: Any, weight: Any) -> Any:
    from sklearn.base import clone

    last = model.steps[-1][0]
    try:
        return clone(model).fit(given, target, **{f"{last}__sample_weight": weight})
    except (TypeError, ValueError) as error:
        raise Invalid(f"this model cannot weigh rows: {error}", hint="a line, a forest or boosted trees can") from error


class _Named:
    """A model that fairlearn trains on 0 and 1, and that has learnt the classes by their names."""

    def __init__(self, model: Any, classes: tuple[Any, Any]) -> None:
        self.model, self.classes = model, classes

    def fit(self, given: Any, target: Any, sample_weight: Any = None) -> _Named:
        import numpy

        names = numpy.array([self.classes[int(each)] for each in target])
        self.model = _fitted(self.model, given, names, sample_weight)
        return self

    def predict(self, given: Any) -> Any:
        return (self.model.predict(given) == self.classes[1]).astype(int)


def _reduced(model: Any, given: DataFrame, target: Series, groups: Series, plan: Plan) -> Any:
    import numpy
    from fairlearn.reductions import DemographicParity, EqualizedOdds, GridSearch, TruePositiveRateParity

    classes = sorted(target.unique())
    if len(classes) != 2:
        raise Invalid(f"a reduction takes two classes, not {len(classes)}", hint="--method reweigh takes any number")
    large = groups.map(groups.value_counts()) >= SMALL
    given, target, groups = (each[large].reset_index(drop=True) for each in (given, target, groups))
    if groups.nunique() < 2:
        raise Invalid(f"no two groups have {SMALL} rows", hint="a reduction compares groups that are large enough")
    constraint = {"parity": DemographicParity, "opportunity": TruePositiveRateParity, "odds": EqualizedOdds}
    held = numpy.random.default_rng(plan.seed).random(len(given)) < 0.2
    hit = (target == classes[1]).astype(int)
    search = GridSearch(_Named(model, (classes[0], classes[1])), constraint[plan.constraint](), grid_size=_GRID,
                        grid_limit=_REACH)  # fmt: skip
    search.fit(given[~held], hit[~held], sensitive_features=groups[~held])
    plain = _Named(model, (classes[0], classes[1])).fit(given[~held], hit[~held])
    wanted = _right(plain, given[held], hit[held]) - plan.loss
    able = [each for each in search.predictors_ if isinstance(each, _Named)]
    able = [each for each in able if _right(each, given[held], hit[held]) >= wanted] or [plain]
    return min(able, key=lambda each: _apart(each.predict(given[held]), hit[held], groups[held], plan.constraint)).model


def _right(model: _Named, given: DataFrame, hit: Series) -> float:
    return float((model.predict(given) == hit).mean())


def _apart(said: Any, hit: Series, groups: Series, constraint: Constraint) -> float:
    from fairlearn import metrics

    told = {
        "parity": metrics.demographic_parity_difference,
        "opportunity": metrics.equal_opportunity_difference,
        "odds": metrics.equalized_odds_difference,
    }
    return float(told[constraint](hit, said, sensitive_features=groups))
