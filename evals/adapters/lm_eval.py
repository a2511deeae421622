"""Tasks of lm-evaluation-harness: its own package asks our endpoint and scores, and its samples become ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals.adapters import harness
from evals.adapters.harness import Endpoint, Said
from evals.samples import Sample, Score, as_text, row_id
from workspace.errors import Invalid, Location

PACKAGES = ("lm-eval[api]>=0.4.13,<0.5", "transformers>=5")  # whose tokenizers measure the contexts


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Which tasks, and how. `include` is a folder of task files, `chat` asks as a chat where a task allows it;
    `tokenizer` is the folder of the model's tokenizer, which tasks that compare likelihoods need.
    """

    tasks: Sequence[str]
    include: Path | None = None
    limit: int | None = None
    few_shot: int | None = None
    chat: bool = False
    tokenizer: Path | None = None
    seed: int = 1234
    concurrency: int = 8


def measured(endpoint: Endpoint, ask: Ask, folder: Path) -> Iterator[Said | dict[str, tuple[Sample, ...]]]:
    """Run the tasks and yield what is said meanwhile, at last the samples of each task."""
    python = yield from harness.python_with(PACKAGES)
    out = folder / "lm-eval"
    variables = {"OPENAI_API_KEY": endpoint.key or "none", "DO_NOT_TRACK": "1"}
    yield from harness.run([str(python), "-m", "lm_eval", *arguments(endpoint, ask, out)], variables, folder)
    yield read(out)


def arguments(endpoint: Endpoint, ask: Ask, out: Path) -> list[str]:
    """Return the arguments of `lm_eval`, as a person would write them."""
    kind, path = ("local-chat-completions", "chat/completions") if ask.chat else ("local-completions", "completions")
    model = {
        "model": endpoint.model,
        "base_url": f"{endpoint.base_url.rstrip('/')}/{path}",
        "num_concurrent": ask.concurrency,
        "tokenized_requests": False,
        "tokenizer_backend": "huggingface" if ask.tokenizer else "None",
    } | ({"tokenizer": str(ask.tokenizer)} if ask.tokenizer else {})
    given = ["--model", kind, "--model_args", ",".join(f"{key}={value}" for key, value in model.items())]
    given += ["--tasks", ",".join(ask.tasks), "--output_path", str(out), "--log_samples", "--seed", str(ask.seed)]
    given += ["--include_path", str(ask.include)] if ask.include else []
    given += ["--limit", str(ask.limit)] if ask.limit else []
    given += ["--num_fewshot", str(ask.few_shot)] if ask.few_shot is not None else []
    return given + (["--apply_chat_template"] if ask.chat else [])


def read(folder: Path) -> dict[str, tuple[Sample, ...]]:
    """Read what `lm_eval --log_samples` has written: the samples of each task, by name."""
    found: dict[str, tuple[Sample, ...]] = {}
    for path in sorted(folder.rglob("samples_*.jsonl")):
        task = path.stem.removeprefix("samples_").rpartition("_")[0]
        samples: dict[int, Sample] = {}
        with path.open(encoding="utf-8") as file:
            for count, line in enumerate(file, start=1):
                try:
                    sample = _sample(json.loads(line))
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    raise Invalid(f"no sample of lm_eval: {error}", at=Location(path, count)) from None
                # A task with several filters has a line for each: they are scorers of one sample.
                earlier = samples.get(sample.number)
                scores = {**earlier.scores, **sample.scores} if earlier else sample.scores
                samples[sample.number] = replace(sample, scores=scores)
        found[task] = tuple(samples[number] for number in sorted(samples))
    return found


def _sample(logged: Mapping[str, Any]) -> Sample:
    doc = logged["doc"] if isinstance(logged["doc"], dict) else {"doc": logged["doc"]}
    suffix = "" if logged.get("filter", "none") == "none" else f".{logged['filter']}"
    scores = {f"{name}{suffix}": _score(logged.get(name)) for name in logged.get("metrics", ())}
    own = doc.get("id")
    return Sample(
        number=int(logged["doc_id"]), row=row_id(doc), inputs=doc,
        name=str(own) if isinstance(own, str | int) and str(own) else None,
        answer=_answer(logged), expected=as_text(logged.get("target")), scores=scores,
        asked=_asked(logged), outputs=_said(logged),
    )  # fmt: skip


def _asked(logged: Mapping[str, Any]) -> Any:
    first: Mapping[str, Any] = next(iter(logged.get("arguments", {}).values()), {})
    return first.get("arg_0")


def _said(logged: Mapping[str, Any]) -> dict[str, str]:
    """Return what was generated, where a filter has taken the answer out of it."""
    first = next(iter(logged.get("resps") or ()), None)
    said = first[0] if isinstance(first, list) and first else None
    return {"said": said} if isinstance(said, str) and said != _answer(logged) else {}


def _answer(logged: Mapping[str, Any]) -> str:
    """Return what was generated; of a multiple choice the likeliest continuation."""
    replies = logged["filtered_resps"]
    if replies and isinstance(replies[0], list) and len(replies) > 1:
        likeliest = max(range(len(replies)), key=lambda place: float(replies[place][0]))
        return str(logged["arguments"][f"gen_args_{likeliest}"]["arg_1"]).strip()
    return as_text(replies[0]) if replies else ""


def _score(value: Any) -> Score:
    if isinstance(value, bool | int | float):
        return Score(value=float(value))
    return Score(error=f"lm_eval aggregates this by itself: {as_text(value)[:80]}")
