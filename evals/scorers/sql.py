"""The SQL scorer: what a query answers on small tables in memory, compared with what the expected query answers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from threading import Timer
from typing import Any, Literal

from evals.samples import Sample, Score
from evals.scorers.registry import scorer

_FENCE = re.compile(r"```(?:sql)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_READS = {"SELECT", "EXPLAIN"}
MOST_ROWS = 100_000


@scorer("sql", needs=("DuckDB",))
def sql(
    sample: Sample,
    *,
    setup: str = "",
    order: Literal["any", "same"] = "any",
    columns: Literal["ignored", "same"] = "ignored",
    seconds: float = 10.0,
    memory: str = "256MB",
) -> Score:
    """1.0 when the answer, one SELECT, gives the rows that the expected query gives, on tables made by `setup`.

    The tables are those of `setup` and of the row's own `setup` column. Nothing outside them can be read: no files, no
    network, no extensions. An answer that is no query or that fails is wrong; an expected query that fails is an error.
    """
    if sample.answer is None or sample.expected is None:
        return Score(error="no answer" if sample.answer is None else "no expected answer")
    made = "\n".join((setup, str(sample.metadata.get("setup") or "")))
    right, failure = _answer(made, sample.expected, seconds, memory)
    if right is None:
        return Score(error=f"the expected query fails: {failure}")
    found, failure = _answer(made, _query(sample.answer), seconds, memory)
    if found is None:
        return Score(value=0.0, details={"mistake": failure})
    passed = _rows_equal(found[1], right[1], ordered=order == "same") and (columns == "ignored" or found[0] == right[0])
    return Score(value=float(passed), details={} if passed else {"rows": len(found[1]), "wanted": len(right[1])})


def _answer(
    setup: str, query: str, seconds: float, memory: str
) -> tuple[tuple[list[str], list[Any]] | None, str | None]:
    import duckdb

    settings = {"threads": "1", "memory_limit": memory, "temp_directory": "", "autoload_known_extensions": "false"}
    with duckdb.connect(":memory:", config=settings | {"autoinstall_known_extensions": "false"}) as database:
        late = Timer(seconds, database.interrupt)
        late.daemon = True
        late.start()
        try:
            if setup.strip():
                database.execute(setup)
            database.execute("SET enable_external_access = false")
            database.execute("SET lock_configuration = true")
            statements = database.extract_statements(query)
            if len(statements) != 1 or statements[0].type.name not in _READS:
                return None, "not one SELECT"
            database.execute(statements[0])
            rows = database.fetchmany(MOST_ROWS + 1)
            if len(rows) > MOST_ROWS:
                return None, f"more than {MOST_ROWS} rows"
            return ([column[0].casefold() for column in database.description or ()], rows), None
        except duckdb.InterruptException:
            return None, f"took more than {seconds:g} s"
        except duckdb.Error as error:
            return None, str(error)[:500]
        finally:
            late.cancel()


def _query(answer: str) -> str:
    fenced = _FENCE.findall(answer)
    return str(fenced[0]) if len(fenced) == 1 else answer


def _rows_equal(found: Sequence[Any], right: Sequence[Any], *, ordered: bool) -> bool:
    one, other = ([tuple(map(_plain, row)) for row in rows] for rows in (found, right))
    return one == other if ordered else Counter(one) == Counter(other)


def _plain(value: Any) -> Any:
    """What two equal values have in common whatever their types: 1, 1.0 and DECIMAL 1.00 are the same number."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), _plain(each)) for key, each in value.items()))
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return "NaN" if math.isnan(number) else float(f"{number:.9g}")
