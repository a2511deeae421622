"""Bayesian sampling: values are drawn where good ones are likely, by Optuna's tree of Parzen estimators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobs.files.search_space import Space
from jobs.sweeps.spaces import Value, values
from workspace.errors import MissingExtra

if TYPE_CHECKING:
    import optuna


class Bayesian:
    """Draws from Optuna, in numbers from 0 to 1 and indices; the distributions stay ours."""

    learns = True

    def __init__(self, spaces: Mapping[str, Space], *, seed: int, maximize: bool) -> None:
        try:
            import optuna
        except ImportError:
            raise MissingExtra("bayesian sampling needs Optuna", hint="pip install 'studiolo[automl]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spaces = spaces
        self._seed = seed
        self._study = optuna.create_study(direction="maximize" if maximize else "minimize", sampler=_sampler(seed))
        self._asked: dict[int, optuna.trial.Trial] = {}

    def ask(self, number: int) -> dict[str, Value]:
        """Return values that have a chance to be better than those known."""
        trial = self._study.ask()
        self._asked[number] = trial
        return values(self._spaces, _Suggested(trial))

    def tell(self, number: int, score: float | None) -> None:
        """Learn how good a trial was."""
        import optuna

        trial = self._asked.pop(number)
        if score is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, score)

    def recall(self, number: int, drawn: Mapping[str, Any]) -> None:
        """Take up what was drawn for a trial before."""
        self._study.enqueue_trial(dict(drawn))
        self.ask(number)
        self._study.sampler = _sampler(self._seed + number + 1)  # the same chance again would draw the same again

    def drawn(self, number: int) -> dict[str, Any]:
        """Return what Optuna has drawn for a trial that runs."""
        return dict(self._asked[number].params)


def _sampler(seed: int) -> optuna.samplers.TPESampler:
    import optuna

    # Trials that still run count as bad ones, so that those asked meanwhile go elsewhere.
    return optuna.samplers.TPESampler(seed=seed % 2**32, constant_liar=True)


class _Suggested:
    def __init__(self, trial: optuna.trial.Trial) -> None:
        self._trial = trial

    def unit(self, name: str) -> float:
        return float(self._trial.suggest_float(name, 0.0, 1.0))

    def index(self, name: str, count: int) -> int:
        found: int = self._trial.suggest_categorical(name, list(range(count)))
        return found
