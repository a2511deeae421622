"""What is told of a training while it runs - curve, validations, samples, checkpoints - and when it must not go on."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from finetune.language import checkpoints
from finetune.language.given import Event, tell
from workspace.errors import Invalid

if TYPE_CHECKING:
    from finetune.language.decided import Decided
    from finetune.language.given import Given

IGNORED = -100
_SHOWN = 12  # row numbers in a message


class Watch(TrainerCallback):  # type: ignore[misc]
    """It looks on; recipes tell it which rows each step has read."""

    def __init__(self, given: Given, decided: Decided, tokenizer: Any) -> None:
        self._given = given
        self._decided = decided
        self._tokenizer = tokenizer
        self._rows: list[int] = []
        self._tokens = self._learnt = 0
        self._began = self._first = time.monotonic()

    def read(self, inputs: dict[str, Any]) -> None:
        """Take note of a batch that a step reads, and out of it: its rows, and how many tokens it really has."""
        self._rows += inputs.pop("rows").tolist()
        tokens, learnt = inputs.pop("counts").tolist()
        self._tokens += tokens
        self._learnt += learnt

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self._first = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self._rows.clear()
        self._tokens = self._learnt = 0
        self._began = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:  # noqa: ARG002
        if "loss" in logs:
            self._heed(state.global_step, logs)
            self._tell(state, Event(kind="step", step=state.global_step, values=self._values(logs)))
        elif "eval_loss" in logs:
            values = {"validation_loss": float(logs["eval_loss"])}
            self._tell(state, Event(kind="validation", step=state.global_step, values=values))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"{checkpoints.PREFIX}{state.global_step}"
            checkpoints.seal(folder)
            self._tell(state, Event(kind="checkpoint", step=state.global_step))

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
        step, prompts = state.global_step, self._given.job.samples.prompts
        if prompts and state.is_world_process_zero and self._is_due(step):
            for prompt in prompts:
                answer = _answered(model, self._tokenizer, prompt, self._given.job.samples.max_tokens)
                self._tell(state, Event(kind="sample", step=step, detail={"prompt": prompt, "answer": answer}))

    def _is_due(self, step: int) -> bool:
        return step % self._decided.sample_every == 0 or step == self._decided.steps

    def _heed(self, step: int, logs: Mapping[str, float]) -> None:
        """Stop before anything is saved that is no number."""
        for name in ("loss", "grad_norm"):
            if name in logs and not math.isfinite(logs[name]):
                rows = sorted(set(self._rows))
                shown = ", ".join(map(str, rows[:_SHOWN])) + (", …" if len(rows) > _SHOWN else "")
                what = "loss" if name == "loss" else "gradient"
                slower = f"{self._given.job.rate / 4:g}"
                raise Invalid(
                    f"the {what} of step {step} is {logs[name]}, with rows {shown}; nothing of it was kept",
                    hint=f"look at those rows, or try learning_rate: {slower}, or precision: float32",
                )

    def _values(self, logs: Mapping[str, float]) -> dict[str, float]:
        seconds = max(1e-9, time.monotonic() - self._began)
        found = {
            "loss": float(logs["loss"]), "learning_rate": float(logs["learning_rate"]), "seconds": seconds,
            "elapsed": time.monotonic() - self._first,
            "tokens": float(self._tokens), "learnt_tokens": float(self._learnt),
            "tokens_per_second": self._tokens / seconds, "memory": float(_peak()), "epoch": float(logs.get("epoch", 0)),
        }  # fmt: skip
        return found | {name: float(logs[name]) for name in ("grad_norm",) if name in logs}

    def _tell(self, state: Any, event: Event) -> None:
        if state.is_world_process_zero:
            tell(self._given.events, event)


def _answered(model: Any, tokenizer: Any, prompt: str, longest: int) -> str:
    """Return what the model answers, at its likeliest; the training goes on as if nothing had been asked."""
    import torch

    was_training = model.training
    model.eval()
    try:
        if tokenizer.chat_template:
            asked = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        else:
            asked = tokenizer(prompt, return_tensors="pt")
        asked = {name: asked[name].to(model.device) for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            made = model.generate(
                **asked, max_new_tokens=longest, do_sample=False, use_cache=True, pad_token_id=tokenizer.pad_token_id
            )
    finally:
        model.train(was_training)
    answer: str = tokenizer.decode(made[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    return answer


def _peak() -> int:
    """Return the most memory that this process has had, in bytes; on a GPU, of the GPU."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
