"""What was answered, and what failed, becomes data to learn from; people's word goes first, and lineage tells."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from evals import contamination
from evals.samples import LOG, Sample, Score, as_bytes, row_id
from finetune.data import read
from finetune.language.spec import TuneJob
from serving import endpoints
from serving.kept_traffic import Keeper
from serving.local import local_gateway
from studiolo import request_traces
from studiolo.tuning import closing
from tests.studiolo.command_line import typed
from workspace import Workspace, tracking
from workspace.errors import Denied

Chat = Callable[..., None]
COLLECTED = {"collections": ["request", "response"], "sampling_rate": 1.0}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


@pytest.fixture
def home(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))
    return workspace


def deployed(workspace: Workspace, endpoint: str, name: str, url: str = "http://127.0.0.1:9/v1", **more: Any) -> None:
    properties = {"base_url": url, **more}
    endpoints.put_deployment(workspace, endpoint, name, engine="openai", model="m", properties=properties)


@pytest.fixture
def bot(home: Workspace) -> Chat:
    """An endpoint whose deployments collect: `bot("id", "question", answer)` is one chat of it."""
    endpoints.put(home, "bot")
    for name in ("blue", "green"):
        deployed(home, "bot", name, data_collector=COLLECTED)

    def chat(id_: str, asked: str, answer: Any, *, deployment: str = "blue", finish: str = "stop", **more: Any) -> None:
        with Keeper.of(str(home.home), "bot", deployment, COLLECTED) as keeper:
            body = {"model": "bot", "messages": [{"role": "user", "content": asked}], **more}
            keeper.keep("request", json.dumps(body).encode(), correlation=id_)
            message = {"role": "assistant", "content": answer} if isinstance(answer, str) else answer
            told = {"model": "model:tiny:1", "choices": [{"message": message, "finish_reason": finish}]}
            keeper.keep("response", json.dumps(told).encode(), correlation=id_, more={"status": 200})

    return chat


def rows(workspace: Workspace, ref: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read.place(workspace, ref).read_text().splitlines()]


def made(workspace: Workspace, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """Run `finetune from-traces` and return the rows, and what was said."""
    told = json.loads(typed("finetune", "from-traces", *arguments, "-o", "json").stdout)
    return rows(workspace, told["data"]), "\n".join(told["said"])


def test_chats_of_a_served_endpoint_become_data_that_lineage_joins_to_it(home: Workspace, answering: str) -> None:
    endpoints.put(home, "bot")
    deployed(home, "bot", "blue", answering, data_collector=COLLECTED)
    endpoints.put(home, "bot", traffic={"blue": 100})
    with local_gateway(home) as gateway, httpx.Client(headers={"Authorization": f"Bearer {gateway.token}"}) as client:
        for asked, stream in (("One?", False), ("Two?", True)):
            body = {"model": "bot", "messages": [{"role": "user", "content": asked}], "stream": stream}
            assert client.post(f"{gateway.base_url}/chat/completions", json=body, timeout=60).status_code == 200
    found, said = made(home, "bot")
    talks = [[message["content"] for message in row["messages"]] for row in found]
    assert sorted(talks) == [["One?", "Hello"], ["Two?", "word " * 20]]
    assert said.startswith("2 rows, 0 of them corrected")
    (run,) = home.runs.list(kind="curation")
    above = {edge.source for edge in home.lineage.upstream(home.assets.get("data", "bot-chats"))}
    assert {f"run:{run.run_id}", "deployment:bot:blue"} <= above


def test_a_persons_word_goes_before_the_models(home: Workspace, bot: Chat, tmp_path: Path) -> None:
    for id_ in ("right", "wrong", "bad", "none"):
        bot(id_, f"{id_}?", "It is so.")
    labels = tmp_path / "labels.csv"
    labels.write_text("request_id,rating,correction\nright,5,\nwrong,1,It is not so.\nbad,2,\n")
    found, said = made(home, "bot", "--labels", str(labels), "--min-rating", "4")
    assert {row["request_id"]: row["messages"][-1]["content"] for row in found} == {
        "right": "It is so.", "wrong": "It is not so.",
    }  # fmt: skip
    assert "1 of them corrected by a person" in said
    assert "1 left out: rated below 4" in said
    assert "1 left out: nobody has labelled them" in said
    assert found == made(home, "bot", "--labels", str(labels), "--min-rating", "4")[0]


def test_what_people_assessed_in_mlflow_counts(home: Workspace, bot: Chat) -> None:
    from mlflow.entities import AssessmentSource, Expectation, Feedback

    traces = {"good": "a" * 32, "wrong": "b" * 32, "judged": "c" * 32}
    for id_, trace in traces.items():
        bot(id_, f"{id_}?", "It is so.")
        row = {
            "request_id": id_,
            "path": "/v1/chat/completions",
            "status": 200,
            "traceparent": f"00-{trace}-{'d' * 16}-01",
        }
        home.spool.append_many("request", [(id_, row)])
    request_traces.carry(home)
    store = tracking.store_of(home)
    person, machine = (AssessmentSource(source_type=kind, source_id="x") for kind in ("HUMAN", "LLM_JUDGE"))
    store.create_assessment(Feedback(name="ok", value=True, source=person, trace_id=f"tr-{traces['good']}"))
    store.create_assessment(
        Expectation(name="right", value="It is not so.", source=person, trace_id=f"tr-{traces['wrong']}")
    )
    store.create_assessment(Feedback(name="ok", value=True, source=machine, trace_id=f"tr-{traces['judged']}"))
    found, _ = made(home, "bot", "--labels", "mlflow", "--labelled")
    assert {row["request_id"]: row["messages"][-1]["content"] for row in found} == {
        "good": "It is so.", "wrong": "It is not so.",
    }  # fmt: skip


@pytest.mark.parametrize(("form", "kind"), [("preference", "Preference"), ("kto", "Verdict")])
def test_corrections_and_ratings_become_rows_for_dpo_and_kto(
    home: Workspace, bot: Chat, tmp_path: Path, form: str, kind: str
) -> None:
    bot("a", "a?", "No.")
    bot("b", "b?", "Yes.")
    labels = tmp_path / "labels.jsonl"
    said = [{"id": "a", "label": "bad", "correction": "Yes indeed."}, {"id": "b", "label": "good"}]
    labels.write_text("".join(f"{json.dumps(row)}\n" for row in said))
    found, _ = made(home, "bot", "--labels", str(labels), "--form", form)
    if form == "preference":
        assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in found] == [
            ("Yes indeed.", "No.")
        ]
    else:
        assert {row["request_id"]: row["label"] for row in found} == {"a": False, "b": True}
    parsed = [*read.read(read.place(home, "data:bot-chats"))]
    assert {type(row).__name__ for row in parsed} == {kind}


def test_calls_are_kept_and_what_broke_off_or_was_said_before_is_told(home: Workspace, bot: Chat) -> None:
    bot(
        "a", "Weather?", {"role": "assistant", "content": None, "tool_calls": [CALL]}, finish="tool_calls", tools=[TOOL]
    )
    bot("b", "Same?", "Yes.")
    bot("c", "Same?", "Yes.")
    bot("d", "Long?", "It goes on and", finish="length")
    bot("e", "Green?", "No.", deployment="green")
    found, said = made(home, "bot", "--deployment", "blue")
    assert [row["request_id"] for row in found] == ["a", "b"]
    assert found[0]["messages"][1]["tool_calls"] == [CALL]
    assert found[0]["tools"] == [TOOL]
    assert "said before, word for word" in said
    assert "the answer broke off, and nobody gave another" in said
    assert len([*read.read(read.place(home, "data:bot-chats"))]) == 2


def test_personal_data_is_told_and_replaced_where_that_is_asked_for(home: Workspace, bot: Chat) -> None:
    bot("a", "I am ann@example.org", "Hello ann@example.org, call +44 20 7946 0958.")
    found, said = made(home, "bot")
    assert "personal data in them: 2 email, 1 phone" in said
    found, said = made(home, "bot", "--redact")
    assert [message["content"] for message in found[0]["messages"]] == ["I am [EMAIL]", "Hello [EMAIL], call [PHONE]."]
    assert "personal data replaced: 2 email, 1 phone" in said


def test_an_endpoint_that_keeps_nothing_says_how_it_would(home: Workspace) -> None:
    endpoints.put(home, "mute")
    deployed(home, "mute", "blue")
    said = typed("finetune", "from-traces", "mute", code=1).stderr
    assert "no requests and answers of 'mute' are kept" in said
    assert "data_collector" in said
    assert (
        "no endpoint 'nowhere'"
        in typed("finetune", "from-traces", "mute", "--tune", "tiny", "--canary", "nowhere", code=1).stderr
    )
    assert "name an endpoint, or a served flow" in typed("finetune", "from-traces", code=1).stderr


def test_what_a_served_flow_asked_and_heard_becomes_rows(home: Workspace) -> None:
    from flows.results import LineRecord, NodeRecord, SpanRecord, to_json
    from flows.serve import log

    trace = "0af7651916cd43dd8448eb211c80319c"
    choices = [{"message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]
    span = SpanRecord(
        kind="llm", name="OpenAI.chat", inputs={"messages": [{"role": "user", "content": "Hi"}]}, output=choices
    )
    node = NodeRecord(name="ask", type="llm", status="Completed", spans=(span,))
    line = LineRecord(
        number=0, status="Completed", inputs={}, outputs={"a": "Hi."}, error=None, nodes=(node,), duration=0.1
    )
    folder = home.home / "spool" / log.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    common = {"flow": "greet", "digest": "sha256:abc", "status": 200, "duration": 0.1, "ts": 1.0}
    parent = f"00-{trace}-b7ad6b7169203331-01"
    asked = {"id": "r1", "path": "/score", "traceparent": parent, **common, "line": json.loads(to_json(line))}
    rated = {"id": "r2", "path": "/feedback", "traceparent": parent, **common, "feedback": {"feedback": "thumbs up"}}
    (folder / "1-00001.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in (asked, rated)))
    found, _ = made(home, "--flow", "greet", "--labelled")
    assert [(row["messages"][-1]["content"], row["rating"]) for row in found] == [("Hi.", 1.0)]


# Failures of evaluations


@pytest.fixture
def evaluated(home: Workspace, tmp_path: Path) -> str:
    """A run over an evaluation set of 40 rows of which 20 failed, by name."""
    questions = [
        {"question": f"What comes after number {number} thousand?", "expected": f"{number + 1}"} for number in range(40)
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in questions))
    evalset = home.assets.put("evalset", "counting", file)
    with home.run("eval", name="first", inputs=[evalset.ref], params={"task": "counting"}) as run:
        log = b"".join(as_bytes(sample(number, row)) for number, row in enumerate(questions))
        (run.directory / LOG).write_bytes(log)
    return "first"


def sample(number: int, row: Mapping[str, Any]) -> Sample:
    right, asked = number % 2 == 0, row["question"]
    return Sample(
        number=number, row=row_id(row), inputs={"question": asked}, name=f"q{number}", expected=row["expected"],
        answer=row["expected"] if right else "?", scores={"exact": Score(value=float(right))},
        asked=[{"role": "user", "content": asked}],
    )  # fmt: skip


def test_half_of_the_failures_become_rows_and_the_others_stay_to_measure_by(home: Workspace, evaluated: str) -> None:
    told = json.loads(typed("finetune", "from-failures", evaluated, "-o", "json").stdout)
    found = rows(home, told["data"])
    assert 4 <= len(found) <= 16
    assert all(int(row["eval_id"][1:]) % 2 == 1 for row in found)
    assert all(
        row["messages"][-1] == {"role": "assistant", "content": str(int(row["eval_id"][1:]) + 1)} for row in found
    )
    assert f"20 of 40 samples failed; {len(found)} become rows" in told["said"]
    assert json.loads(typed("finetune", "from-failures", evaluated, "-o", "json").stdout)["data"] == told["data"]
    above = {edge.source for edge in home.lineage.upstream(home.assets.get("data", told["data"]))}
    assert {"evalset:counting:1", f"run:{home.runs.get(evaluated).run_id}"} <= above


def test_rows_of_an_evaluation_train_only_when_retired_or_with_a_reason(home: Workspace, evaluated: str) -> None:
    refused = typed("finetune", "from-failures", evaluated, "--tune", "tiny", code=1).stderr
    assert "--retire REASON" in refused
    assert "--override-contamination REASON" in refused
    told = json.loads(typed("finetune", "from-failures", evaluated, "-o", "json").stdout)
    data = home.assets.get("data", told["data"])
    with pytest.raises(Denied, match="training rows stand in evaluation sets"):
        contamination.require_clean(home, data)
    typed("finetune", "from-failures", evaluated, "--retire", "to learn counting")
    left = rows_of(home, "counting")
    assert len(left) == 40 - len(rows(home, told["data"]))
    assert home.assets.get("evalset", "counting:1").archived
    assert contamination.require_clean(home, data).clean
    (entry,) = [each for each in home.audit.list() if each.action == "evalset.retire"]
    assert entry.after
    assert entry.after["reason"] == "to learn counting"


def test_an_evaluation_set_that_is_read_again_counts_again(home: Workspace, evaluated: str) -> None:
    told = json.loads(typed("finetune", "from-failures", evaluated, "--retire", "x", "-o", "json").stdout)
    with home.run("eval", name="again", inputs=["evalset:counting:1"]):
        pass
    with pytest.raises(Denied):
        contamination.require_clean(home, home.assets.get("data", told["data"]))


def test_corrections_go_before_expected_answers(home: Workspace, evaluated: str, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text("".join(f'{{"id": "q{number}", "correction": "C{number}"}}\n' for number in range(40)))
    told = json.loads(typed("finetune", "from-failures", evaluated, "--labels", str(labels), "-o", "json").stdout)
    assert all(row["messages"][-1]["content"] == f"C{row['eval_id'][1:]}" for row in rows(home, told["data"]))


def rows_of(workspace: Workspace, evalset: str) -> list[dict[str, Any]]:
    path = workspace.assets.path(workspace.assets.get("evalset", evalset))
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_training_on_new_rows_is_what_its_file_says_or_what_the_rows_are_for(home: Workspace, tmp_path: Path) -> None:
    data = home.assets.put("data", "new", b"{}", properties={"filename": "rows.jsonl"})
    file = tmp_path / "tune.yml"
    file.write_text("base: tiny\ndata: old.jsonl\nmethod: orpo\n")
    (tmp_path / "old.jsonl").write_text("{}\n")
    job = closing.training_on(data, str(file), (("seed", 3),), reason="tried")
    assert isinstance(job, TuneJob)
    assert (job.data.path, job.method, job.seed, job.override_contamination) == ("azureml:new:1", "orpo", 3, "tried")
    for form, method in (("chat", "sft"), ("preference", "dpo"), ("kto", "kto")):
        job = closing.training_on(data, "tiny", form=form)
        assert isinstance(job, TuneJob)
        assert (job.base, job.method) == ("tiny", method)
