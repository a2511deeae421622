"""Monitors that run: each signal of a deployment as a job with metrics, a page and lineage, and who is told."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from jobs import assets
from jobs.events import cloud, rules
from jobs.records import JobRecord
from jobs.schedules import firing, store
from jobs.submit import stream
from tests.jobs.monitoring import NOON, artifact, collect, monitored, report_of, values
from tests.jobs.pipelines import ENVIRONMENT
from tests.jobs.receiving import Receiver, said, to
from tests.jobs.receiving import receiver as receiver
from workspace.errors import Invalid
from workspace.home import Workspace
from workspace.settings import Settings
from workspace.tables import events

SIGNALS = """\
  monitoring_signals:
    drift:
      type: data_drift
      alert_enabled: true
      features: [age, city]
      feature_type_override: {age: numerical}
      metric_thresholds:
        numerical: {jensen_shannon_distance: 0.3, two_sample_kolmogorov_smirnov_test: 0.05}
        categorical: {population_stability_index: 0.2, pearsons_chi_squared_test: 0.001}
    trained:
      type: data_drift
      reference_data: &trained
        input_data: {path: train.csv, type: uri_file}
        data_context: training
        data_column_names: {target_column: label}
      features: {top_n_feature_importance: 1}
      metric_thresholds: {numerical: {normalized_wasserstein_distance: 0.1}}
    segment:
      type: data_drift
      data_segment: {feature_name: city, feature_values: [a]}
      metric_thresholds: {numerical: {normalized_wasserstein_distance: 0.1}}
    quality: {type: data_quality, alert_enabled: true}
    prediction:
      type: prediction_drift
      reference_data: *trained
      metric_thresholds: {numerical: {population_stability_index: 0.1}}
    attribution:
      type: feature_attribution_drift
      reference_data: *trained
      metric_thresholds: {normalized_discounted_cumulative_gain: 0.9}
    performance:
      type: model_performance
      production_data: {data_column_names: {prediction: prediction}}
      reference_data:
        input_data: {path: truth.csv, type: uri_file}
        data_context: ground_truth
        data_column_names: {actual: actual, correlation_id: id}
      metric_thresholds: {classification: {accuracy: 0.9}}
    tokens:
      type: generation_token_statistics
      metric_thresholds: {totaltoken: {total_token_count: 50, total_token_count_per_group: 0}}
    judged:
      type: generation_safety_quality
      metric_thresholds: {fluency: {aggregated_fluency_pass_rate: 0.7}}
  alert_notification: {emails: [a@example.test]}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Path]]:
    """A workspace whose deployment has collected two days: on the second one people are older and one value is new."""
    folder = tmp_path_factory.mktemp("monitored")
    with Workspace.open(settings=Settings(home=folder / "home")) as workspace:
        chance = random.Random(1)  # noqa: S311  data, no secret
        for day, older in ((9, 0), (10, 25)):
            rows: list[dict[str, Any]] = [
                {"age": chance.randint(20, 60) + older, "city": chance.choice("ab"), "income": chance.random()}
                for _ in range(300)
            ]
            if older:
                rows[0] |= {"city": "z", "income": None}
            collect(workspace.home, "model_inputs", day, rows)
            collect(
                workspace.home, "model_outputs", day, [{"prediction": int(row["age"] > 45 + older / 2)} for row in rows]
            )
            answers = [{"model": "m", "usage": {"total_tokens": 30}}, {"model": "n", "usage": {"total_tokens": 40}}]
            collect(workspace.home, "response", day, answers)
        ages = [chance.randint(20, 60) for _ in range(300)]
        lines = [f"{age},{chance.choice('ab')},{chance.random()},{int(age > 45)}" for age in ages]
        (folder / "train.csv").write_text("\n".join(["age,city,income,label", *lines]))
        truths = [f"d10-{number},{number % 2}" for number in range(200)]
        (folder / "truth.csv").write_text("\n".join(["id,actual", *truths]))
        yield workspace, folder


@pytest.fixture(scope="module")
def ran(home: tuple[Workspace, Path]) -> tuple[Workspace, JobRecord]:
    """One run of a monitor with most signals."""
    workspace, folder = home
    return workspace, monitored(workspace, folder, "watch", SIGNALS)


