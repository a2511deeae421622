"""Assets, computes, connections, schedules: what is read of them, and what is refused with its line."""

from __future__ import annotations

import pytest

from jobs.files import (
    read_component,
    read_compute,
    read_connection,
    read_data,
    read_data_import,
    read_datastore,
    read_environment,
    read_job,
    read_mltable,
    read_model,
    read_model_package,
    read_registry,
    read_schedule,
    read_workspace,
)  # fmt: skip
from jobs.files.command import CommandJob
from jobs.files.compute import Cluster
from jobs.files.connection import AzureOpenAI, Pat
from jobs.files.datastore import AccountKey, BlobStore
from jobs.files.monitor import DataDrift
from jobs.files.pipeline import PipelineJob
from jobs.files.references import Reference
from jobs.files.schedule import RemoteJob
from jobs.files.transfer import Database
from jobs.files.trigger import Cron, Recurrence
from tests.jobs.verdicts import CORPUS
from workspace.errors import Invalid


def test_data_is_read() -> None:
    data = read_data(CORPUS / "data" / "file.yml")
    assert (data.name, data.version, data.type, data.path) == ("rows", "1", "uri_file", "./rows.csv")
    assert data.tags == {"team": "blue", "year": 2026}


def test_what_is_imported_is_read() -> None:
    found = read_data_import(CORPUS / "data_import" / "database.yml")
    assert found.source == Database(type="database", connection="azureml:snow", query="select * from t")


def test_an_mltable_is_read_with_its_transformations_in_order() -> None:
    table = read_mltable(CORPUS / "mltable" / "delimited.yml")
    assert [(path.file, path.folder, path.pattern) for path in table.paths] == [
        ("./rows.csv", None, None), (None, "./more", None), (None, None, "./all/*.csv"),
    ]  # fmt: skip
    assert [next(iter(each)) for each in table.transformations] == ["read_delimited", "convert_column_types", "take"]
    assert read_mltable(CORPUS / "mltable" / "parquet.yml").transformations == ({"read_parquet": {}},)


def test_an_environment_is_read_with_its_conda_file() -> None:
    found = read_environment(CORPUS / "environment" / "conda_file.yml")
    assert found.name == "with_conda"
    assert found.environment().conda == {"dependencies": ["python=3.11"]}


def test_a_model_is_read() -> None:
    model = read_model(CORPUS / "model" / "file.yml")
    assert (model.name, model.version, model.type) == ("iris", "3", "mlflow_model")


def test_a_model_package_is_read() -> None:
    package = read_model_package(CORPUS / "model_package" / "online.yml")
    assert package.inferencing_server is not None
    assert package.inferencing_server.type == "azureml_online"


def test_a_datastore_is_read_and_does_not_show_its_key() -> None:
    store = read_datastore(CORPUS / "datastore" / "blob.yml")
    assert isinstance(store, BlobStore)
    assert store.credentials == AccountKey(account_key="secret")
    assert "secret" not in repr(store)


def test_a_connection_is_read_and_does_not_show_its_key() -> None:
    code = read_connection(CORPUS / "connection" / "git.yml")
    assert code.credentials == Pat(type="pat", pat="secret")
    openai = read_connection(CORPUS / "connection" / "azure_open_ai.yml")
    assert isinstance(openai, AzureOpenAI)
    assert (openai.azure_endpoint, openai.api_key) == ("https://example.test", "k")
    assert "'secret'" not in repr(code)
    assert "api_key" not in repr(openai)


def test_a_compute_is_read_and_what_has_no_effect_is_said() -> None:
    cluster = read_compute(CORPUS / "compute" / "cluster.yml")
    assert isinstance(cluster, Cluster)
    assert (cluster.name, cluster.min_instances, cluster.max_instances) == ("cpu-cluster", 0, 4)
    assert {found.rule for found in cluster.findings} == {"no-effect"}


def test_a_registry_and_a_workspace_are_read() -> None:
    assert read_registry(CORPUS / "registry" / "whole.yml").replication_locations[0].location == "eastus"
    assert read_workspace(CORPUS / "workspace" / "whole.yml").name == "ws"


