"""What can be read and cannot be right: names nobody declared, circles, impossible searches, ports that do not fit.

`jobs.files` asks for the problems of what it has read and refuses the file for the first of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from jobs.files.reading import Finding

# By the name of the class that a file is read into: the module and the function that knows what cannot be right.
CHECKS = {
    "CommandJob": ("commands", "of_command"),
    "SparkJob": ("commands", "of_spark"),
    "SweepJob": ("sweeps", "of_sweep"),
    "PipelineJob": ("pipelines", "of_pipeline"),
    "PipelineComponent": ("pipelines", "of_pipeline_component"),
    "CommandComponent": ("components", "of_component"),
    "ParallelComponent": ("components", "of_component"),
    "SparkComponent": ("components", "of_component"),
    "ImportComponent": ("components", "of_component"),
    "CopyComponent": ("components", "of_component"),
    "ImportDataComponent": ("components", "of_component"),
    "ExportDataComponent": ("components", "of_component"),
    "Schedule": ("schedules", "of_schedule"),
}


def problems(read: object) -> Iterator[Finding]:
    """Yield what cannot be right in something that was read."""
    module, function = CHECKS.get(type(read).__name__, ("", ""))
    if module:
        yield from getattr(importlib.import_module(f"jobs.checks.{module}"), function)(read)