def test_features_that_have_moved_are_past_their_thresholds(ran: tuple[Workspace, JobRecord]) -> None:
    drift = report_of(*ran)["drift"]
    found = values(drift)
    assert set(found) == {
        ("age", "jensen_shannon_distance"), ("age", "two_sample_kolmogorov_smirnov_test"),
        ("city", "population_stability_index"), ("city", "pearsons_chi_squared_test"),
    }  # fmt: skip
    past = {(each["feature"], each["metric"]) for each in drift["metrics"] if each["breached"]}
    assert past == {
        ("age", "jensen_shannon_distance"), ("age", "two_sample_kolmogorov_smirnov_test"),
        ("city", "pearsons_chi_squared_test"),  # a city that nobody came from before
    }  # fmt: skip
    assert drift["data"] == {
        "production_data": {
            "source": "data:credit-blue-model_inputs:1", "rows": 300,
            "from": "2026-05-09T12:00:00Z", "to": "2026-05-10T12:00:00Z",
        },
        "reference_data": {
            "source": "data:credit-blue-model_inputs:1", "rows": 300,
            "from": "2026-05-08T12:00:00Z", "to": "2026-05-09T12:00:00Z",
        },
    }  # fmt: skip


def test_training_data_says_which_features_matter_and_a_segment_which_rows(ran: tuple[Workspace, JobRecord]) -> None:
    found = report_of(*ran)
    assert list(values(found["trained"])) == [("age", "normalized_wasserstein_distance")]
    assert found["trained"]["data"]["reference_data"] == {"source": "data:train-train:1", "rows": 300}
    rows = found["segment"]["data"]["production_data"]["rows"]
    assert 100 < rows < 200


def test_what_is_missing_or_new_is_counted(ran: tuple[Workspace, JobRecord]) -> None:
    found = values(report_of(*ran)["quality"])
    assert found["income", "null_value_rate"] == pytest.approx(1 / 300)
    assert found["city", "out_of_bounds_rate"] == pytest.approx(1 / 300)
    assert found["age", "out_of_bounds_rate"] > 0.4


def test_predictions_attributions_and_performance_are_measured(ran: tuple[Workspace, JobRecord]) -> None:
    found = report_of(*ran)
    assert values(found["prediction"])["prediction", "population_stability_index"] > 0.1
    attributed = values(found["attribution"])
    assert 0.9 <= attributed["", "normalized_discounted_cumulative_gain"] <= 1.0
    assert attributed["age", "reference_importance"] > attributed["city", "reference_importance"]
    performed = values(found["performance"])
    assert performed["", "joined_rows"] == 200
    assert 0.3 < performed["", "accuracy"] < 0.7
    assert found["performance"]["notes"] == ["200 of 300 answers have a truth"]


def test_tokens_are_counted_and_who_has_no_judge_is_told(ran: tuple[Workspace, JobRecord]) -> None:
    found = report_of(*ran)
    tokens = found["tokens"]
    assert values(tokens) == {
        ("", "total_token_count"): 70.0, ("", "average_token_count"): 35.0,
        ("n", "total_token_count_per_group"): 40.0, ("m", "total_token_count_per_group"): 30.0,
    }  # fmt: skip
    assert tokens["breached"] == 1  # a threshold of 0 alarms nobody
    judged = found["judged"]
    assert (judged["status"], judged["metrics"]) == ("skipped", [])
    assert judged["why"] == "nobody judges: name a connection to a chat model as `connection_id`"


def test_a_run_has_metrics_a_page_and_lineage_from_its_data(ran: tuple[Workspace, JobRecord]) -> None:
    workspace, job = ran
    run = workspace.runs.get(str(job.run_id))
    assert run.metrics["drift/age/jensen_shannon_distance"] > 0.3
    assert run.metrics["drift/age/jensen_shannon_distance/threshold"] == 0.3
    assert run.metrics["drift/breached"] == 3
    assert "drift: 4 measured, 3 past their threshold" in str(run.tags["azureml_modelmonitor_threshold_breached"])
    page = artifact(workspace, job, "monitor.html").read_text()
    assert page.count("<section>") == 9
    assert "src=" not in page
    assert "past their threshold" in page
    edges = {row["source"] for row in workspace.light.rows("SELECT * FROM edges WHERE run_id = :run", run=job.run_id)}
    assert edges >= {"data:credit-blue-model_inputs:1", "data:credit-blue-model_outputs:1", "data:train-train:1"}
    assert (job.kind, job.tags, job.properties["studiolo.schedule"]) == ("monitor", {"team": "red"}, "watch")
    assert b"no mail is sent from here" in b"".join(stream(workspace, job.name))


