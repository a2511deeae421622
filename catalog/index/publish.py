"""From what has arrived to a new snapshot: `models-v<format>-<number>.duckdb`, immutable, known by its number.

A reader keeps the snapshot it has opened, whatever is published meanwhile; a snapshot comes into being by a rename.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.index.arriving import CLOSED, Arriving, Scope, discard, line
from workspace.errors import Unavailable

if TYPE_CHECKING:
    import duckdb

FORMAT = 1  # another number with other tables: what was written otherwise is not read, but synced anew
_NAME = re.compile(rf"models-v{FORMAT}-(\d{{6,}})\.duckdb")
_COMING = "coming.duckdb"
KINDS = ("task", "library", "license", "type", "precision")  # of which a model has one, from few
_FACTS = (
    "n UINTEGER, task USMALLINT, library USMALLINT, license USMALLINT, type USMALLINT, precision USMALLINT,"
    " gated UTINYINT, parameters UBIGINT, weights UBIGINT, context UINTEGER, downloads UBIGINT, likes UINTEGER,"
    " trending UINTEGER, created UINTEGER, modified UINTEGER, input_price DOUBLE, output_price DOUBLE"
)
_TABLES = {
    "facts": _FACTS,
    "texts": "n UINTEGER, key VARCHAR, id VARCHAR, sha VARCHAR, base VARCHAR, relation VARCHAR, formats VARCHAR[],"
    " languages VARCHAR[], tags VARCHAR[]",
    "terms": "kind VARCHAR, code USMALLINT, word VARCHAR, models UINTEGER",
    "tags": "code UINTEGER, tag VARCHAR",
    "tagged": "tag UINTEGER, n UINTEGER",
    "words": "code UINTEGER, word VARCHAR, models UINTEGER",
    "spellings": "length UTINYINT, word VARCHAR, code UINTEGER, models UINTEGER",
    "says": "word UINTEGER, n UINTEGER, named BOOLEAN",
    "gone": "key VARCHAR, id VARCHAR, noticed UINTEGER",
    "renamed": "key VARCHAR, old VARCHAR, new VARCHAR, noticed UINTEGER",
    "syncs": "scope VARCHAR, complete BOOLEAN, started UINTEGER, models UINTEGER, added UINTEGER, renamed UINTEGER,"
    " gone UINTEGER, newest UINTEGER",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a sync has changed; `models` is how many there are now."""

    models: int
    added: int
    updated: int
    renamed: int
    gone: int


def newest(folder: Path) -> Path | None:
    """Return the newest snapshot of a folder."""
    found = [path for path in folder.glob("models-*.duckdb") if _NAME.fullmatch(path.name)]
    return max(found, key=_number, default=None)


def publish(folder: Path, sync: Arriving, scope: Scope, *, complete: bool) -> Changes:
    """Make what has arrived the newest snapshot, and forget the one before. Raises Unavailable where there is no room.

    `complete`: models of the scope that did not come are gone; each is remembered with when that was noticed.
    """
    import duckdb

    before = newest(folder)
    sync.detach()
    try:
        try:
            path, changes = _made(folder, sync, scope, before, complete=complete)
        except duckdb.InternalException:  # seen once with DuckDB 2.0.0, and not again with the same rows
            path, changes = _made(folder, sync, scope, before, complete=complete)
        now = path.rename(folder / f"models-v{FORMAT}-{_number(before) + 1 if before else 1:06}.duckdb")
    except (duckdb.Error, OSError) as error:
        hint = "what has been fetched is kept: sync again when there is room"
        raise Unavailable(f"cannot make a snapshot in {folder}: {line(error)}", hint=hint) from None
    discard(folder)
    for path in folder.glob("models-*.duckdb"):
        if path != now:
            path.unlink(missing_ok=True)
    return changes


def _made(folder: Path, sync: Arriving, scope: Scope, before: Path | None, *, complete: bool) -> tuple[Path, Changes]:
    anew = complete and not str(scope)
    with _coming(folder, None if anew else before) as (file, path):
        file.execute(f"ATTACH '{_quoted(sync.path)}' AS came (READ_ONLY)")
        if anew and before is not None:
            file.execute(f"ATTACH '{_quoted(before)}' AS old (READ_ONLY)")
        changes = _merge(file, scope, sync.started, complete=complete, old="old" if anew and before else "")
        file.execute("DETACH came")
        file.execute("CHECKPOINT")
    return path, changes


