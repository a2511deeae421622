"""llama.cpp listens to a GGUF file: whichever Python has xllamacpp runs this file, and nothing of ours is in it.

From stdin it reads {"file", "context", "count", "texts", "messages", "prompts"}; the last three are by the names of
conversations. To stdout it writes, by name, the numbers of the tokens of texts and of messages as the file's own
template writes them, and the likeliest tokens after a prompt.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import tempfile
from typing import Any


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def main() -> None:
    """Listen once."""
    asked = json.load(sys.stdin)
    import xllamacpp

    with tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "ears.sock")  # noqa: PTH118  llama.cpp knows a socket by this ending
        params = xllamacpp.CommonParams()
        params.model.path = asked["file"]
        params.hostnames = [place]
        params.n_parallel = 1
        params.n_ctx = int(asked["context"])
        params.cpuparams.n_threads = 1
        params.use_jinja = True
        server = xllamacpp.Server(params)
        found: dict[str, Any] = {"tokens": {}, "answers": {}}
        for name, text in asked["texts"].items():
            body = {"content": text, "add_special": False, "parse_special": True}
            found["tokens"][name] = _post(place, "/tokenize", body)["tokens"]
        for name, messages in asked["messages"].items():
            text = _post(place, "/apply-template", {"messages": messages})["prompt"]
            body = {"content": text, "add_special": False, "parse_special": True}
            found["tokens"][name] = _post(place, "/tokenize", body)["tokens"]
        for name, prompt in asked["prompts"].items():
            body = {"prompt": prompt, "n_predict": asked["count"], "temperature": 0, "return_tokens": True,
                    "cache_prompt": False}  # fmt: skip
            found["answers"][name] = _post(place, "/completion", body)["tokens"] if prompt else []
        print(json.dumps(found))  # noqa: T201  whoever started this reads it
        sys.stdout.flush()
        del server


def _post(place: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    connection = _Connection(place)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    read = json.loads(answer.read())
    if answer.status != 200:
        raise SystemExit(f"llama.cpp answered {answer.status} to {path}: {read}")
    connection.close()
    return dict(read)


if __name__ == "__main__":
    main()
