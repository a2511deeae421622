"""The engine that runs a scoring script: `python -m serving.engines.script --spec FILE --socket PATH`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the script's processes; once the socket answers, `init()` has ended in each."""
    parser = argparse.ArgumentParser(prog="python -m serving.engines.script", description=__doc__)
    parser.add_argument("--spec", type=Path, required=True, help="what to run, as `ScoringSpec` writes it")
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to listen on (created, mode 0600)")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    from serving.engines import scoring_app

    return scoring_app.run(given.spec, given.socket)


if __name__ == "__main__":
    raise SystemExit(main())
