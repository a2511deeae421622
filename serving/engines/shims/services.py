"""What scripts take from `azureml.contrib.services`, where it is not installed: rawhttp, AMLRequest, AMLResponse."""

from __future__ import annotations

import json
from email.parser import BytesParser
from email.policy import HTTP
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Callable


def rawhttp(run: Callable[..., Any]) -> Callable[..., Any]:
    """Say that `run` takes the request itself, of any method and content."""
    run.__studiolo_rawhttp__ = True  # type: ignore[attr-defined]
    return run


class AMLRequest:
    """A request as Flask shows it: method, headers, args, form, files, the body as bytes, text or JSON."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ
        self.method = environ["REQUEST_METHOD"]
        self.path = environ["PATH_INFO"]
        query = environ["QUERY_STRING"]
        self.query_string = query.encode()
        self.full_path = self.path + "?" + query
        self.url = "http://localhost:5001" + self.path + ("?" + query if query else "")
        self.args = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        self.headers = Headers(environ)
        self.content_type = environ.get("CONTENT_TYPE", "")
        self.data: bytes = environ["wsgi.input"].read()
        self.form: dict[str, str] = {}
        self.files: dict[str, File] = {}
        self._read_form()

    @property
    def is_json(self) -> bool:
        """Whether the body says that it is JSON."""
        return "json" in self.content_type

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.data)

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002
        """Return the body as JSON; None where it is none and `silent`."""
        try:
            return json.loads(self.data)
        except ValueError:
            if silent:
                return None
            raise

    def get_data(self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False) -> Any:  # noqa: ARG002
        """Return the body."""
        return self.data.decode() if as_text else self.data

    def _read_form(self) -> None:
        kind = self.content_type.split(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            self.form = {name: values[0] for name, values in parse_qs(self.data.decode("utf-8", "replace")).items()}
        elif kind == "multipart/form-data":
            head = ("Content-Type: " + self.content_type + "\r\n\r\n").encode()
            for part in BytesParser(policy=HTTP).parsebytes(head + self.data).iter_parts():
                name = str(part.get_param("name", header="content-disposition") or "")
                content = bytes(part.get_payload(decode=True) or b"")
                filename = part.get_filename()
                if filename is None:
                    self.form[name] = content.decode("utf-8", "replace")
                else:
                    self.files[name] = File(content, filename, part.get_content_type())


class File(BytesIO):
    """A file of a form."""

    def __init__(self, content: bytes, filename: str, content_type: str) -> None:
        super().__init__(content)
        self.filename = filename
        self.content_type = content_type
        self.mimetype = content_type

    @property
    def stream(self) -> File:
        """The file itself."""
        return self


class Headers(dict):  # type: ignore[type-arg]
    """Headers by their name in any case."""

    def __init__(self, environ: dict[str, Any]) -> None:
        found = {key[5:]: value for key, value in environ.items() if key.startswith("HTTP_")}
        found.update({key: environ[key] for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if key in environ})
        super().__init__({key.replace("_", "-").title(): value for key, value in found.items()})

    def __getitem__(self, name: str) -> str:
        return str(super().__getitem__(name.title()))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).title())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header, or the default."""
        return super().get(name.title(), default)


class AMLResponse:
    """An answer with its status: `AMLResponse("no such image", 404)`; by `json_str` the message becomes JSON."""

    def __init__(
        self,
        message: Any = "",
        status_code: int = 200,
        response_headers: Any = None,
        json_str: bool = False,
        run_function_failed: bool = False,
    ) -> None:
        self.status_code = status_code
        self.run_function_failed = run_function_failed
        self.headers: dict[str, str] = {"content-type": "application/json" if json_str else "text/html; charset=utf-8"}
        self.headers.update({str(name).lower(): str(value) for name, value in dict(response_headers or {}).items()})
        self._data = b""
        self.set_data(json.dumps(message) if json_str else message)

    def set_data(self, value: Any) -> None:
        """Set the body."""
        self._data = bytes(value) if isinstance(value, (bytes, bytearray)) else str(value).encode()

    def get_data(self, as_text: bool = False) -> Any:
        """Return the body."""
        return self._data.decode() if as_text else self._data

    data = property(get_data, set_data)
