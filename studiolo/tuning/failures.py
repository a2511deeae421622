"""The rows that an evaluation run failed, as rows to learn from: the expected answer becomes the assistant's turn.

What is trained on measures nothing any more. So a share of the failures stays where it is, to measure by; the others
leave the evaluation set (`retire`), or the training says why it may hold rows of one (`override_contamination`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evals import samples as logs
from evals.samples import Sample
from finetune.data.split import place
from flows import data as files
from studiolo.tuning.curated import redacted
from studiolo.tuning.labels import Labels
from workspace.errors import Denied, Invalid, did_you_mean

if TYPE_CHECKING:
    from workspace import Asset
    from workspace.home import Workspace
    from workspace.runs import RunRecord

SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Which samples failed: those whose score by `metric` (the first, where none is named) is below `below`.

    `share` of them are trained on, always the same ones; the others stay to be measured by.
    """

    metric: str | None = None
    below: float = 0.5
    share: float = SHARE
    redact: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise Invalid(f"the share that is trained on is more than 0 and at most 1, not {self.share}")


@dataclass(slots=True)
class Failures:
    """The rows, the ids of the evaluation rows that they are, and why other failures became none."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    failed: int = 0
    samples: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    personal: Counter[str] = field(default_factory=Counter)
    corrected: int = 0

    def said(self, *, redacted: bool) -> list[str]:
        """Return what is to be told of it, a sentence a line."""
        told = [f"{self.failed:,} of {self.samples:,} samples failed; {len(self.rows):,} become rows"]
        told += [f"{count:,} left out: {reason}" for reason, count in self.left_out.most_common()]
        if self.personal:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.personal.most_common())
            told.append(f"personal data {'replaced' if redacted else 'in them'}: {kinds}")
        return told


def failures(record: RunRecord, labels: Labels, failing: Failing) -> Failures:
    """Return the rows of a run's failures. A person's correction goes before the row's expected answer."""
    if record.kind != "eval":
        raise Invalid(f"run {record.name!r} is of kind {record.kind!r}", hint="name a run of `studiolo eval run`")
    samples = logs.read(record.directory)
    metric = _metric(samples, failing.metric)
    found = Failures(samples=len(samples))
    for sample in samples:
        score = sample.scores.get(metric)
        if sample.row in found.used or score is None:
            continue
        if sample.error is not None or score.value is None:
            found.left_out["no answer or no score, which is no failure of the model"] += 1
            continue
        if score.value >= failing.below:
            continue
        found.failed += 1
        if place(sample.row, 0) >= failing.share:
            found.left_out["kept to measure by"] += 1
            continue
        row = _row(sample, labels)
        if isinstance(row, str):
            found.left_out[row] += 1
            continue
        found.used.add(sample.row)
        found.corrected += sample.row in labels or sample.label in labels
        found.rows.append(redacted(row, found.personal, replace=failing.redact))
    return found


def evaluation_set(workspace: Workspace, record: RunRecord) -> Asset:
    """Return the data that a run has been asked from."""
    for edge in workspace.lineage.upstream(record, depth=1):
        kind = edge.source.partition(":")[0]
        if kind in ("data", "evalset"):
            return workspace.assets.get(kind, edge.source)
    raise Invalid(f"run {record.name!r} does not say which data it was asked from")


def retire(workspace: Workspace, evalset: Asset, used: set[str], *, reason: str) -> tuple[Asset, int]:
    """Keep the evaluation set without the rows that are trained on, as its next version; the one with them is archived.

    Returns the new version and how many rows it has. A run on the old one counts as evaluation again.
    """
    rows = [*files.rows(workspace.assets.path(evalset))]
    left = [row for row in rows if logs.row_id(row) not in used]
    if len(left) == len(rows):
        raise Invalid(f"none of the rows stands in {evalset.ref}")
    if not left:
        raise Invalid(f"no row of {evalset.ref} would be left to measure by", hint="train on fewer: --share 0.5")
    content = "".join(f"{json.dumps(row, ensure_ascii=False, default=str)}\n" for row in left).encode()
    properties = {**evalset.properties, "filename": "rows.jsonl", "retired_from": evalset.ref, "retired": len(used)}
    with workspace.run("curation", inputs=[evalset.ref], params={"retired": len(used), "reason": reason}) as run:
        asset = workspace.assets.put(evalset.kind, evalset.name, workspace.blobs.add(content), properties=properties)
        run.output(asset)
    workspace.assets.archive(evalset)
    with workspace.light.write() as statements:
        told = {"reason": reason, "rows": len(used), "next": asset.ref}
        workspace.audit.record(statements, "evalset.retire", evalset.ref, after=told)
    return asset, len(left)


def _metric(samples: Sequence[Sample], named: str | None) -> str:
    known = list(dict.fromkeys(name for sample in samples for name in sample.scores))
    if not known:
        raise Invalid("no sample of the run has a score")
    if named is not None and named not in known:
        raise Invalid(f"the run has no scorer {named!r}", hint=did_you_mean(named, known))
    return named or known[0]


def _row(sample: Sample, labels: Labels) -> dict[str, Any] | str:
    label = labels.get(sample.row) or labels.get(sample.label)
    answer = label.correction if label and label.correction else sample.expected
    if answer is None or not answer.strip():
        return "no expected answer, and nobody gave one: --labels FILE"
    asked = _asked(sample)
    if asked is None:
        return "asked in no words that are kept"
    about = {"eval_row": sample.row, "eval_id": sample.label}
    return {"messages": [*asked, {"role": "assistant", "content": answer}], **about}


def _asked(sample: Sample) -> list[Mapping[str, Any]] | None:
    """Return what was asked: as it was sent, else the one text among the inputs."""
    if isinstance(sample.asked, list) and sample.asked:
        return [message for message in sample.asked if isinstance(message, Mapping)]
    if isinstance(sample.asked, str) and sample.asked.strip():
        return [{"role": "user", "content": sample.asked}]
    texts = [value for value in sample.inputs.values() if isinstance(value, str) and value.strip()]
    return [{"role": "user", "content": texts[0]}] if len(texts) == 1 else None


def refuse_unsaid(record: RunRecord) -> None:
    """Raise Denied: rows of an evaluation set are trained on only where somebody says what becomes of them."""
    hint = "--retire REASON takes them out of the evaluation set; --override-contamination REASON leaves them in both"
    raise Denied(f"rows of run {record.name!r} are evaluation rows: trained on, they measure nothing", hint=hint)
