"""Foreign code run where it can do no harm: a short program, its limits, and which protections held."""

from evals.sandbox.run import Limits as Limits
from evals.sandbox.run import Ran as Ran
from evals.sandbox.run import run as run

__all__ = ["Limits", "Ran", "run"]
