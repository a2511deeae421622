"""What each engine's launch says, without starting any."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import pytest

from serving import sizes
from serving.endpoints import Deployment
from serving.engines import installs, launch_torch, launch_vllm, llamacpp
from serving.engines.launch import Launch
from serving.engines.launches import KINDS, kind
from workspace.errors import Conflict, Invalid, MissingExtra, NotFound, Unavailable
from workspace.home import Workspace
from workspace.settings import cache_folder


def put_model(workspace: Workspace, folder: Path) -> None:
    """Keep a model of 1,000 numbers in bfloat16, with two layers of keys and values."""
    folder.mkdir()
    header = json.dumps({"w": {"dtype": "BF16", "shape": [10, 100], "data_offsets": [0, 2000]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(2000))
    config = {"num_attention_heads": 4, "num_hidden_layers": 2, "hidden_size": 32, "max_position_embeddings": 512}
    (folder / "config.json").write_text(json.dumps({**config, "num_key_value_heads": 2}))
    workspace.assets.put("model", "m", folder, properties={"task": "chat"})


def put_gguf(workspace: Workspace, folder: Path) -> None:
    (folder / "m.gguf").write_bytes(b"GGUF")
    workspace.assets.put("model", "m", folder / "m.gguf", properties={"task": "chat"})


def way(engine: str = "vllm", **properties: object) -> Deployment:
    return Deployment(endpoint="e", name="blue", engine=engine, model="model:m:1", properties=properties)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


@pytest.fixture
def vllm(cache: Path) -> Path:
    """A folder that passes for vLLM's CPU build."""
    place = cache / "engines" / "vllm"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").touch()
    record = {"name": "vllm", "build": "cpu", "version": "0", "folder": str(place), "size": 1, "installed_at": 0}
    (place / installs.RECORD).write_text(json.dumps(record))
    return place


def test_what_a_model_takes_is_read_from_its_headers(workspace: Workspace, tmp_path: Path) -> None:
    put_model(workspace, tmp_path / "m")
    assert sizes.weights(tmp_path / "m") == 2_000
    assert sizes.weights(tmp_path / "m", "float32") == 4_000
    assert sizes.positions(tmp_path / "m", 10) == 2 * 2 * 2 * 8 * 2 * 10
    assert sizes.context(tmp_path / "m") == 512


def test_a_broken_file_is_no_reason_to_fail_before_its_engine_says_why(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 20)
    (tmp_path / "config.json").write_text("[]")
    assert sizes.weights(tmp_path) == sizes.positions(tmp_path, 1) == sizes.context(tmp_path) == 0


def test_vllm_that_is_not_installed_says_the_command(workspace: Workspace, tmp_path: Path, cache: Path) -> None:
    put_model(workspace, tmp_path / "m")
    with pytest.raises(MissingExtra) as caught:
        kind("vllm").launch(workspace, way())
    assert caught.value.hint == "studiolo engine install vllm"


def test_vllm_is_given_its_options_a_socket_and_a_key(workspace: Workspace, tmp_path: Path, vllm: Path) -> None:
    put_model(workspace, tmp_path / "m")
    launch = kind("vllm").launch(workspace, way(tensor_parallel_size=2, distributed_executor_backend="ray", threads=3))
    words = " ".join(launch.command)
    assert f"{vllm}/bin/python -P -m vllm.entrypoints.openai.api_server" in words
    assert "--served-model-name m" in words
    assert "--tensor-parallel-size 2 --distributed-executor-backend ray" in words
    assert "--max-model-len 512" in words  # no longer than the model can look
    assert (launch.socket_option, launch.key_variable) == ("--uds", "VLLM_API_KEY")
    assert launch.environment["OMP_NUM_THREADS"] == "3"
    assert launch.memory > launch_vllm.OVERHEAD


@pytest.mark.parametrize("name", ["trust_remote_code", "host", "api_key", "middleware", "allowed_local_media_path"])
def test_what_would_open_vllm_cannot_be_asked_for(workspace: Workspace, tmp_path: Path, vllm: Path, name: str) -> None:
    put_model(workspace, tmp_path / "m")
    launch = kind("vllm").launch(workspace, way(**{name: "x"}))
    assert f"--{name.replace('_', '-')}" not in launch.command


