"""A model logged by MLflow over files, as Azure ML runs it without a script: tables row by row, images one by one.

Run by the model's Python, with the model's MLflow. Of each row come three columns: its number in the file, the
prediction, the file's name. Batch deployments and parallel tasks of type `model` are the same thing: the former's
processes call `load`, the latter's workers `init` and `run`, as of any script.
"""

from __future__ import annotations

import csv
import io
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")


MODEL = "STUDIOLO_MODEL"  # the variable that says where the model of a parallel task lies

_held: list[MlflowRows] = []  # between `init` and `run` of one process


def load(spec: dict[str, Any], collect: Callable[[dict[str, Any], bytes], None]) -> MlflowRows:  # noqa: ARG001
    """Load the model as a Python function."""
    import mlflow.pyfunc

    return MlflowRows(mlflow.pyfunc.load_model(spec["model"]))


def init() -> None:
    """Load the model that a parallel task names."""
    _held.append(load({"model": os.environ[MODEL]}, lambda *_: None))


def run(mini_batch: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a mini-batch: of files, or of a table's rows, which have no file."""
    return list(_held[0].of_table(mini_batch) if hasattr(mini_batch, "columns") else _held[0].of_files(mini_batch))


class MlflowRows:
    """The model, loaded."""

    about: dict[str, Any] = {}

    def __init__(self, model: Any) -> None:
        self._model = model
        self._schema = model.metadata.get_input_schema()

    def answer(self, request: dict[str, Any], body: bytes) -> Any:  # noqa: ARG002  every scorer is asked so
        """Return the rows of a mini-batch of files."""
        out, count = io.StringIO(), 0
        writer = csv.writer(out, lineterminator="\n")
        for row in self.of_files(json.loads(body)["files"]):
            writer.writerow(row)
            count += 1
        return 200, {}, json.dumps({"rows": count, "text": out.getvalue()}).encode()

    def of_files(self, paths: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        """Yield number, prediction and file of each row of files."""
        for path in paths:
            name = os.path.basename(path)  # noqa: PTH119
            for number, prediction in self.of_table(self._read(path)):
                yield number, prediction, name

    def of_table(self, table: Any) -> Iterator[tuple[Any, ...]]:
        """Yield number and prediction of each row."""
        for number, prediction in enumerate(_listed(self._model.predict(table))):
            yield number, prediction if _plain(prediction) else json.dumps(prediction)

    def _read(self, path: str) -> Any:
        kind = os.path.splitext(path)[1].lower()  # noqa: PTH122
        if kind in IMAGES:
            return self._image(path)
        import pandas

        if kind == ".parquet":
            return pandas.read_parquet(path)
        if kind == ".csv":
            return pandas.read_csv(path, dtype=self._types())
        if kind in (".jsonl", ".json"):
            return pandas.read_json(path, lines=kind == ".jsonl", dtype=self._types() or True)
        raise ValueError(f"{os.path.basename(path)} is no table and no image")  # noqa: PTH119

    def _types(self) -> dict[str, Any] | None:
        schema = self._schema
        if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
            return None
        return dict(zip(schema.input_names(), schema.pandas_types()))  # noqa: B905  strict came with Python 3.10

    def _image(self, path: str) -> Any:
        import numpy
        from PIL import Image

        with Image.open(path) as image:
            pixels = numpy.asarray(image)[None, ...]
        schema = self._schema
        return pixels.astype(schema.numpy_types()[0]) if schema is not None and schema.is_tensor_spec() else pixels


def _listed(result: Any) -> list[Any]:
    """What a model returned, a value a row; of a table with several columns each row is a mapping."""
    if hasattr(result, "to_dict") and hasattr(result, "columns"):
        records = json.loads(result.to_json(orient="records"))
        return [next(iter(row.values())) for row in records] if len(result.columns) == 1 else records
    if hasattr(result, "tolist"):
        result = result.tolist()
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))
