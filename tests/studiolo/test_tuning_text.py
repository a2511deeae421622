"""A text classifier, from a file of ours or of Azure ML to an endpoint that answers /score and /invocations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import submit
from jobs.create import create
from jobs.files import read_job
from serving.endpoints import Deployment
from tests.finetune.tiny_models import tiny_encoder
from tests.serving.scoring_engine import engine
from workspace.home import Workspace

pytestmark = pytest.mark.slow


def test_a_classifier_is_trained_as_a_job_and_answers_as_any_model_of_mlflow(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.assets.put("model", "tiny", tiny_encoder(tmp_path / "tiny"), properties={"task": "embedding"})
    rows = [{"text": f"the {word} number {row}", "label": word} for row in range(12) for word in ("film", "soup")]
    (tmp_path / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    written = {
        "type": "finetuning", "name": "topics_job", "model_provider": "custom", "task": "textClassification",
        "model": {"path": "azureml:tiny:1", "type": "custom_model"},
        "training_data": {"path": "train.jsonl", "type": "uri_file"},
        "hyperparameters": {"num_train_epochs": "6", "learning_rate": "0.005", "per_device_train_batch_size": "8",
                            "warmup_ratio": "0"},
        "outputs": {"registered_model": {"type": "mlflow_model", "name": "topics"}},
    }  # fmt: skip
    (tmp_path / "job.yml").write_text(json.dumps(written))
    job = create(workspace, read_job(tmp_path / "job.yml"))
    ended = submit.wait(workspace, job.name, seconds=170)
    assert ended.status == "Completed", ended.error
    model = workspace.assets.get("model", "topics")
    assert (model.properties["task"], model.properties["type"]) == ("text-classification", "mlflow_model")
    card = (workspace.assets.path(model) / "README.md").read_text()
    assert "| rows kept apart | accuracy |" in card
    assert "pipeline_tag: text-classification" in card
    sources = {edge.source for edge in workspace.lineage.upstream(model)}
    assert "model:tiny:1" in sources
    assert any(source.startswith("data:") for source in sources)
    way = Deployment(endpoint="support", name="blue", engine="mlflow", model=model.ref)
    with engine(workspace, way) as client:
        body = {"input_data": {"columns": ["text"], "data": [["a good film"], ["the soup"]]}}
        assert [row["label"] for row in client.post("/score", json=body).json()] == ["film", "soup"]
        answer = client.post("/invocations", json={"dataframe_records": [{"text": "the soup"}]}).json()
        assert answer["predictions"][0]["label"] == "soup"
