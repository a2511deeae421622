"""A model logged by MLflow as Azure ML serves it without code; run by the model's Python, with the model's MLflow."""

from __future__ import annotations

import io
import json
import math
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# What MLflow's own server calls its kinds of input.
OWN = ("dataframe_split", "dataframe_records", "instances", "inputs")


class BadRequest(ValueError):
    """The body is not what the model takes."""

    status = 400


def load(spec: dict[str, Any], collect: Callable[[dict[str, Any], bytes], None]) -> MlflowScorer:
    """Load the model as a Python function."""
    import mlflow.pyfunc

    return MlflowScorer(mlflow.pyfunc.load_model(spec["model"]), collect, spec["collected"].split(","))


class MlflowScorer:
    """The model, loaded."""

    def __init__(self, model: Any, collect: Callable[[dict[str, Any], bytes], None], collected: list[str]) -> None:
        self._model = model
        self._collect = collect
        self._collected = collected
        self._schema = model.metadata.get_input_schema()
        signature = model.metadata.signature
        self.about = {"raw": False, "signature": signature.to_dict() if signature else None}

    def answer(self, request: dict[str, Any], body: bytes) -> Any:
        """Return status, headers and body of what the model makes of the request."""
        own = request["path"].startswith("/invocations")
        given, params = self._read(request["headers"].get("content-type", ""), body, own=own)
        correlation = request["headers"].get("x-request-id") or str(uuid.uuid4())
        self._keep("model_inputs", given, correlation)
        result = self._model.predict(given, params=params) if params else self._model.predict(given)
        self._keep("model_outputs", result, correlation)
        answer = _listed(result)
        if own:
            answer = {"predictions": answer}
        return 200, {"content-type": "application/json"}, json.dumps(answer, allow_nan=False).encode()

    def _read(self, kind: str, body: bytes, *, own: bool) -> Any:
        if kind.split(";")[0].strip().lower() == "text/csv":
            return self._csv(body), None
        try:
            asked = json.loads(body)
        except ValueError as error:
            raise BadRequest(f"the body is no JSON: {error}") from None
        if not isinstance(asked, dict):
            raise BadRequest('the body must be a JSON object: {"input_data": …}')
        if "input_data" in asked:
            return self._input_data(asked["input_data"]), asked.get("params")
        found = [name for name in OWN if name in asked]
        if not own or len(found) != 1:
            wanted = "one of " + ", ".join(OWN) if own else "`input_data`"
            raise BadRequest(f"the body needs {wanted}")
        return self._own(found[0], asked), asked.get("params")

    def _csv(self, body: bytes) -> Any:
        import pandas

        schema = self._schema
        named = schema is not None and schema.has_input_names() and not schema.is_tensor_spec()
        types = dict(zip(schema.input_names(), schema.pandas_types())) if named else None  # noqa: B905
        return pandas.read_csv(io.BytesIO(body), dtype=types)

    def _own(self, kind: str, asked: dict[str, Any]) -> Any:
        from mlflow.utils.proto_json_utils import dataframe_from_parsed_json, parse_tf_serving_input

        if kind.startswith("dataframe_"):
            return dataframe_from_parsed_json(asked[kind], kind[len("dataframe_") :], self._schema)
        return parse_tf_serving_input({kind: asked[kind]}, self._schema)

    def _input_data(self, given: Any) -> Any:
        """Columns with data, a list of rows, a list of records, or lists by name: tables, or tensors where they are."""
        import pandas
        from mlflow.utils.proto_json_utils import dataframe_from_parsed_json, parse_tf_serving_input

        schema = self._schema
        if isinstance(given, dict) and "data" in given and ("columns" in given or "index" in given):
            split = {"columns": given.get("columns"), "index": given.get("index"), "data": given["data"]}
            split = {name: value for name, value in split.items() if value is not None}
            if "columns" in split:
                return dataframe_from_parsed_json(split, "split", schema)
            given = split["data"]
        if schema is not None and schema.is_tensor_spec():
            return parse_tf_serving_input({"inputs": given}, schema)
        if isinstance(given, dict):
            if not all(isinstance(each, list) for each in given.values()):
                return dataframe_from_parsed_json([given], "records", schema)
            rows = [list(row) for row in zip(*given.values())]  # noqa: B905  strict came with Python 3.10
            return dataframe_from_parsed_json({"columns": list(given), "data": rows}, "split", schema)
        if not isinstance(given, list):
            raise BadRequest("`input_data` must be a list or a JSON object")
        if given and isinstance(given[0], dict):
            return dataframe_from_parsed_json(given, "records", schema)
        if schema is not None and schema.has_input_names():
            rows = given if given and isinstance(given[0], list) else [[each] for each in given]
            return dataframe_from_parsed_json({"columns": schema.input_names(), "data": rows}, "split", schema)
        return pandas.DataFrame(given)

    def _keep(self, collection: str, value: Any, correlation: str) -> None:
        if collection not in self._collected:
            return
        header = {"collection": collection, "correlation": correlation}
        header["type"] = f"{type(value).__module__}.{type(value).__qualname__}"
        self._collect(header, json.dumps(_listed(value)).encode())


def _listed(value: Any) -> Any:
    """Frames as records, arrays as lists, and what JSON cannot write as null or text."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return _listed(value.to_dict(orient="records"))
    if hasattr(value, "toarray"):  # a sparse matrix
        return _listed(value.toarray())
    if hasattr(value, "tolist"):
        return _listed(value.tolist())
    if isinstance(value, dict):
        return {str(key): _listed(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_listed(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
