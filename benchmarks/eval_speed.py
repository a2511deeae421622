"""How fast an evaluation is: samples a second and CPU, beside Inspect AI, promptfoo and lm-evaluation-harness.

`python benchmarks/eval_speed.py --inspect VENV --lm-eval VENV --promptfoo DIR` measures those that are given, each with
its own command line, over the same rows and the same mock endpoint, which answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
AT_ONCE = 64

TASK = """\
name: speed
data: rows.jsonl
mapping: {{question: "${{data.question}}"}}
prompt: "{{{{question}}}}"
scorers: [exact]
concurrency: {at_once}
"""
INSPECT = """\
from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import match
from inspect_ai.solver import generate

@task
def speed():
    return Task(dataset=json_dataset("inspect.jsonl"), solver=generate(), scorer=match(location="exact"))
"""
LM_EVAL = """\
task: speed
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/rows.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{expected}}}}"
generation_kwargs: {{until: ["\\n\\n"], max_gen_toks: 16}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


@dataclass(frozen=True)
class Took:
    """Wall and CPU seconds of a command and all that it started."""

    wall: float
    cpu: float


@contextmanager
def mock(pause: float = 0.0) -> Iterator[str]:
    """Give the address of an endpoint that answers "Hello", at once or after a pause."""
    command = [sys.executable, str(HERE / "mock_upstream.py"), "--port", "18977", "--pause", str(pause)]
    if pause:
        command = [sys.executable, str(HERE / "eval_speed.py"), "--slow-endpoint", str(pause)]
    server = subprocess.Popen(command)
    time.sleep(2)
    try:
        yield "http://127.0.0.1:18977/v1"
    finally:
        server.kill()
        server.wait()


def slow_endpoint(pause: float) -> None:
    """Serve answers that take so long, as many at once as are asked."""
    import asyncio

    import mock_upstream

    class Slow(mock_upstream.Mock):
        def on_message_complete(self) -> None:
            self.body = b""
            asyncio.get_running_loop().call_later(pause, self._say)

        def _say(self) -> None:
            if not self.transport.is_closing():
                self.transport.write(mock_upstream.WHOLE)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: Slow(0, 0.0), "127.0.0.1", 18977)
        await server.serve_forever()

    asyncio.run(serve())


def took(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Took:
    """Run a command to its end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 100):  # promptfoo's 100 is a failed test
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return Took(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def write(folder: Path, url: str, rows: int) -> None:
    """Write the rows and each tool's own task."""
    plain, inspect = [], []
    for number in range(rows):
        question = f"Say hello, please, for the {number}th time"
        plain.append(json.dumps({"id": f"r{number}", "question": question, "expected": "Hello"}))
        inspect.append(json.dumps({"id": f"r{number}", "input": question, "target": "Hello"}))
    (folder / "rows.jsonl").write_text("\n".join(plain) + "\n")
    (folder / "inspect.jsonl").write_text("\n".join(inspect) + "\n")
    (folder / "task.yaml").write_text(TASK.format(at_once=AT_ONCE))
    (folder / "inspect_task.py").write_text(INSPECT)
    (folder / "lm").mkdir(exist_ok=True)
    (folder / "lm" / "speed.yaml").write_text(LM_EVAL.format(folder=folder))
    config = {
        "prompts": ["{{question}}"],
        "providers": [{"id": "openai:chat:m", "config": {"apiBaseUrl": url, "apiKey": "none"}}],
        "tests": [
            {"vars": {"question": json.loads(row)["question"]}, "assert": [{"type": "equals", "value": "Hello"}]}
            for row in plain
        ],
    }
    (folder / "promptfooconfig.json").write_text(json.dumps(config))


def commands(arguments: argparse.Namespace, folder: Path, url: str) -> dict[str, list[str]]:
    """Return each tool's command line."""
    studiolo = str(Path(sys.executable).parent / "studiolo")
    found = {"Studiolo": [studiolo, "eval", "run", "task.yaml", "--target", f"{url}#m", "--no-cache", "--json"]}
    if arguments.lm_eval:
        model = f"model=m,base_url={url}/chat/completions,num_concurrent={AT_ONCE},tokenized_requests=False"
        found["lm-eval"] = [
            f"{arguments.lm_eval}/bin/lm_eval", "--model", "local-chat-completions", "--model_args", model, "--tasks",
            "speed", "--include_path", str(folder / "lm"), "--apply_chat_template", "--output_path",
            str(folder / "lm-out"), "--log_samples",
        ]  # fmt: skip
    if arguments.inspect:
        found["Inspect AI"] = [
            f"{arguments.inspect}/bin/inspect", "eval", "inspect_task.py", "--model", "openai/m", "-M",
            "responses_api=false", "--max-connections", str(AT_ONCE), "--max-samples", str(AT_ONCE), "--display",
            "none", "--log-dir", str(folder / "inspect-logs"),
        ]  # fmt: skip
    if arguments.promptfoo:
        found["promptfoo"] = [
            f"{arguments.promptfoo}/node_modules/.bin/promptfoo", "eval", "-c", "promptfooconfig.json", "-j",
            str(AT_ONCE), "--no-cache", "--no-progress-bar", "--no-table", "-o", str(folder / "promptfoo.json"),
        ]  # fmt: skip
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    for name in ("inspect", "lm-eval", "promptfoo"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--only", choices=["speed", "ideal"])
    parser.add_argument("--slow-endpoint", type=float)
    arguments = parser.parse_args()
    if arguments.slow_endpoint:
        slow_endpoint(arguments.slow_endpoint)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            "STUDIOLO_HOME": str(folder / "home"), "OPENAI_API_KEY": "none", "PROMPTFOO_DISABLE_TELEMETRY": "1",
            "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_CONFIG_DIR": str(folder / "promptfoo"), "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(folder / "hf"),
        }  # fmt: skip
        if arguments.only != "ideal":
            with mock() as url:
                write(folder, url, arguments.rows)
                environment["OPENAI_BASE_URL"] = url
                for tool, command in commands(arguments, folder, url).items():
                    spent = took(command, folder, environment)
                    rate = arguments.rows / spent.wall
                    print(
                        f"{tool:<11} {rate:>8.0f} samples/s  {spent.wall:>7.1f} s  CPU {spent.cpu:>7.1f} s", flush=True
                    )
        if arguments.only != "speed":
            with mock(0.1) as url:
                write(folder, url, 1_000)
                summary = commands(argparse.Namespace(lm_eval=None, inspect=None, promptfoo=None), folder, url)
                spent = took(summary["Studiolo"], folder, environment)
                spans = seconds_of_run(folder / "home")
                ideal = 1_000 / AT_ONCE * 0.1
                print(f"1,000 of 100 ms, {AT_ONCE} at once: {ideal:.2f} s ideal, {spans:.2f} s from first question to "
                      f"last score ({ideal / spans:.2f}), {spent.wall:.2f} s with the command")  # fmt: skip


def seconds_of_run(home: Path) -> float:
    """Return the time from the first question to the last answer of the newest log."""
    log = max(home.glob("runs/*/samples.jsonl"), key=lambda path: path.stat().st_mtime)
    samples = [json.loads(line) for line in log.read_text().splitlines()]
    return max(each["at"] + each["seconds"] for each in samples) - min(each["at"] for each in samples)


if __name__ == "__main__":
    main()
