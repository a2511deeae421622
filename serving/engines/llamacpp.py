"""llama.cpp's own server over one GGUF file, on a unix socket.

Whichever Python has xllamacpp runs this file: nothing of ours is in it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from threading import Event
from typing import Any

# What a deployment may say: fields of xllamacpp.CommonParams, or of a part of it.
SETTINGS = {
    "n_batch": "n_batch",
    "n_threads": "cpuparams.n_threads",
    "n_gpu_layers": "n_gpu_layers",
    "chat_template": "chat_template",
}


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the GGUF file")
    parser.add_argument("--name", required=True, help="what clients call it")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--chats", type=int, required=True, help="at once; the rest waits")
    parser.add_argument("--context", type=int, required=True, help="tokens of a conversation, at most")
    parser.add_argument("--embedding", action="store_true", help="answer /v1/embeddings instead of chats")
    parser.add_argument("--settings", type=json.loads, default={}, help=f"JSON: {', '.join(SETTINGS)}")
    given = parser.parse_args()
    ended = Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    server = _serve(given)
    ended.wait()
    del server  # which ends its threads


def _serve(given: argparse.Namespace) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = given.model
    params.model_alias = {given.name}
    params.hostnames = [given.socket]
    params.n_parallel = given.chats
    params.n_ctx = given.context * given.chats  # which it divides among them
    params.embedding = given.embedding
    params.cpuparams.n_threads = threads(len(os.sched_getaffinity(0)))
    params.use_jinja = True
    params.endpoint_metrics = True
    params.endpoint_slots = params.endpoint_props = params.ui = False
    for name, value in given.settings.items():
        *way, last = SETTINGS[name].split(".")
        part = params
        for each in way:
            part = getattr(part, each)
        setattr(part, last, value)
    return xllamacpp.Server(params)


def threads(cores: int) -> int:
    """Return how many threads compute where nobody has said: all cores but one, which is the gateway's and its own.

    The threads wait for each other at every layer, spinning: where one must give way, all do. On two cores one thread
    answers a lone chat with 81 tokens/s, two with 36 (benchmarks/README.md).
    """
    return max(1, cores - 1)


if __name__ == "__main__":
    main()
