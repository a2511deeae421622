"""A model at the Hub is known from three questions and 64 kB; a Hub that lies is found out."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from catalog.fit import headers
from catalog.fit.config import shape
from catalog.fit.remote import look
from catalog.hub import Hub
from catalog.hub_server.folder import repository
from catalog.hub_server.shelf import Repositories, Repository
from tests.hub import Fault, Kind, LocalHub, local_hub
from workspace.errors import Denied, Invalid, NotFound, StudioloError, Unavailable

CONFIG: Mapping[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "vocab_size": 512,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "tie_word_embeddings": True,
}  # fmt: skip


def _safetensors(tensors: Mapping[str, tuple[str, list[int], int]]) -> bytes:
    header, at = {}, 0
    for name, (dtype, dimensions, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": dimensions, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def _gguf(**entries: Any) -> bytes:
    def text(words: str) -> bytes:
        return struct.pack("<Q", len(words)) + words.encode()

    said: dict[str, Any] = {"general.architecture": "llama", **entries}
    body = b""
    for name, value in said.items():
        body += text(name)
        if isinstance(value, str):
            body += struct.pack("<I", 8) + text(value)
        elif isinstance(value, list):
            body += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(each) for each in value)
        else:
            body += struct.pack("<II", 4, value)
    tensor = text("token_embd.weight") + struct.pack("<IQQIQ", 2, 64, 512, 2, 0)
    return b"GGUF" + struct.pack("<IQQ", 3, 1, len(said)) + body + tensor + bytes(4096)


WEIGHTS = _safetensors({"a": ("BF16", [64, 512], 65536), "b": ("F32", [64], 256)})
SMALL_GGUF = _gguf(**{
    "llama.embedding_length": 64, "llama.block_count": 2, "llama.feed_forward_length": 192,
    "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2, "llama.context_length": 256,
    "tokenizer.ggml.tokens": [f"t{number}" for number in range(512)],
})  # fmt: skip


def _repository(folder: Path, name: str, files: Mapping[str, bytes], **facts: Any) -> Repository:
    place = folder / name
    place.mkdir(parents=True)
    for path, content in files.items():
        (place / path).write_bytes(content)
    return repository(name, place, created=1.7e9, **facts)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    made = partial(_repository, tmp_path_factory.mktemp("hub"))
    plain = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": WEIGHTS}
    index = json.dumps(
        {"metadata": {"total_size": 123_456}, "weight_map": {f"w{n}": "x" for n in range(9000)}}
    ).encode()
    shelf = Repositories([
        made("lab/plain", plain),
        made("lab/counted", plain, safetensors={"parameters": {"BF16": 1000, "F32": 10}, "total": 1010}),
        made("lab/sharded", {"config.json": plain["config.json"], "model.safetensors.index.json": index}),
        made("lab/gguf", {"tiny-Q4_0.gguf": SMALL_GGUF, "tiny-Q8_0.gguf": SMALL_GGUF + bytes(100_000)}),
        made("lab/empty", {"README.md": b"# nothing"}),
        made("lab/gated", plain, gated="auto"),
        made("lab/page", {"config.json": b"<html>log in</html>", "model.safetensors": WEIGHTS}),
        made("lab/large", {"config.json": b"[" + b"1," * 100_000 + b"1]"}),
    ])  # fmt: skip
    with local_hub(shelf) as hub:
        yield hub


@pytest.fixture
def hub(running: LocalHub) -> Iterator[Hub]:
    running.faults.clear()
    running.asked.clear()
    yield Hub(endpoint=running.address)
    running.faults.clear()


def test_configuration_and_header_are_enough(hub: Hub, running: LocalHub) -> None:
    found = look(hub, "lab/plain")
    assert shape(found.config).family == "llama"
    assert found.weights is not None
    assert (found.weights.size, found.weights.formats) == (65536 + 256, {"BF16": 64 * 512, "F32": 64})
    assert len(found.revision) == 40
    assert found.requests <= 3
    assert found.read <= 64_000


def test_what_the_hub_has_counted_is_not_counted_again(hub: Hub, running: LocalHub) -> None:
    found = look(hub, "lab/counted")
    assert found.weights is not None
    assert (found.weights.size, found.weights.parameters, found.requests) == (2040, 1010, 2)
    assert not any("safetensors" in path.partition("?")[0] for path in running.asked)


def test_of_an_index_only_the_beginning_is_read(hub: Hub) -> None:
    found = look(hub, "lab/sharded")
    assert found.weights is not None
    assert found.weights.size == 123_456
    assert found.read < 4000


def test_gguf_describes_itself_and_a_file_is_chosen_by_word(hub: Hub) -> None:
    found = look(hub, "lab/gguf", file="q8_0")
    assert (found.file, found.weights.size if found.weights else 0) == ("tiny-Q8_0.gguf", len(SMALL_GGUF) + 100_000)
    made = shape(found.config)
    assert (made.hidden, made.vocabulary, len(made.layers), made.layers[0].cached) == (64, 512, 2, 64)
    with pytest.raises(NotFound, match="no GGUF file 'Q2_K'"):
        look(hub, "lab/gguf", file="Q2_K")


def test_what_is_missing_gated_or_no_model_is_told_apart(hub: Hub) -> None:
    with pytest.raises(NotFound, match="no model 'lab/nothing'"):
        look(hub, "lab/nothing")
    with pytest.raises(Denied) as caught:
        look(hub, "lab/gated")
    assert "ask for access" in str(caught.value.hint)
    with pytest.raises(Invalid, match="neither"):
        look(hub, "lab/empty")


@pytest.mark.parametrize("repo", ["lab/page", "lab/large"])
def test_what_is_no_configuration_is_refused(hub: Hub, repo: str) -> None:
    with pytest.raises(StudioloError):
        look(hub, repo)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("status", "answers 503"), ("truncated", "cannot be read"), ("wrong_length", "is no JSON"),
        ("html", "a page for people"), ("redirect", "which is not the Hub"),
    ],
)  # fmt: skip
def test_a_hub_that_lies_is_found_out(hub: Hub, running: LocalHub, kind: Kind, words: str) -> None:
    running.faults.append(Fault(path="config.json", kind=kind, times=20, to="http://localhost:9/config.json"))
    with pytest.raises(StudioloError, match=words):
        look(hub, "lab/plain")


def test_a_token_stays_at_the_hub(hub: Hub, running: LocalHub) -> None:
    running.authorised.clear()
    look(Hub(endpoint=hub.endpoint, token="hf_alice"), "lab/plain")
    assert {(host.partition(":")[0], came) for host, came in running.authorised} == {
        ("127.0.0.1", True), ("localhost", False),
    }  # fmt: skip


def test_offline_nobody_is_asked(hub: Hub, running: LocalHub) -> None:
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE"):
        look(Hub(endpoint=hub.endpoint, offline=True), "lab/plain")
    assert not running.asked


def test_headers_of_a_folder_are_added_up(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").write_bytes(WEIGHTS)
    found = headers.of_folder(tmp_path)
    assert found is not None
    assert (found.size, found.parameters) == (2 * 65792, 2 * 32832)


@pytest.mark.parametrize(
    "content", [b"", b"\x05", struct.pack("<Q", 1 << 60), struct.pack("<Q", 4) + b"{{{{", WEIGHTS[:40]]
)
def test_damaged_headers_are_refused(content: bytes) -> None:
    with pytest.raises(Invalid, match=r"^w (has|is|ends)"):
        headers.safetensors(content, "w")


@pytest.mark.parametrize("cut", [4, 20, 60, 200, 5000])
def test_a_gguf_file_that_ends_early_is_read_as_far_as_it_goes(cut: int) -> None:
    if cut < 24:
        with pytest.raises(Invalid, match="ends within"):
            headers.gguf(SMALL_GGUF[:cut], size=10, where="w")
        return
    assert headers.gguf(SMALL_GGUF[:cut], size=10, where="w").size == 10
