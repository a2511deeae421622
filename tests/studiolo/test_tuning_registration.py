from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, ModelCardData

from finetune.after.model_card import Result
from studiolo.tuning.registration import Trained, base_of, register, story_of
from workspace import Asset, Workspace


@pytest.fixture
def base(workspace: Workspace, tmp_path: Path) -> Asset:
    """A base model that says its licence in its card alone."""
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Base\n")
    return workspace.assets.put("model", "base", folder, properties={"task": "chat", "base_model": "org/Base"})


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 16}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def test_a_trained_model_is_kept_with_its_card_and_its_lineage(
    workspace: Workspace, base: Asset, adapter: Path
) -> None:
    rows = workspace.assets.put("data", "rows", b"{}", properties={"filename": "rows.jsonl"})
    with workspace.run("finetune") as run:
        kept = register(
            workspace, run.run_id,
            Trained(name="polite", folder=adapter, task="chat", method="sft", base=base, data=[rows],
                    settings={"rank": 8}, job="polite_job", code=Path.cwd()),
        )  # fmt: skip
    assert kept.ref == "model:polite:1"
    assert base_of(workspace, kept) == base
    assert kept.properties["license"] == "apache-2.0"
    assert kept.properties["adapter"]["r"] == 8
    upstream = {edge.source for edge in workspace.lineage.upstream(kept)}
    assert {base.ref, rows.ref} <= upstream
    card = ModelCard.load(workspace.assets.path(kept) / "README.md")
    card.data.to_dict()
    assert card.data.base_model == "org/Base"
    assert card.data.to_dict()["base_model_relation"] == "adapter"
    assert (card.data.library_name, card.data.license, card.data.datasets) == ("peft", "apache-2.0", ["rows"])
    assert base.digest in card.text
    assert rows.digest in card.text
    tags = workspace.runs.get(run.name).tags
    assert tags["studiolo.model"] == kept.ref
    assert tags["studiolo.base_digest"] == base.digest
    assert tags["studiolo.code.commit"]


def test_results_that_come_later_make_the_card_anew_with_their_intervals(
    workspace: Workspace, base: Asset, adapter: Path
) -> None:
    with workspace.run("finetune") as run:
        kept = register(
            workspace, run.run_id, Trained(name="polite", folder=adapter, task="chat", method="sft", base=base)
        )
    told = story_of(
        workspace, kept, [Result(dataset="sums", metric="exact", value=0.5, low=0.4, high=0.6, base=0.1, rows=100)]
    )
    data = ModelCard(told).data
    assert isinstance(data, ModelCardData)
    found = data.eval_results
    assert found is not None
    assert (found[0].dataset_name, found[0].metric_value) == ("sums", 0.5)
    assert (found[0].metric_args or {})["confidence_interval"] == [0.4, 0.6]
    assert "| sums | exact | 0.100 | 0.500 | 0.400 to 0.600 | 100 |" in told


def test_registering_the_same_again_is_the_same_version(workspace: Workspace, base: Asset, adapter: Path) -> None:
    trained = Trained(name="polite", folder=adapter, task="chat", method="sft", base=base)
    with workspace.run("finetune") as run:
        assert register(workspace, run.run_id, trained) == register(workspace, run.run_id, trained)
