"""Scorers: how good an answer is, from 0 to 1."""

from evals.scorers import assertions as assertions
from evals.scorers import code as code
from evals.scorers import judge as judge
from evals.scorers import overlap as overlap
from evals.scorers import rag as rag
from evals.scorers import resources as resources
from evals.scorers import safety as safety
from evals.scorers import sql as sql
from evals.scorers import structure as structure
from evals.scorers import text as text
from evals.scorers.registry import Entry, Means, Scorer, entries, get, is_quick, names, scorer, scorer_maker

__all__ = ["Entry", "Means", "Scorer", "entries", "get", "is_quick", "names", "scorer", "scorer_maker"]
