"""What scripts take from `mltable`: `mltable.load(folder).to_pandas_dataframe()`, read with pandas."""

from __future__ import annotations

import ast
import enum
import glob
import importlib
import json
import operator
import os
import random
import re
import shutil
from typing import Any

MLTABLE = "MLTable"
_READERS = ("read_delimited", "read_parquet", "read_json_lines", "read_delta_lake")


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

    def to_pandas_dataframe(self) -> Any:
        """Read the table."""
        return _Reading(self).frame()

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
        return self._with({"keep_columns": _listed(columns)})

    def drop_columns(self, columns: Any) -> MLTable:
        """Leave some columns out."""
        return self._with({"drop_columns": _listed(columns)})

    def filter(self, expression: str) -> MLTable:
        """Keep the rows for which something holds: `filter("col('age') > 30")`."""
        return self._with({"filter": expression})

    def convert_column_types(self, column_types: Any) -> MLTable:
        """Make columns of another type: `{"age": DataType.to_int()}`."""
        said = [
            {"columns": _listed(list(columns) if isinstance(columns, tuple) else columns),
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
        for index, place in enumerate(_files(self._paths, self._folder)):
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
    place = _local(str(uri))
    path = place if os.path.isfile(place) else os.path.join(place, MLTABLE)
    if not os.path.isfile(path):
        raise ValueError("there is no MLTable file in " + place)
    with open(path, encoding="utf-8-sig") as file:
        text = file.read()
    said = _parsed(text)
    if not isinstance(said, dict) or not said.get("paths"):
        raise ValueError(path + " says no `paths`")
    steps = [{each: {}} if isinstance(each, str) else each for each in said.get("transformations") or ()]
    return MLTable(said["paths"], steps, os.path.dirname(path))


def files_of(table: MLTable) -> list[str]:
    """Return the files of a table, as absolute paths."""
    return _files(table._paths, table._folder)


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
    raise NotImplementedError("tables of Delta Lake cannot be read here: write them as Parquet")


class _Reading:
    """One reading of a table. Each row knows its file until it is asked for no more."""

    PATH = "Path"

    def __init__(self, table: MLTable) -> None:
        self.pandas = importlib.import_module("pandas")
        self.files = _files(table._paths, table._folder)
        self.steps = table._steps
        self.folder = table._folder

    def frame(self) -> Any:
        steps = [(name, value) for step in self.steps for name, value in step.items()]
        reader = next(((name, value) for name, value in steps if name in _READERS), None)
        frame, sources = self._read(*reader) if reader else self._paths()
        for name, value in steps:
            if name not in _READERS:
                frame, sources = self._step(name, value, frame, sources)
        return frame.reset_index(drop=True)

    def _paths(self) -> Any:
        frame = self.pandas.DataFrame({self.PATH: self.files})
        return frame, frame[self.PATH]

    def _read(self, name: str, said: Any) -> Any:
        said = said or {}
        if name == "read_delta_lake":
            from_delta_lake()
        if not self.files:
            raise ValueError("the table has no files")
        read = {"read_delimited": self._delimited, "read_parquet": self._parquet, "read_json_lines": self._lines}[name]
        frames = read(said)
        sources = self.pandas.concat(
            [self.pandas.Series([place] * len(frame), dtype=object) for place, frame in zip(self.files, frames)],
            ignore_index=True,
        )
        frame = self.pandas.concat(frames, ignore_index=True)
        if said.get("include_path_column"):
            frame.insert(0, self.PATH, sources)
        return frame, sources

    def _parquet(self, _: Any) -> Any:
        return [self.pandas.read_parquet(place) for place in self.files]

    def _lines(self, said: Any) -> Any:
        frames = []
        for place in self.files:
            rows = []
            with open(place, encoding=_encoding(said.get("encoding")), errors="strict") as file:
                for number, line in enumerate(file, 1):
                    if not line.strip():
                        continue
                    try:
                        rows.append(json.loads(line))
                    except ValueError:
                        if said.get("invalid_lines", "error") != "drop":
                            raise ValueError(f"{place}:{number}: no JSON") from None
            frames.append(self.pandas.DataFrame(rows))
        return frames

    def _delimited(self, said: Any) -> Any:
        header = str(said.get("header", "all_files_same_headers"))
        options: dict[str, Any] = {
            "sep": {"\\t": "\t"}.get(said.get("delimiter", ","), said.get("delimiter", ",")),
            "encoding": _encoding(said.get("encoding")),
            "keep_default_na": not said.get("empty_as_string"),
        }
        infer = said.get("infer_column_types", True)
        if infer is False:
            options["dtype"] = str
        frames: list[Any] = []
        for index, place in enumerate(self.files):
            bare = header == "no_header" or (header == "from_first_file" and index > 0)
            frame = self.pandas.read_csv(place, header=None if bare else 0, **options)
            if header == "no_header":
                frame.columns = [f"Column{number + 1}" for number in range(len(frame.columns))]
            elif header != "all_files_different_headers" and index > 0:
                frame.columns = frames[0].columns[: len(frame.columns)]
            frames.append(frame)
        overrides = (infer.get("column_type_overrides") or {}) if isinstance(infer, dict) else {}
        for frame in frames:
            for column, kind in overrides.items():
                frame[column] = self._converted(frame[column], kind)
        return frames

    def _step(self, name: str, said: Any, frame: Any, sources: Any) -> Any:
        if name == "convert_column_types":
            for each in said if isinstance(said, list) else [said]:
                for column in _listed(each["columns"]):
                    frame[column] = self._converted(frame[column], each["column_type"])
            return frame, sources
        if name == "keep_columns":
            return frame[_known(frame, _listed(_columns(said)))], sources
        if name == "drop_columns":
            return frame.drop(columns=_known(frame, _listed(_columns(said)))), sources
        if name == "extract_columns_from_partition_format":
            return self._extracted(_format(said), frame, sources), sources
        rows = self._rows(name, said, frame)
        return frame[rows], sources[rows.values if hasattr(rows, "values") else rows]

    def _rows(self, name: str, said: Any, frame: Any) -> Any:
        if name in ("take", "skip"):
            count = int(said["count"] if isinstance(said, dict) else said)
            chosen = [index < count if name == "take" else index >= count for index in range(len(frame))]
        elif name in ("take_random_sample", "random_split"):
            chance = float(said["probability" if name == "take_random_sample" else "percent"])
            draw = random.Random(said.get("seed"))  # noqa: S311  no secret
            chosen = [draw.random() < chance for _ in range(len(frame))]
            chosen = [not each for each in chosen] if said.get("rest") else chosen
        elif name == "filter":
            text = said["expression"] if isinstance(said, dict) else said
            return _condition(str(text), frame)
        else:
            raise ValueError(f"the transformation {name!r} is not known here")
        return self.pandas.Series(chosen, index=frame.index, dtype=bool)

    def _converted(self, column: Any, kind: Any) -> Any:
        name, said = next(iter(kind.items())) if isinstance(kind, dict) else (str(kind), {})
        if name in ("int", "integer", "float", "number"):
            found = self.pandas.to_numeric(column, errors="coerce")
            whole = name.startswith("int") and not found.isna().any()
            return found.astype("int64" if whole else "float64")
        if name in ("string", "str"):
            return column.where(column.isna(), column.astype(str))
        if name in ("bool", "boolean"):
            return column.map(lambda value: _boolean(value, said or {}))
        if name in ("datetime", "to_datetime"):
            return self._moments(column, _listed((said or {}).get("formats") or []))
        if name in ("stream_info", "stream"):
            return column
        raise ValueError(f"no column type {name!r}")

    def _moments(self, column: Any, formats: list[str]) -> Any:
        found = self.pandas.to_datetime(column, format=formats[0] if formats else None, errors="coerce")
        for form in formats[1:]:
            found = found.fillna(self.pandas.to_datetime(column, format=form, errors="coerce"))
        return found

    def _extracted(self, form: str, frame: Any, sources: Any) -> Any:
        pattern, names = _partition(form)
        found = [pattern.search("/" + os.path.relpath(str(place), self.folder)) or pattern.search(str(place))
                 for place in sources]  # fmt: skip
        for name, moments in names.items():
            values = [match and [match[key] for key in moments["keys"]] for match in found]
            if moments["format"]:
                texts = [None if value is None else " ".join(value) for value in values]
                column = self.pandas.to_datetime(self.pandas.Series(texts, dtype=object), format=moments["format"])
            else:
                column = self.pandas.Series([None if value is None else value[0] for value in values], dtype=object)
            column.index = frame.index
            frame[name] = column
        return frame


def _files(paths: Any, folder: str) -> list[str]:
    found: list[str] = []
    for each in paths:
        ((kind, written),) = each.items()
        place = os.path.join(folder, _local(str(written)))
        if kind == "file":
            if not os.path.isfile(place):
                raise ValueError("there is no file " + place)
            found.append(place)
        elif kind == "folder":
            found += sorted(path for path in glob.glob(os.path.join(glob.escape(place), "**"), recursive=True)
                            if os.path.isfile(path))  # fmt: skip
        elif kind == "pattern":
            matching = sorted(path for path in glob.glob(place, recursive=True) if os.path.isfile(path))
            if not matching:
                raise ValueError("no file fits " + place)
            found += matching
        else:
            raise ValueError(f"a path is a file, a folder or a pattern, not {kind!r}")
    return [os.path.normpath(path) for path in found]


def _local(written: str) -> str:
    if written.startswith("file://"):
        return written[7:]
    if "://" in written or written.startswith("azureml:"):
        raise ValueError(written + " is not on this machine: make the table an input of the job, and it is laid beside")
    return written


def _parsed(text: str) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        try:
            return json.loads(text)
        except ValueError:
            raise ImportError("MLTable files are read with PyYAML: pip install pyyaml") from None
    return yaml.safe_load(text)


def _encoding(written: Any) -> str:
    known = {"utf8": "utf-8-sig", "utf-8": "utf-8-sig", "iso88591": "latin-1", "windows1252": "cp1252"}
    name = str(getattr(written, "name", written) or "utf8").lower()
    return known.get(name, name)


def _boolean(value: Any, said: dict[str, Any]) -> Any:
    true = [str(each).lower() for each in _listed(said.get("true_values") or ["true", "yes", "1"])]
    false = [str(each).lower() for each in _listed(said.get("false_values") or ["false", "no", "0"])]
    text = str(value).lower()
    if text in true or text in false:
        return text in true
    otherwise = str(said.get("mismatch_as", "error")).lower()
    if otherwise == "error":
        raise ValueError(f"{value!r} is neither true nor false")
    return otherwise == "true"


def _partition(form: str) -> tuple[Any, dict[str, Any]]:
    """Return the pattern of a path and, for each column, the groups that make it up and the format of a moment."""
    names: dict[str, Any] = {}
    pattern = ""
    for part in re.split(r"(\{[^{}]+\}|\*)", form):
        if part == "*":
            pattern += "[^/]*"
        elif part.startswith("{"):
            name, _, moment = part[1:-1].partition(":")
            known = names.setdefault(name, {"keys": [], "format": ""})
            for piece in re.split(r"(yyyy|MM|dd|HH|mm|ss)", moment) if moment else [""]:
                code = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}.get(piece)
                if moment and code is None:
                    pattern += re.escape(piece)
                    continue
                key = "g{}".format(sum(len(each["keys"]) for each in names.values()))
                known["keys"].append(key)
                known["format"] = (known["format"] + " " + code).strip() if code else ""
                pattern += "(?P<{}>{})".format(key, r"\d+" if code else "[^/]+")
        else:
            pattern += re.escape(part)
    return re.compile(pattern), names


def _format(said: Any) -> str:
    return str(said.get("partition_format", "") if isinstance(said, dict) else said)


def _columns(said: Any) -> Any:
    return said["columns"] if isinstance(said, dict) else said


def _known(frame: Any, columns: list[str]) -> list[str]:
    missing = [each for each in columns if each not in frame.columns]
    if missing:
        raise ValueError(f"the table has no column {missing[0]!r}")
    return columns


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set)) else [value]


