"""Reranking and scores, by a tiny cross-encoder that means nothing and by embeddings, as the routes answer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from serving.engines.embedding import load_embedding
from serving.engines.rerank import load_rerank
from serving.engines.routes import create_app
from workspace.errors import Invalid

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "sleeps", "the", "market", "fell", "dog", "runs", "far"]
SIZES: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
    "initializer_range": 0.6,
}


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _saved(BertForSequenceClassification, tmp_path_factory.mktemp("reranker"), num_labels=1)


@pytest.fixture(scope="module")
def ranking(reranker: Path) -> TestClient:
    return _client(create_app(load_rerank(reranker), name="ranker"))


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    folder = _saved(BertModel, tmp_path_factory.mktemp("embedder"), matryoshka_dimensions=[4, 8])
    return _client(create_app(load_embedding(folder), name="embedder"))


def _client(app: Starlette) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def _saved(kind: Any, folder: Path, **config: Any) -> Path:
    torch.manual_seed(0)
    kind(BertConfig(**SIZES, **config)).save_pretrained(folder)
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", model_max_length=24)
    made.save_pretrained(folder)
    return folder


def _asked(client: TestClient, path: str, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    read: dict[str, Any] = answer.json()
    return read


DOCUMENTS = ["the market fell", "a cat sleeps far", "a dog runs"]


def test_documents_come_best_first_with_what_the_model_itself_says(ranking: TestClient, reranker: Path) -> None:
    answer = _asked(ranking, "/v1/rerank", query="a cat", documents=DOCUMENTS)
    model = BertForSequenceClassification.from_pretrained(reranker).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(reranker)
    expected = {}
    with torch.inference_mode():
        for index, document in enumerate(DOCUMENTS):
            expected[index] = float(model(**tokenizer("a cat", document, return_tensors="pt")).logits.sigmoid())
    found = {row["index"]: row["relevance_score"] for row in answer["results"]}
    assert found == pytest.approx(expected, abs=1e-5)
    assert list(found) == sorted(expected, key=lambda index: -expected[index])
    assert answer["results"][0]["document"] == {"text": DOCUMENTS[answer["results"][0]["index"]]}
    assert answer["usage"] == {"prompt_tokens": 8 + 9 + 8, "total_tokens": 25}


def test_as_many_come_as_were_asked_for_and_without_their_texts(ranking: TestClient) -> None:
    answer = _asked(ranking, "/v1/rerank", query="a", documents=DOCUMENTS, top_n=2, return_documents=False)
    assert [set(row) for row in answer["results"]] == [{"index", "relevance_score"}] * 2


def test_one_text_is_scored_with_each_of_several_and_lists_side_by_side(ranking: TestClient) -> None:
    several = _asked(ranking, "/v1/score", text_1="a cat", text_2=DOCUMENTS)
    beside = _asked(ranking, "/v1/score", text_1=["a cat"] * 3, text_2=DOCUMENTS)
    assert several["data"] == beside["data"]
    assert [row["index"] for row in several["data"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/rerank", {"documents": ["a"]}, "query"),
        ("/v1/rerank", {"query": "a", "documents": []}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": ["a", 3]}, "documents.1"),
        ("/v1/rerank", {"query": "a", "documents": ["cat " * 30]}, "documents"),
        ("/v1/score", {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "text_1"),
        ("/v1/score", {"text_1": "a"}, "text_2"),
    ],
)
def test_what_cannot_be_ranked_is_refused_by_name(
    ranking: TestClient, path: str, body: dict[str, Any], param: str
) -> None:
    answer = ranking.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_reranker_neither_chats_nor_embeds(ranking: TestClient) -> None:
    assert ranking.post("/v1/chat/completions", json={}).status_code == 404
    assert ranking.post("/v1/embeddings", json={"input": "a"}).status_code == 404
    assert ranking.get("/health").json()["task"] == "rerank"


def test_an_embedding_model_ranks_by_the_cosine_of_its_own_vectors(embedding: TestClient) -> None:
    rows = _asked(embedding, "/v1/embeddings", input=["a cat", *DOCUMENTS])["data"]
    query, *others = (row["embedding"] for row in rows)
    answer = _asked(embedding, "/v1/rerank", query="a cat", documents=DOCUMENTS)
    for row in answer["results"]:
        cosine = sum(x * y for x, y in zip(query, others[row["index"]], strict=True))
        assert row["relevance_score"] == pytest.approx(cosine, abs=1e-5)


def test_vectors_are_cut_to_a_length_the_model_was_trained_for_and_are_of_length_one_again(
    embedding: TestClient,
) -> None:
    [whole] = _asked(embedding, "/v1/embeddings", input="a cat")["data"]
    [cut] = _asked(embedding, "/v1/embeddings", input="a cat", dimensions=8)["data"]
    length = math.sqrt(sum(x * x for x in whole["embedding"][:8]))
    assert cut["embedding"] == pytest.approx([x / length for x in whole["embedding"][:8]], abs=1e-5)


def test_vectors_are_not_cut_elsewhere(embedding: TestClient) -> None:
    answer = embedding.post("/v1/embeddings", json={"input": "a", "dimensions": 5})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "dimensions")
    assert "4 or 8 or 16" in answer.json()["error"]["message"]


def test_a_classifier_of_many_classes_is_not_a_reranker(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="3 classes"):
        load_rerank(_saved(BertForSequenceClassification, tmp_path, num_labels=3))
