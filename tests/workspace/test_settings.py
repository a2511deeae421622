from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from workspace.errors import Invalid
from workspace.settings import Settings, variable


def test_without_variables_the_defaults_hold() -> None:
    assert Settings.from_environment({}) == Settings()


def test_each_variable_sets_its_field() -> None:
    read = Settings.from_environment(
        {"STUDIOLO_HOME": "/srv/x", "STUDIOLO_GATEWAY_PORT": "9000", "MLFLOW_TRACKING_URI": "http://m", "HOME": "/x"}
    )
    assert read == Settings(home=Path("/srv/x"), gateway_port=9000, mlflow_tracking_uri="http://m")


def test_a_child_process_that_gets_the_variables_has_the_same_settings() -> None:
    settings = Settings(home=Path("/srv/x"), database_url="postgresql://h/d", threads=3, dtype="float32")
    assert Settings.from_environment(settings.environment()) == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STUDIOLO_GATEWAY_PORT", "http"),
        ("STUDIOLO_GATEWAY_PORT", "0"),
        ("STUDIOLO_STUDIO_PORT", "65536"),
        ("STUDIOLO_THREADS", "-1"),
        ("STUDIOLO_DTYPE", "int3"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(Invalid, match=name):
        Settings.from_environment({name: value})


def test_every_field_is_told_of_where_settings_are_described() -> None:
    words = (Settings.__doc__ or "").replace("`", " ")
    for field in fields(Settings):
        assert field.name in words or field.name.partition("_")[2] == "port", variable(field.name)
