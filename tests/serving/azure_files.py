"""Endpoint and deployment files as Azure ML takes them, and what its own package says of files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ENDPOINT = """\
$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineEndpoint.schema.json
name: my-endpoint
auth_mode: aml_token
description: Answers.
tags: {team: blue, year: 2026}
identity: {type: system_assigned}
"""
DEPLOYMENT = """\
name: blue
endpoint_name: my-endpoint
model:
  path: model
code_configuration:
  code: code
  scoring_script: score.py
environment:
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:latest
  conda_file: conda.yml
environment_variables:
  WORKER_COUNT: 2
  DEBUG: true
  RATE: 0.01
instance_type: Standard_DS3_v2
instance_count: 2
request_settings:
  request_timeout_ms: 3000
  max_concurrent_requests_per_instance: 4
  max_queue_wait_ms: 250
liveness_probe: {initial_delay: 10, period: 10, timeout: 2, success_threshold: 1, failure_threshold: 30}
data_collector:
  collections:
    model_inputs: {enabled: 'True'}
    model_outputs: {enabled: 'False'}
  sampling_rate: 0.5
  rolling_rate: Minute
  request_logging: {capture_headers: [X-Who]}
"""


def lay_out(folder: Path) -> None:
    """Write what the files refer to: a model, a scoring script, a Conda file."""
    for name, content in (
        ("model/weights.txt", "1"),
        ("code/score.py", "def run(raw): ...\n"),
        ("conda.yml", "dependencies:\n- python=3.11\n- pip:\n  - packaging\n"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)


def minimal(more: str) -> str:
    """Return the least that a deployment's file says, and more."""
    return f"name: blue\nendpoint_name: bot\nmodel: azureml:m:1\ninstance_type: x\n{more}"


def azure_verdicts(cache: Path, files: Sequence[tuple[str, str]]) -> list[str | None]:
    """Return what azure-ai-ml says of each file, given its kind and path: None where it takes it, else why not."""
    python = os.environ.get("STUDIOLO_TEST_AZURE_ML") or _azure(cache)
    oracle = Path(__file__).with_name("azure_oracle.py")
    done = subprocess.run(
        [python, str(oracle)], input=json.dumps(files), capture_output=True, text=True, timeout=170, check=True
    )
    verdicts: list[str | None] = json.loads(done.stdout.splitlines()[-1])
    return verdicts


def _azure(folder: Path) -> str:
    """A Python with azure-ai-ml, whose pins are not ours, in an environment that the test cache keeps."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", str(folder / "venv")], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), "azure-ai-ml==1.35.2"], check=True)
    return str(python)
