"""Searching the catalog: words, filters and facets over millions of models, beside SQLite FTS5 and the Hub's client.

    python benchmarks/catalog_search.py --models 2500000 --folder /tmp/catalog-2.5M

The models are grown from the real ones by a seed (`catalog_models.py`); the folder keeps them for another run. The
questions are drawn by a seed too: names of real models and pairs of their words, with filters that real models have.
The same words go to SQLite FTS5 over the same rows, which counts nothing; the same filters go through huggingface_hub
to the local Hub, which looks at `--hub` models one by one. Slowdown is the wall time over the CPU time
of a busy loop before each part: 1.0 is a free core.
"""

from __future__ import annotations

import argparse
import random
import re
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import uvicorn
from catalog_models import Grown, Seed, seeds
from huggingface_hub import HfApi

from catalog.hub_server.app import HubServer
from catalog.hub_server.folder import commit_of
from catalog.hub_server.limits import GENEROUS, RateLimits
from catalog.hub_server.shelf import Repositories, Repository
from catalog.index.arriving import Arriving, Scope
from catalog.index.listed import Listed
from catalog.index.publish import newest, publish
from catalog.index.search import Shelf, Wanted

ASKED, PAGE = 200, 1000


def slowdown() -> float:
    """Return how much slower than on a free core this process gets on."""
    wall, cpu = time.perf_counter(), time.process_time()
    sum(number * number for number in range(1_000_000))
    return (time.perf_counter() - wall) / (time.process_time() - cpu)


def fill(folder: Path, grown: Grown) -> None:
    """Make the snapshot, once."""
    if newest(folder) is not None:
        return
    begun = time.perf_counter()
    with Arriving.open(folder, Scope(), complete=True, first="0") as sync:
        for start in range(sync.sofar.rows, grown.count, PAGE):
            told = orjson.dumps([grown.model(n) for n in range(start, min(start + PAGE, grown.count))])
            page = [Listed.of(each) for each in orjson.loads(told)]  # as the Hub's JSON is read
            sync.add(page, str(start + PAGE))
        listed = time.perf_counter()
        changes = publish(folder, sync, Scope(), complete=True)
    indexed = time.perf_counter()
    print(f"{changes.models:,} models: {listed - begun:.0f} s to make and keep, {indexed - listed:.0f} s to index")


def questions(real: list[Seed], draw: random.Random) -> Iterator[tuple[str, Wanted]]:
    """Draw questions of four kinds."""
    licensed = [seed for seed in real if seed.facts.get("pipeline_tag") and _license(seed)]
    named = [seed for seed in real if len(re.findall(r"[a-z]{3,}", seed.name.lower())) > 1]
    for _ in range(ASKED):
        seed = draw.choice(licensed)
        size = draw.choice([1e9, 4e9, 8e9, 3e10])
        filters = Wanted(
            task=seed.facts["pipeline_tag"], license=_license(seed), parameters=(size / 8, size),
            sort=draw.choice(["downloads", "trending", "likes", "updated"]),
        )  # fmt: skip
        words = draw.sample(re.findall(r"[a-z]{3,}", draw.choice(named).name.lower()), 2)
        yield "three filters, facets", filters
        yield "two words, facets", Wanted(words=" ".join(words))
        yield "two words, two filters, facets", Wanted(words=" ".join(words), task="text-generation", gated=False)
        yield "a mistyped word, facets", Wanted(words=_mistyped(words[0], draw))


def _license(seed: Seed) -> str | None:
    return next((tag.partition(":")[2] for tag in seed.tags if tag.startswith("license:")), None)


def _mistyped(word: str, draw: random.Random) -> str:
    place = draw.randrange(1, len(word))
    return word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :]


def row(name: str, seconds: list[float], slow: float, note: str = "") -> None:
    """Print a row of the table."""
    middle, late = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
    print(f"| {name} | {middle * 1e3:.1f} | {late * 1e3:.1f} | {slow:.2f} | {note} |", flush=True)


