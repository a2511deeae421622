"""A sweep as one HTML page that needs nothing else: how the best grew, and which values led where."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from jobs import records, states
from jobs.files import job_of
from jobs.files.sweep import SweepJob
from jobs.spec import Spec
from jobs.sweeps.importance import importance
from jobs.sweeps.spaces import Value, written
from jobs.sweeps.trials import Trial, best, is_maximized, known
from workspace.errors import Invalid
from workspace.home import Workspace

WIDTH, HEIGHT, EDGE = 960, 360, 60
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ccc; --soft: #555; --worse: #c9ced4;
  --better: #c2571a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --paper: #14181c; --line: #414a54; --soft: #a6b0ba;
  --worse: #4a545e; --better: #f0995f; } }
body { font: 14px system-ui, sans-serif; margin: 24px auto; padding: 0 16px; max-width: 1000px; color: var(--ink);
  background: var(--paper); }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: 3px 10px 3px 0; }
tr + tr { border-top: 1px solid var(--line); } tr.best { font-weight: 600; } .wide { overflow-x: auto; }
.wide svg { width: 100%; min-width: 640px; height: auto; }
text { font: 12px system-ui, sans-serif; fill: var(--soft); } .axis { stroke: var(--line); }
.muted { color: var(--soft); }
"""


def page_of(workspace: Workspace, sweep: str, *, with_importance: bool = False) -> str:
    """Return the page of a sweep as it is now, while it runs or later: `page_of(workspace, "tune")`.

    `with_importance` says too how much each value mattered, which takes Optuna and some seconds.
    """
    record = records.get(workspace, sweep)
    spec = Spec.of(record.spec)
    job = job_of(spec.written, Path(spec.folder)) if record.kind == "sweep" else None
    if not isinstance(job, SweepJob):
        raise Invalid(f"job {sweep!r} is no sweep, but of kind {record.kind}")
    trials = known(workspace, record.name, job.objective.primary_metric)
    mattered = importance(trials, maximize=is_maximized(job)) if with_importance else {}
    return page(job, trials, name=record.name, mattered=mattered)


def page(job: SweepJob, trials: Sequence[Trial], *, name: str, mattered: Mapping[str, float] | None = None) -> str:
    """Return the page of a sweep with these trials."""
    maximize = is_maximized(job)
    metric = job.objective.primary_metric
    found = best(trials, maximize=maximize)
    told = f"{len(trials)} of {job.limits.max_total_trials} trials, {job.sampling_algorithm.type} sampling"
    if found is not None:
        told += f"; the best is trial {found.number} with {metric} {found.score(maximize=maximize):g}"
    return "\n".join([
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(name)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(name)}</h1><p>{_text(told)}</p>",
        f"<h2>{_text(metric)}, trial by trial</h2>", _wide(_history(trials, maximize)),
        "<h2>Which values led where</h2>", _wide(_parallel_coordinates(job, trials, maximize)),
        *_mattered(mattered or {}),
        "<h2>Trials</h2>", _wide(_table(job, trials, found)), "</body></html>", "",
    ])  # fmt: skip


def _history(trials: Sequence[Trial], maximize: bool) -> str:
    scores = {trial.number: score for trial in trials if (score := _finite(trial, maximize)) is not None}
    if not scores:
        return '<p class="muted">No trial has logged a number yet.</p>'
    down = _scale(scores.values(), HEIGHT - EDGE, EDGE / 2)
    across = _scale([0, max(1, len(trials) - 1)], EDGE, WIDTH - EDGE)
    dots: list[str] = []
    steps: list[tuple[float, float]] = []
    top: float | None = None
    for trial in trials:
        if (score := scores.get(trial.number)) is None:
            continue
        x, y = across(trial.number), down(score)
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_color(trial)}">{_title(trial, score)}</circle>')
        better = top is None or (score > top if maximize else score < top)
        if better and trial.status == states.COMPLETED:
            steps += [(x, down(top))] if top is not None else []
            steps.append((x, y))
            top = score
    if top is not None:
        steps.append((across(max(1, len(trials) - 1)), down(top)))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in steps)
    marks = "".join(
        f'<text x="4" y="{down(value) + 4:.1f}">{value:.4g}</text>' for value in sorted({*_ends(scores.values())})
    )
    return f'{_svg()}<polyline points="{line}" fill="none" stroke="#c60" stroke-width="2"/>{"".join(dots)}{marks}</svg>'


