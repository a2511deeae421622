"""`studiolo catalog fit`: what a model needs, from a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studiolo import model_speeds
from studiolo.cli import app
from workspace.errors import NotFound
from workspace.home import Workspace
from workspace.settings import Settings

CONFIG = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "vocab_size": 128256, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def _fit(folder: Path, *words: str) -> str:
    arguments = ["--home", str(folder / "home"), "catalog", "fit", str(folder), *words]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_people_are_told_part_by_part(folder: Path) -> None:
    said = _fit(folder, "--device", "L4", "--context", "8192")
    assert "8.03 billion parameters" in said
    assert "L4: 1 x 8,192 tokens fits (24.00 GB of 24.00 GB free)" in said
    assert f"vllm serve {folder} --max-model-len 8192 --max-num-seqs 1" in said


def test_programs_get_bytes(folder: Path) -> None:
    found = json.loads(_fit(folder, "--device", "RTX-4060", "--json"))
    [device] = found["devices"]
    assert device["fits"] is False
    assert device["memory"]["weights"] == 8_030_261_248 * 2
    assert device["memory"]["cache"] == 4096 * 131_072
    assert device["memory"]["total"] == sum(value for name, value in device["memory"].items() if name != "total")
    assert device["context"] == 0


def test_fewer_bits_make_it_fit(folder: Path) -> None:
    found = json.loads(_fit(folder, "--device", "RTX-4060", "--quant", "Q4_K_M", "--context", "2048", "--json"))
    assert found["devices"][0]["fits"] is True
    assert found["devices"][0]["engine"] == "llamacpp"


def test_training_that_does_not_fit_is_made_smaller(folder: Path) -> None:
    found = json.loads(_fit(folder, "--device", "A100-80GB", "--train", "lora", "--batch", "8", "--json"))
    [device] = found["devices"]
    assert device["fits"] is False
    assert 1 <= device["instead"]["batch"] < 8 or device["instead"]["checkpointing"]
    assert "what would fit" in _fit(folder, "--device", "A100-80GB", "--train", "lora", "--batch", "8")


def test_this_machine_is_meant_where_none_is_named(folder: Path) -> None:
    assert json.loads(_fit(folder, "--json"))["devices"][-1]["device"]["name"] == "cpu"


def test_what_was_measured_here_stands_for_what_was_expected(folder: Path) -> None:
    name = ("--home", str(folder / "home"), "catalog", "fit", "tiny")
    with Workspace.open(settings=Settings(home=folder / "home")) as workspace:
        place = folder / "tiny"
        place.mkdir()
        (place / "config.json").write_text(json.dumps(CONFIG))
        workspace.assets.put("model", "tiny", place)
        before = CliRunner().invoke(app, name, catch_exceptions=False).stdout
        assert model_speeds.keep(workspace, "model:tiny:1", "torch", clients=1, tokens_per_second=40)
        assert model_speeds.keep(workspace, "model:tiny:1", "torch", clients=1, tokens_per_second=42)
        assert not model_speeds.keep(workspace, "tiny", "openai", clients=1, tokens_per_second=1)
    after = CliRunner().invoke(app, name, catch_exceptions=False).stdout
    assert "expected" in before
    assert "measured:" not in before
    assert "expected" not in after
    assert after.count("measured: 42 tokens/s, 1 at once, torch") == 1


PAGE = Path(__file__).parents[2] / "docs/fit.md"


@pytest.mark.parametrize(
    "line", [line[2:] for line in PAGE.read_text().splitlines() if line.startswith("$ studiolo catalog fit")]
)
def test_the_lines_of_the_page_run(folder: Path, line: str) -> None:
    _fit(folder, *line.split()[4:])


def test_what_is_not_here_is_not_found(folder: Path) -> None:
    arguments = ["--home", str(folder / "home"), "catalog", "fit", "nothing"]
    assert isinstance(CliRunner().invoke(app, arguments).exception, NotFound)
