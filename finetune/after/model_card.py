"""The card of a trained model, as the Hub has them: what it was made from and by, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CARD = "README.md"
# What a model of ours is for, and what the Hub calls that.
PIPELINES: Mapping[str, str] = {
    "chat": "text-generation",
    "embedding": "sentence-similarity",
    "rerank": "text-ranking",
    "text-classification": "text-classification",
    "token-classification": "token-classification",
    "classification": "tabular-classification",
    "regression": "tabular-regression",
    "forecasting": "time-series-forecasting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measured number: on which data, with its 95 % interval where one is known, and what the base had."""

    dataset: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    base: float | None = None
    rows: int | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a card tells. `base_model` is a name of the Hub where there is one; `relation` is adapter or finetune."""

    name: str
    task: str
    method: str
    base_model: str | None = None
    base_revision: str | None = None
    relation: str | None = None
    datasets: Sequence[str] = ()
    license: str | None = None
    languages: Sequence[str] = ()
    library: str = "transformers"
    settings: Mapping[str, Any] = field(default_factory=dict)
    results: Sequence[Result] = ()
    made: Mapping[str, str] = field(default_factory=dict)  # how to find the making again: job, run, commit, versions
    use: str = ""  # Markdown: how it is used
    limits: Sequence[str] = ()


def write(story: Story, folder: Path) -> Path:
    """Write the card of the model in a folder, in place of any other, and return where it is."""
    place = folder / CARD
    place.write_text(text(story), encoding="utf-8")
    return place


def text(story: Story) -> str:
    """Return the card: YAML that the Hub reads, then Markdown that people read."""
    from huggingface_hub import ModelCard, ModelCardData

    data = ModelCardData(
        language=list(story.languages) or None,
        license=story.license,
        library_name=story.library,
        pipeline_tag=PIPELINES.get(story.task, story.task),
        tags=_tags(story),
        base_model=story.base_model,
        base_model_relation=story.relation if story.base_model else None,
        datasets=list(story.datasets) or None,
        metrics=sorted({result.metric for result in story.results}) or None,
        model_name=story.name if story.results else None,
        eval_results=[_result(story, result) for result in story.results] or None,
    )
    card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_body(story)}")
    return str(card)


def read(folder: Path) -> dict[str, Any]:
    """Return what the metadata of a model's card says; nothing where there is no card or it cannot be read."""
    from huggingface_hub import ModelCard

    if not (folder / CARD).is_file():
        return {}
    try:
        told: dict[str, Any] = ModelCard.load(folder / CARD, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, TypeError):  # somebody else's card, which only describes
        return {}
    return told


def _tags(story: Story) -> list[str]:
    tags = ["studiolo", story.method]
    if story.task == "chat":
        tags.append("conversational")
    if story.relation == "adapter":
        tags += ["lora", f"base_model:adapter:{story.base_model}"]
    return tags


def _result(story: Story, result: Result) -> Any:
    from huggingface_hub import EvalResult

    told: dict[str, Any] = {"rows": result.rows, "base": result.base}
    if result.low is not None and result.high is not None:
        told["confidence_interval"] = [round(result.low, 6), round(result.high, 6)]
        told["confidence"] = 0.95
    return EvalResult(
        task_type=PIPELINES.get(story.task, story.task),
        dataset_type=result.dataset,
        dataset_name=result.dataset,
        metric_type=result.metric,
        metric_name=result.metric,
        metric_value=round(result.value, 6),
        metric_args={key: value for key, value in told.items() if value is not None} or None,
        source_name=result.run,
        source_url=f"studiolo:run:{result.run}" if result.run else None,
    )


def _body(story: Story) -> str:
    parts = [f"# {_plain(story.name)}", _sentence(story)]
    if story.use:
        parts += ["## Use", story.use]
    if story.results:
        parts += ["## Results", _results(story.results)]
    if story.settings:
        rows = [f"| {_plain(key)} | `{_plain(value)}` |" for key, value in story.settings.items()]
        parts += ["## How it was trained", "\n".join(["| setting | value |", "|---|---|", *rows])]
    if story.made:
        rows = [f"- {_plain(key)}: `{_plain(value)}`" for key, value in story.made.items()]
        parts += ["## Where it comes from", "\n".join(rows)]
    limits = [*story.limits, "It was measured on what stands above and on nothing else."]
    parts += ["## Limits", "\n".join(f"- {line}" for line in limits)]
    return "\n\n".join(parts) + "\n"


def _sentence(story: Story) -> str:
    made = f"Made by Studiolo with `{_plain(story.method)}`"
    if story.base_model:
        revision = f" (revision `{story.base_revision}`)" if story.base_revision else ""
        made += f" from {_plain(story.base_model)}{revision}"
    if story.datasets:
        made += f" on {', '.join(map(_plain, story.datasets))}"
    return made + "."


def _results(results: Sequence[Result]) -> str:
    lines = ["| data | metric | base | this model | 95 % interval | rows |", "|---|---|---|---|---|---|"]
    for each in results:
        interval = "" if each.low is None or each.high is None else f"{each.low:.3f} to {each.high:.3f}"
        base = "" if each.base is None else f"{each.base:.3f}"
        lines.append(
            f"| {_plain(each.dataset)} | {_plain(each.metric)} | {base} | {each.value:.3f} | {interval} "
            f"| {each.rows or ''} |"
        )
    return "\n".join(lines)


def _plain(value: Any) -> str:
    """Return a value that cannot break a table or a line."""
    return str(value).replace("|", "\\|").replace("`", "'").replace("\n", " ")
