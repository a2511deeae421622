"""What is told of a search as one HTML page that needs nothing else, light or dark as the reader's screen is."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT, EDGE = 460, 300, 44
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --dim: #666; --line: #d8d8d8; --paper: #fff; --main: 31 111 180;
  --warm: #c2571a; --panel: #f6f7f9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --dim: #a0a0a0; --line: #3a3d42; --paper: #15171a;
  --main: 94 168 232; --warm: #e8935a; --panel: #1d2024; } }
body { font: 14px/1.45 system-ui, sans-serif; margin: 24px auto; max-width: 1040px; padding: 0 16px; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 22px; } h2 { font-size: 16px; margin: 26px 0 8px; } .dim { color: var(--dim); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 12px 4px 0; vertical-align: top; } th { color: var(--dim); font-weight: 500; }
tr + tr { border-top: 1px solid var(--line); } td.number, th.number { text-align: right; }
tr.best td { font-weight: 600; }
.note { border-left: 3px solid var(--warm); background: var(--panel); padding: 6px 10px; margin: 6px 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 20px 28px; }
.charts section { min-width: 0; } svg { width: 100%; height: auto; } .wide { overflow-x: auto; }
text { font: 11px system-ui, sans-serif; fill: var(--dim); } .axis { stroke: var(--line); }
.curve { fill: none; stroke: rgb(var(--main)); stroke-width: 2; } .even { stroke: var(--dim); stroke-dasharray: 4 4; }
.dot { fill: rgb(var(--main) / .55); } .bar { fill: rgb(var(--main) / .8); }
table.matrix td { text-align: center; padding: 3px 6px; border: 1px solid var(--paper); min-width: 26px; }
table.matrix th { font-weight: 400; padding: 2px 8px 2px 0; max-width: 140px; }
"""


def page(told: Mapping[str, Any], *, name: str) -> str:
    """Return the page of what `facts` gives."""
    best = told["best"]
    heading = f"{told['task']} of {told['target']}: {told['metric']} {best['score']:.5g} by {best['kind']}"
    sections = [_section(title, drawn) for title, drawn in _charts(told) if drawn]
    return "\n".join([
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(name)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(name)}</h1><p>{_text(heading)}</p>",
        f'<p class="dim">{told["rows"]:,} rows, {_text(told["validation"])}; it ended because '
        f"{_text(told['why_it_ended'] or 'all was tried')}</p>",
        *(f'<p class="note">{_text(note)}</p>' for note in told["notes"]),
        f'<div class="charts">{"".join(sections)}</div>',
        "<h2>Leaderboard</h2>", _leaderboard(told), "<h2>All metrics of the best</h2>", _metrics(best["metrics"]),
        "<h2>What it is made of</h2>", _members(best["members"]), "</body></html>", "",
    ])  # fmt: skip


