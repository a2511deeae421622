"""Models of folders, servers, registries and price lists stand beside the Hub's and the workspace's own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from catalog import providers
from catalog.index import several
from catalog.index.publish import Changes
from catalog.index.search import Wanted
from catalog.providers import Provider
from studiolo import catalog_shelf
from tests.catalog.test_search import MODELS, kept
from workspace import Workspace
from workspace.errors import Conflict, Invalid, NotFound, Unavailable

PRICES = [
    {"model": "acme/large", "input": 3.0, "output": 15.0, "context": 200_000, "provider": "acme"},
    {"model": "acme/mini-8b", "input": 0.1, "output": 0.4},
    {"no": "model"},
]


@contextmanager
def server(answer: bytes, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A server that has one answer; with it, the keys that it was asked with."""
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(f"{self.path} {self.headers.get('Authorization')}")
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", keys
        running.shutdown()
        thread.join()


def prices(folder: Path, told: object = PRICES) -> Provider:
    file = folder / "prices.json"
    file.write_text(json.dumps(told))
    return Provider(name="hosted", kind="prices", where=str(file))


def found(workspace: Workspace, wanted: Wanted, provider: str | None = None) -> list[str]:
    with catalog_shelf.shelves(workspace, provider) as opened:
        return [model.id for model in several.search(opened, wanted).models]


def test_the_workspaces_own_models_are_always_there_and_up_to_date(workspace: Workspace) -> None:
    assert found(workspace, Wanted()) == []
    workspace.assets.put("model", "greeter", b"weights", properties={"license": "mit", "parameters": 5})
    assert found(workspace, Wanted(license="mit")) == ["greeter"]
    workspace.assets.put("model", "parser", b"other", properties={})
    assert sorted(found(workspace, Wanted())) == ["greeter", "parser"]


def test_shelves_answer_as_one_the_best_first(workspace: Workspace, tmp_path: Path) -> None:
    kept(catalog_shelf.folder(workspace), MODELS)
    workspace.assets.put("model", "llama-tuned", b"weights", properties={"task": "chat"})
    assert catalog_shelf.add(workspace, prices(tmp_path)) == Changes(models=2, added=2, updated=0, renamed=0, gone=0)
    with catalog_shelf.shelves(workspace) as opened:
        all_ = several.search(opened, Wanted(task="text-generation"))
        assert all_.total == 4 + 1 + 2
        assert all_.facets["provider"] == (("hub", 4), ("hosted", 2), ("local", 1))
        assert all_.facets["task"][0] == ("text-generation", 7)
        pages = [several.search(opened, Wanted(sort="downloads", limit=3, offset=each)).models for each in (0, 3, 6)]
        assert [model.id for page in pages for model in page][:6] == [model.id for model in MODELS]
        assert len({model.id for page in pages for model in page}) == 9
        assert several.get(opened, "acme/large").output_price == 15.0
        assert several.get(opened, "Qwen/Qwen3-0.6B").provider == "hub"
        with pytest.raises(NotFound, match="no model 'Qwen/Qwen3'"):
            several.get(opened, "Qwen/Qwen3")
    assert found(workspace, Wanted(words="llama"))[-1] == "llama-tuned"
    assert found(workspace, Wanted(sort="cheap", limit=2)) == ["acme/mini-8b", "acme/large"]


def test_a_shelf_that_lacks_a_word_is_silent_where_another_has_all(workspace: Workspace, tmp_path: Path) -> None:
    kept(catalog_shelf.folder(workspace), MODELS)
    catalog_shelf.add(workspace, prices(tmp_path))
    assert found(workspace, Wanted(words="qwen instruct")) == ["Qwen/Qwen3-4B-Instruct"]


def test_a_provider_is_asked_alone_refreshed_and_removed(workspace: Workspace, tmp_path: Path) -> None:
    provider = prices(tmp_path)
    catalog_shelf.add(workspace, provider)
    with pytest.raises(Conflict):
        catalog_shelf.add(workspace, provider)
    assert found(workspace, Wanted(), "hosted") == ["acme/large", "acme/mini-8b"]
    prices(tmp_path, PRICES[:1])
    assert catalog_shelf.refresh(workspace, provider).gone == 1
    catalog_shelf.remove(workspace, "hosted")
    assert catalog_shelf.added(workspace) == []
    with pytest.raises(NotFound, match="no provider 'hosted'"):
        found(workspace, Wanted(), "hosted")


def test_a_folder_is_looked_through_for_models(tmp_path: Path) -> None:
    (tmp_path / "a" / "tiny-7b").mkdir(parents=True)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 2048}
    (tmp_path / "a" / "tiny-7b" / "config.json").write_text(json.dumps(config))
    (tmp_path / "a" / "tiny-7b" / "model.safetensors").write_bytes(b"12345678")
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    (tmp_path / "config.json").write_text('{"something": "else"}')
    tiny, small = providers.of_folder(str(tmp_path))
    assert (tiny.id, tiny.type, tiny.context, tiny.weights, tiny.parameters) == ("a/tiny-7b", "llama", 2048, 8, 7e9)
    assert (small.id, small.library, small.weights) == ("small.gguf", "gguf", 4)
    with pytest.raises(NotFound, match="no folder"):
        list(providers.of_folder(str(tmp_path / "none")))


def test_a_server_is_asked_with_its_key(tmp_path: Path) -> None:
    told = {"data": [{"id": "llama-8b", "owned_by": "acme", "max_model_len": 4096}, "odd", {"id": 7}]}
    with server(json.dumps(told).encode()) as (address, keys):
        (model,) = providers.of_server(f"{address}/v1/", "secret")
    assert (model.id, model.context, model.tags) == ("llama-8b", 4096, ("owner:acme",))
    assert keys == ["/v1/models Bearer secret"]


@pytest.mark.parametrize(("answer", "status"), [(b"<html>", 200), (b"{}", 503)])
def test_a_server_that_answers_badly_is_told(answer: bytes, status: int) -> None:
    with server(answer, status) as (address, _), pytest.raises(Unavailable, match="cannot be read"):
        list(providers.of_server(address))


def test_prices_of_litellms_file_are_for_a_million_tokens(tmp_path: Path) -> None:
    told = {"gpt": {"input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07, "max_input_tokens": 128000,
                    "litellm_provider": "openai", "mode": "chat"}}  # fmt: skip
    (model,) = prices(tmp_path, told).listed()
    assert (model.input_price, model.output_price, model.context) == pytest.approx((0.15, 0.6, 128000))
    assert model.tags == ("host:openai",)


def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list(providers.of_prices(str(tmp_path / "none.json")))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(Invalid, match="is no JSON"):
        list(providers.of_prices(str(tmp_path / "bad.json")))
    with pytest.raises(Invalid, match="no kind of provider"):
        Provider(name="x", kind="ftp", where="y")  # type: ignore[arg-type]