def test_a_schedule_is_read_with_its_job() -> None:
    schedule = read_schedule(CORPUS / "schedule" / "cron.yml")
    assert schedule.trigger == Cron(
        type="cron", expression="0 2 * * *", start_time="2026-07-10T10:00:00", end_time="2027-07-10T10:00:00",
        time_zone="Pacific Standard Time",
    )  # fmt: skip
    assert isinstance(schedule.create_job, PipelineJob)
    weekly = read_schedule(CORPUS / "schedule" / "recurrence.yml").trigger
    assert isinstance(weekly, Recurrence)
    assert weekly.schedule is not None
    assert (weekly.schedule.hours, weekly.schedule.week_days) == ((4, 5, 10), ("monday", "thursday"))


def test_a_schedule_s_changes_are_in_its_job() -> None:
    job = read_schedule(CORPUS / "schedule" / "with_changes.yml").create_job
    assert isinstance(job, PipelineJob)
    assert (job.inputs, job.settings.continue_on_step_failure, job.experiment_name) == ({"rate": 0.5}, True, "other")
    assert job.settings.default_compute == "azureml:c"
    command = read_schedule(CORPUS / "schedule" / "with_changes_command.yml").create_job
    assert isinstance(command, CommandJob)
    assert command.inputs == {"rate": 0.5}


def test_a_schedule_may_run_a_submitted_job_again() -> None:
    job = read_schedule(CORPUS / "schedule" / "of_submitted.yml").create_job
    changes = {"type": "pipeline", "settings": {"default_compute": "azureml:c"}}
    assert job == RemoteJob(job=Reference(name="yesterday"), changes=changes)


def test_a_monitor_is_read() -> None:
    monitor = read_schedule(CORPUS / "schedule" / "monitor_whole.yml").create_monitor
    assert monitor is not None
    assert len(monitor.monitoring_signals) == 8
    drift = monitor.monitoring_signals["drift"]
    assert isinstance(drift, DataDrift)
    assert drift.metric_thresholds is not None
    assert drift.metric_thresholds.numerical is not None
    assert drift.metric_thresholds.numerical.jensen_shannon_distance == 0.01


def test_a_component_s_name_with_a_hyphen_is_taken_with_a_warning() -> None:
    path = CORPUS / "component" / "refused_name_hyphen.yml"
    component = read_component(path)
    assert component.name == "uci-heart-train"
    assert [found.rule for found in component.findings] == ["component-name"]
    with pytest.raises(Invalid):
        read_component(path, strict=True)


def test_a_typo_in_settings_is_a_warning_with_its_line() -> None:
    job = read_job(CORPUS / "job" / "pipeline_typo_in_settings.yml")
    (found,) = [each for each in job.findings if each.rule == "unknown-key"]
    assert "unknown key 'default_datestore'" in found.what
    assert found.hint == "did you mean 'default_datastore'?"
    assert (found.at.line, found.at.column) == (2, 40)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("schedule/missed_cron", "a cron expression has five fields, not 2"),
        ("schedule/missed_time_zone", "there is no time zone 'Moon'"),
        ("schedule/refused_nothing", "needs one of `create_job`, `import_data` or `create_monitor`"),
        ("compute/refused_key", "unknown key 'max_nodes'"),
        ("datastore/refused_container", "`container_name` is needed"),
        ("connection/refused_credentials_key", "unknown key 'token'"),
        ("data/refused_type", "did you mean 'uri_file'?"),
        ("environment/refused_is_conda", "unknown key 'channels'"),
        ("model/missed_data", "no file or folder at './gone'"),
    ],
)
def test_what_is_wrong_says_what_and_where(name: str, what: str) -> None:
    from jobs.files import read

    path = (CORPUS / name).with_suffix(".yml")
    with pytest.raises(Invalid) as caught:
        read(path.parent.name, path)
    assert what in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.at is not None
    assert caught.value.at.path == path