def test_a_cpu_build_of_vllm_is_not_put_to_sleep(workspace: Workspace, tmp_path: Path, vllm: Path) -> None:
    put_model(workspace, tmp_path / "m")
    launch = kind("vllm").launch(workspace, way())
    assert not launch.sleep
    assert "--enable-sleep-mode" not in launch.command


def test_an_engine_on_a_port_has_a_key() -> None:
    with pytest.raises(Invalid, match="needs a key"):
        Launch(command=["x"], memory=1, socket_option="")


def test_llamacpp_that_is_not_installed_says_what_to_install(
    workspace: Workspace, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    assert not installs.comes_along("llamacpp")
    put_gguf(workspace, tmp_path)
    with pytest.raises(MissingExtra) as caught:
        kind("llamacpp").launch(workspace, way("llamacpp"))
    assert "studiolo engine install llamacpp" in str(caught.value.hint)


def test_llamacpp_is_given_what_a_conversation_may_hold_and_how_many_there_are(
    workspace: Workspace, tmp_path: Path, cache: Path
) -> None:
    pytest.importorskip("xllamacpp")
    assert installs.comes_along("llamacpp")
    put_gguf(workspace, tmp_path)
    plain = kind("llamacpp").launch(workspace, way("llamacpp"))
    large = kind("llamacpp").launch(workspace, way("llamacpp", n_ctx=8192, n_parallel=2, n_threads=3, port=1))
    assert "--context 4096 --chats 4 --settings {}" in " ".join(plain.command)
    assert '--context 8192 --chats 2 --settings {"n_threads": 3}' in " ".join(large.command)
    assert large.memory == plain.memory
    assert (large.socket_option, large.key_variable) == ("--socket", "")


def test_an_unknown_engine_is_not_found() -> None:
    with pytest.raises(NotFound):
        kind("tourch")
    with pytest.raises(NotFound):
        installs.folder("torch")
    assert set(installs.RECIPES) <= set(KINDS)


def test_what_a_machine_cannot_have_is_refused_before_anything_is_fetched(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(Unavailable, match="this is Linux on riscv64"):
        next(installs.install("vllm", build="cpu"))
    assert not (cache / "engines").exists()
    assert not installs.obstacle("vllm", "cuda")
    assert not installs.obstacle("llamacpp")


def test_an_installation_that_was_cut_off_does_not_count(vllm: Path) -> None:
    assert installs.find("vllm")
    (vllm / installs.RECORD).unlink()
    assert installs.find("vllm") is None


def test_what_is_installed_is_not_installed_over(vllm: Path) -> None:
    with pytest.raises(Conflict):
        next(installs.install("vllm"))
    installs.remove("vllm")
    assert not vllm.exists()
    with pytest.raises(NotFound):
        installs.remove("vllm")


def test_the_pins_of_the_cpu_build_are_exact_and_name_no_place() -> None:
    lines = Path(installs.__file__).with_name("vllm_cpu.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) == installs.RECIPES["vllm"]["cpu"].count
    assert all("==" in pin and "/" not in pin and "@" not in pin for pin in pins)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (16, 15)])
def test_llama_cpp_leaves_a_core_to_its_server_and_the_gateway(cores: int, threads: int) -> None:
    assert llamacpp.threads(cores) == threads


def test_an_adapter_is_served_on_the_weights_of_its_base(workspace: Workspace, tmp_path: Path, vllm: Path) -> None:
    put_model(workspace, tmp_path / "m")
    folder = tmp_path / "lora"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    tuned = workspace.assets.put("model", "polite", folder, properties={"task": "chat", "base": "model:m:1"})
    asked = Deployment(endpoint="e", name="blue", engine="torch", model=tuned.ref)
    content, adapter = (workspace.assets.path(workspace.assets.get("model", name)) for name in ("m", "polite"))
    ours, theirs = (module.launch(workspace, asked).command for module in (launch_torch, launch_vllm))
    assert ours[ours.index("--model") + 1] == theirs[theirs.index("--model") + 1] == str(content)
    assert ours[ours.index("--adapter") + 1] == theirs[theirs.index("--lora-modules") + 1] == f"polite={adapter}"


def test_an_adapter_of_nobody_knows_what_says_what_to_do(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "lora"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    workspace.assets.put("model", "m", folder, properties={"task": "chat"})
    with pytest.raises(Invalid, match="does not say of which model"):
        launch_torch.launch(workspace, way("torch"))
