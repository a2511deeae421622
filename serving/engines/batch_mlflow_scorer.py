"""A model logged by MLflow over files, as Azure ML runs it without a script: tables row by row, images one by one.

Run by the model's Python, with the model's MLflow; `scoring_worker` loads it. Of each row come three columns: its
number in the file, the prediction, the file's name.
"""

from __future__ import annotations

import csv
import io
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")


def load(spec: dict[str, Any], collect: Callable[[dict[str, Any], bytes], None]) -> BatchMlflowScorer:  # noqa: ARG001
    """Load the model as a Python function."""
    import mlflow.pyfunc

    return BatchMlflowScorer(mlflow.pyfunc.load_model(spec["model"]))


class BatchMlflowScorer:
    """The model, loaded."""

    about: dict[str, Any] = {}

    def __init__(self, model: Any) -> None:
        self._model = model
        self._schema = model.metadata.get_input_schema()

    def answer(self, request: dict[str, Any], body: bytes) -> Any:  # noqa: ARG002  every scorer is asked so
        """Return the rows of a mini-batch of files."""
        out, count = io.StringIO(), 0
        writer = csv.writer(out, lineterminator="\n")
        for path in json.loads(body)["files"]:
            name = os.path.basename(path)  # noqa: PTH119
            for number, prediction in enumerate(_listed(self._model.predict(self._read(path)))):
                writer.writerow([number, prediction if _plain(prediction) else json.dumps(prediction), name])
                count += 1
        return 200, {}, json.dumps({"rows": count, "text": out.getvalue()}).encode()

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