def _charts(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    metric = str(told["metric"])
    found = [(f"{metric} as time went by (s)", _steps(told["curve"]))]
    if "importance" in told:
        found.append((f"What {metric} loses without a column", _bars(told["importance"][:15])))
    if "roc" in told:
        found.append(("True against false positives (ROC)", _line(told["roc"], even=True)))
        found.append(("Precision against recall", _line(told["precision_recall"])))
    if "calibration" in told:
        pairs = [[each["sure"], each["right"]] for each in told["calibration"]]
        found.append(("How often it is right, by how sure it is", _line(pairs, even=True, dots=True)))
    if "confusion" in told:
        found.append(("Classes, and what was said of them", _matrix(told["confusion"])))
    if "residuals" in told:
        found.append(("Predicted against true", _cloud(told["residuals"]["pairs"])))
        found.append(("What it misses by", _histogram(told["residuals"]["histogram"])))
    if "forecasts" in told:
        found += [(f"Backtest of {each['series'] or 'the series'}", _forecast(each)) for each in told["forecasts"]]
    return found


def _section(title: str, drawn: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{drawn}</section>"


def _steps(curve: Sequence[Mapping[str, float]]) -> str:
    if not curve:
        return ""
    points: list[list[float]] = []
    for each in curve:
        if points:
            points.append([each["at"], points[-1][1]])
        points.append([each["at"], each["score"]])
    return _drawn(points, ['<polyline class="curve" points="{0}"/>'], points)


def _line(points: Sequence[Sequence[float]], *, even: bool = False, dots: bool = False) -> str:
    unit = [[0.0, 0.0], [1.0, 1.0]]
    marks = ['<polyline class="curve" points="{0}"/>']
    return _drawn(points, marks, [*points, *unit], even=unit if even else None, dots=dots)


def _cloud(pairs: Sequence[Sequence[float]]) -> str:
    values = [value for pair in pairs for value in pair]
    ends = [[min(values), min(values)], [max(values), max(values)]]
    return _drawn(pairs, [], ends, even=ends, dots=True)


def _forecast(told: Mapping[str, Any]) -> str:
    """Return a series: the truth dotted, the forecast drawn."""
    truth = [[float(place), value] for place, value in enumerate(told["truth"])]
    guessed = [[float(place), value] for place, value in enumerate(told["forecast"])]
    return _drawn(guessed, ['<polyline class="curve" points="{0}"/>'], [*truth, *guessed], dotted=truth)


def _drawn(
    points: Sequence[Sequence[float]],
    marks: Sequence[str],
    around: Sequence[Sequence[float]],
    *,
    even: Sequence[Sequence[float]] | None = None,
    dots: bool = False,
    dotted: Sequence[Sequence[float]] = (),
) -> str:
    """Return points in a frame that has room for those `around`."""
    across, up = _scale([p[0] for p in around], EDGE, WIDTH - 12), _scale([p[1] for p in around], HEIGHT - 24, 10)
    listed = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
    drawn = [mark.replace("{0}", listed) for mark in marks]
    if even:
        (x1, y1), (x2, y2) = even
        drawn.append(
            f'<line class="even" x1="{across(x1):.1f}" y1="{up(y1):.1f}" x2="{across(x2):.1f}" y2="{up(y2):.1f}"/>'
        )
    for x, y in [*(points if dots else ()), *dotted]:
        drawn.append(f'<circle class="dot" r="2.6" cx="{across(x):.1f}" cy="{up(y):.1f}"/>')
    return f"{_svg()}{_frame(around, up)}{''.join(drawn)}</svg>"


def _histogram(told: Mapping[str, Any]) -> str:
    edges, counts = told["edges"], told["counts"]
    across, up = _scale(edges, EDGE, WIDTH - 12), _scale([0, max([1, *counts])], HEIGHT - 24, 10)
    around = [[edges[0], 0.0], [edges[-1], float(max([1, *counts]))]]
    bars = "".join(
        f'<rect class="bar" x="{across(left):.1f}" width="{max(1.0, across(right) - across(left) - 1):.1f}" '
        f'y="{up(count):.1f}" height="{HEIGHT - 24 - up(count):.1f}"/>'
        for left, right, count in zip(edges, edges[1:], counts, strict=False)
    )
    return f"{_svg()}{_frame(around, up)}{bars}</svg>"


def _bars(told: Sequence[Mapping[str, Any]]) -> str:
    if not told:
        return ""
    values = [max(0.0, each["importance"]) for each in told]
    long = _scale([0.0, max([*values, 1e-12])], 0, WIDTH - 230)
    tall = 20
    lines = "".join(
        f'<text x="150" y="{place * tall + 14}" text-anchor="end">{_text(_cut(each["column"]))}</text>'
        f'<rect class="bar" x="158" y="{place * tall + 4}" height="13" width="{long(values[place]):.1f}"/>'
        f'<text x="{164 + long(values[place]):.1f}" y="{place * tall + 14}">{each["importance"]:.3g}</text>'
        for place, each in enumerate(told)
    )
    return f'<svg viewBox="0 0 {WIDTH} {len(told) * tall + 6}" role="img">{lines}</svg>'


def _matrix(told: Mapping[str, Any]) -> str:
    classes, counts = told["classes"], told["counts"]
    head = "".join(f"<th>{_text(_cut(each))}</th>" for each in classes)
    lines = []
    for name, row in zip(classes, counts, strict=True):
        total = max(1, sum(row))
        cells = "".join(
            f'<td style="background: rgb(var(--main) / {0.85 * count / total:.2f})">{count:,}</td>' for count in row
        )
        lines.append(f"<tr><th>{_text(_cut(name))}</th>{cells}</tr>")
    first = f'<tr><th class="dim">true, said</th>{head}</tr>'
    return f'<div class="wide"><table class="matrix">{first}{"".join(lines)}</table></div>'


def _leaderboard(told: Mapping[str, Any]) -> str:
    best = str(told["best"]["kind"])
    lines = []
    for place, each in enumerate(told["leaderboard"]):
        shown = "-" if each["score"] is None else f"{each['score']:.5g}"
        spread = each.get("scores") or ()
        more = f" ± {_spread(spread):.2g}" if len(spread) > 1 else ""
        params = ", ".join(f"{name}={_value(value)}" for name, value in each.get("params", {}).items())
        why = each.get("error") or params
        took = f"{each['seconds']:.1f}" if "seconds" in each else ""
        css = ' class="best"' if not place and each["algorithm"] == best else ""
        lines.append(
            f"<tr{css}><td>{_text(str(each['trial']))}</td><td>{_text(each['algorithm'])}</td>"
            f'<td class="number">{shown}{more}</td><td class="number">{took}</td><td>{_text(each["status"])}</td>'
            f'<td class="dim">{_text(why)}</td></tr>'
        )
    head = (
        f'<tr><th>trial</th><th>algorithm</th><th class="number">{_text(told["metric"])}</th>'
        '<th class="number">seconds</th><th>status</th><th>settings</th></tr>'
    )
    return f'<div class="wide"><table>{head}{"".join(lines)}</table></div>'


def _metrics(values: Mapping[str, float]) -> str:
    lines = "".join(
        f'<tr><td>{_text(name)}</td><td class="number">{value:.5g}</td></tr>' for name, value in values.items()
    )
    return f"<table>{lines}</table>"


def _members(members: Sequence[Mapping[str, Any]]) -> str:
    lines = "".join(
        f"<tr><td>trial {each['trial']}</td><td>{_text(each['algorithm'])}</td>"
        f'<td class="number">{each["weight"]:.2f}</td></tr>'
        for each in members
    )
    return f'<table><tr><th>trial</th><th>algorithm</th><th class="number">weight</th></tr>{lines}</table>'


def _frame(around: Sequence[Sequence[float]], up: Any) -> str:
    xs, ys = [p[0] for p in around], [p[1] for p in around]
    return (
        f'<line class="axis" x1="{EDGE}" x2="{WIDTH - 12}" y1="{HEIGHT - 24}" y2="{HEIGHT - 24}"/>'
        f'<line class="axis" x1="{EDGE}" x2="{EDGE}" y1="10" y2="{HEIGHT - 24}"/>'
        f'<text x="{EDGE}" y="{HEIGHT - 8}">{min(xs):.4g}</text>'
        f'<text x="{WIDTH - 12}" y="{HEIGHT - 8}" text-anchor="end">{max(xs):.4g}</text>'
        f'<text x="{EDGE - 4}" y="{up(min(ys)):.1f}" text-anchor="end">{min(ys):.4g}</text>'
        f'<text x="{EDGE - 4}" y="{up(max(ys)) + 8:.1f}" text-anchor="end">{max(ys):.4g}</text>'
    )


def _scale(values: Sequence[float], low: float, high: float) -> Any:
    least, most = min(values), max(values)
    span = (most - least) or 1.0
    return lambda value: low + (value - least) / span * (high - low)


def _spread(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return float((sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5)


def _svg() -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cut(name: Any) -> str:
    said = str(name)
    return said if len(said) <= 22 else f"{said[:21]}…"


def _text(said: Any) -> str:
    return html.escape(str(said))