def _parallel_coordinates(job: SweepJob, trials: Sequence[Trial], maximize: bool) -> str:
    there = [trial for trial in trials if _finite(trial, maximize) is not None]
    if not there:
        return '<p class="muted">No trial has logged a number yet.</p>'
    scores = {trial.number: _finite(trial, maximize) or 0.0 for trial in there}
    names = [*job.search_space, job.objective.primary_metric]
    across = _scale([0, max(1, len(names) - 1)], EDGE, WIDTH - EDGE)
    columns = [_Column([trial.values[name] for trial in there]) for name in names[:-1]]
    columns.append(_Column(list(scores.values())))
    shade = _scale(scores.values(), 0, 1)
    lines = []
    for index, trial in sorted(enumerate(there), key=lambda each: scores[each[1].number] * (1 if maximize else -1)):
        good = shade(scores[trial.number]) if maximize else 1 - shade(scores[trial.number])
        points = " ".join(f"{across(place):.1f},{column.places[index]:.1f}" for place, column in enumerate(columns))
        color = f"color-mix(in oklab, var(--better) {100 * good:.0f}%, var(--worse))"
        title = _title(trial, scores[trial.number])
        lines.append(
            f'<polyline points="{points}" fill="none" style="stroke: {color}" stroke-width="1.5">{title}</polyline>'
        )
    axes = [
        f'<line class="axis" x1="{across(place):.1f}" x2="{across(place):.1f}" y1="{EDGE / 2}" y2="{HEIGHT - EDGE}"/>'
        f'<text x="{across(place):.1f}" y="{HEIGHT - 20}" text-anchor="middle">{_text(name)}</text>'
        f"{column.marks(across(place))}"
        for place, (name, column) in enumerate(zip(names, columns, strict=True))
    ]
    return f"{_svg()}{''.join(lines)}{''.join(axes)}</svg>"


def _mattered(shares: Mapping[str, float]) -> list[str]:
    """Return bars of how much each value mattered."""
    if not shares:
        return []
    bars = "".join(
        f'<text x="150" y="{20 + 26 * place}" text-anchor="end">{_text(name)}</text>'
        f'<rect x="160" y="{7 + 26 * place}" width="{max(1.0, 640 * share):.1f}" height="17" rx="2" fill="#27a"/>'
        f'<text x="{168 + max(1.0, 640 * share):.1f}" y="{20 + 26 * place}">{share:.0%}</text>'
        for place, (name, share) in enumerate(shares.items())
    )
    picture = f'<svg viewBox="0 0 {WIDTH} {26 * len(shares) + 8}" role="img">{bars}</svg>'
    told = '<p class="muted">The share of each value in how the metric varies over the trials (fANOVA).</p>'
    return ["<h2>What mattered</h2>", told, _wide(picture)]


def _wide(inside: str) -> str:
    return f'<div class="wide">{inside}</div>'


class _Column:
    """One axis: numbers by their size, all else by the order in which it was met."""

    def __init__(self, values: Sequence[Value]) -> None:
        plain = [written(value) for value in values]
        numbers = [float(each) for each in plain if isinstance(each, int | float) and not isinstance(each, bool)]
        if len(numbers) == len(plain):
            scale = _scale(numbers, HEIGHT - EDGE, EDGE / 2)
            self.places = [scale(each) for each in numbers]
            self._marks = {scale(each): f"{each:.4g}" for each in _ends(numbers)}
        else:
            known = {str(each): number for number, each in enumerate(dict.fromkeys(map(str, plain)))}
            scale = _scale([0, max(1, len(known) - 1)], HEIGHT - EDGE, EDGE / 2)
            self.places = [scale(known[str(each)]) for each in plain]
            self._marks = {scale(number): each[:24] for each, number in known.items()}

    def marks(self, x: float) -> str:
        return "".join(
            f'<text x="{x + 6:.1f}" y="{place + 4:.1f}">{_text(each)}</text>' for place, each in self._marks.items()
        )


def _table(job: SweepJob, trials: Sequence[Trial], found: Trial | None) -> str:
    maximize = is_maximized(job)
    heads = ["trial", "status", job.objective.primary_metric, *job.search_space, ""]
    rows = []
    for trial in trials:
        score = trial.score(maximize=maximize)
        cells = [trial.number, trial.status, "" if score is None else f"{score:g}"]
        cells += [written(trial.values[name]) for name in job.search_space] + [trial.cut or trial.error]
        mark = ' class="best"' if found is not None and trial.number == found.number else ""
        rows.append(f"<tr{mark}>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>")
    return f"<table><tr>{''.join(f'<th>{_text(head)}</th>' for head in heads)}</tr>{''.join(rows)}</table>"


def _finite(trial: Trial, maximize: bool) -> float | None:
    score = trial.score(maximize=maximize)
    return score if score is not None and math.isfinite(score) else None


def _scale(numbers: Iterable[float], first: float, last: float) -> Callable[[float], float]:
    """Return the way from numbers to places on the page."""
    low, high = _ends(numbers)
    return lambda number: first + ((number - low) / (high - low) if high > low else 0.5) * (last - first)


def _ends(numbers: Iterable[float]) -> tuple[float, float]:
    found = list(numbers)
    return min(found), max(found)


def _color(trial: Trial) -> str:
    return "#27a" if trial.status == states.COMPLETED else "#bbb"


def _title(trial: Trial, score: float) -> str:
    given = ", ".join(f"{name} = {written(value)}" for name, value in trial.values.items())
    return f"<title>{_text(f'trial {trial.number}: {score:g}; {given}')}</title>"


def _svg() -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'


def _text(value: object) -> str:
    return html.escape(str(value))
