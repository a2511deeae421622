"""Chunks become an index that answers and keeps up with its folder."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed")

import flows
from flows.connections import Connection
from flows.rag import embeddings, index_update, indexes
from flows.rag.chunks import Chunking
from flows.rag.index_update import Embedder, Updated
from flows.steps import Kit
from studiolo import index_shelf
from workspace import Workspace
from workspace.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from serving.local import Gateway
    from tests.flows.conftest import ModelServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "flows" / "ask-documents"


class Words:
    """Embeds a text as the words in it: two texts are near where they share words. Counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked += texts
        return [self.vector(text) for text in texts]

    @staticmethod
    def vector(text: str) -> list[float]:
        found = [0.0] * 256
        for word in re.findall(r"\w+", text.casefold()):
            found[hashlib.sha256(word.encode()).digest()[0]] += 1.0
        length = math.sqrt(sum(each * each for each in found)) or 1.0
        return [each / length for each in found]


def make(home: Path, source: Path, embed: Words, name: str = "mine", model: str = "words", **options: Any) -> Updated:
    options.setdefault("chunking", Chunking(size=200, overlap=20))

    async def run() -> Updated:
        *_, last = [event async for event in index_update.update(home, name, source, Embedder(model, embed), **options)]
        assert isinstance(last, Updated)
        return last

    return asyncio.run(run())


