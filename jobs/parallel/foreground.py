"""One mini-batch of a parallel job in one process, in the foreground: a debugger in the script has the terminal.

Standard library only, from Python 3.8 on: it runs in the job's own Python. It is told the same plan as the driver;
the driver's folder is its first argument, the others are those of the script.
"""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any


def main() -> int:
    """Give the first mini-batch to the script, and print its rows."""
    plan = json.loads(os.environ.pop("STUDIOLO_PARALLEL"))
    if not plan["entry"]:
        print("a task of type model has no script of its own to debug")  # noqa: T201
        return 1
    worker, batches = _driver(sys.argv.pop(1), plan)
    if not batches:
        print("there is no mini-batch: the input is empty")  # noqa: T201  for the person in front
        return 1
    first = batches[0]
    print(f"mini-batch 0 of {len(batches)}, {first.size} items", flush=True)  # noqa: T201
    script = os.path.abspath(plan["entry"])  # noqa: PTH100
    sys.argv[0] = script
    sys.path[0] = os.path.dirname(script)  # noqa: PTH120
    module = worker.loaded(script)
    if hasattr(module, "init"):
        module.init()
    context = SimpleNamespace(minibatch_index=first.number, partition_key_value=first.partition)
    result = module.run(first.items, context) if worker.wants_context(module.run) else module.run(first.items)
    count, text = worker.rows(result)
    print(f"{text}{count} rows")  # noqa: T201
    if hasattr(module, "shutdown"):
        module.shutdown()
    return 0


def _driver(folder: str, plan: Any) -> Any:
    """Return what the driver's folder knows of workers, and the mini-batches; nothing of it stays to be imported."""
    sys.path[0] = folder
    from jobs.parallel import worker
    from jobs.parallel.tables import mini_batches

    batches = mini_batches(plan, os.environ[f"AZURE_ML_INPUT_{plan['input']}"])
    for name in [name for name in sys.modules if name.partition(".")[0] == "jobs"]:
        del sys.modules[name]
    return worker, batches


if __name__ == "__main__":
    sys.exit(main())