@contextmanager
def _coming(folder: Path, before: Path | None) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    import duckdb

    path = folder / _COMING
    for left in (path, path.with_name(f"{_COMING}.wal")):
        left.unlink(missing_ok=True)
    if before is not None:
        shutil.copyfile(before, path)
    with duckdb.connect(str(path), config=CLOSED | {"temp_directory": str(folder / "sorting")}) as file:
        path.chmod(0o600)
        for name, columns in _TABLES.items():
            file.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
        yield file, path


def _merge(file: duckdb.DuckDBPyConnection, scope: Scope, now: int, *, complete: bool, old: str) -> Changes:
    """Bring the tables to what has arrived. `old` names the snapshot before, where all is made anew."""
    known = f"{old}." if old else ""
    # The newest word of each model; where two models have had one path, the later one has it now.
    file.execute("""CREATE TEMP TABLE new AS SELECT a.* FROM came.arriving a SEMI JOIN (
        SELECT max(arrival) AS arrival FROM came.arriving GROUP BY key) USING (arrival)""")
    file.execute("DELETE FROM new WHERE arrival NOT IN (SELECT max(arrival) FROM new GROUP BY id)")
    renamed = _count(file, f"""INSERT INTO renamed SELECT t.key, t.id, new.id, {now} FROM {known}texts t
        JOIN new USING (key) WHERE t.id <> new.id""")  # fmt: skip
    if old:
        for table in ("renamed", "gone", "syncs"):
            file.execute(f"INSERT INTO {table} SELECT * FROM old.{table}")
    updated = _one(file, f"SELECT count(*) FROM {known}texts SEMI JOIN new USING (key)")
    gone = 0
    if complete:
        gone = _count(
            file,
            f"""INSERT INTO gone SELECT t.key, t.id, {now} FROM {known}texts t
            JOIN {known}facts f USING (n) ANTI JOIN new USING (key) WHERE {_within(scope, known)}""",
        )
    file.execute("DELETE FROM gone WHERE key IN (SELECT key FROM new)")
    if not old:
        _remove(file, now)
    _add(file)
    models = _one(file, "SELECT count(*) FROM facts")
    came = _one(file, "SELECT count(*) FROM new")
    file.execute(f"""INSERT INTO syncs SELECT ?, ?, {now}, {models}, {came - updated}, {renamed}, {gone},
        coalesce(max(modified), 0) FROM new""", [str(scope), complete])  # fmt: skip
    return Changes(models=models, added=came - updated, updated=updated, renamed=renamed, gone=gone)


def _remove(file: duckdb.DuckDBPyConnection, now: int) -> None:
    """Take out what came anew, what is gone, and what had the path of a new model."""
    file.execute(f"""CREATE TEMP TABLE leaving AS SELECT n FROM texts
        WHERE key IN (SELECT key FROM new) OR id IN (SELECT id FROM new)
        OR key IN (SELECT key FROM gone WHERE noticed = {now})""")
    for table in ("facts", "texts", "tagged", "says"):
        file.execute(f"DELETE FROM {table} WHERE n IN (SELECT n FROM leaving)")


def _add(file: duckdb.DuckDBPyConnection) -> None:
    """Number what came, the most downloaded first, and write it into every table."""
    last = _one(file, "SELECT coalesce(max(n), 0) FROM facts")
    file.execute(f"""CREATE TEMP TABLE numbered AS
        SELECT ({last} + row_number() OVER (ORDER BY downloads DESC, arrival))::UINTEGER AS n, arrival FROM new""")
    file.execute("""INSERT INTO texts SELECT n, key, id, sha, base, relation, formats, languages, tags
        FROM new JOIN numbered USING (arrival) ORDER BY n""")
    for kind in KINDS:
        last = _one(file, f"SELECT coalesce(max(code), 0) FROM terms WHERE kind = '{kind}'")
        file.execute(f"""INSERT INTO terms
            SELECT '{kind}', {last} + row_number() OVER (ORDER BY count(*) DESC), {kind}, 0
            FROM new WHERE {kind} IS NOT NULL
            AND {kind} NOT IN (SELECT word FROM terms WHERE kind = '{kind}') GROUP BY {kind} LIMIT 60000""")
    coded = " ".join(
        f"LEFT JOIN (SELECT code AS {kind}_code, word AS {kind} FROM terms WHERE kind = '{kind}') USING ({kind})"
        for kind in KINDS
    )
    file.execute(f"""INSERT INTO facts SELECT n, task_code, library_code, license_code, type_code, precision_code,
        gated, parameters, weights, context, downloads, likes, trending, created, modified, input_price, output_price
        FROM new JOIN numbered USING (arrival) {coded} ORDER BY n""")
    for kind in KINDS:
        file.execute(f"""UPDATE terms SET models = coalesce((SELECT count(*) FROM facts WHERE {kind} = code), 0)
            WHERE kind = '{kind}'""")
    _add_tags(file)
    _add_words(file)


