"""What scripts take from `mltable`: `mltable.load(folder).to_pandas_dataframe()`, read with pandas."""

from __future__ import annotations

import enum
import json
import os
import random
import shutil
from typing import Any

# Relative, so that it is one package here and where a job finds it.
from .paths import files, local, parsed
from .reading import Reading, listed, refuse_delta_lake

MLTABLE = "MLTable"


class MLTableHeaders(enum.Enum):
    """Which files of a table have a line of names."""

    no_header = 1
    from_first_file = 2
    all_files_different_headers = 3
    all_files_same_headers = 4


class MLTableFileEncoding(enum.Enum):
    """How text is written."""

    utf8 = 1
    iso88591 = 2
    latin1 = 3
    ascii = 4
    utf16 = 5
    windows1252 = 6


class DataType:
    """What a column becomes."""

    def __init__(self, said: Any) -> None:
        self.said = said

    @staticmethod
    def to_int() -> DataType:
        """Whole numbers."""
        return DataType("int")

    @staticmethod
    def to_float() -> DataType:
        """Numbers."""
        return DataType("float")

    @staticmethod
    def to_string() -> DataType:
        """Text."""
        return DataType("string")

    @staticmethod
    def to_stream() -> DataType:
        """Paths."""
        return DataType("stream_info")

    @staticmethod
    def to_bool(true_values: Any = None, false_values: Any = None, mismatch_as: Any = None) -> DataType:
        """True and false."""
        said = {"true_values": true_values, "false_values": false_values, "mismatch_as": mismatch_as}
        return DataType({"boolean": {key: value for key, value in said.items() if value is not None}})

    @staticmethod
    def to_datetime(formats: Any, date_constant: Any = None) -> DataType:  # noqa: ARG004
        """Moments, written in one of some formats."""
        return DataType({"datetime": {"formats": [formats] if isinstance(formats, str) else list(formats)}})


class MLTable:
    """Files and the steps that make a table of them; nothing is read before it is asked for."""

    def __init__(self, paths: Any, steps: Any = (), folder: str = ".") -> None:
        self._paths = [dict(each) for each in paths]
        self._steps = [dict(each) for each in steps]
        self._folder = os.path.abspath(folder)

    @property
    def paths(self) -> list[dict[str, str]]:
        """The files, as they are written."""
        return [dict(each) for each in self._paths]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """What makes a table of them."""
        return [dict(each) for each in self._steps]

    @property
    def folder(self) -> str:
        """Where relative paths start."""
        return self._folder

    def to_pandas_dataframe(self) -> Any:
        """Read the table."""
        return Reading(self).frame()

    def show(self, count: int = 20) -> Any:
        """Return the first rows."""
        return self.take(count).to_pandas_dataframe()

    def take(self, count: int = 20) -> MLTable:
        """Keep the first rows."""
        return self._with({"take": _positive(count, "count")})

    def skip(self, count: int) -> MLTable:
        """Leave out the first rows."""
        return self._with({"skip": _positive(count, "count")})

    def take_random_sample(self, probability: float, seed: Any = None) -> MLTable:
        """Keep each row with a probability."""
        if not 0 < probability < 1:
            raise ValueError("probability must be between 0 and 1")
        return self._with({"take_random_sample": {"probability": probability, "seed": seed}})

    def random_split(self, percent: float = 0.5, seed: Any = None) -> tuple[MLTable, MLTable]:
        """Return two tables that have each row in one of them."""
        seed = random.randrange(2**31) if seed is None else seed  # noqa: S311  no secret
        halves = [{"random_split": {"percent": percent, "seed": seed, "rest": rest}} for rest in (False, True)]
        return self._with(halves[0]), self._with(halves[1])

    def keep_columns(self, columns: Any) -> MLTable:
        """Keep some columns."""
        return self._with({"keep_columns": listed(columns)})

    def drop_columns(self, columns: Any) -> MLTable:
        """Leave some columns out."""
        return self._with({"drop_columns": listed(columns)})

    def filter(self, expression: str) -> MLTable:
        """Keep the rows for which something holds: `filter("col('age') > 30")`."""
        return self._with({"filter": expression})

    def convert_column_types(self, column_types: Any) -> MLTable:
        """Make columns of another type: `{"age": DataType.to_int()}`."""
        said = [
            {"columns": listed(list(columns) if isinstance(columns, tuple) else columns),
             "column_type": kind.said if isinstance(kind, DataType) else kind}
            for columns, kind in column_types.items()
        ]  # fmt: skip
        return self._with({"convert_column_types": said})

    def extract_columns_from_partition_format(self, partition_format: str) -> MLTable:
        """Make columns of what paths say: `"/{year}/{month}/rows.csv"`."""
        return self._with({"extract_columns_from_partition_format": partition_format})

    def validate(self) -> None:
        """Read the first rows."""
        self.show(1)

    def save(self, path: Any = None, overwrite: bool = True, colocated: bool = False, **_: Any) -> MLTable:
        """Write an MLTable file into a folder; `colocated`: with the files beside it."""
        folder = os.path.abspath(path or os.getcwd())
        os.makedirs(folder, exist_ok=True)
        target = os.path.join(folder, MLTABLE)
        if os.path.exists(target) and not overwrite:
            raise ValueError(target + " exists")
        paths = []
        for index, place in enumerate(files(self._paths, self._folder)):
            if colocated:
                name = os.path.basename(place)
                name = name if not os.path.exists(os.path.join(folder, name)) else f"{index}-{name}"
                shutil.copyfile(place, os.path.join(folder, name))
                place = os.path.join(folder, name)
            inside = os.path.relpath(place, folder)
            paths.append({"file": place if inside.startswith("..") else "./" + inside})
        with open(target, "w", encoding="utf-8") as file:
            file.write(json.dumps({"type": "mltable", "paths": paths, "transformations": self._steps}, indent=1))
        return MLTable(paths, self._steps, folder)

    def __repr__(self) -> str:
        return json.dumps({"paths": self._paths, "transformations": self._steps}, indent=1, default=str)

    def _with(self, step: dict[str, Any]) -> MLTable:
        return MLTable(self._paths, [*self._steps, step], self._folder)


