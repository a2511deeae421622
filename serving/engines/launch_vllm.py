"""The launch of engine `vllm`: the real vLLM, from the environment that `studiolo engine install vllm` has made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving import machine, sizes
from serving.endpoints import Deployment
from serving.engines import installs
from serving.engines.launch import CPU, CUDA, Launch, asked, option
from serving.engines.launch_adapters import adapters, named, owned, weights_of
from workspace.errors import MissingExtra
from workspace.home import Workspace

# Properties that are vLLM's options of the same name. What would open it (hosts, keys, remote code) is not among them.
PASSED = (
    "dtype", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization",
    "kv_cache_memory_bytes", "quantization", "seed", "enforce_eager", "enable_prefix_caching", "tool_call_parser",
    "reasoning_parser", "max_lora_rank", "max_loras", "enable_sleep_mode",
    "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "data_parallel_size_local",
    "data_parallel_address", "data_parallel_rpc_port", "data_parallel_start_rank", "data_parallel_backend",
    "distributed_executor_backend", "nnodes", "node_rank", "master_addr", "master_port",
)  # fmt: skip
OWN = ("ray_address", "threads")  # properties that become something else
OVERHEAD = 2_500_000_000  # bytes of vLLM's processes on a CPU, beside weights, keys and values
SMALLEST_CACHE = 256 * 2**20  # bytes of keys and values on a CPU
LENGTH = 4_096  # tokens of a request on a CPU at most, where `max_model_len` is not set
SHARE = 0.9  # of a GPU's memory, vLLM's own default
_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
}


def launch(workspace: Workspace, deployment: Deployment) -> Launch:
    """Return how the model is served."""
    installed = installs.find("vllm")
    if installed is None:
        raise MissingExtra("the vllm engine is not installed", hint="studiolo engine install vllm")
    model = workspace.assets.get("model", deployment.model)
    content, own = weights_of(workspace, model)
    on_cpu = installed.build == CPU
    found = (_cpu_defaults(content) if on_cpu else {}) | asked(deployment.properties, PASSED)
    if not on_cpu and "enable_sleep_mode" not in found:
        found["enable_sleep_mode"] = True  # a CPU build has none
    command = [str(installed.python), "-P", "-m", "vllm.entrypoints.openai.api_server"]
    # An adapter answers by its own name, so its base needs another.
    command += ["--model", str(content), "--served-model-name", f"{model.name}-base" if own else model.name]
    for name, value in found.items():
        command += option(name, value)
    if "tool_call_parser" in found:
        command += ["--enable-auto-tool-choice"]
    if model.properties.get("task") == "embedding":
        command += ["--runner", "pooling"]
    command += _adapters(workspace, deployment, own)
    sleeps = not on_cpu and bool(found["enable_sleep_mode"])
    return Launch(
        command=command,
        memory=_memory(content, found, on_cpu=on_cpu),
        device=CPU if on_cpu else CUDA,
        environment=_environment(deployment, on_cpu=on_cpu, sleeps=sleeps),
        socket_option="--uds",
        key_variable="VLLM_API_KEY",
        loading=600.0,
        drain=30.0,
        sleep="/sleep?level=1" if sleeps else "",
        wake="/wake_up" if sleeps else "",
        adapters=named(deployment) if _lora(deployment) else None,
    )


def options(deployment: Deployment) -> dict[str, Any]:
    """Return what of the properties makes it another engine."""
    # Which adapters it has changes as it runs; that it can have some does not.
    found = asked(deployment.properties, (*PASSED, *OWN)) | owned(deployment)
    return found | ({"enable_lora": True} if _lora(deployment) else {})


def _cpu_defaults(content: Path) -> dict[str, Any]:
    length = min(sizes.context(content) or LENGTH, LENGTH)
    cache = max(SMALLEST_CACHE, sizes.positions(content, length))
    return {"dtype": "bfloat16", "enforce_eager": True, "max_model_len": length, "kv_cache_memory_bytes": cache}


def _lora(deployment: Deployment) -> bool:
    return bool(deployment.properties.get("enable_lora") or deployment.properties.get("adapters"))


def _adapters(workspace: Workspace, deployment: Deployment, own: Mapping[str, Path]) -> list[str]:
    if not _lora(deployment) and not own:
        return []
    found = [f"{name}={folder}" for name, folder in (dict(own) | adapters(workspace, deployment)).items()]
    return ["--enable-lora", *(["--lora-modules", *found] if found else [])]


def _environment(deployment: Deployment, *, on_cpu: bool, sleeps: bool) -> dict[str, str]:
    found = dict(_QUIET)
    if on_cpu:  # two compute threads collapse when a neighbour uses a core
        found |= {"TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": str(deployment.properties.get("threads") or 1)}
    if sleeps:
        found["VLLM_SERVER_DEV_MODE"] = "1"  # /sleep is one of its routes; the gateway passes none of them on
    if address := deployment.properties.get("ray_address"):
        found["RAY_ADDRESS"] = str(address)
    return found


def _memory(content: Path, found: Mapping[str, Any], *, on_cpu: bool) -> int:
    if on_cpu:
        return sizes.weights(content, str(found["dtype"])) + int(found["kv_cache_memory_bytes"]) + OVERHEAD
    share = float(found.get("gpu_memory_utilization", SHARE))
    return int(share * machine.total_of_gpu()) * int(found.get("tensor_parallel_size", 1))
