"""Targets: what an evaluation asks."""