def test_signals_that_alert_are_told_as_events(
    home: tuple[Workspace, Path], receiver: Receiver, ran: tuple[Workspace, JobRecord]
) -> None:
    workspace, folder = home
    rules.create(workspace, to(receiver, subject="monitors/alarm/*", tags={"team": "red"}))
    signals = SIGNALS.partition("    trained:")[0]
    signals += "    quality: {type: data_quality, alert_enabled: true}\n    quiet: {type: data_quality}\n"
    job = monitored(workspace, folder, "alarm", signals)
    drift, quality = said(workspace, receiver)
    assert (drift["type"], quality["type"]) == (cloud.DATASET_DRIFT, cloud.SIGNAL_BREACHED)
    assert (drift["subject"], quality["subject"]) == (
        "monitors/alarm/signals/drift", "monitors/alarm/signals/quality",
    )  # fmt: skip
    assert (drift["data"]["RunId"], drift["data"]["TargetDatasetId"]) == (job.name, "data:credit-blue-model_inputs:1")
    assert {each["feature"] for each in drift["data"]["metrics"]} == {"age", "city"}
    assert report_of(workspace, job)["quiet"]["breached"] > 0  # and nobody is told
    rules.remove(workspace, "rule")


def test_without_signals_drift_and_quality_are_measured_against_the_time_before(home: tuple[Workspace, Path]) -> None:
    workspace, folder = home
    job = monitored(workspace, folder, "usual", "")
    found = report_of(workspace, job)
    assert list(found) == ["data_drift", "prediction_drift", "data_quality"]
    assert values(found["data_drift"])["age", "normalized_wasserstein_distance"] > 0.1
    assert {metric for _, metric in values(found["data_drift"])} == {
        "normalized_wasserstein_distance", "jensen_shannon_distance",
    }  # fmt: skip


def test_what_cannot_be_measured_fails_and_the_rest_goes_on(home: tuple[Workspace, Path]) -> None:
    workspace, folder = home
    signals = (
        "  monitoring_signals:\n"
        "    bad: {type: data_drift, features: [aeg]}\n"
        "    late:\n      type: data_quality\n"
        "      production_data: {data_window: {lookback_window_size: P1D, lookback_window_offset: P30D}}\n"
        "    good: {type: data_quality, features: [age]}\n"
    )
    job = monitored(workspace, folder, "half", signals, status="Failed")
    assert job.error is not None
    assert job.error.startswith("1 of 3 signals could not be measured: bad: `features` names 'aeg'")
    found = report_of(workspace, job)
    assert [each["status"] for each in found.values()] == ["failed", "skipped", "measured"]
    assert "there is no data of data:credit-blue-model_inputs:1 from 2026-04-09" in found["late"]["why"]


def test_a_deployment_that_collects_nothing_has_the_tokens_of_the_gateways_rows(
    workspace: Workspace, tmp_path: Path
) -> None:
    used = {"endpoint": "credit", "deployment": "credit/blue", "model": "model:small:1", "prompt_tokens": 5}
    rows = [used | {"completion_tokens": 3}, used | {"completion_tokens": 4}, used | {"deployment": "credit/green"}]
    kept = [
        {"event_id": f"r{number}", "kind": "request", "ts": NOON - 60, "payload": row}
        for number, row in enumerate(rows)
    ]
    with workspace.database.write() as connection:
        connection.execute(insert(events), kept)
    signals = "  monitoring_signals: {tokens: {type: generation_token_statistics}}\n"
    found = report_of(workspace, monitored(workspace, tmp_path, "tokens", signals))["tokens"]
    assert values(found) == {
        ("", "total_token_count"): 17.0, ("", "average_token_count"): 8.5,
        ("model:small:1", "total_token_count_per_group"): 17.0,
    }  # fmt: skip
    assert found["notes"] == ["by the gateway's own rows of 2 requests"]


def test_a_monitor_takes_no_parameters_and_a_target_is_an_endpoint_and_a_deployment(
    home: tuple[Workspace, Path],
) -> None:
    workspace, folder = home
    monitored(workspace, folder, "plain", "  monitoring_signals: {quality: {type: data_quality}}\n")
    with pytest.raises(Invalid, match="takes no parameters"):
        firing.trigger(workspace, "plain", {"inputs": {"a": 1}}, now=NOON + 1)
    store.change(workspace, "plain", (("create_monitor.monitoring_target.endpoint_deployment_id", "credit"),), now=NOON)
    with pytest.raises(Invalid, match="endpoint_deployment_id"):
        firing.trigger(workspace, "plain", now=NOON + 2)


