"""The engine that runs a model logged by MLflow: `python -m serving.engines.mlflow --spec FILE --socket PATH`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model in processes of its own; one whose format can run code only with the consent that the spec has."""
    parser = argparse.ArgumentParser(prog="python -m serving.engines.mlflow", description=__doc__)
    parser.add_argument("--spec", type=Path, required=True, help="what to run, as `ScoringSpec` writes it")
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to listen on (created, mode 0600)")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    from jobs import consent
    from serving.engines import scoring_app
    from serving.engines.scoring_spec import ScoringSpec

    spec = ScoringSpec.read(given.spec)
    if not spec.allow_pickle and (objection := consent.objection(Path(spec.model))):
        print(f"loading the model can run code: {objection}\nnobody has allowed it", file=sys.stderr)  # noqa: T201
        return 1
    return scoring_app.run(given.spec, given.socket)


if __name__ == "__main__":
    raise SystemExit(main())
