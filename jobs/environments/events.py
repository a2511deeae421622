"""What happens while an environment is made, and what there is at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Preparing:
    """Something that happened, in a line."""

    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing has happened for a second: whoever listens may look whether it still wants the environment."""

    seconds: float  # since the step began


@dataclass(frozen=True, slots=True)
class Container:
    """An image that docker or podman runs."""

    program: Path
    image: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a job runs with. `said` is what a person should know: another Python than the asked one, what is left out.

    In a container `python` is what the image calls it.
    """

    python: Path
    folder: Path
    said: tuple[str, ...] = ()
    container: Container | None = None


Event = Preparing | Waiting | Prepared
