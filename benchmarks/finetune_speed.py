"""Trained tokens a second and the peak of memory: our LoRA recipe beside a plain TRL script and LLaMA-Factory.

Each trains SmolLM2 on the same rows, in the same order, as many a step, by the same rate; loss is looked at too.

    python benchmarks/finetune_speed.py --steps 20 ours trl trl-tuned
    python benchmarks/finetune_speed.py --steps 20 --llamafactory /tmp/llamafactory/bin/python ours llamafactory
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "shared" / "data" / "instruct" / "gsm8k_train_2000.jsonl"
RATE, SEED, LENGTH = 2e-4, 0, 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("who", nargs="+", choices=RUN)
    parser.add_argument("--base", type=Path, required=True, help="the folder of SmolLM2")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--at-once", type=int, default=512)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--llamafactory", type=Path, help="the Python of an environment with LLaMA-Factory")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        print("FOUND", json.dumps(RUN[asked.who[0]](asked)))
        return
    for who in asked.who:
        environment = os.environ | {"OMP_NUM_THREADS": str(asked.threads), "HF_HUB_OFFLINE": "1"}
        line = [sys.executable, __file__, "--inside", *sys.argv[1:]]
        line = [word for word in line if word not in asked.who] + [who]
        done = subprocess.run(line, env=environment, capture_output=True, text=True)
        found = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
        if not found:
            print(f"{who}: failed\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
            continue
        _print(who, json.loads(found[0].removeprefix("FOUND ")))


def _print(who: str, steps: dict[str, Any]) -> None:
    """Say what was measured from the second step on: the first warms everything up."""
    rows = steps["steps"]
    seconds = rows[-1]["elapsed"] - rows[0]["elapsed"]
    tokens = sum(row["tokens"] for row in rows[1:])
    losses = [row["loss"] for row in rows]
    print(
        f"{who:16} {tokens / seconds:7.1f} tokens/s  peak {steps['peak'] / 2**20:6.0f} MiB  {seconds:6.1f} s for "
        f"{len(rows) - 1} steps, {tokens:.0f} tokens  loss first {losses[0]:.4f} mean {sum(losses) / len(losses):.4f} "
        f"last {losses[-1]:.4f}",
        flush=True,
    )


def ours(asked: argparse.Namespace) -> dict[str, Any]:
    """Our recipe, in its own process, as a job would run it."""
    from finetune.language.given import Given, events
    from jobs.files import job_of

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        work.mkdir()
        job = job_of(
            {
                "type": "tuning", "base": "smollm2", "data": str(asked.data), "batch_size": asked.batch,
                "tokens_at_once": asked.at_once, "steps": asked.steps, "learning_rate": RATE, "warmup": 0.0,
                "schedule": "constant", "max_length": LENGTH, "seed": SEED, "checkpoints": {"every": 100_000},
            },
            Path(folder),
        )  # fmt: skip
        given = Given(
            job=job, base=asked.base, base_name="smollm2", data=asked.data, validation=None, work=work,
            output=Path(folder) / "output", threads=asked.threads,
        )  # fmt: skip
        given.write(work / "plan.json")
        line = [sys.executable, "-m", "finetune.language.worker", str(work / "plan.json")]
        subprocess.run(line, check=True, cwd=Path(__file__).parents[1])
        rows = [event.values for _, event in events(given.events) if event.kind == "step"]
        return {"steps": rows, "peak": rows[-1]["memory"]}


def trl(asked: argparse.Namespace, **told: Any) -> dict[str, Any]:
    """A plain TRL script: its defaults, on the same tokens and labels."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(asked.threads)
    tokenizer = AutoTokenizer.from_pretrained(asked.base)
    texts = encoded(asked, tokenizer)
    steps: list[dict[str, float]] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.monotonic()

        def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
            if "loss" in logs:
                now = time.monotonic() - self.began
                steps.append({"loss": logs["loss"], "elapsed": now, "all": logs["num_tokens"]})

    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=str(asked.base),
            args=SFTConfig(
                folder, per_device_train_batch_size=asked.batch, max_steps=asked.steps, learning_rate=RATE,
                lr_scheduler_type="constant", seed=SEED, data_seed=SEED, logging_steps=1, save_strategy="no",
                use_cpu=True, report_to="none", max_length=LENGTH, dataloader_pin_memory=False, disable_tqdm=True,
                **told,
            ),
            train_dataset=Dataset.from_dict(
                {"input_ids": [each.input_ids for each in texts], "labels": [each.labels for each in texts]}
            ),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    before = 0.0
    for row in steps:
        row["tokens"], before = row["all"] - before, row["all"]
    return {"steps": steps, "peak": _peak()}


def trl_tuned(asked: argparse.Namespace) -> dict[str, Any]:
    """TRL by somebody who knows this machine: numbers that it is fast at, and nothing computed twice."""
    return trl(asked, bf16=False, gradient_checkpointing=False)


def llamafactory(asked: argparse.Namespace) -> dict[str, Any]:
    """LLaMA-Factory's own command, as its examples have it; its tokens are counted from its own encoding."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "rows.jsonl").write_bytes(asked.data.read_bytes())
        tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
        told = {"file_name": "rows.jsonl", "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}
        (place / "dataset_info.json").write_text(json.dumps({"rows": told}))
        config = {
            "model_name_or_path": str(asked.base), "template": "smollm2", "stage": "sft", "do_train": True,
            "finetuning_type": "lora", "lora_rank": 8, "lora_alpha": 16, "lora_target": "all", "dataset": "rows",
            "dataset_dir": folder, "cutoff_len": LENGTH, "output_dir": f"{folder}/out", "save_strategy": "no",
            "per_device_train_batch_size": asked.batch, "gradient_accumulation_steps": 1, "max_steps": asked.steps,
            "learning_rate": RATE, "lr_scheduler_type": "constant", "logging_steps": 1, "seed": SEED, "use_cpu": True,
            "report_to": "none", "include_num_input_tokens_seen": "non_padding", "bf16": False, "plot_loss": False,
        }  # fmt: skip
        (place / "run.yaml").write_text(json.dumps(config))
        code = "import sys; sys.argv = ['llamafactory-cli', sys.argv[1]]\n"
        code += "from llamafactory.train.tuner import run_exp; run_exp()\n"
        code += "print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
        line = [str(asked.llamafactory), "-c", code, str(place / "run.yaml")]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout[-1500:] + done.stderr[-3000:])
        logged = [json.loads(each) for each in (place / "out" / "trainer_log.jsonl").read_text().splitlines()]
        state = json.loads((place / "out" / "trainer_state.json").read_text())["log_history"]
    peak = int(next(each for each in done.stdout.splitlines() if each.startswith("VmHWM")).split()[1]) * 1024
    steps: list[dict[str, float]] = []
    before = 0.0
    for row, when in zip([each for each in state if "loss" in each], logged, strict=False):
        seen = float(row.get("num_input_tokens_seen", 0))
        hours, minutes, seconds = (float(part) for part in when["elapsed_time"].split(":"))
        elapsed = hours * 3600 + minutes * 60 + seconds
        steps.append({"loss": row["loss"], "elapsed": elapsed, "tokens": seen - before})
        before = seen
    return {"steps": steps, "peak": peak}


def encoded(asked: argparse.Namespace, tokenizer: Any) -> Any:
    from finetune.data.encode import Encoding, encode
    from finetune.data.read import read

    return encode(read(asked.data), tokenizer, Encoding(max_length=LENGTH)).texts


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


RUN = {"ours": ours, "trl": trl, "trl-tuned": trl_tuned, "llamafactory": llamafactory}


if __name__ == "__main__":
    main()
