"""The shelf of models: pages become snapshots, words and filters become models with facets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from catalog.index.arriving import Arriving, Scope
from catalog.index.listed import Listed, named_parameters
from catalog.index.publish import Changes, newest, publish
from catalog.index.search import Shelf, Wanted
from workspace.errors import Invalid, NotFound, StudioloError

EVERYTHING = Scope()


def listed(number: int, name: str, **told: object) -> Listed:
    entry = {"_id": f"{number:024x}", "id": name, "downloads": 1000 - number, **told}
    return Listed.of(entry)


MODELS = (
    listed(1, "Qwen/Qwen3-4B-Instruct", pipeline_tag="text-generation", library_name="transformers",
           tags=["safetensors", "en", "zh", "license:apache-2.0"], safetensors={"parameters": {"BF16": 4_000_000_000}}),
    listed(2, "Qwen/Qwen3-0.6B", pipeline_tag="text-generation", library_name="transformers",
           tags=["license:apache-2.0", "en"], config={"model_type": "qwen3"}),
    listed(3, "meta-llama/Llama-3.1-8B-Instruct", pipeline_tag="text-generation", gated="manual",
           tags=["license:llama3.1", "en", "de"], safetensors={"parameters": {"BF16": 8_030_261_248}}),
    listed(4, "bartowski/Llama-3.1-8B-Instruct-GGUF", pipeline_tag="text-generation", library_name="gguf",
           tags=["gguf", "base_model:quantized:meta-llama/Llama-3.1-8B-Instruct"],
           gguf={"total": 8_030_261_248, "architecture": "llama", "context_length": 131072, "totalFileSize": 5e9}),
    listed(5, "intfloat/multilingual-e5-small", pipeline_tag="sentence-similarity",
           library_name="sentence-transformers", tags=["license:mit", "de", "fr"], trendingScore=9),
    listed(6, "dbmdz/bert-base-german-cased", pipeline_tag="fill-mask", library_name="transformers",
           tags=["license:mit", "de"], lastModified="2026-05-07T10:00:00.000Z", likes=70),
)  # fmt: skip


def kept(folder: Path, models: Sequence[Listed], scope: Scope = EVERYTHING, *, complete: bool = True) -> Changes:
    with Arriving.open(folder, scope, complete=complete, first="/1") as sync:
        sync.add(models, None)
        return publish(folder, sync, scope, complete=complete)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    folder = tmp_path_factory.mktemp("catalog")
    kept(folder, MODELS)
    with Shelf.open(folder) as opened:
        yield opened


def names(shelf: Shelf, wanted: Wanted) -> list[str]:
    return [model.id.partition("/")[2] for model in shelf.search(wanted).models]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(words="qwen instruct"), ["Qwen3-4B-Instruct"]),
        (Wanted(words="llama"), ["Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct-GGUF"]),
        (Wanted(words="embeddings"), ["multilingual-e5-small"]),
        (Wanted(license="MIT"), ["multilingual-e5-small", "bert-base-german-cased"]),
        (Wanted(languages=("de",), sort="likes"),
         ["bert-base-german-cased", "Llama-3.1-8B-Instruct", "multilingual-e5-small"]),
        (Wanted(parameters=(None, 1e9)), ["Qwen3-0.6B"]),
        (Wanted(context=(100_000, None)), ["Llama-3.1-8B-Instruct-GGUF"]),
        (Wanted(weights=6e9, task="text-generation"), ["Qwen3-0.6B", "Llama-3.1-8B-Instruct-GGUF"]),
        (Wanted(gated=True), ["Llama-3.1-8B-Instruct"]),
        (Wanted(base="meta-llama/Llama-3.1-8B-Instruct"), ["Llama-3.1-8B-Instruct-GGUF"]),
        (Wanted(author="Qwen", sort="small"), ["Qwen3-0.6B", "Qwen3-4B-Instruct"]),
        (Wanted(tags=("safetensors",)), ["Qwen3-4B-Instruct"]),
        (Wanted(type="qwen3"), ["Qwen3-0.6B"]),
        (Wanted(precision="gguf"), ["Llama-3.1-8B-Instruct-GGUF"]),
        (Wanted(sort="trending", limit=1), ["multilingual-e5-small"]),
        (Wanted(sort="updated", limit=1), ["bert-base-german-cased"]),
        (Wanted(sort="fresh", limit=1), ["bert-base-german-cased"]),
        (Wanted(limit=1, offset=2), ["Llama-3.1-8B-Instruct"]),
        (Wanted(license="gpl-3.0"), []),
        (Wanted(words="zzyzzyva"), []),
    ],
)  # fmt: skip
def test_words_and_filters_must_all_hold(shelf: Shelf, wanted: Wanted, expected: list[str]) -> None:
    assert names(shelf, wanted) == expected


def test_a_mistyped_word_is_seen_through_and_said(shelf: Shelf) -> None:
    found = shelf.search(Wanted(words="llmaa instrcut"))
    assert found.models[0].id == "meta-llama/Llama-3.1-8B-Instruct"
    assert found.instead == {"llmaa": "llama", "instrcut": "instruct"}


def test_a_word_that_nothing_else_goes_with_is_left_out_and_said(shelf: Shelf) -> None:
    found = shelf.search(Wanted(words="german qwen3"))
    assert found.without == ("qwen3",)
    assert names(shelf, Wanted(words="german qwen3")) == ["bert-base-german-cased"]


def test_facets_count_what_each_choice_would_leave(shelf: Shelf) -> None:
    found = shelf.search(Wanted(task="text-generation", library="transformers"))
    assert found.total == 2
    assert found.facets["task"] == (("text-generation", 2), ("fill-mask", 1))  # were another task chosen
    assert found.facets["library"] == (("transformers", 2), ("gguf", 1))
    assert found.facets["license"] == (("apache-2.0", 2),)
    assert shelf.search(Wanted()).facets["license"] == (("apache-2.0", 2), ("mit", 2), ("llama3.1", 1))
    assert shelf.search(Wanted(words="instruct")).facets["library"] == (("transformers", 1), ("gguf", 1))


def test_facets_are_the_same_whichever_way_they_are_counted(shelf: Shelf) -> None:
    every = {"task": "text-generation", "library": "transformers", "license": "apache-2.0", "type": "qwen3"}
    asked = Wanted(**every, precision="BF16")  # type: ignore[arg-type]
    assert shelf.search(asked).total == 0
    assert shelf.search(asked).facets["type"] == ()  # the other model has no architecture that is known
    found = shelf.search(Wanted(words="qwen", task="text-generation", license="apache-2.0"))
    assert (found.total, found.facets["license"]) == (2, (("apache-2.0", 2),))
    one = shelf.search(Wanted(words="instruct", task="text-generation", gated=False))
    assert (one.total, one.facets["task"]) == (2, (("text-generation", 2),))
    assert one.facets["library"] == (("transformers", 1), ("gguf", 1))


def test_a_model_is_shown_with_all_that_its_tags_say(shelf: Shelf) -> None:
    model = shelf.get("Bartowski/llama-3.1-8b-instruct-gguf")
    assert (model.base, model.relation) == ("meta-llama/Llama-3.1-8B-Instruct", "quantized")
    assert (model.precision, model.formats, model.context) == ("gguf", ("gguf",), 131072)
    assert shelf.get("meta-llama/Llama-3.1-8B-Instruct").gated == "approval"


def test_an_unknown_model_is_refused_with_what_is_near(shelf: Shelf) -> None:
    with pytest.raises(NotFound, match="no model 'dbmdz/bert-german'") as refused:
        shelf.get("dbmdz/bert-german")
    assert "dbmdz/bert-base-german-cased" in (refused.value.hint or "")


def test_an_empty_catalog_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as refused, Shelf.open(tmp_path):
        pass
    assert refused.value.hint == "studiolo catalog sync"


def test_a_whole_list_shows_what_came_what_went_and_what_was_renamed(tmp_path: Path) -> None:
    kept(tmp_path, MODELS)
    renamed = replace(MODELS[0], id="Qwen/Qwen3-4B-Chat")
    again = kept(tmp_path, [renamed, *MODELS[2:], listed(9, "acme/new")])
    assert again == Changes(models=6, added=1, updated=5, renamed=1, gone=1)
    with Shelf.open(tmp_path) as shelf:
        assert shelf.get("Qwen/Qwen3-4B-Instruct").id == "Qwen/Qwen3-4B-Chat"  # by the path that it had
        assert names(shelf, Wanted(words="qwen3")) == ["Qwen3-4B-Chat"]


def test_changes_alone_replace_what_they_name_and_leave_the_rest(tmp_path: Path) -> None:
    kept(tmp_path, MODELS)
    changes = kept(tmp_path, [replace(MODELS[1], likes=5, tags=("fr",)), listed(9, "acme/new")], complete=False)
    assert changes == Changes(models=7, added=1, updated=1, renamed=0, gone=0)
    with Shelf.open(tmp_path) as shelf:
        assert shelf.get("Qwen/Qwen3-0.6B").likes == 5
        assert names(shelf, Wanted(author="Qwen")) == ["Qwen3-4B-Instruct", "Qwen3-0.6B"]
        assert names(shelf, Wanted(tags=("en",), author="Qwen")) == ["Qwen3-4B-Instruct"]
        assert shelf.search(Wanted()).total == 7


def test_a_model_made_anew_at_a_path_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    kept(tmp_path, MODELS)
    kept(tmp_path, [listed(77, "Qwen/Qwen3-0.6B", likes=3)], complete=False)
    with Shelf.open(tmp_path) as shelf:
        assert shelf.search(Wanted()).total == 6
        assert shelf.get("Qwen/Qwen3-0.6B").likes == 3


def test_only_what_is_in_the_scope_can_be_gone(tmp_path: Path) -> None:
    kept(tmp_path, MODELS)
    changes = kept(tmp_path, [MODELS[0]], Scope(author="Qwen"))
    assert (changes.gone, changes.models) == (1, 5)


def test_a_page_that_comes_twice_is_there_once_in_its_newest_form(tmp_path: Path) -> None:
    with Arriving.open(tmp_path, EVERYTHING, complete=True, first="/1") as sync:
        sync.add(MODELS[:3], "/2")
        sync.add([replace(MODELS[2], likes=11), *MODELS[3:]], None)
        publish(tmp_path, sync, EVERYTHING, complete=True)
    with Shelf.open(tmp_path) as shelf:
        assert shelf.search(Wanted()).total == 6
        assert shelf.get(MODELS[2].id).likes == 11


def test_a_killed_sync_goes_on_after_its_last_whole_page(tmp_path: Path) -> None:
    with Arriving.open(tmp_path, EVERYTHING, complete=True, first="/1") as sync:
        sync.add(MODELS[:2], "/2")
    with Arriving.open(tmp_path, EVERYTHING, complete=True, first="/1") as sync:
        assert (sync.sofar.next, sync.sofar.rows) == ("/2", 2)
    with Arriving.open(tmp_path, Scope(task="fill-mask"), complete=True, first="/f") as sync:
        assert (sync.sofar.next, sync.sofar.rows) == ("/f", 0)  # another question begins anew


def test_a_reader_keeps_its_snapshot_while_a_new_one_is_published(tmp_path: Path) -> None:
    kept(tmp_path, MODELS)
    with Shelf.open(tmp_path) as shelf:
        kept(tmp_path, MODELS[:2])
        assert shelf.search(Wanted()).total == 6
    with Shelf.open(tmp_path) as shelf:
        assert shelf.search(Wanted()).total == 2
    assert [path.name for path in tmp_path.glob("models-*")] == [(newest(tmp_path) or Path()).name]


def test_a_snapshot_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    kept(tmp_path, MODELS[:2])
    (tmp_path / "coming.duckdb").mkdir()
    with Arriving.open(tmp_path, EVERYTHING, complete=True, first="/1") as sync:
        sync.add(MODELS, None)
        with pytest.raises(StudioloError, match="cannot make a snapshot"):
            publish(tmp_path, sync, EVERYTHING, complete=True)
    (tmp_path / "coming.duckdb").rmdir()
    with Shelf.open(tmp_path) as shelf:
        assert shelf.search(Wanted()).total == 2
    with Arriving.open(tmp_path, EVERYTHING, complete=True, first="/1") as sync:
        assert sync.sofar.rows == 6
        assert publish(tmp_path, sync, EVERYTHING, complete=True).models == 6


@pytest.mark.parametrize("told", [{}, {"_id": "xyz", "id": "a/b"}, {"_id": "0" * 24}, {"_id": "0" * 24, "id": ["a"]}])
def test_what_is_no_model_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        Listed.of(told)


def test_lies_in_a_list_are_no_facts() -> None:
    odd = listed(
        1, "a/b", tags="no list", gated=["x"], safetensors=[1], downloads=-5, likes="many", lastModified="soon"
    )
    assert (odd.downloads, odd.likes, odd.modified, odd.tags, odd.gated, odd.weights) == (0, 0, 0, (), 1, None)


@pytest.mark.parametrize(
    ("name", "count"),
    [("a/x-7b", 7e9), ("a/mix-8x7B", 56e9), ("a/t-0.5B-it", 5e8), ("a/gpt2", None), ("a/v1.5", None), ("7b/x", None)],
)
def test_parameters_are_read_off_a_name(name: str, count: float | None) -> None:
    assert named_parameters(name) == count


def test_words_of_any_script_and_of_sql_are_words(tmp_path: Path) -> None:
    kept(tmp_path, [listed(1, "ラボ/日本語-モデル"), listed(2, "x/o'brien--drop-table")])
    with Shelf.open(tmp_path) as shelf:
        assert names(shelf, Wanted(words="日本語")) == ["日本語-モデル"]
        assert names(shelf, Wanted(words="o'brien")) == ["o'brien--drop-table"]
        assert names(shelf, Wanted(author="x' OR true --")) == []
        assert shelf.search(Wanted(words="'; DROP TABLE facts; --")).total == 1


def test_sorting_by_what_is_unknown_is_refused() -> None:
    with pytest.raises(Invalid, match="cannot sort by 'size'"):
        Wanted(sort="size")  # type: ignore[arg-type]


def test_a_snapshot_can_only_be_read(tmp_path: Path) -> None:
    kept(tmp_path, MODELS)
    path = newest(tmp_path)
    assert path is not None
    assert path.stat().st_mode & 0o077 == 0
    with duckdb.connect(str(path), read_only=True) as file, pytest.raises(duckdb.Error, match="read-only"):
        file.execute("DELETE FROM facts")
