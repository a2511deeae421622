"""What a flow's code says, without the secrets it was given: for logs, records and traces."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast
from urllib.parse import quote

from flows.connections import MASK, Connection
from flows.results import LineRecord, NodeRecord, SpanRecord

SHORTEST = 6  # letters: hiding every "a" would hide the words around it
_LONG_LINE = 16
_OWN = {each.name for kind in (LineRecord, NodeRecord, SpanRecord) for each in dataclasses.fields(kind)}


class Mask:
    """Knows the secrets of some connections, and takes them out of what is about to be written.

    >>> Mask([Connection(name="shop", secrets={"api_key": "sk-12345"})]).text("Wrong key: sk-12345")
    'Wrong key: ******'
    """

    def __init__(self, connections: Iterable[Connection]) -> None:
        secrets = {secret for each in connections for secret in each.secrets.values()}
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        # The longest first: a secret may begin as another does.
        self._forms = sorted(forms, key=len, reverse=True)
        self._raw = [form.encode("utf-8", "surrogatepass") for form in self._forms]

    def __bool__(self) -> bool:
        return bool(self._forms)

    def shows(self, raw: bytes | bytearray) -> bool:
        """Whether a secret can be read in what is about to be written."""
        return any(form in raw for form in self._raw)

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def value(self, value: Any) -> Any:
        """Return a value of plain JSON without secrets, those in keys too; the names of our own fields stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key if key in _OWN else self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, int | float) and str(value) in self._forms:
            return MASK
        return value

    def stream(self, stream: TextIO) -> TextIO:
        """Return a stream on which what is printed loses its secrets."""
        return cast("TextIO", _Masked(stream, self)) if self else stream


class _Masked(io.TextIOBase):
    """Writes to another stream what is left of a text."""

    def __init__(self, stream: TextIO, mask: Mask) -> None:
        self._stream = stream
        self._mask = mask

    def write(self, text: str, /) -> int:
        self._stream.write(self._mask.text(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    @property
    def buffer(self) -> Any:
        """Bytes go out as they are."""
        return self._stream.buffer


def _forms(secret: str) -> Iterator[str]:
    """The ways in which a text is written: as it is, in JSON, as Python shows it, in a URL, line by line."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield quote(secret, safe="", errors="replace")
    yield from (line for line in secret.splitlines() if len(line) >= _LONG_LINE)
