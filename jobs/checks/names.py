"""Names in expressions: whether somebody has declared them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from jobs.files.expressions import used
from jobs.files.reading import Finding, Origin
from workspace.documents import Step
from workspace.errors import did_you_mean

WHERE = {
    "inputs": "declare it under `inputs`",
    "outputs": "declare it under `outputs`",
    "search_space": "add it to `search_space`",
}


def undeclared(
    origin: Origin, steps: tuple[Step, ...], text: str | None, declared: Mapping[str, Collection[str]]
) -> Iterator[Finding]:
    """Yield the expressions of a text that name nothing: `declared` has the names by what stands before them."""
    for name in dict.fromkeys(used(text or "")):
        before, _, own = name.partition(".")
        if before not in declared or own in declared[before]:
            continue
        known = [f"{each}.{one}" for each, names in declared.items() for one in names]
        close = did_you_mean(name, known) if known else None
        hint = close if close and close.startswith("did you mean") else WHERE[before]
        yield refusal("undeclared", f"${{{{{name}}}}} is used, and not declared", origin, *steps, hint=hint)


def refusal(rule: str, what: str, origin: Origin, *steps: Step, hint: str | None = None) -> Finding:
    """Return a finding that refuses the file."""
    return Finding(rule, "refusal", what, origin.at(*steps), hint)


def warning(rule: str, what: str, origin: Origin, *steps: Step, hint: str | None = None) -> Finding:
    """Return a finding that is likely a mistake."""
    return Finding(rule, "warning", what, origin.at(*steps), hint)


def leniency(rule: str, what: str, origin: Origin, *steps: Step, hint: str | None = None) -> Finding:
    """Return a finding of what Azure ML refuses and we do not."""
    return Finding(rule, "leniency", what, origin.at(*steps), hint)