def load(uri: Any, storage_options: Any = None, ml_client: Any = None) -> MLTable:  # noqa: ARG001
    """Return the table of a folder with an MLTable file."""
    place = local(str(uri))
    path = place if os.path.isfile(place) else os.path.join(place, MLTABLE)
    if not os.path.isfile(path):
        raise ValueError("there is no MLTable file in " + place)
    with open(path, encoding="utf-8-sig") as file:
        text = file.read()
    said = parsed(text)
    if not isinstance(said, dict) or not said.get("paths"):
        raise ValueError(path + " says no `paths`")
    steps = [{each: {}} if isinstance(each, str) else each for each in said.get("transformations") or ()]
    return MLTable(said["paths"], steps, os.path.dirname(path))


def files_of(table: MLTable) -> list[str]:
    """Return the files of a table, as absolute paths."""
    return files(table.paths, table.folder)


def from_paths(paths: Any) -> MLTable:
    """Return a table of paths."""
    return MLTable([{"file": each} if isinstance(each, str) else each for each in paths])


def from_delimited_files(
    paths: Any, header: Any = "all_files_same_headers", delimiter: str = ",", **said: Any
) -> MLTable:
    """Return the table of files like CSV."""
    said = {key: value.name if isinstance(value, enum.Enum) else value for key, value in said.items()}
    header = header.name if isinstance(header, enum.Enum) else header
    return from_paths(paths)._with({"read_delimited": {"header": header, "delimiter": delimiter, **said}})


def from_parquet_files(paths: Any, include_path_column: bool = False) -> MLTable:
    """Return the table of Parquet files."""
    return from_paths(paths)._with({"read_parquet": {"include_path_column": include_path_column}})


def from_json_lines_files(
    paths: Any, invalid_lines: str = "error", encoding: Any = "utf8", include_path_column: bool = False
) -> MLTable:
    """Return the table of files with a JSON object a line."""
    said = {"invalid_lines": invalid_lines, "encoding": encoding, "include_path_column": include_path_column}
    said = {key: value.name if isinstance(value, enum.Enum) else value for key, value in said.items()}
    return from_paths(paths)._with({"read_json_lines": said})


def from_delta_lake(*_: Any, **__: Any) -> MLTable:
    """Refuse: Delta Lake cannot be read here."""
    refuse_delta_lake()


def _positive(count: int, name: str) -> int:
    if not isinstance(count, int) or count < 1:
        raise ValueError(name + " must be a whole number above 0")
    return count
