"""Scorers, statistics, comparisons and reports."""
