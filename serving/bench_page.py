"""A load as one HTML page with nothing but itself: its figures, latency over time, and a curve of percentiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

from serving.bench import SHARES, Load, Summary, at

POINTS = 4_000  # in a picture
WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 40
_CURVE = (0.0, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)  # where the curve has marks
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--faint:#66707f;--line:#d9dee6;--back:#fff;--a:#2f6fdb;--b:#d97b1c;--bad:#c9302c}
@media(prefers-color-scheme:dark){:root{--ink:#e7ebf1;--faint:#97a1b0;--line:#343c49;--back:#14181f;--a:#6ea3ff;--b:#f0a04b;--bad:#ff7069}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:900px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .4rem}p{color:var(--faint);margin:.2rem 0 1rem}
table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:right}
td:first-child,th:first-child{text-align:left}th{color:var(--faint);font-weight:500}
svg{width:100%;height:auto}svg text{font-size:12px;fill:var(--faint)}.grid{stroke:var(--line)}
.a{fill:var(--a)}.b{fill:var(--b)}.bad{fill:var(--bad)}.la{stroke:var(--a);fill:none;stroke-width:2}
.lb{stroke:var(--b);fill:none;stroke-width:2}.key span{margin-right:1.2rem}.key i{display:inline-block;width:.7rem;
height:.7rem;border-radius:50%;margin-right:.35rem}
"""  # noqa: E501
Scale = Callable[[float], float]


def page(load: Load, found: Summary, *, title: str) -> str:
    """Return the page."""
    plan = load.plan
    how = f"{plan.rate:g} requests/s, open loop" if plan.rate else f"{plan.clients} clients, one request after another"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>",
        f"<p>{escape(how)}, {found.seconds:.1f} s, {escape(plan.path)}</p>",
        _table(("requests", "failed", "requests/s", "tokens/s", "tokens in", "tokens out"), [(
            f"{found.requests:,}", f"{found.failed:,}", f"{found.requests_per_second:,.1f}",
            f"{found.tokens_per_second:,.1f}", f"{found.prompt_tokens:,}", f"{found.completion_tokens:,}",
        )]),
        "<h2>Times</h2>",
        _table(("milliseconds", *(f"p{share * 100:g}" for share in SHARES)), [
            (name, *(f"{times[share] * 1e3:,.1f}" for share in SHARES))
            for name, times in found.times.items() if times
        ]),
    ]  # fmt: skip
    if found.errors:
        rows = [(escape(kind), f"{count:,}") for kind, count in found.errors.items()]
        parts += ["<h2>Errors</h2>", _table(("kind", "requests"), rows)]
    if load.outcomes:
        key = (
            "<p class=key><span><i style='background:var(--a)'></i>whole answer</span>"
            "<span><i style='background:var(--b)'></i>first token</span>"
            "<span><i style='background:var(--bad)'></i>failed</span></p>"
        )
        parts += ["<h2>Latency over time</h2>", key, _over_time(load), "<h2>Percentiles</h2>", _percentiles(load)]
    return "".join(parts)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _over_time(load: Load) -> str:
    outcomes = load.outcomes[:: -(-len(load.outcomes) // POINTS)]
    good = [outcome for outcome in outcomes if outcome.error is None]
    end = max(max(outcome.began for outcome in outcomes), 1e-3)
    x, y = _scales(end, max((outcome.seconds for outcome in good), default=1.0))
    dots = [f"<circle class=a r=2.4 cx={x(each.began):.1f} cy={y(each.seconds):.1f} />" for each in good]
    dots += [f"<circle class=b r=2 cx={x(e.began):.1f} cy={y(e.first):.1f} />" for e in good if e.first is not None]
    dots += [f"<circle class=bad r=3 cx={x(e.began):.1f} cy={HEIGHT - BOTTOM} />" for e in outcomes if e.error]
    marks = [(value, f"{value:.3g}") for value in _ticks(end)]
    most = max((outcome.seconds for outcome in good), default=1.0)
    return _picture(dots, x, y, marks=marks, most=most, below="seconds since the load began")


def _percentiles(load: Load) -> str:
    """The slowest hundredth takes as much room as the rest of a tenth: what is rare is what one looks for."""
    good = [outcome for outcome in load.outcomes if outcome.error is None]
    kinds = {"la": sorted(each.seconds for each in good), "lb": sorted(e.first for e in good if e.first is not None)}
    most = max((values[-1] for values in kinds.values() if values), default=1.0)
    last = 1 - 1 / max(2, len(good))
    known = [share for share in _CURVE if share < last or share <= 0.5]
    x, y = _scales(_place(max(last, known[-1])), most)
    curves = []
    for name, values in kinds.items():
        if values:
            steps = [last * number / 400 for number in range(401)] + [1 - (1 - 0.9) * 0.97**n for n in range(400)]
            points = (f"{x(_place(each)):.1f},{y(at(values, each)):.1f}" for each in sorted(steps) if each <= last)
            curves.append(f"<polyline class={name} points='{' '.join(points)}' />")
    marks = [(_place(share), f"{share * 100:g} %") for share in known]
    return _picture(curves, x, y, marks=marks, most=most, below="of the requests were answered within")


def _place(share: float) -> float:
    return -math.log10(1 - share)


def _scales(end: float, most: float) -> tuple[Scale, Scale]:
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return lambda value: LEFT + wide * value / end, lambda value: TOP + high * (1 - value / max(most * 1.05, 1e-9))


def _picture(
    shapes: Sequence[str], x: Scale, y: Scale, *, marks: Sequence[tuple[float, str]], most: float, below: str
) -> str:
    inside = "".join([*_grid(x, y, marks, most, below), *shapes])
    return f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img>{inside}</svg>"


def _grid(x: Scale, y: Scale, marks: Sequence[tuple[float, str]], most: float, below: str) -> Iterator[str]:
    for value in _ticks(most):
        yield f"<line class=grid x1={LEFT} x2={WIDTH - RIGHT} y1={y(value):.1f} y2={y(value):.1f} />"
        yield f"<text x={LEFT - 6} y={y(value) + 4:.1f} text-anchor=end>{_short(value)}</text>"
    for value, text in marks:
        yield f"<text x={x(value):.1f} y={HEIGHT - BOTTOM + 16} text-anchor=middle>{text}</text>"
    yield f"<text x={(LEFT + WIDTH - RIGHT) / 2} y={HEIGHT - 6} text-anchor=middle>{below}</text>"


def _ticks(most: float) -> list[float]:
    """Return round values from 0 to at most this, four to ten of them."""
    step = 10.0 ** math.floor(math.log10(max(most, 1e-9)))
    step = next(step * part for part in (0.2, 0.5, 1.0, 2.0) if most / (step * part) <= 9)
    return [step * number for number in range(int(most / step + 1e-9) + 1)]


def _short(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