class _Judge(BaseHTTPRequestHandler):
    """A chat model that finds short answers bad."""

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = asked["messages"][-1]["content"]
        grade = "2" if "Answer:\nno" in said else "Score: 5/5"
        body = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": grade}},
        ]}).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_answers_are_judged_by_a_model_behind_a_connection(workspace: Workspace, tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Judge)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    target = f"http://127.0.0.1:{server.server_port}/v1"
    assets.create(workspace, "connection", {"name": "judge", "type": "open_ai", "target": target, "api_key": "k"})
    collect(workspace.home, "model_inputs", 10, [{"question": f"what is {number}?"} for number in range(4)])
    collect(workspace.home, "model_outputs", 10, [{"answer": answer} for answer in ("a number", "no", "two", "three")])
    signals = (
        "  monitoring_signals:\n    judged:\n      type: generation_safety_quality\n"
        "      connection_id: azureml:judge\n"
        "      properties: {model_deployment_name: small}\n      metric_thresholds:\n"
        "        relevance: {aggregated_relevance_pass_rate: 0.9, acceptable_relevance_score_per_instance: 4}\n"
        "        fluency: {aggregated_fluency_pass_rate: 0.7}\n"
        "        groundedness: {aggregated_groundedness_pass_rate: 0.7}\n"
    )
    try:
        found = report_of(workspace, monitored(workspace, tmp_path, "judged", signals))["judged"]
    finally:
        server.shutdown()
        server.server_close()
    assert values(found)["", "aggregated_relevance_pass_rate"] == 0.75
    assert [each["breached"] for each in found["metrics"] if each["threshold"]] == [True, False]
    assert found["notes"] == ["groundedness is not measured: no column for context under data_column_names"]


SPREAD = """\
name: spread
version: "1"
inputs:
  production_data: {type: uri_folder}
  deviation_threshold: {type: string}
  city: {type: string}
outputs:
  signal_metrics: {type: uri_folder}
command: >-
  printf 'group,metric_name,metric_value\\nage,deviation,7.5\\n%s,limit,%s\\n'
  ${{inputs.city}} ${{inputs.deviation_threshold}} > ${{outputs.signal_metrics}}/a.csv
  && test -f ${{inputs.production_data}}/part-0.parquet && test "$SECRET" = s
"""
READY = """\
name: ready
version: "1"
inputs:
  input_data: {type: uri_folder}
  data_window_start: {type: string}
  data_window_end: {type: string}
outputs:
  preprocessed_input_data: {type: uri_folder}
command: >-
  test -d ${{inputs.input_data}}/2026 &&
  printf 'since,age\\n%s,40\\n' ${{inputs.data_window_start}} > ${{outputs.preprocessed_input_data}}/rows.csv
"""
OWN = """\
  monitoring_signals:
    own:
      type: custom
      component_id: azureml:spread:1
      input_data:
        production_data: {data_context: model_inputs, input_data: {path: "azureml:credit-blue-model_inputs:1"}}
      metric_thresholds: [{metric_name: deviation, threshold: 4.5}]
      connection: {environment_variables: {SECRET: s}}
      inputs: {city: {type: uri_file, path: train.csv}}
    ready:
      type: data_quality
      production_data: {pre_processing_component: "azureml:ready:1"}
      features: [age]
"""


def test_components_of_ones_own_measure_and_make_data_ready(
    home: tuple[Workspace, Path], ran: tuple[Workspace, JobRecord], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    workspace, folder = home
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, text in (("spread", SPREAD), ("ready", READY)):
        path = folder / f"{name}.component.yml"
        path.write_text(text.replace("  city: {type: string}\n", "  city: {type: uri_file}\n") + ENVIRONMENT)
        assets.create(workspace, "component", path)
    found = report_of(workspace, monitored(workspace, folder, "own", OWN))
    measured: dict[str, Any] = {each["metric"]: each for each in found["own"]["metrics"]}
    assert (measured["deviation"]["value"], measured["deviation"]["breached"]) == (7.5, True)
    assert measured["limit"]["value"] == 4.5
    assert found["ready"]["data"]["production_data"]["rows"] == 1
    assert "made ready by azureml:ready:1" in found["ready"]["data"]["production_data"]["source"]
