"""The command line: `studiolo`, or `python -m studiolo`."""

from __future__ import annotations

import gc
from typing import NoReturn

MANY = 200_000  # objects made before they are gone through: by default imports are gone through again and again


def main() -> NoReturn:
    """Run the command line."""
    gc.set_threshold(MANY)
    from studiolo.cli import main as run

    run()


if __name__ == "__main__":
    main()
