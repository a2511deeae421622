"""Pages that need nothing else: small pictures in SVG, tables, and the paper they stand on."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

MISSING = "\N{EN DASH}"
_CSS = Path(__file__).with_name("paper.css")
_NAMES, _ROW = 170, 24  # room for names, and for each row, in pictures of rows
_LEFT, _TOP, _WIDE, _TALL = 52, 12, 380, 230  # the frame of curves
Points = Sequence[tuple[float, float]]


def text(value: object) -> str:
    """Return a value as HTML shows it: numbers short, text escaped."""
    if isinstance(value, float):
        return MISSING if math.isnan(value) else f"{value:.4g}"
    return html.escape(MISSING if value is None else str(value))


def page(title: str, parts: Iterable[str], *, style: str = "") -> str:
    """Return a whole page."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    css = _CSS.read_text(encoding="utf-8") + style
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{text(title)}</title>\n<style>{css}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, raw: bool = False) -> str:
    """Return a table; numbers stand on the right. `raw` cells are HTML already."""
    told = [list(row) for row in rows]
    is_number = [all(isinstance(row[at], int | float) or row[at] is None for row in told) for at in range(len(heads))]
    mark = [' class="n"' if each and told else "" for each in is_number]
    top = "".join(f"<th{mark[at]}>{text(head)}</th>" for at, head in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{mark[at]}>{cell if raw and isinstance(cell, str) else text(cell)}</td>" for at, cell in enumerate(row)
        )
        + "</tr>"
        for row in told
    )
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Return numbers that stand out, each with its name under it."""
    return (
        '<div class="facts">'
        + "".join(f"<div><b>{text(v)}</b><span>{text(k)}</span></div>" for k, v in pairs)
        + "</div>"
    )


def bars(values: Sequence[tuple[str, float]], *, width: int = 480) -> str:
    """Return bars across, each with its name before it; what is below 0 goes the other way in another colour."""
    if not values:
        return ""
    most = max(abs(value) for _, value in values) or 1.0
    has_less = any(value < 0 for _, value in values)
    room = (width - _NAMES - 66) / (2 if has_less else 1)
    zero = _NAMES + (room if has_less else 0)
    found = []
    for place, (name, value) in enumerate(values):
        y, long = place * _ROW, abs(value) / most * room
        kind, x = ("orange", zero - long) if value < 0 else ("blue", zero)
        found += [
            said(_NAMES - 8, y + 16, name, most=24, anchor="end"),
            f'<rect class="{kind}" x="{x:.1f}" y="{y + 4}" width="{max(long, 0.5):.1f}" height="15" rx="2"/>',
            said(width - 60, y + 16, f"{value:.4g}", soft=True),
        ]
    return svg(width, len(values) * _ROW + 4, found)


def intervals(rows: Sequence[tuple[str, float, float, float]], *, middle: float | None = None, width: int = 520) -> str:
    """Return a point and its interval for each name; the dashed line is what they are compared with."""
    finite = [edge for row in rows for edge in row[1:] if math.isfinite(edge)] + ([] if middle is None else [middle])
    if not finite:
        return ""
    low, high = ends(finite)
    tall = len(rows) * _ROW + 22

    def x(value: float) -> float:
        return _NAMES + 10 + (width - _NAMES - 30) * (value - low) / (high - low)

    found = []
    if middle is not None:
        found.append(f'<line class="dash" x1="{x(middle):.1f}" x2="{x(middle):.1f}" y1="0" y2="{tall - 18}"/>')
    for place, (name, value, least, most) in enumerate(rows):
        y = place * _ROW + 12
        found.append(said(_NAMES - 8, y + 4, name, most=24, anchor="end"))
        if math.isfinite(least) and math.isfinite(most):
            found.append(f'<line class="line" x1="{x(least):.1f}" x2="{x(most):.1f}" y1="{y}" y2="{y}"/>')
        if math.isfinite(value):
            found.append(f'<circle class="blue" cx="{x(value):.1f}" cy="{y}" r="5"><title>{value:.4g}</title></circle>')
    found += [said(x(low), tall - 4, f"{low:.3g}", soft=True),
              said(x(high), tall - 4, f"{high:.3g}", soft=True, anchor="end")]  # fmt: skip
    return svg(width, tall, found)


def lines(curves: Sequence[Points], *, names: tuple[str, str], diagonal: bool = False, dots: bool = False) -> str:
    """Return curves in one frame, two at most; `dots` draws points without lines between them."""
    kept = [[point for point in curve if all(map(math.isfinite, point))] for curve in curves]
    points = [point for curve in kept for point in curve]
    if not points:
        return '<p class="muted">There is nothing to draw.</p>'
    (x0, x1), (y0, y1) = ends(point[0] for point in points), ends(point[1] for point in points)

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + _WIDE * (x - x0) / (x1 - x0), _TOP + _TALL * (1 - (y - y0) / (y1 - y0))

    found = [f'<rect class="box" x="{_LEFT}" y="{_TOP}" width="{_WIDE}" height="{_TALL}"/>']
    if diagonal:
        low, high = max(x0, y0), min(x1, y1)
        (ax, ay), (bx, by) = at(low, low), at(high, high)
        found.append(f'<line class="dash" x1="{ax:.1f}" y1="{ay:.1f}" x2="{bx:.1f}" y2="{by:.1f}"/>')
    for number, curve in enumerate(kept):
        places = [at(*point) for point in curve]
        kind = "orange" if number else "blue"
        if dots:
            found += [f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.5" opacity=".55"/>' for x, y in places]
        else:
            told = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            found.append(f'<polyline class="line{" second" if number else ""}" points="{told}"/>')
    under, middle = _TOP + _TALL + 16, _TOP + _TALL / 2
    found += [
        said(_LEFT, under, f"{x0:.3g}", soft=True),
        said(_LEFT + _WIDE, under, f"{x1:.3g}", soft=True, anchor="end"),
        said(_LEFT - 6, _TOP + _TALL, f"{y0:.3g}", soft=True, anchor="end"),
        said(_LEFT - 6, _TOP + 10, f"{y1:.3g}", soft=True, anchor="end"),
        said(_LEFT + _WIDE / 2, under + 16, names[0], anchor="middle"),
        f'<g transform="rotate(-90 14 {middle})">{said(14, middle, names[1], anchor="middle")}</g>',
    ]
    return svg(450, 286, found)


def matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Return how often each true class (down) was said to be each (across)."""
    size, left, top = max(34, min(80, 300 // len(names))), 110, 40
    found = []
    for place, name in enumerate(names):
        middle = size * (place + 0.5)
        found += [said(left - 8, top + middle + 4, name, most=14, anchor="end"),
                  said(left + middle, top - 8, name, most=size // 7, anchor="middle")]  # fmt: skip
        whole = sum(counts[place]) or 1
        for across, count in enumerate(counts[place]):
            x, y = left + size * across, top + size * place
            kind = "blue" if across == place else "orange"
            square = f'x="{x}" y="{y}" width="{size}" height="{size}"'
            found += [f'<rect class="box" {square}/>',
                      f'<rect class="{kind}" opacity="{0.75 * count / whole:.3f}" {square}/>',
                      said(x + size / 2, y + size / 2 + 4, str(count), anchor="middle")]  # fmt: skip
    return svg(left + size * len(names) + 8, top + size * len(names) + 8, found)


def svg(width: float, height: float, parts: Iterable[str]) -> str:
    """Return a picture."""
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img">{"".join(parts)}</svg>'


def said(x: float, y: float, words: str, *, most: int = 0, anchor: str = "start", soft: bool = False) -> str:
    """Return words in a picture; longer ones than `most` letters are cut, and shown whole when pointed at."""
    shown = words if not most or len(words) <= most else f"{words[: max(1, most - 1)]}\N{HORIZONTAL ELLIPSIS}"
    whole = f"<title>{text(words)}</title>" if shown != words else ""
    kind = ' class="soft"' if soft else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(shown)}{whole}</text>'


def ends(values: Iterable[float]) -> tuple[float, float]:
    """Return the least and the most of numbers, never the same."""
    found = list(values)
    low, high = min(found), max(found)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
