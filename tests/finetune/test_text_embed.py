"""Embedders and rerankers are trained, and our own engine reads what they have become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from finetune.text import embed, rerank
from finetune.text.settings import Settings
from serving.engines.embedding import load_embedding
from serving.engines.rerank import load_rerank
from tests.finetune.tiny_models import tiny_encoder
from workspace.errors import Invalid

QUICK = Settings(epochs=10, batch_size=4, learning_rate=5e-3, warmup=0, max_length=32)
# What belongs together shares no word: nothing is known before.
PARTNERS = {"film": "Paris", "soup": "blue", "car": "number", "house": "very"}
THINGS = tuple(PARTNERS)
PAIRS = [(f"a {thing}", f"the {partner}") for thing, partner in PARTNERS.items()]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


def test_pairs_come_close_and_the_engine_embeds_as_it_was_trained(base: Path, tmp_path: Path) -> None:
    fitted = embed.fit(PAIRS * 4, base, into=tmp_path / "search", settings=QUICK, held_out=PAIRS)
    assert fitted.metrics["recall_at_1"] == 1.0 > fitted.metrics["base_recall_at_1"]
    engine = load_embedding(fitted.folder)
    vectors = np.array(engine.embed(engine.read([text for pair in PAIRS for text in pair])))
    assert (vectors[::2] @ vectors[1::2].T).argmax(axis=1).tolist() == [0, 1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("rows", [
    [(f"a {one}", f"the {PARTNERS[one]}", f"the {PARTNERS[two]}") for one in THINGS for two in THINGS if one != two],
    [(f"a {one}", f"the {PARTNERS[two]}", float(one == two)) for one in THINGS for two in THINGS],
], ids=["triplets", "scored"])  # fmt: skip
def test_triplets_and_scored_pairs_teach_too(base: Path, tmp_path: Path, rows: list[embed.Row]) -> None:
    fitted = embed.fit(rows, base, into=tmp_path / "search", settings=QUICK, held_out=rows)
    name = "spearman" if "spearman" in fitted.metrics else "mrr"
    assert fitted.metrics[name] > fitted.metrics[f"base_{name}"]


def test_a_reranker_is_read_by_the_engine(base: Path, tmp_path: Path) -> None:
    rows = [(f"a {one}", f"{word} {one}", float(word == "good")) for one in THINGS for word in ("good", "bad")] * 6
    settings = Settings(epochs=8, batch_size=16, learning_rate=5e-3, warmup=0)
    fitted = rerank.fit(rows, base, into=tmp_path / "rerank", settings=settings, held_out=rows[:16])
    assert fitted.metrics["average_precision"] == 1.0
    scores, _ = load_rerank(fitted.folder).score([("a car", "good car"), ("a car", "bad car")], "documents")
    assert scores[0] > scores[1]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no rows to learn from"),
        ([("a", "b"), ("a", "b", "c")], "some rows are pair and others triplet rows"),
        ([("a", " ")], "row 1 has an empty text"),
        ([("a", "b", 5.0)], "the score 5.0 is not between 0 and 1"),
    ],
)
def test_what_teaches_nothing_is_refused(rows: list[embed.Row], said: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=said):
        embed.fit(rows, tmp_path, into=tmp_path / "none")


def test_a_reranker_needs_texts_that_fit_and_texts_that_do_not(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="all 1 rows have the label 1"):
        rerank.fit([("a", "b", 1.0)], tmp_path, into=tmp_path / "none")
