"""Scorers: how good an answer is, from 0 to 1."""

from evals.scorers import text as text
from evals.scorers.registry import Scorer, get, names, scorer

__all__ = ["Scorer", "get", "names", "scorer"]
