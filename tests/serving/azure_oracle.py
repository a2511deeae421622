"""What the real azure-ai-ml makes of files: run by a Python that has it, with [[kind, path], …] on standard input."""

from __future__ import annotations

import json
import logging
import sys
import warnings


def main() -> None:
    """Print one verdict a file: null where it is accepted, else why not."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    from azure.ai.ml import load_batch_deployment, load_batch_endpoint, load_online_deployment, load_online_endpoint
    from azure.ai.ml.entities import _load_functions as more

    loaders = {
        "endpoint": load_online_endpoint,
        "deployment": load_online_deployment,
        "batch-endpoint": load_batch_endpoint,
        "batch-legacy": load_batch_deployment,
        "batch-model": more.load_model_batch_deployment,
        "batch-pipeline": more.load_pipeline_component_batch_deployment,
    }
    verdicts: list[str | None] = []
    for kind, path in json.load(sys.stdin):
        try:
            loaders[kind](source=path)
            verdicts.append(None)
        except Exception as error:  # noqa: BLE001  whatever it says is its verdict
            verdicts.append(f"{type(error).__name__}: {error}"[:2_000])
    print(json.dumps(verdicts))  # noqa: T201


if __name__ == "__main__":
    main()
