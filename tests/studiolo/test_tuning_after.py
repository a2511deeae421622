"""After a training, by the commands: merged, exported, compared, promoted; what answers otherwise is not kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from evals import report_card
from evals.adapters.harness import Endpoint, record
from evals.report_card import Measured
from evals.samples import Sample, Score
from studiolo.tuning import comparing
from studiolo.tuning.comparing import Asked, Made, compare
from studiolo.tuning.exporting import Wanted, export, serving_words
from studiolo.tuning.merging import merge
from studiolo.tuning.registration import Trained, register
from tests.finetune.tiny_models import tiny_adapter, tiny_chat
from workspace import Asset, Workspace
from workspace.errors import Conflict, Denied, Invalid


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny chat model and an adapter of it."""
    root = tmp_path_factory.mktemp("tiny")
    return tiny_chat(root / "base"), tiny_adapter(root / "base", root / "adapter")


@pytest.fixture
def base(workspace: Workspace, folders: tuple[Path, Path]) -> Asset:
    told = {"task": "chat", "license": "apache-2.0", "base_model": "org/tiny"}
    return workspace.assets.put("model", "tiny", folders[0], properties=told)


@pytest.fixture
def tuned(workspace: Workspace, base: Asset, folders: tuple[Path, Path], tmp_path: Path) -> Asset:
    folder = Path(shutil.copytree(folders[1], tmp_path / "trained"))
    with workspace.run("finetune") as run:
        return register(
            workspace, run.run_id, Trained(name="polite", folder=folder, task="chat", method="sft", base=base)
        )


def test_an_adapter_is_merged_into_a_model_of_its_own(workspace: Workspace, tuned: Asset, base: Asset) -> None:
    kept = merge(workspace, "polite")
    assert (kept.asset.name, kept.dtype, kept.parity.conversations) == ("polite-merged", "float32", 20)
    assert kept.asset.properties["license"] == "apache-2.0"
    assert kept.asset.properties["base"] == base.ref
    sources = {edge.source for edge in workspace.lineage.upstream(kept.asset)}
    assert {tuned.ref, base.ref} <= sources
    card = ModelCard.load(workspace.assets.path(kept.asset) / "README.md").data.to_dict()
    assert card["base_model_relation"] == "finetune"
    with pytest.raises(Invalid, match="is no adapter"):
        merge(workspace, "polite-merged")
    assert not list((workspace.home / "staging-tuning").iterdir())


def test_a_merge_that_answers_otherwise_is_not_kept(workspace: Workspace, tuned: Asset, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(workspace.assets.path(tuned), tmp_path / "odd"))
    told = json.loads((workspace.assets.path(workspace.assets.get("model", "tiny")) / "tokenizer.json").read_text())
    vocabulary = told["model"]["vocab"]
    vocabulary["e"], vocabulary["a"] = vocabulary["a"], vocabulary["e"]
    (folder / "tokenizer.json").write_text(json.dumps(told))
    workspace.assets.put("model", "odd", folder, properties=dict(tuned.properties))
    with pytest.raises(Invalid, match=r"token \d+ of the prompt is \d+ before and \d+ after"):
        merge(workspace, "odd")
    assert [each.name for each in workspace.assets.list("model")] == ["odd", "polite", "tiny"]


def test_a_model_leaves_as_safetensors_with_its_card(workspace: Workspace, tuned: Asset, tmp_path: Path) -> None:
    made = export(workspace, "polite", tmp_path / "out")
    assert made.parity is not None
    assert {"README.md", "config.json", "generation_config.json", "model.safetensors"} <= set(made.files)
    assert "vllm serve" in serving_words(made)[0]
    with pytest.raises(Conflict, match="something at"):
        export(workspace, "polite", tmp_path / "out")


@pytest.mark.slow
def test_an_adapter_leaves_for_servers_with_many_of_them(workspace: Workspace, tuned: Asset, tmp_path: Path) -> None:
    made = export(workspace, "polite", tmp_path / "out", Wanted(format="adapter"))
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/tiny"
    assert serving_words(made)[0] == (
        f"vllm serve org/tiny --enable-lora --max-lora-rank 8 --lora-modules polite={tmp_path / 'out'}"
    )
    assert "model:polite:1" in serving_words(made)[1]
    with pytest.raises(Invalid, match="is no adapter"):
        export(workspace, "tiny", tmp_path / "other", Wanted(format="adapter"))


