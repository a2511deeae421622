from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.adapters import lm_eval
from evals.adapters.harness import Endpoint
from workspace.errors import Invalid

# As lm_eval 0.4.13 has written them.
CHOICE = {
    "doc_id": 0,
    "doc": {"id": "m-0", "question": "2+2?", "choices": ["3", "4"], "answer": "B"},
    "target": "B",
    "arguments": {
        "gen_args_0": {"arg_0": "2+2?\nAnswer:", "arg_1": " A"},
        "gen_args_1": {"arg_0": "2+2?\nAnswer:", "arg_1": " B"},
    },
    "resps": [[["-2.1", "False"]], [["-0.5", "False"]]],
    "filtered_resps": [["-2.1", "False"], ["-0.5", "False"]],
    "filter": "none",
    "metrics": ["acc"],
    "acc": 1.0,
}
TEXT = {
    "doc_id": 1,
    "doc": {"question": "1+1?"},
    "target": "2",
    "arguments": {"gen_args_0": {"arg_0": "1+1?", "arg_1": {"until": ["\n"]}}},
    "resps": [["it is 3"]],
    "filtered_resps": ["3"],
    "filter": "strict",
    "metrics": ["exact_match"],
    "exact_match": 0.0,
}


def logged(folder: Path, *samples: object) -> Path:
    inner = folder / "model"
    inner.mkdir()
    path = inner / "samples_my_task_2026-11-28T05-40-23.840603.jsonl"
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return path


def test_the_samples_of_the_harness_become_ours(tmp_path: Path) -> None:
    logged(tmp_path, CHOICE, TEXT, TEXT | {"filter": "loose", "exact_match": 1.0})
    choice, text = lm_eval.read(tmp_path)["my_task"]
    assert (choice.name, choice.answer, choice.expected) == ("m-0", "B", "B")
    assert choice.scores["acc"].value == 1.0
    assert choice.asked == "2+2?\nAnswer:"
    assert text.answer == "3"
    assert text.outputs == {"said": "it is 3"}
    assert {name: score.value for name, score in text.scores.items()} == {
        "exact_match.strict": 0.0,
        "exact_match.loose": 1.0,
    }


def test_a_metric_that_is_no_number_of_a_row_is_an_error_and_no_zero(tmp_path: Path) -> None:
    logged(tmp_path, TEXT | {"metrics": ["bleu"], "bleu": ["2", "3"]})
    [sample] = lm_eval.read(tmp_path)["my_task"]
    assert sample.scores["bleu.strict"].value is None


def test_a_damaged_log_is_refused_with_its_line(tmp_path: Path) -> None:
    path = logged(tmp_path, CHOICE, {"doc_id": 2})
    with pytest.raises(Invalid, match="no sample of lm_eval") as caught:
        lm_eval.read(tmp_path)
    assert str(caught.value.at) == f"{path}:2"


def test_the_command_asks_our_endpoint(tmp_path: Path) -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1/", model="m", key="secret")
    ask = lm_eval.Ask(tasks=["a", "b"], include=tmp_path, limit=5, few_shot=0, chat=True)
    told = lm_eval.arguments(endpoint, ask, tmp_path / "out")
    assert told[:2] == ["--model", "local-chat-completions"]
    assert "model=m,base_url=http://127.0.0.1:1/v1/chat/completions" in told[3]
    assert told[4:6] == ["--tasks", "a,b"]
    assert "--apply_chat_template" in told
    assert not any("secret" in each for each in told)  # it goes by the environment


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_harness_itself_measures_an_endpoint(tmp_path: Path, answering: str) -> None:
    (tmp_path / "rows.jsonl").write_text('{"q": "Say Hello", "a": "Hello"}\n{"q": "Say Bye", "a": "Bye"}\n')
    (tmp_path / "greet.yaml").write_text(
        "task: greet\ndataset_path: json\ntest_split: test\noutput_type: generate_until\n"
        f"dataset_kwargs: {{data_files: {{test: {tmp_path / 'rows.jsonl'}}}}}\n"
        "doc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n"
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
    )
    ask = lm_eval.Ask(tasks=["greet"], include=tmp_path, chat=True)
    *_, found = lm_eval.measured(Endpoint(base_url=answering, model="m"), ask, tmp_path)
    assert isinstance(found, dict)
    assert [sample.scores["exact_match"].value for sample in found["greet"]] == [1.0, 0.0]
