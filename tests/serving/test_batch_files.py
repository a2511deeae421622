"""Batch endpoint and deployment files of Azure ML CLI v2, and the mini-batches that their settings mean."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.files.pipeline import PipelineComponent
from serving.batch import deployment_files, endpoint_files
from serving.batch.mini_batches import Schedule, cut
from serving.batch.settings import BatchSettings
from tests.serving.azure_files import azure_verdicts
from workspace.errors import Invalid

NEW = """\
$schema: https://azuremlschemas.azureedge.net/latest/modelBatchDeployment.schema.json
name: blue
endpoint_name: heart
description: A classifier
type: Model
model: azureml:heart@latest
code_configuration: {code: code, scoring_script: score.py}
compute: azureml:batch-cluster
resources: {instance_count: 2}
settings:
  max_concurrency_per_instance: 3
  mini_batch_size: 4
  output_action: Append_Row
  output_file_name: out.csv
  retry_settings: {max_retries: 1, timeout: 300}
  error_threshold: 7
  logging_level: info
  environment_variables: {WORD: hi}
"""
LEGACY = """\
name: blue
endpoint_name: heart
model: azureml:heart@latest
code_configuration: {code: code, scoring_script: score.py}
compute: batch-cluster
resources: {instance_count: 2}
max_concurrency_per_instance: 3
mini_batch_size: 4
output_action: append_row
output_file_name: out.csv
retry_settings: {max_retries: 1, timeout: 300}
error_threshold: 7
logging_level: info
environment_variables: {WORD: hi}
"""
PIPELINE = """\
name: line
endpoint_name: heart
type: pipeline
component:
  type: pipeline
  inputs:
    rows: {type: uri_folder}
    word: {type: string, default: hello}
  outputs:
    counted: {type: uri_folder}
  jobs:
    count:
      type: command
      command: wc -l ${{inputs.source}}/* > ${{outputs.out}}/n.txt; echo ${{inputs.word}} ${{inputs.fixed}}
      environment: azureml:any@latest
      inputs:
        source: ${{parent.inputs.rows}}
        word: ${{parent.inputs.word}}
        fixed: 3
      outputs:
        out: ${{parent.outputs.counted}}
settings: {default_compute: azureml:batch-cluster, continue_on_step_failure: false}
"""
FILED = """\
$schema: https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json
name: line
version: 1
type: pipeline
inputs: {source: {type: uri_file}}
outputs: {counted: {type: uri_file}}
jobs:
  count:
    type: command
    component: ./parts/step.yml
    inputs: {rows: "${{parent.inputs.source}}"}
    outputs: {n: "${{parent.outputs.counted}}"}
"""


@pytest.mark.parametrize("text", [NEW, LEGACY])
def test_both_forms_of_a_model_deployment_mean_the_same(write: Callable[[str], Path], text: str) -> None:
    found = deployment_files.read(write(text))
    assert found.settings == BatchSettings(
        instances=2, max_concurrency_per_instance=3, mini_batch_size=4, error_threshold=7, max_retries=1, timeout=300,
        output_file_name="out.csv",
    )  # fmt: skip
    assert found.settings.workers == 6
    assert (found.parts.name, found.parts.endpoint, found.parts.unused) == ("blue", "heart", ("compute",))
    assert found.parts.environment_variables == {"WORD": "hi"}
    assert found.parts.model is not None
    assert found.parts.model.ref == "azureml:heart@latest"


def test_what_is_not_set_is_as_in_azure_ml(write: Callable[[str], Path]) -> None:
    found = deployment_files.read(write("name: a\nendpoint_name: e\nmodel: azureml:m:1\ncompute: c\n"))
    settings = found.settings
    assert (settings.mini_batch_size, settings.error_threshold, settings.max_retries) == (10, -1, 3)
    assert (settings.timeout, settings.workers, settings.output_action) == (30, 1, "append_row")
    assert settings.output_file_name == "predictions.csv"


def test_a_typo_under_settings_is_told_and_one_at_the_root_is_refused(write: Callable[[str], Path]) -> None:
    found = deployment_files.read(write(NEW.replace("  mini_batch_size: 4", "  mini_batch_sise: 4")))
    assert found.settings.mini_batch_size == 10
    assert "file.yml:12:3: `settings.mini_batch_sise` is not known" in found.parts.warnings[0]
    with pytest.raises(Invalid, match=r"file.yml:8:1: unknown key 'mini_batch_sise'"):
        deployment_files.read(write(LEGACY.replace("\nmini_batch_size", "\nmini_batch_sise")))


@pytest.mark.parametrize(
    ("before", "after", "match"),
    [
        ("mini_batch_size: 4", "mini_batch_size: 0", "whole number of at least 1"),
        ("error_threshold: 7", "error_threshold: -2", "whole number of at least -1"),
        ("output_action: Append_Row", "output_action: rows", "cannot be 'rows'"),
        ("output_file_name: out.csv", "output_file_name: ../out.csv", "name of a file"),
        ("model: azureml:heart@latest", "", "needs `model`"),
        ("type: Model", "type: thing", "cannot be 'thing'"),
        ("timeout: 300", "timeout: 0", "must be a number"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_place(
    write: Callable[[str], Path], before: str, after: str, match: str
) -> None:
    with pytest.raises(Invalid, match=match) as caught:
        deployment_files.read(write(NEW.replace(before, after)))
    assert "file.yml" in str(caught.value)


def test_values_are_changed_as_by_set_and_a_deployment_is_read_again(write: Callable[[str], Path]) -> None:
    first = deployment_files.read(write(NEW), name="green", changes={"settings.mini_batch_size": "2"})
    assert (first.parts.name, first.settings.mini_batch_size) == ("green", 2)
    again = deployment_files.read_again(first.parts.written, {"settings.error_threshold": "0"})
    assert (again.settings.mini_batch_size, again.settings.error_threshold) == (2, 0)


def test_a_batch_endpoint_is_read_and_typos_in_its_defaults_are_told(write: Callable[[str], Path]) -> None:
    text = "name: heart\nauth_mode: AAD_token\ndefaults: {deployment_nam: blue}\ntags: {a: 1}\nidentity: {type: x}\n"
    found = endpoint_files.read(write(text))
    assert (found.name, found.auth_mode, found.default, found.tags) == ("heart", "aad_token", None, {"a": "1"})
    assert "`defaults.deployment_nam` is not known" in found.warnings[0]
    assert found.unused == ("identity",)
    with pytest.raises(Invalid, match="unknown key 'traffic'"):
        endpoint_files.read(write("name: heart\ntraffic: {blue: 100}\n"))


def test_a_pipeline_of_one_command_is_read_with_its_bindings(write: Callable[[str], Path]) -> None:
    step = deployment_files.read(write(PIPELINE)).step
    assert step is not None
    assert "${{inputs.source}}/* > ${{outputs.counted}}/n.txt" in step.command
    assert (step.inputs["source"].source, step.inputs["source"].is_path) == ("rows", True)
    assert (step.inputs["word"].value, step.inputs["fixed"].value) == ("hello", 3)
    assert step.outputs == ("counted",)


def test_a_pipeline_of_two_steps_is_read_with_its_settings(write: Callable[[str], Path]) -> None:
    two = PIPELINE.replace("settings:", "    more: {type: command, command: echo}\nsettings:")
    found = deployment_files.read(write(two))
    assert (found.step, found.pipeline is None) == (None, False)
    assert found.pipeline is not None
    assert not found.pipeline.settings.continue_on_step_failure
    assert found.pipeline.settings.default_compute == "azureml:batch-cluster"
    assert isinstance(found.pipeline.component, PipelineComponent)
    assert list(found.pipeline.component.jobs) == ["count", "more"]


def test_a_component_may_be_a_file_and_its_step_another(write: Callable[[str], Path], tmp_path: Path) -> None:
    step = tmp_path / "parts" / "step.yml"
    step.parent.mkdir()
    (step.parent / "src").mkdir()
    step.write_text(
        "name: count\ntype: command\ncode: src\nenvironment: azureml:any@latest\n"
        "command: wc ${{inputs.rows}} > ${{outputs.n}}\n"
        "inputs: {rows: {type: uri_file}}\noutputs: {n: {type: uri_file}}\n"
    )
    (tmp_path / "line.yml").write_text(FILED)
    found = deployment_files.read(write("name: a\nendpoint_name: e\ntype: pipeline\ncomponent: ./line.yml\n"))
    assert found.step is not None
    assert found.step.command == "wc ${{inputs.rows}} > ${{outputs.counted}}"
    assert (found.step.code, found.step.inputs["rows"].source) == (step.parent / "src", "source")


@pytest.mark.slow
def test_azure_s_package_gives_the_same_verdict(
    write: Callable[[str], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = NEW.replace("type: Model", "type: model")
    accepted = [
        ("batch-model", model),
        ("batch-legacy", LEGACY),
        ("batch-endpoint", "name: heart\nauth_mode: AAD_token\ndefaults: {deployment_name: blue}\n"),
    ]
    refused = [
        ("batch-model", model.replace("Append_Row", "rows")),
        ("batch-model", model.replace("type: model", "type: thing")),
        ("batch-legacy", LEGACY.replace("\nmini_batch_size", "\nmini_batch_sise")),
        ("batch-endpoint", "name: heart\ntraffic: {blue: 100}\n"),
    ]
    files = []
    for number, (kind, text) in enumerate([*accepted, *refused]):
        path = write(text)
        read = endpoint_files.read if kind == "batch-endpoint" else deployment_files.read
        with nullcontext() if number < len(accepted) else pytest.raises(Invalid):
            read(path)
        files.append((kind, str(path.rename(tmp_path / f"{number}.yml"))))
    verdicts = azure_verdicts(request.config.cache.mkdir("azure-ai-ml"), files)
    assert verdicts[: len(accepted)] == [None] * len(accepted)
    assert all(verdicts[len(accepted) :])


@given(st.integers(0, 50), st.integers(1, 12))
def test_every_file_is_in_exactly_one_mini_batch(count: int, size: int) -> None:
    files = [str(number) for number in range(count)]
    batches = cut(files, size)
    assert [name for batch in batches for name in batch.files] == files
    assert all(len(batch.files) <= size for batch in batches)
    assert [batch.number for batch in batches] == list(range(len(batches)))


@given(st.integers(0, 30), st.integers(1, 5), st.integers(0, 3), st.sets(st.integers(0, 29)))
def test_a_mini_batch_is_tried_until_it_succeeds_or_has_failed_as_often_as_it_may(
    count: int, size: int, retries: int, bad: set[int]
) -> None:
    batches = cut([str(number) for number in range(count)], size)
    schedule = Schedule(batches, retries, threshold=-1)
    tries: dict[int, int] = {}
    while batch := schedule.next():
        tries[batch.number] = tries.get(batch.number, 0) + 1
        if batch.number in bad:
            schedule.fail(batch, "bad")
        else:
            schedule.succeeded(batch)
    assert tries == {batch.number: retries + 1 if batch.number in bad else 1 for batch in batches}
    assert schedule.failed_files == sum(len(batch.files) for batch in batches if batch.number in bad)
    assert schedule.finished_files + schedule.failed_files == count


def test_nothing_more_is_handed_out_once_more_files_failed_than_may() -> None:
    schedule = Schedule(cut(list("abcdef"), 2), retries=0, threshold=1)
    first = schedule.next()
    assert first is not None
    assert schedule.fail(first, "bad") == "given up"
    assert schedule.exceeded
    assert schedule.next() is None


def test_what_an_earlier_job_has_finished_is_not_handed_out() -> None:
    schedule = Schedule(cut(list("abcd"), 1), retries=0, threshold=0, done={0, 2})
    handed = []
    while batch := schedule.next():
        handed.append(batch.number)
        schedule.succeeded(batch)
    assert handed == [1, 3]