def ask(home: Path, question: str, **options: Any) -> list[indexes.Passage]:
    return indexes.query(home, "mine", Words.vector(question), **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "documents"
    made.mkdir()
    (made / "cats.md").write_text("# Cats\n\nCats sleep all day.\n\n## Food\n\nCats eat fish.\n")
    (made / "dogs.txt").write_text("Dogs bark.\nDogs fetch sticks.\n")
    return made


def test_an_index_answers_with_the_place_and_the_nearest_first(tmp_path: Path, folder: Path) -> None:
    made = make(tmp_path, folder, Words())
    assert (made.about.files, made.about.chunks, made.added) == (2, 3, 2)
    found = ask(tmp_path, "what fish do cats eat", top=3)
    assert (found[0].place, found[0].heading) == ("cats.md:7", "Cats > Food")
    assert found[0].score > found[1].score
    assert {each.source for each in ask(tmp_path, "cats", only={"source": "dogs.txt"})} == {"dogs.txt"}


def test_a_filter_looks_in_some_documents_and_its_keys_are_checked(tmp_path: Path, folder: Path) -> None:
    make(tmp_path, folder, Words())
    assert len(ask(tmp_path, "cats", only={"source": ["dogs.txt", "cats.md"]})) == 3
    (found,) = ask(tmp_path, "cats", only={"source": "cats.md", "heading": "Cats > Food"})
    assert found.line == 7
    wrongs: tuple[dict[str, Any], ...] = ({"sauce": "cats.md"}, {"source": []}, {"page": {"$gt": 1}})
    for wrong in wrongs:
        with pytest.raises(Invalid):
            ask(tmp_path, "cats", only=wrong)


def test_tokens_that_nobody_can_count_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(Invalid, match="cannot be counted"):
        make(tmp_path, folder, Words(), chunking=Chunking(size=50, overlap=0, unit="tokens"))


def test_of_two_writers_one_waits_for_the_other(tmp_path: Path, folder: Path) -> None:
    order: list[str] = []
    inside, go = threading.Event(), threading.Event()

    class Slow(Words):
        async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
            inside.set()
            assert go.wait(20)
            order.append("first")
            return await super().__call__(texts)

    class Second(Words):
        async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
            order.append("second")
            return await super().__call__(texts)

    def second() -> None:
        (folder / "birds.txt").write_text("Birds fly.\n")
        make(tmp_path, folder, Second())

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(make, tmp_path, folder, Slow())
        assert inside.wait(20)
        two = pool.submit(second)
        assert not wait([two], timeout=0.5).done
        go.set()
        assert one.result(20).added == 2
        two.result(20)
    assert order == ["first", "second"]
    assert indexes.get(tmp_path, "mine").files == 3


def test_only_what_has_changed_is_embedded_again(tmp_path: Path, folder: Path) -> None:
    embed = Words()
    make(tmp_path, folder, embed)
    embed.asked.clear()
    (folder / "dogs.txt").write_text("Dogs swim.\n")
    (folder / "birds.txt").write_text("Birds fly.\n")
    (folder / "cats.md").unlink()
    made = make(tmp_path, folder, embed)
    assert (made.added, made.unchanged, made.removed) == (2, 0, 1)
    assert sorted(text.strip() for text in embed.asked) == ["Birds fly.", "Dogs swim."]
    assert {each.source for each in ask(tmp_path, "cats fish", top=10)} == {"dogs.txt", "birds.txt"}
    embed.asked.clear()
    assert make(tmp_path, folder, embed).unchanged == 2
    assert embed.asked == []


def test_another_model_or_cut_embeds_everything_again(tmp_path: Path, folder: Path) -> None:
    embed = Words()
    make(tmp_path, folder, embed)
    assert make(tmp_path, folder, embed, model="other").added == 2
    assert make(tmp_path, folder, embed, model="other", chunking=Chunking(size=100, overlap=0)).added == 2
    assert indexes.get(tmp_path, "mine").model == "other"


def test_an_update_that_broke_off_is_gone_on_with(tmp_path: Path, folder: Path) -> None:
    class Breaking(Words):
        async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
            if any("Dog 150" in text for text in texts):
                raise ConnectionError("gone")
            return await super().__call__(texts)

    for animal in ("cats.md", "dogs.txt"):
        (folder / animal).write_text("".join(f"{animal[:3].title()} {n} {'sleeps ' * 20}\n\n" for n in range(200)))
    with pytest.raises(ConnectionError):
        make(tmp_path, folder, Breaking())
    embed = Words()
    made = make(tmp_path, folder, embed)
    assert (made.added, made.unchanged) == (1, 1)
    assert all("Dog" in text for text in embed.asked)
    assert made.about.chunks == 400


def test_a_file_that_cannot_be_read_is_told_and_the_rest_are_in(tmp_path: Path, folder: Path) -> None:
    (folder / "torn.pdf").write_bytes(b"%PDF-1.4 torn")
    made = make(tmp_path, folder, Words())
    assert [each.source for each in made.failed] == ["torn.pdf"]
    assert made.about.files == 2


def test_hidden_files_and_links_that_lead_outside_are_no_documents(tmp_path: Path, folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "a.md").write_text("# hidden")
    (tmp_path / "outside.md").write_text("# outside")
    (folder / "link.md").symlink_to(tmp_path / "outside.md")
    assert [path.name for path in index_update.find(folder)] == ["cats.md", "dogs.txt"]
    assert [path.name for path in index_update.find(folder, ("*.md",))] == ["cats.md"]
    with pytest.raises(NotFound, match="no documents"):
        index_update.find(folder, ("*.pdf",))


def test_a_name_belongs_to_one_folder_and_cannot_lead_elsewhere(tmp_path: Path, folder: Path) -> None:
    make(tmp_path, folder, Words())
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.md").write_text("text")
    with pytest.raises(Conflict):
        make(tmp_path, other, Words())
    for name in ("../mine", "a/b", "", ".hidden"):
        with pytest.raises(Invalid):
            indexes.folder(tmp_path, name)


def test_an_open_index_sees_what_was_written_since(tmp_path: Path, folder: Path) -> None:
    make(tmp_path, folder, Words())
    assert ask(tmp_path, "birds fly")[0].source != "birds.txt"
    (folder / "birds.txt").write_text("Birds fly.\n")
    make(tmp_path, folder, Words())
    assert ask(tmp_path, "birds fly")[0].source == "birds.txt"


def test_a_deleted_index_is_gone_and_a_wrong_name_gets_a_hint(tmp_path: Path, folder: Path) -> None:
    make(tmp_path, folder, Words())
    with pytest.raises(NotFound) as caught:
        indexes.get(tmp_path, "mime")
    assert caught.value.hint == "did you mean 'mine'?"
    indexes.delete(tmp_path, "mine")
    assert indexes.list_indexes(tmp_path) == []
    with pytest.raises(NotFound):
        ask(tmp_path, "cats")
    assert folder.exists()


# Embedding


def test_a_text_too_long_for_the_model_is_the_mean_of_its_halves(modelling: ModelServer) -> None:
    def vectors(count: int) -> Any:
        return {"data": [{"index": at, "embedding": [1.0, 0.0]} for at in range(count)], "model": "e-1"}

    too_long = {"error": {"message": "too long", "code": "context_length_exceeded"}}
    modelling.replies = [(400, {}, too_long), (200, {}, vectors(1)), (400, {}, too_long), (200, {}, vectors(2))]
    theirs = Connection(
        name="theirs", type="open_ai", configs={"base_url": f"{modelling.url}/v1"}, secrets={"api_key": "k"}
    )

    async def run() -> list[list[float]]:
        kit = Kit(flows.Flow(name="f", folder=Path(), file=Path()), {})
        try:
            return await embeddings.embed(kit, theirs, ["short", "x" * 1000], model="e")
        finally:
            await kit.aclose()

    assert asyncio.run(run()) == [[1.0, 0.0], [1.0, 0.0]]
    assert [len(each["body"]["input"]) for each in modelling.asked] == [2, 1, 1, 2]


# The whole way, with the real models


@pytest.mark.model
def test_tokens_are_those_of_the_model_that_embeds(model_workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Antidisestablishmentarianism is a word. " * 20)
    chunking = Chunking(size=20, overlap=0, unit="tokens")
    *_, done = index_shelf.create(model_workspace, index_shelf.Asked(name="long", source=tmp_path, chunking=chunking))
    assert isinstance(done, Updated)
    assert done.about.chunks >= 10
    assert done.about.chunking["unit"] == "tokens"


@pytest.mark.model
@pytest.mark.timeout(300)
def test_the_example_answers_from_its_documents_with_its_sources(model_workspace: Workspace, gateway: Gateway) -> None:
    workspace = model_workspace
    asked = index_shelf.Asked(name="handbook", source=EXAMPLE / "documents", chunking=Chunking(size=80, overlap=0))
    *_, done = index_shelf.create(workspace, asked)
    assert isinstance(done, Updated)
    assert (done.about.files, done.failed) == (4, ())
    record, *_ = workspace.runs.list(kind="index")
    assert record.metrics["files"] == 4
    assert any(edge.source.startswith("model:all-minilm-l6-v2:") for edge in workspace.lineage.upstream(record.ref))
    found = index_shelf.query(workspace, "handbook", "Where can I put my bike?")
    assert found[0].place == "office.txt:3"

    connections = {"default": Connection.to_gateway(gateway.base_url, gateway.token)}
    conditions = flows.Conditions(home=workspace.home)
    flow = flows.load(EXAMPLE)
    result = flows.test(flow, {}, connections=connections, conditions=conditions)
    assert result.error is None
    assert "28" in result.outputs["answer"]
    assert result.outputs["sources"][0]["place"] == "time-off.md:5"
    retrieval = next(span for span in result.nodes[0].spans if span.kind == "retrieval")
    assert retrieval.attributes["gen_ai.data_source.id"] == "handbook"
    assert [each.kind for each in retrieval.spans] == ["embedding"]

    replayed = flows.test(
        flow, {}, connections=connections,
        conditions=flows.Conditions(home=workspace.home, cassette=(EXAMPLE / "cassette.jsonl", "replay")),
    )  # fmt: skip
    assert replayed.error is None
    assert replayed.outputs["sources"][0]["place"] == "time-off.md:5"


def test_without_its_index_a_flow_says_which_command_makes_it(tmp_path: Path) -> None:
    connections = {"default": Connection.to_gateway("http://127.0.0.1:9/v1", "none")}
    result = flows.test(flows.load(EXAMPLE), {}, connections=connections, conditions=flows.Conditions(home=tmp_path))
    assert "no index 'handbook'" in (result.error or "")
