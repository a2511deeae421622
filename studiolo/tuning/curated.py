"""Rows to learn from, made of what was answered and what people said of it; kept as a version of a data asset."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from evals.scorers.safety import PERSONAL, personal
from studiolo.tuning import labels as said
from studiolo.tuning.labels import Label, Labels
from workspace.errors import Invalid

if TYPE_CHECKING:
    from studiolo.tuning.logged import Logged
    from workspace import Asset
    from workspace.home import Workspace

RUN = "curation"  # the kind of the runs that make data of what happened
FILE = "rows.jsonl"
Form = Literal["chat", "preference", "kto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which chats become rows: of what rating, whether only those that a person has labelled, how many at most.

    `form` is chat (answers to learn), preference (a correction before what was answered), or kto (good and bad ones;
    good is a rating of `good` and more). `redact` replaces personal data by its kind.
    """

    form: Form = "chat"
    min_rating: float | None = None
    labelled: bool = False
    good: float = 0.5
    redact: bool = False
    limit: int | None = None


@dataclass(slots=True)
class Curated:
    """The rows, why other chats became none, and how much personal data of which kind is in the rows."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    personal: Counter[str] = field(default_factory=Counter)
    sources: set[str] = field(default_factory=set)
    corrected: int = 0

    def said(self, *, redacted: bool) -> list[str]:
        """Return what is to be told of it, a sentence a line."""
        told = [f"{len(self.rows):,} rows, {self.corrected:,} of them corrected by a person"]
        told += [f"{count:,} left out: {reason}" for reason, count in self.left_out.most_common()]
        if self.personal:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.personal.most_common())
            told.append(f"personal data {'replaced' if redacted else 'in them'}: {kinds}")
        if self.personal and not redacted:
            told.append("it is found by its form alone, names are not; --redact replaces it")
        return told


def curate(logged: Iterable[Logged], labels: Labels, wanted: Wanted) -> Curated:
    """Return the rows that chats give; a person's correction goes before what the model answered."""
    found = Curated()
    met: set[str] = set()
    for each in logged:
        label = said.of(labels, each)
        row = _row(each, label, wanted)
        if isinstance(row, str):
            found.left_out[row] += 1
            continue
        key = json.dumps({name: row[name] for name in row if name not in _ABOUT}, sort_keys=True, default=str)
        if key in met:
            found.left_out["said before, word for word"] += 1
            continue
        if wanted.limit is not None and len(found.rows) >= wanted.limit:
            found.left_out["beyond the limit"] += 1
            continue
        met.add(key)
        found.rows.append(redacted(row, found.personal, replace=wanted.redact))
        found.sources.update(filter(None, (each.source, each.model if _is_ref(each.model) else None)))
        found.corrected += bool(label and label.correction)
    return found


def keep(
    workspace: Workspace, name: str, rows: Sequence[Mapping[str, Any]], *, inputs: Iterable[str],
    params: Mapping[str, Any],
) -> Asset:  # fmt: skip
    """Keep rows as the next version of a data asset, in a run that lineage knows."""
    if not rows:
        raise Invalid("no row came of it: nothing is kept")
    content = "".join(f"{json.dumps(row, ensure_ascii=False, default=str)}\n" for row in rows)
    with workspace.run(RUN, inputs=sorted(set(inputs)), params=params) as run:
        run.log_metrics({"rows": float(len(rows))})
        run.log_artifact(FILE, content)
        file = run.directory / "artifacts" / FILE
        asset = workspace.assets.put("data", name, file, properties={"type": "uri_file", "filename": FILE})
        run.output(asset)
    return asset


_ABOUT = ("request_id", "source", "rating", "at", "eval_row", "eval_id")


def _row(each: Logged, label: Label | None, wanted: Wanted) -> dict[str, Any] | str:
    """Return the row that a chat gives, or why it gives none."""
    rating, correction = (label.rating, label.correction) if label else (None, None)
    if label is None and (wanted.labelled or wanted.min_rating is not None or wanted.form == "kto"):
        return "nobody has labelled them"
    low = wanted.min_rating
    if low is not None and correction is None and (rating is None or rating < low):
        return f"rated below {low:g}"
    answer = {"role": "assistant", "content": correction} if correction else each.answer
    if answer is None:
        return "the answer broke off, and nobody gave another"
    if not (answer.get("content") or answer.get("tool_calls")):
        return "the answer is empty"
    about: dict[str, Any] = {"request_id": each.id, "source": each.source, "at": each.at} | (
        {} if rating is None else {"rating": rating}
    )
    tools = {"tools": list(each.tools)} if each.tools else {}
    asked = list(each.messages)
    if wanted.form == "chat":
        return {"messages": [*asked, _plain(answer)], **tools, **about}
    if wanted.form == "kto":
        if rating is None and correction is None:
            return "nobody has rated them"
        given = each.answer if each.answer is not None and rating is not None else answer
        is_good = rating >= wanted.good if rating is not None else True
        return {"prompt": asked, "completion": [_plain(given)], "label": is_good, **tools, **about}
    if correction is None or each.answer is None or each.answer.get("content") == correction:
        return "no correction to prefer to the answer"
    return {"prompt": asked, "chosen": [_plain(answer)], "rejected": [_plain(each.answer)], **tools, **about}


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", **{name: message[name] for name in ("content", "tool_calls") if message.get(name)}}


def redacted(value: Any, counts: Counter[str], *, replace: bool) -> Any:
    """Return a row as it is, or with personal data replaced by its kind; `counts` is told what was there."""
    if isinstance(value, str):
        for kind in PERSONAL:
            for found in personal(value, kind):
                counts[kind] += 1
                value = value.replace(found, f"[{kind.upper()}]") if replace else value
        return value
    if isinstance(value, Mapping):
        return {
            key: each if key in _ABOUT or key == "id" else redacted(each, counts, replace=replace)
            for key, each in value.items()
        }
    return [redacted(each, counts, replace=replace) for each in value] if isinstance(value, list | tuple) else value


def _is_ref(model: str | None) -> bool:
    return bool(model and model.startswith("model:") and model.count(":") == 2)