def timed(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def ours(folder: Path, asked: list[tuple[str, Wanted]]) -> None:
    """Ask the shelf, each question once, after one of each kind that nobody measures."""
    with Shelf.open(folder) as shelf:
        for _, wanted in asked[:8]:
            shelf.search(wanted)
        for kind in dict.fromkeys(kind for kind, _ in asked):
            slow = slowdown()
            row(f"ours: {kind}", [timed(lambda w=w: shelf.search(w)) for each, w in asked if each == kind], slow)


def fts5(folder: Path, asked: list[tuple[str, Wanted]]) -> None:
    """Ask SQLite FTS5 for the same words over the same paths and tasks, with the same filters."""
    import duckdb

    path = newest(folder)
    assert path is not None
    with tempfile.TemporaryDirectory() as scratch, sqlite3.connect(Path(scratch) / "fts.db") as other:
        other.execute("CREATE VIRTUAL TABLE words USING fts5 (id, task, content='', detail='none')")
        other.execute("CREATE TABLE facts (n INTEGER PRIMARY KEY, task INTEGER, gated INTEGER, downloads INTEGER)")
        with duckdb.connect(str(path), read_only=True) as shelf:
            rows = shelf.execute("""SELECT n, id, word, task, gated, downloads FROM facts JOIN texts USING (n)
                LEFT JOIN (SELECT code, word FROM terms WHERE kind = 'task') ON code = task""")
            while page := rows.fetchmany(50_000):
                other.executemany("INSERT INTO words (rowid, id, task) VALUES (?, ?, ?)", [each[:3] for each in page])
                other.executemany("INSERT INTO facts VALUES (?, ?, ?, ?)", [(each[0], *each[3:]) for each in page])
            task = shelf.execute("SELECT code FROM terms WHERE word = 'text-generation'").fetchone()
        other.execute("INSERT INTO words (words) VALUES ('optimize')")
        other.commit()
        select = "SELECT n FROM words JOIN facts ON n = words.rowid WHERE words MATCH ?"
        for kind, where in (
            ("two words", ""),
            ("two words, two filters", f" AND facts.task = {task[0]} AND gated = 0"),
        ):  # type: ignore[index]
            slow = slowdown()
            taken = []
            for each, wanted in asked:
                if each.startswith(f"{kind}, facets"):
                    match = " ".join(f'"{word}"*' for word in wanted.words.split())
                    query = f"{select}{where} ORDER BY downloads DESC LIMIT 20"
                    taken.append(timed(lambda q=query, m=match: other.execute(q, [m]).fetchall()))
            row(f"SQLite FTS5: {kind}", taken, slow, "no facets, no mistyped words")


def hub(grown: Grown, asked: list[tuple[str, Wanted]], count: int) -> None:
    """Ask the local Hub over HTTP with its own client."""
    models = (grown.model(n) for n in range(count))
    shelf = Repositories(
        Repository(id=model["id"], facts=model, commits=(commit_of({}, model["createdAt"]),)) for model in models
    )
    config = uvicorn.Config(HubServer(shelf, limits=RateLimits(GENEROUS)), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    api = HfApi(endpoint=f"http://127.0.0.1:{port}", token=False)
    slow = slowdown()
    taken = []
    for each, wanted in asked[: 4 * 30]:
        if each == "three filters, facets":
            tags = [f"license:{wanted.license}"]
            size = f"min:{wanted.parameters[0]:.0f},max:{wanted.parameters[1]:.0f}"
            taken.append(timed(lambda t=wanted.task, f=tags, s=size: list(
                api.list_models(pipeline_tag=t, filter=f, num_parameters=s, limit=20))))  # fmt: skip
    row(f"huggingface_hub against the local Hub of {count:,}: three filters", taken, slow, "no facets")
    server.should_exit = True
    thread.join()


def main() -> None:
    """Print the table."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--models", type=int, default=2_500_000)
    read.add_argument("--folder", type=Path)
    read.add_argument("--hub", type=int, default=20_000, help="models of the local Hub")
    read.add_argument("--seed", type=int, default=1)
    given = read.parse_args()
    real = seeds()
    grown = Grown(given.models, real)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        fill(folder, grown)
        path = newest(folder)
        assert path is not None
        print(f"{path.stat().st_size / 1e6:.0f} MB\n\n| | p50, ms | p95, ms | slowdown | |\n|---|---|---|---|---|")
        asked = list(questions(real, random.Random(given.seed)))  # noqa: S311
        ours(folder, asked)
        fts5(folder, asked)
    hub(grown, asked, given.hub)


if __name__ == "__main__":
    main()
