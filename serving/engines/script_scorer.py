"""A scoring script as Azure ML runs it: `init()` once, `run(raw_data)` for each request. Standard library only."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import inspect
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    Collect = Callable[[dict[str, Any], bytes], None]


class BadRequest(ValueError):
    """The body is not what the script takes."""

    status = 400


def load(spec: dict[str, Any], collect: Collect) -> ScriptScorer:
    """Begin the script and take its requests."""
    return ScriptScorer(begun(spec, collect))


def begun(spec: dict[str, Any], collect: Collect) -> Any:
    """Return `run` of the script, imported with its folder as working directory and on the path, after its `init()`."""
    sys.meta_path.append(Shims(spec["shims"], collect))
    script = os.path.join(os.getcwd(), spec["script"])  # noqa: PTH118, PTH109
    for folder in (os.getcwd(), os.path.dirname(script)):  # noqa: PTH109, PTH120
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
    module = _imported(script)
    if not callable(getattr(module, "run", None)):
        raise AttributeError("the scoring script has no function run()")
    if callable(getattr(module, "init", None)):
        module.init()
    return module.run


class ScriptScorer:
    """The script, once its `init()` is done."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self._raw = bool(getattr(run, "__studiolo_rawhttp__", False)) or _is_real_rawhttp(run)
        self._schema = None if self._raw else _Decorated.of(run)
        self.about = {"raw": self._raw, "swagger": self._schema.swagger if self._schema else None}

    def answer(self, request: dict[str, Any], body: bytes) -> Any:
        """Return status, headers and body of what the script makes of the request."""
        if self._raw:
            return _as_answer(self._run(_raw_request(request, body)))
        if self._schema:
            return _as_answer(self._run(**self._schema.arguments(body)))
        return _as_answer(self._run(body.decode("utf-8", "surrogateescape")))


class _Decorated:
    """What inference_schema's decorators say of `run`: its parameters by name, and their schemas."""

    def __init__(self, names: list[str], swagger: dict[str, Any]) -> None:
        self.names = names
        self.swagger = swagger

    @classmethod
    def of(cls, run: Any) -> _Decorated | None:
        util = sys.modules.get("inference_schema.schema_util")
        if util is None and "inference_schema" in sys.modules:
            util = importlib.import_module("inference_schema.schema_util")
        if util is None or not util.is_schema_decorated(run):
            return None
        swagger = {"input": util.get_input_schema(run), "output": util.get_output_schema(run)}
        names = list(inspect.signature(inspect.unwrap(run)).parameters)
        return cls(names, json.loads(json.dumps(swagger, default=str)))

    def arguments(self, body: bytes) -> dict[str, Any]:
        try:
            given = json.loads(body)
        except ValueError as error:
            raise BadRequest(f"the body is no JSON: {error}") from None
        if not isinstance(given, dict):
            raise BadRequest("the body must be a JSON object with {}".format(", ".join(self.names)))
        unknown = [name for name in given if name not in self.names]
        if unknown:
            raise BadRequest("unknown field {!r}; the script takes {}".format(unknown[0], ", ".join(self.names)))
        return given


class Shims:
    """Finds modules of Azure's closed packages, where the real ones are not installed: it is asked last."""

    def __init__(self, folder: str, collect: Collect) -> None:
        self._folder = folder
        self._collect = collect

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:  # noqa: ARG002
        """Return where the module is, as `importlib` asks."""
        if name in ("azureml", "azureml.contrib", "azureml.ai"):
            return importlib.machinery.ModuleSpec(name, None, is_package=True)
        found = _SHIMMED.get(name)
        if found is None:
            return None
        package: list[str] | None = [] if found[1] else None
        file = os.path.join(self._folder, found[0])  # noqa: PTH118
        spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=package)
        if spec is not None and name == "azureml.ai.monitoring":
            spec.loader = _Connected(spec.loader, self._collect)  # type: ignore[assignment]
        return spec


class _Connected:
    """Gives a module the way to the engine before it is run."""

    def __init__(self, loader: Any, collect: Collect) -> None:
        self._loader = loader
        self._collect = collect

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.sink = self._collect
        self._loader.exec_module(module)


# Module: (file, whether it is a package).
_SHIMMED = {
    "azureml.contrib.services": ("services.py", True),
    "azureml.contrib.services.aml_request": ("services.py", False),
    "azureml.contrib.services.aml_response": ("services.py", False),
    "azureml.ai.monitoring": ("monitoring.py", True),
    "azureml.ai.monitoring.context": ("monitoring.py", False),
}


def _imported(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("entry_module", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _is_real_rawhttp(run: Any) -> bool:
    module = sys.modules.get("azureml.contrib.services.aml_request")
    real = getattr(module, "_rawHttpRequestRegistered", None)
    return bool(real) and getattr(run, "__module__", "") == "azureml.contrib.services.aml_request"


def _raw_request(request: dict[str, Any], body: bytes) -> Any:
    """What the script takes as its request: AMLRequest over a WSGI environment, the real one or ours."""
    kind: Any = importlib.import_module("azureml.contrib.services.aml_request").AMLRequest
    parts = urlsplit(request["path"])
    environ = {
        "REQUEST_METHOD": request["method"], "PATH_INFO": parts.path, "SCRIPT_NAME": "", "QUERY_STRING": parts.query,
        "SERVER_NAME": "localhost", "SERVER_PORT": "5001", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr, "CONTENT_LENGTH": str(len(body)),
    }  # fmt: skip
    for name, value in request["headers"].items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key] = value
    return kind(environ)


def _as_answer(result: Any) -> Any:
    if hasattr(result, "status_code") and hasattr(result, "get_data"):  # AMLResponse, ours or the real one
        return (
            int(result.status_code),
            {str(k).lower(): str(v) for k, v in dict(result.headers).items()},
            result.get_data(),
        )
    return 200, {"content-type": "application/json"}, json.dumps(result, default=_plain).encode()


def _plain(value: Any) -> Any:
    """Arrays, frames and numbers of numpy and pandas, as the lists that people expect of them."""
    for name in ("tolist", "to_dict", "isoformat"):
        if callable(getattr(value, name, None)):
            return getattr(value, name)()
    raise TypeError(f"run() returned {type(value).__name__}, which JSON cannot write")
