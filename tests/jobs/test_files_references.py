"""References: every form in which files name what is elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.files.references import (
    DatastorePath,
    OutputPath,
    Reference,
    RunPath,
    Target,
    Url,
    reference,
    target,
)

ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("azureml:rows:3", Reference(name="rows", version="3")),
        ("azureml:rows@latest", Reference(name="rows", label="latest")),
        ("azureml:rows", Reference(name="rows")),
        ("azureml:rows:1:2", Reference(name="rows", version="1:2")),
        (f"azureml:{ARM}/environments/e/versions/7", Reference(name="e", version="7")),
        ("azureml://registries/azureml/models/m/versions/2", Reference(name="m", version="2", registry="azureml")),
        ("azureml://registries/r/environments/e/labels/latest", Reference(name="e", label="latest", registry="r")),
        ("azureml://datastores/blob/paths/a/b.csv", DatastorePath(datastore="blob", path="a/b.csv")),
        (
            "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/blob/paths/a/",
            DatastorePath(datastore="blob", path="a/"),
        ),
        ("azureml://jobs/j/outputs/model/paths/x", OutputPath(job="j", output="model", path="x")),
        ("azureml://jobs/j/outputs/artifacts", OutputPath(job="j", output="artifacts")),
        ("runs:/abc/model", RunPath(run="abc", path="model")),
        ("https://host.test/rows.csv", Url(url="https://host.test/rows.csv")),
        ("wasbs://c@a.blob.core.windows.net/rows", Url(url="wasbs://c@a.blob.core.windows.net/rows")),
        ("git+https://host.test/code.git", Url(url="git+https://host.test/code.git")),
        ("./rows.csv", Path("/here/rows.csv")),
        ("file:./rows.csv", Path("/here/rows.csv")),
        ("file:///there/rows.csv", Path("/there/rows.csv")),
        ("../rows", Path("/rows")),
    ],
)
def test_what_a_path_means(written: str, expected: Target) -> None:
    assert target(written, Path("/here")) == expected


@pytest.mark.parametrize("written", ["azureml:rows:3", "azureml:rows@latest", "azureml:rows"])
def test_a_reference_is_written_as_it_was_read(written: str) -> None:
    assert str(reference(written)) == written


@pytest.mark.parametrize("written", ["rows", "./rows", "azureml://datastores/d/paths/p", "https://host.test"])
def test_what_names_no_asset(written: str) -> None:
    assert reference(written) is None
