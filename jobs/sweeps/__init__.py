"""Sweeps: one command tried with many values, to find the best by a metric."""
