"""One reading of a table with pandas: files first, then step by step."""

from __future__ import annotations

import importlib
import json
import os
import random
import re
from typing import Any, NoReturn

from .conditions import condition, known
from .paths import files

READERS = ("read_delimited", "read_parquet", "read_json_lines", "read_delta_lake")


class Reading:
    """One reading of a table. Each row knows its file until it is asked for no more."""

    PATH = "Path"

    def __init__(self, table: Any) -> None:
        self.pandas = importlib.import_module("pandas")
        self.files = files(table.paths, table.folder)
        self.steps = table.steps
        self.folder = table.folder

    def frame(self) -> Any:
        steps = [(name, value) for step in self.steps for name, value in step.items()]
        reader = next(((name, value) for name, value in steps if name in READERS), None)
        frame, sources = self._read(*reader) if reader else self._paths()
        for name, value in steps:
            if name not in READERS:
                frame, sources = self._step(name, value, frame, sources)
        return frame.reset_index(drop=True)

    def _paths(self) -> Any:
        frame = self.pandas.DataFrame({self.PATH: self.files})
        return frame, frame[self.PATH]

    def _read(self, name: str, said: Any) -> Any:
        said = said or {}
        if name == "read_delta_lake":
            refuse_delta_lake()
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
                for column in listed(each["columns"]):
                    frame[column] = self._converted(frame[column], each["column_type"])
            return frame, sources
        if name == "keep_columns":
            return frame[known(frame, listed(_columns(said)))], sources
        if name == "drop_columns":
            return frame.drop(columns=known(frame, listed(_columns(said)))), sources
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
            return condition(str(text), frame)
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
            return self._moments(column, listed((said or {}).get("formats") or []))
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


def _encoding(written: Any) -> str:
    known = {"utf8": "utf-8-sig", "utf-8": "utf-8-sig", "iso88591": "latin-1", "windows1252": "cp1252"}
    name = str(getattr(written, "name", written) or "utf8").lower()
    return known.get(name, name)


def _boolean(value: Any, said: dict[str, Any]) -> Any:
    true = [str(each).lower() for each in listed(said.get("true_values") or ["true", "yes", "1"])]
    false = [str(each).lower() for each in listed(said.get("false_values") or ["false", "no", "0"])]
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


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set)) else [value]


def refuse_delta_lake() -> NoReturn:
    """Say that Delta Lake cannot be read here."""
    raise NotImplementedError("tables of Delta Lake cannot be read here: write them as Parquet")