def _positive(count: int, name: str) -> int:
    if not isinstance(count, int) or count < 1:
        raise ValueError(name + " must be a whole number above 0")
    return count


_COMPARED = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_COUNTED = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
}  # fmt: skip


def _condition(text: str, frame: Any) -> Any:
    """Return for which rows a condition holds: `col('age') > 30 and col('name') == 'Ann'`. Nothing of it is run."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"the filter {text!r} cannot be read") from None
    return _value(tree, frame, text)


def _value(node: Any, frame: Any, text: str) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("col", "feature"):
        (name,) = [ast.literal_eval(each) for each in node.args]
        return frame[_known(frame, [name])[0]]
    if isinstance(node, ast.BoolOp):
        found = _value(node.values[0], frame, text)
        for each in node.values[1:]:
            other = _value(each, frame, text)
            found = found & other if isinstance(node.op, ast.And) else found | other
        return found
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, frame, text)
        return -inner if isinstance(node.op, ast.USub) else ~inner
    if isinstance(node, ast.BinOp) and type(node.op) in _COUNTED:
        return _COUNTED[type(node.op)](_value(node.left, frame, text), _value(node.right, frame, text))
    if isinstance(node, ast.Compare) and all(type(each) in _COMPARED for each in node.ops):
        sides = [_value(each, frame, text) for each in (node.left, *node.comparators)]
        found = True
        for compare, left, right in zip(node.ops, sides, sides[1:]):
            found = _COMPARED[type(compare)](left, right) & found
        return found
    try:
        return ast.literal_eval(node)
    except ValueError:
        known = "col('x'), and, or, not, <, == …"
        raise ValueError(f"the filter {text!r} has something that is not known here: {known}") from None
