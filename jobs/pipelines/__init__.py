"""Pipelines that run: steps that take each other's outputs, as jobs under a job."""