def _add_tags(file: duckdb.DuckDBPyConnection) -> None:
    file.execute("""CREATE TEMP TABLE pairs AS SELECT DISTINCT tag, n FROM (
        SELECT unnest(list_concat(tags, ['author:' || split_part(id, '/', 1), 'base_model:' || base])) AS tag, n
        FROM new JOIN numbered USING (arrival)) WHERE tag IS NOT NULL""")
    file.execute("""INSERT INTO tags SELECT (SELECT coalesce(max(code), 0) FROM tags)
        + row_number() OVER (ORDER BY count(*) DESC), tag FROM pairs ANTI JOIN tags USING (tag) GROUP BY tag""")
    file.execute("INSERT INTO tagged SELECT code, n FROM pairs JOIN tags USING (tag) ORDER BY ALL")
    file.execute("DROP TABLE pairs")


def _add_words(file: duckdb.DuckDBPyConnection) -> None:
    """Words of the path, whole and without a number at their end, and of task, library, kind and precision."""
    file.execute(r"""CREATE TEMP TABLE pairs AS SELECT word, n, bool_or(named) AS named FROM (
        SELECT unnest(regexp_extract_all(lower(id), '[\pL\pN]+(?:\.\pN+)*')) AS word, n, true AS named
        FROM new JOIN numbered USING (arrival)
        UNION ALL SELECT unnest(string_split(lower(concat_ws('-', task, library, type, precision)), '-')), n, false
        FROM new JOIN numbered USING (arrival)) WHERE word <> '' GROUP BY word, n""")
    file.execute(r"""INSERT INTO pairs SELECT DISTINCT regexp_extract(word, '^(\pL\pL+)[\pN.]+$', 1) AS stem, n, true
        FROM pairs WHERE named AND stem <> ''""")
    file.execute("""INSERT INTO words SELECT (SELECT coalesce(max(code), 0) FROM words)
        + row_number() OVER (ORDER BY word), word, 0 FROM pairs ANTI JOIN words USING (word) GROUP BY word""")
    file.execute("""INSERT INTO says SELECT code, n, bool_or(named) FROM pairs JOIN words USING (word)
        GROUP BY code, n ORDER BY ALL""")
    file.execute("""CREATE OR REPLACE TABLE words AS SELECT code, word, coalesce(counted.models, 0)::UINTEGER AS models
        FROM words LEFT JOIN (SELECT word AS code, count(*) AS models FROM says GROUP BY ALL) counted USING (code)
        WHERE counted.models > 0 ORDER BY word""")
    file.execute("DROP TABLE pairs")
    # What may be meant by a mistyped word: words that more than one model has, and no numbers.
    file.execute("""CREATE OR REPLACE TABLE spellings AS SELECT length(word)::UTINYINT AS length, word, code, models
        FROM words WHERE models > 1 AND length(word) < 40 AND NOT regexp_matches(word, '[0-9]') ORDER BY ALL""")


def _within(scope: Scope, known: str) -> str:
    """Return what says in SQL that a model is within a scope."""
    said = [
        f"f.{kind} = (SELECT code FROM {known}terms WHERE kind = '{kind}' AND word = '{_quoted(value)}')"
        for kind, value in (("task", scope.task), ("library", scope.library))
        if value is not None
    ]
    if scope.author is not None:
        said.append(f"starts_with(t.id, '{_quoted(scope.author)}/')")
    return " AND ".join(said) or "true"


def _quoted(text: object) -> str:
    return str(text).replace("'", "''")


def _number(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return int(found.group(1)) if found else 0


def _one(file: duckdb.DuckDBPyConnection, query: str) -> int:
    row = file.execute(query).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def _count(file: duckdb.DuckDBPyConnection, insertion: str) -> int:
    """Return how many rows an INSERT has written."""
    return _one(file, insertion)
