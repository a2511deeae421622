"""Rows of a Parquet file, batch by batch, as JSON could say them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from workspace.errors import Invalid, Location, MissingExtra

BATCH = 1000  # rows


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows: dates and times are ISO text, decimals their exact text, bytes base64."""
    pyarrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                yield from _rows(pyarrow, batch)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise Invalid(f"not Parquet: {str(error).splitlines()[0]}", at=Location(path)) from None


def count(path: Path) -> int | None:
    """Return how many rows the file says it has; None where it cannot be read."""
    pyarrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            return int(file.metadata.num_rows)
    except (pyarrow.ArrowException, OSError):
        return None


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("reading Parquet needs pyarrow", hint="pip install 'studiolo[studio]'") from None
    return pyarrow, parquet


def _rows(pyarrow: Any, batch: Any) -> list[dict[str, Any]]:
    names = batch.schema.names
    columns = [_column(pyarrow, column) for column in batch.columns]
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _column(pyarrow: Any, column: Any) -> list[Any]:
    types = pyarrow.types
    kind = column.type
    if types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if types.is_timestamp(kind) and kind.unit == "ns":
        # Python's own times end at microseconds.
        column = column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    cells: list[Any] = column.to_pylist()
    plain = any(
        check(kind)
        for check in (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string)
    )
    return cells if plain else [_said(cell) for cell in cells]


def _said(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_said(item) for item in value]
    if isinstance(value, dict):
        return {key: _said(item) for key, item in value.items()}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return format(value, "f") if isinstance(value, Decimal) else str(value)
