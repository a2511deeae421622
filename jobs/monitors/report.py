"""A run of a monitor as JSON, and as one HTML page that needs nothing else."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.monitors.measures import MEASURED, Measure, Result, Shape
from jobs.monitors.windows import moment

IMPORTANCE = "importance"  # the picture of all features that attributions have
_WIDTH, _HEIGHT, _GAP = 220, 44, 2
_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 24px auto; max-width: 1000px; color: #222; background: #fff; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: 3px 10px 3px 0; }
td { vertical-align: middle; } tr + tr { border-top: 1px solid #ddd; } td.number { font-variant-numeric: tabular-nums; }
.past { color: #a30; font-weight: 600; } .fine { color: #262; } .muted { color: #777; } section { margin: 28px 0; }
rect.before { fill: #bbb; } rect.now { fill: #27a; }
"""


def to_json(title: Mapping[str, Any], results: Sequence[Result]) -> str:
    """Return a run as JSON; `title` says of which schedule, job, time and target it is."""
    content = {**title, "breached": sum(len(each.breached) for each in results),
               "signals": [each.plain() for each in results]}  # fmt: skip
    return json.dumps(content, indent=1) + "\n"


def page(title: Mapping[str, Any], results: Sequence[Result]) -> str:
    """Return a run as a page."""
    past = sum(len(each.breached) for each in results)
    count = sum(len(each.found.measures) for each in results)
    told = f"{title['target']} at {title['at']}: {count} measured, {past} past their threshold"
    return "\n".join([
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{_text(title['monitor'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(title['monitor'])}</h1><p>{_text(told)}</p>",
        '<p class="muted">In the pictures, grey is the reference and blue is production.</p>',
        *map(_section, results), "</body></html>", "",
    ])  # fmt: skip


def heading(*, monitor: str, job: str, at: float, target: str) -> dict[str, Any]:
    """Return what a report says first."""
    return {"monitor": monitor, "job": job, "at": moment(at), "target": target}


def _section(result: Result) -> str:
    sides = "<br>".join(
        f"{_text(name)}: {_text(side['rows'])} rows of {_text(side['source'])}"
        + (f", {_text(side['from'])} to {_text(side['to'])}" if "from" in side else "")
        for name, side in result.sides.items()
    )
    notes = "".join(f'<p class="muted">{_text(note)}</p>' for note in result.found.notes)
    head = f"<section><h2>{_text(result.signal)} <small>{_text(result.type)}</small></h2><p class='muted'>{sides}</p>"
    if result.status != MEASURED:
        return f"{head}<p class='past'>{_text(result.status)}: {_text(result.why)}</p></section>"
    ordered = sorted(result.found.measures, key=lambda each: not each.is_breached)
    rows = "".join(_row(each, result.found.shapes) for each in ordered)
    heads = "".join(f"<th>{each}</th>" for each in ("feature", "metric", "value", "threshold", "", ""))
    whole = result.found.shapes.get(IMPORTANCE) if result.type == "feature_attribution_drift" else None
    shape = _picture(whole, 600) if whole else ""
    return f"{head}{notes}{shape}<table><tr>{heads}</tr>{rows}</table></section>"


def _row(measure: Measure, shapes: Mapping[str, Shape]) -> str:
    limit = "" if measure.threshold is None else f"{measure.threshold:g}"
    value = "" if measure.value is None else f"{measure.value:.6g}"
    word = "past" if measure.is_breached else "fine" if limit else ""
    shape = shapes.get(measure.feature)
    return (
        f"<tr><td>{_text(measure.feature)}</td><td>{_text(measure.metric)}</td>"
        f'<td class="number">{value}</td><td class="number">{limit}</td><td class="{word}">{word}</td>'
        f"<td>{_picture(shape) if shape else ''}</td></tr>"
    )


def _picture(shape: Shape, width: int = _WIDTH) -> str:
    """Return bars in pairs: the share of each bin before and now."""
    most = max((*shape.reference, *shape.production, 1e-9))
    each = width / max(1, len(shape.labels))
    thick = max(1.0, (each - _GAP) / 2)
    bars = []
    for place, (label, *sides) in enumerate(zip(shape.labels, shape.reference, shape.production, strict=True)):
        for side, (name, value) in enumerate(zip(("before", "now"), sides, strict=True)):
            tall = _HEIGHT * value / most
            bars.append(
                f'<rect class="{name}" x="{place * each + side * thick:.1f}" y="{_HEIGHT - tall:.1f}" '
                f'width="{thick:.1f}" height="{tall:.1f}"><title>{_text(label)}: {value:.4g}</title></rect>'
            )
    return f'<svg width="{width}" height="{_HEIGHT}" role="img">{"".join(bars)}</svg>'


def _text(value: object) -> str:
    return html.escape(str(value))
