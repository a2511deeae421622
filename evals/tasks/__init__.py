"""Tasks: what is measured, written as YAML or as Python."""

from evals.tasks.task import FewShot, Limits, Scoring, Task, task

__all__ = ["FewShot", "Limits", "Scoring", "Task", "task"]
