"""Models by the million for measurements of the catalog, grown from the real ones by a seed when they are asked for.

`python benchmarks/catalog_models.py --models 2500000 --port 8650` serves them as a Hub.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from catalog.hub_server.app import HubServer
from catalog.hub_server.folder import moment
from catalog.hub_server.limits import GENEROUS, RateLimits
from catalog.hub_server.listing import Listing, Page, position
from catalog.hub_server.shelf import Repository

REAL = Path(__file__).parents[2] / "shared" / "data" / "hub-catalog" / "models.jsonl"
FIRST = 1_646_200_000  # when the oldest of them was made
LAST = 1_795_000_000
_SUFFIXES = ("", "-GGUF", "-lora", "-4bit", "-ft", "-awq", "-merged", "-v2", "-dpo", "-mlx", "-distill", "-base")
_QUANTIZED = {"-GGUF": "gguf", "-awq": "awq", "-mlx": "mlx"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What of a real model is kept."""

    name: str
    facts: Mapping[str, Any]
    tags: tuple[str, ...]
    downloads: int
    likes: int


@dataclass(slots=True)
class Grown:
    """A shelf of `count` models, always the same; `changed` of them, and no others, are newer than the rest."""

    count: int
    seeds: Sequence[Seed]
    changed: int = 0
    changed_at: int = LAST
    without: frozenset[int] = field(default_factory=frozenset)

    def model(self, n: int) -> dict[str, Any]:
        """Return what is told of model `n`."""
        seed = self.seeds[n % len(self.seeds)]
        round_, turn = divmod(n, len(self.seeds))
        generator = random.Random(n)  # noqa: S311
        author = f"user{generator.randrange(1 + self.count // 6)}" if round_ else seed.facts["author"]
        suffix = _SUFFIXES[generator.randrange(len(_SUFFIXES))] if round_ else ""
        name = f"{author}/{seed.name}{suffix}" + (f"-{round_}" if round_ else "")
        created = FIRST + int((LAST - FIRST) * ((n + 1) / (self.count + 1)) ** 0.5)
        share = 0.5 ** (generator.random() * 20) if round_ else 1.0
        tags = (*seed.tags, _QUANTIZED[suffix]) if suffix in _QUANTIZED else seed.tags
        if round_:
            tags = (*tags, f"base_model:{seed.facts['id']}")
        is_changed = self._is_changed(n)
        modified = self.changed_at + n % 1000 if is_changed else created + turn
        return {
            **seed.facts, "_id": f"{created:08x}{n:016x}", "id": name, "modelId": name, "author": author,
            "createdAt": moment(created), "lastModified": moment(modified), "tags": tags,
            "sha": f"{n * 2 + is_changed:040x}", "downloads": int(seed.downloads * share) + is_changed,
            "likes": int(seed.likes * share), "trendingScore": int(100 * share) if share > 0.1 else 0,
            "gated": "manual" if generator.random() < 0.02 else False, "private": False, "disabled": False,
        }  # fmt: skip

    def page(self, asked: Listing, reader: str) -> Page:  # noqa: ARG002
        """Return a page in the order of making, or of change; other orders are a first page of the most downloaded."""
        if asked.sort not in ("createdAt", "lastModified"):
            return Page(models=[self.model(n) for n in range(min(asked.limit, self.count)) if n not in self.without])
        order = self._by_change if asked.sort == "lastModified" and self.changed else self._by_age
        start = int(asked.after[0]) if asked.after else 0
        places = range(start, min(start + asked.limit, self.count))
        models = [self.model(n) for place in places if (n := order(place)) not in self.without]
        models = [each for each in models if asked.takes(each)]
        after = start + asked.limit
        if after >= self.count:
            return Page(models=models)
        return Page(models=models, after=position(after, "0", asked.sort))

    def find(self, name: str) -> Repository | None:  # noqa: ARG002
        """Return nothing: these models are only listed."""
        return None

    def moved(self, name: str) -> str:  # noqa: ARG002
        """Return nothing."""
        return ""

    def _is_changed(self, n: int) -> bool:
        return bool(self.changed) and n % (self.count // self.changed) == 0

    def _by_age(self, place: int) -> int:
        return self.count - 1 - place

    def _by_change(self, place: int) -> int:
        """Return the model at a place where those that have changed come first; the rest is as in `_by_age`."""
        step = self.count // self.changed
        changed = -(-self.count // step)
        if place < changed:
            return place * step
        older = self.count - 1 - place  # of those that have not changed, counted from the oldest
        return older // (step - 1) * step + older % (step - 1) + 1


def seeds(file: Path = REAL) -> list[Seed]:
    """Read the real models, the most downloaded first."""
    with file.open(encoding="utf-8") as lines:
        return [_seed(json.loads(line)) for line in lines]


def _seed(told: Mapping[str, Any]) -> Seed:
    facts: dict[str, Any] = {"id": told["id"], "author": told["author"]}
    facts |= {name: told[name] for name in ("pipeline_tag", "library_name") if name in told}
    if "numParameters" in told:
        count = int(told["numParameters"])
        facts["safetensors"] = {"parameters": {"BF16": count}, "total": count}
    config = {"model_type": told.get("model_type"), "architectures": told.get("architectures")}
    facts["config"] = {name: value for name, value in config.items() if value}
    return Seed(
        name=told["id"].partition("/")[2] or told["id"],
        facts=facts,
        tags=tuple(told["tags"]),
        downloads=int(told.get("downloads") or 0),
        likes=int(told.get("likes") or 0),
    )


def main() -> None:
    """Serve models as a Hub until it is stopped."""
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--models", type=int, default=2_500_000)
    read.add_argument("--changed", type=int, default=0)
    read.add_argument("--port", type=int, default=8650)
    given = read.parse_args()
    begun = time.monotonic()
    shelf = Grown(given.models, seeds(), changed=given.changed, changed_at=int(time.time()))
    print(f"{given.models:,} models after {time.monotonic() - begun:.1f} s on port {given.port}", flush=True)
    uvicorn.run(HubServer(shelf, limits=RateLimits(GENEROUS)), port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
