"""The report as one page that needs nothing else, and as a scorecard that fits on a printed page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from finetune.responsible.balance import Balance
from finetune.responsible.errors import Node, leaves
from finetune.responsible.gate import Decision
from finetune.responsible.groups import Sensitive
from finetune.responsible.report import Report
from finetune.tabular.drawing import bars, facts, intervals, said, svg, table, text
from finetune.tabular.drawing import page as paper

_SCORECARD = """
body { max-width: 780px; } h2 { margin: 18px 0 2px; font-size: 1rem; }
@page { size: A4; margin: 12mm; }
@media print { body { font-size: 10px; line-height: 1.3; } th, td { padding: 2px 8px 2px 0; } svg { max-width: 62%; }
  .facts { margin: 6px 0; } .facts div { padding: 2px 8px; } .facts b { font-size: 1.1rem; } }
"""
_WORDS = {
    "accuracy": "right answers", "selection_rate": "get the wished-for answer",
    "true_positive_rate": "found of those who should get it", "false_positive_rate": "get it though they should not",
    "precision": "right of those who get it", "mean_absolute_error": "off by, on average",
    "mean_error": "off by, with sign",
}  # fmt: skip
_MOST = 15
_FARTHEST = 8  # disparities on the scorecard


def page(report: Report, decision: Decision | None = None) -> str:
    """Return the whole report."""
    parts = [*_head(report), *_gate(decision)]
    for sensitive in report.sensitive:
        parts += _groups(sensitive)
    if not report.sensitive:
        parts.append('<p class="muted">No sensitive columns were named, so no groups are compared.</p>')
    for column, rows in report.balance.items():
        parts += _balance(column, rows)
    parts += [*_errors(report), *_explained(report), *_examples(report), *_otherwise(report)]
    return paper(f"{report.model}: responsible AI", parts)


def scorecard(report: Report, decision: Decision | None = None) -> str:
    """Return what fits on one page: the metrics, the groups that lie farthest apart, where it errs, what moves it."""
    parts = [*_head(report), *_gate(decision)]
    apart = [(each.column, found) for each in report.sensitive for found in each.disparities]
    if apart:
        rows = [
            [column, _WORDS.get(each.metric, each.metric), each.difference, f"{each.low:.3f} to {each.high:.3f}",
             each.ratio, each.least, each.most]
            for column, each in sorted(apart, key=lambda pair: -pair[1].difference)[:_FARTHEST]
        ]  # fmt: skip
        heads = ("groups by", "metric", "difference", "interval", "ratio", "least", "most")
        parts += ["<h2>How far groups lie apart</h2>", table(heads, rows)]
    worst = [
        [", ".join(path) or "all rows", node.rows, node.rate, node.coverage] for path, node in leaves(report.errors)
    ]
    parts += ["<h2>Where it errs most</h2>", table(("rows with", "rows", "error", "of all errors"), worst[:4])]
    parts += ["<h2>What moves its answers</h2>", bars([*report.explained.importance.items()][:6])]
    return paper(f"{report.model}: scorecard", parts, style=_SCORECARD)


def _head(report: Report) -> list[str]:
    told = f"{report.task} of {report.target}, measured on {report.rows:,} rows of {report.data}"
    wished = "" if report.positive is None else f"; the wished-for class is {report.positive}"
    first = ("accuracy", "balanced_accuracy", "auc", "f1_macro", "rmse", "mae", "r2")
    shown = [(name, value) for name, value in report.metrics.items() if name in first]
    return [f"<h1>{text(report.model)}</h1>", f'<p class="muted">{text(told + wished)}</p>', facts(shown)]


def _gate(decision: Decision | None) -> list[str]:
    if decision is None:
        return []
    kind = "good" if decision.passed else "bad"
    told = [*decision.failures, *decision.warnings]
    points = "".join(f"<li>{text(each)}</li>" for each in told)
    return [f'<p class="{kind}">{decision.word}</p>', f"<ul>{points}</ul>" if points else ""]


def _groups(sensitive: Sensitive) -> list[str]:
    parts = [f"<section><h2>Groups by {text(sensitive.column)}</h2>"]
    if small := [each.name for each in sensitive.groups if each.is_small]:
        told = f"Too small to be compared with others: {', '.join(small)}."
        parts.append(f'<p class="muted">{text(told)}</p>')
    metrics = [*sensitive.groups[0].metrics]
    parts.append('<div class="columns">')
    for metric in metrics:
        rows = [(each.name, each.metrics[metric]) for each in sensitive.groups]
        found = sensitive.disparity(metric)
        told = f"<h3>{text(metric)} <small>{text(_WORDS.get(metric, ''))}</small></h3>"
        if found is not None:
            apart = f"{found.difference:.3f} apart ({found.low:.3f} to {found.high:.3f}), ratio {found.ratio:.2f}: "
            told += f"<p>{text(apart + f'{found.least} least, {found.most} most')}</p>"
        picture = intervals([(name, each.value, each.low, each.high) for name, each in rows])
        parts.append(f"<div>{told}{picture}</div>")
    cells = [[each.name + (" (small)" if each.is_small else ""), each.rows,
              *(each.metrics[metric].value for metric in metrics)] for each in sensitive.groups]  # fmt: skip
    return [*parts, "</div>", table(("group", "rows", *metrics), cells), "</section>"]


def _balance(column: str, rows: Sequence[Balance]) -> list[str]:
    classes = list(rows[0].classes)
    cells = [[each.group, each.rows, each.share, *(each.classes[name] for name in classes), each.kl, each.tv]
             for each in rows]  # fmt: skip
    told = (
        "How often each class comes in each group. KL (bits) and TV say how differently classes are spread in a group "
        "and in all others: TV is the share of its rows that would have to be of another class."
    )
    heads = ("group", "rows", "share", *classes, "KL", "TV")
    return [f"<section><h2>Balance of the data by {text(column)}</h2><p>{told}</p>", table(heads, cells), "</section>"]


def _errors(report: Report) -> list[str]:
    word = "mean absolute error" if report.task == "regression" else "share that is wrong"
    told = f"Rows are parted where errors gather. In each box: rows, the {word}, and its part of all errors."
    found = [
        [", ".join(path) or "all rows", node.rows, node.rate, node.coverage] for path, node in leaves(report.errors)
    ]
    heads = ("rows with", "rows", "error", "of all errors")
    return [f"<section><h2>Where it errs</h2><p>{told}</p>", f'<div class="wide">{tree_of(report.errors)}</div>',
            table(heads, found), "</section>"]  # fmt: skip


def _leaves(report: Report) -> list[list[Any]]:
    found = leaves(report.errors)
    return [[", ".join(path) or "all rows", node.rows, node.rate, node.coverage] for path, node in found]


def tree_of(root: Node) -> str:
    """Return the tree of errors as a picture: the redder a box, the more of its rows are wrong."""
    wide, tall, gap = 176, 62, 40
    most = max(node.rate for _, node in leaves(root)) or 1.0
    parts: list[str] = []

    def draw(node: Node, left: int, depth: int) -> tuple[int, float]:
        """Draw a node and all under it; return where free room begins, and its middle."""
        y, start, middles = 4 + depth * (tall + gap), left, []
        for child in node.children:
            left, middle = draw(child, left, depth + 1)
            middles.append(middle)
        middle = sum(middles) / len(middles) if middles else start + wide / 2
        parts.extend(
            f'<path class="dash" d="M{middle:.0f} {y + tall} L{each:.0f} {y + tall + gap}"/>' for each in middles
        )
        x = middle - wide / 2
        square = f'x="{x:.0f}" y="{y}" width="{wide}" height="{tall}" rx="6"'
        parts.append(
            f'<rect class="box" {square}/><rect class="orange" opacity="{0.7 * node.rate / most:.2f}" {square}/>'
        )
        parts.append(said(middle, y + 17, node.condition, most=26, anchor="middle"))
        parts.append(said(middle, y + 35, f"{node.rows:,} rows, error {node.rate:.3g}", anchor="middle"))
        parts.append(said(middle, y + 52, f"{node.coverage:.0%} of all errors", anchor="middle", soft=True))
        return max(left, start + wide + 14), middle

    right, _ = draw(root, 4, 0)
    return svg(right, 4 + _depth(root) * (tall + gap) - gap + 8, parts)


def _depth(node: Node) -> int:
    return 1 + max((_depth(child) for child in node.children), default=0)


def _explained(report: Report) -> list[str]:
    shown = [*report.explained.importance.items()][:_MOST]
    told = f"How much each column moves the answer, on average over the rows ({report.explained.how})."
    more = len(report.explained.importance) - len(shown)
    rest = f'<p class="muted">{more} more columns move it less.</p>' if more else ""
    return [f"<section><h2>What moves its answers</h2><p>{text(told)}</p>", bars(shown), rest, "</section>"]


def _examples(report: Report) -> list[str]:
    parts = [
        "<section><h2>Single rows</h2><p>The most wrong ones first, then some others.</p>",
        '<div class="columns">',
    ]
    for each in report.examples:
        kind = "good" if str(each["true"]) == str(each["said"]) else "bad"
        if report.task == "regression":
            kind = ""
        head = (
            f'<h3>true {text(_plain(each["true"]))}, <span class="{kind}">said {text(_plain(each["said"]))}</span></h3>'
        )
        moved = [(f"{name} = {_short(each['values'].get(name))}", value) for name, value in each["parts"].items()]
        parts.append(f"<div>{head}{bars(moved, width=430)}</div>")
    return [*parts, "</div></section>"]


def _otherwise(report: Report) -> list[str]:
    if not report.otherwise:
        return []
    rows = []
    for each in report.otherwise:
        changed = "; ".join(
            f"{name}: {_short(before)} → {_short(after)}" for name, (before, after) in each.changes.items()
        )
        rows.append(
            [str(each.row), str(each.said), changed or "nothing that can change, three columns at most, does it"]
        )
    told = f"The smallest changes by which the model would say {report.positive}. Sensitive columns stay as they are."
    return [f"<section><h2>What would have had to be otherwise</h2><p>{text(told)}</p>",
            table(("row", "said", "changes"), rows), "</section>"]  # fmt: skip


def comparison(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return metrics before and after a mitigation as a table."""
    names = [name for name in before if name in after]
    return table(("metric", "before", "after"), [[name, before[name], after[name]] for name in names])


def _short(value: Any) -> str:
    value = _plain(value)
    if isinstance(value, float):
        return "missing" if math.isnan(value) else f"{value:.4g}"
    return "missing" if value is None else str(value)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