@pytest.mark.slow
def test_a_model_leaves_as_a_file_of_llama_cpp_and_is_kept(workspace: Workspace, tuned: Asset, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    made = export(workspace, "polite", tmp_path / "out", Wanted(format="gguf", keep="polite-gguf"))
    assert "polite-F16.gguf" in made.files
    assert made.parity is not None
    assert made.asset is not None
    from serving.deploying import engine_for

    assert engine_for(workspace, made.asset, code=False) == "llamacpp"


def test_an_export_that_answers_otherwise_is_neither_left_nor_kept(
    workspace: Workspace, tuned: Asset, tmp_path: Path
) -> None:
    pytest.importorskip("xllamacpp")
    converter = tmp_path / "convert_hf_to_gguf.py"
    converter.write_text(
        "import sys\nfrom pathlib import Path\nfrom finetune.after import gguf_file\n"
        "from tests.finetune.tiny_models import tiny_chat\n"
        "gguf_file.write(tiny_chat(Path(sys.argv[3] + '.src'), seed=7), Path(sys.argv[3]), numbers='f32')\n"
    )
    wanted = Wanted(format="gguf", numbers="f32", converter=converter, keep="wrong")
    with pytest.raises(Invalid, match="the answers part at token"):
        export(workspace, "polite", tmp_path / "out", wanted)
    assert not (tmp_path / "out").exists()
    assert "wrong" not in [each.name for each in workspace.assets.list("model")]


@pytest.mark.slow
def test_the_card_is_made_of_both_models_answers_and_opens_the_way_to_champion(
    workspace: Workspace, tuned: Asset, base: Asset, tmp_path: Path
) -> None:
    rows = [{"q": f"number {number}", "choices": ["good", "bad"], "answer": "good"} for number in range(8)]
    task = {
        "name": "mood", "data": rows, "prompt": "{{q}}", "choices": "loglikelihood", "scorers": ["exact"],
        "mapping": {"q": "${data.q}", "choices": "${data.choices}", "expected": "${data.answer}"},
    }  # fmt: skip
    (tmp_path / "mood.yaml").write_text(json.dumps(task))
    wanted = comparing.Wanted(task=[str(tmp_path / "mood.yaml")], limit=4)
    with pytest.raises(Denied, match="has no report card"):
        report_card.promote(workspace, tuned, "champion")
    events = list(compare(workspace, "polite", wanted))
    made = events[-1]
    assert isinstance(made, Made)
    asked = [event for event in events if isinstance(event, Asked)]
    assert [(each.area, each.model) for each in asked] == [
        (area, ref) for area in ("task", "general", "safety") for ref in (base.ref, tuned.ref)
    ]
    assert made.card.sizes == (base.size, tuned.size)
    assert len({each.run for each in asked}) == 6
    outputs = [tmp_path / f"card{ending}" for ending in (".html", ".md", ".json")]
    comparing.write(workspace, made, outputs)
    assert "model:polite:1" in outputs[0].read_text()
    results: Any = ModelCard(outputs[1].read_text()).data
    results = results.eval_results
    assert [each.dataset_name for each in results] == ["mood", "general", "safety"]
    assert all(len(each.metric_args["confidence_interval"]) == 2 for each in results)
    assert json.loads(outputs[2].read_text())["card"] == made.kept.ref


def test_a_card_that_is_kept_stands_in_the_models_own_card_and_makes_it_champion(
    workspace: Workspace, tuned: Asset, base: Asset, tmp_path: Path
) -> None:
    def ran(model: Asset, right: int) -> str:
        samples = [
            Sample(
                number=number, row=f"r{number}", inputs={"q": str(number)}, expected="a", answer="a", seconds=0.5,
                scores={"exact": Score(value=float(number < right))}, model=model.ref,
            )
            for number in range(60)
        ]  # fmt: skip
        at = Endpoint(base_url="http://127.0.0.1:1/v1", model=model.name)
        return record(workspace, samples, name=f"sums-{model.name}", harness="test", task="sums", endpoint=at).name

    measured = [Measured(area="task", base=ran(base, 5), tuned=ran(tuned, 50))]
    card = report_card.card(workspace, base, tuned, measured)
    made = Made(card, report_card.keep(workspace, card))
    outputs = [tmp_path / f"card{ending}" for ending in (".html", ".md", ".json")]
    comparing.write(workspace, made, outputs)
    assert "model:polite:1" in outputs[0].read_text()
    assert "MB beside them." in outputs[0].read_text()
    results: Any = ModelCard(outputs[1].read_text()).data
    results = results.eval_results
    low, high = results[0].metric_args["confidence_interval"]
    assert low < results[0].metric_value < high
    assert results[0].metric_value == pytest.approx(50 / 60, abs=1e-6)
    assert json.loads(outputs[2].read_text())["card"] == made.kept.ref
    export(workspace, "polite", tmp_path / "out", Wanted(format="adapter"))
    assert "| sums | exact | 0.083 | 0.833 |" in (tmp_path / "out" / "README.md").read_text()
    assert report_card.promote(workspace, tuned, "champion").labels == ("champion",)


def test_what_cannot_be_compared_says_so(workspace: Workspace, tuned: Asset, base: Asset) -> None:
    with pytest.raises(Invalid, match="needs the task"):
        next(compare(workspace, "polite", comparing.Wanted(task=())))
    with pytest.raises(Invalid, match="does not say what it was tuned from"):
        next(compare(workspace, "tiny", comparing.Wanted(task=["x.yaml"])))
    with pytest.raises(Invalid, match=r"written as \.html, \.md or \.json"):
        comparing.check_outputs([Path("card.pdf")])
