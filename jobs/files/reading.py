"""One reading of one file: where in it we are, what we met on the way, and how strictly we read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from workspace.documents import Document, Step, Steps
from workspace.errors import Invalid, Location

# note: it has no effect on this machine · warning: likely a mistake · leniency: Azure ML refuses it, we do not ·
# refusal: it can be read, but it cannot be right
Weight = Literal["note", "warning", "leniency", "refusal"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to say about a file that can be read. `rule` is its short name, the same in every file."""

    rule: str
    weight: Weight
    what: str
    at: Location
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.at}: {self.what}"

    def error(self) -> Invalid:
        """Return the error that this finding is where it is a refusal."""
        return Invalid(self.what, hint=self.hint, at=self.at)


class Refused(Invalid):
    """The value at one place cannot be right. `depth` says how far into the file the reader came.

    `rule` is the short name of what Azure ML would have taken; most of what is refused it refuses too.
    """

    def __init__(self, message: str, *, hint: str | None, at: Location, depth: int, rule: str = "") -> None:
        super().__init__(message, hint=hint, at=at)
        self.depth = depth
        self.rule = rule


@dataclass(slots=True)
class Reading:
    """What lives while a file is read. `strict` refuses all that Azure ML refuses; `trail` are the files we came by."""

    document: Document
    strict: bool = False
    findings: list[Finding] = field(default_factory=list)
    trail: tuple[Path, ...] = ()


# Whether `${{…}}` may stand for any value: "warned" is where Azure ML takes none, and we do.
Bound = Literal["no", "yes", "warned"]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the file that is read."""

    reading: Reading
    steps: Steps = ()
    bound: Bound = "no"

    @property
    def location(self) -> Location:
        """Where this was written."""
        return self.reading.document.at(*self.steps)

    @property
    def folder(self) -> Path:
        """Where relative paths start: the folder of the file."""
        return self.reading.document.path.resolve().parent

    def under(self, *steps: Step) -> Place:
        """Return the place of a key or an item."""
        return replace(self, steps=(*self.steps, *steps))

    def refused(self, what: str, *, hint: str | None = None, rule: str = "") -> Refused:
        """Return the error to raise where what is written here cannot be right."""
        return Refused(what, hint=hint, at=self.location, depth=len(self.steps), rule=rule)

    def wrong(self, what: str, *, hint: str | None = None, rule: str = "") -> Refused:
        """Return the error for the value of this key: `place.wrong("must be text")`."""
        return self.refused(f"{self._name()} {what}", hint=hint, rule=rule)

    def lenient(self, rule: str, what: str, *, hint: str | None = None) -> None:
        """Go on with a warning where Azure ML refuses; refuse as well where we are strict."""
        if self.reading.strict:
            raise self.refused(what, hint=hint)
        self._find(rule, "leniency", what, hint)

    def warn(self, rule: str, what: str, *, hint: str | None = None) -> None:
        """Say what is likely a mistake, though it can be read and Azure ML reads it too."""
        self._find(rule, "warning", what, hint)

    def object(self, rule: str, what: str, *, hint: str | None = None) -> None:
        """Note what Azure ML takes and cannot be right: the door refuses the file when it has been read."""
        self._find(rule, "refusal", what, hint)

    def note(self, rule: str, what: str) -> None:
        """Say what has no effect on this machine."""
        self._find(rule, "note", what, None)

    def _name(self) -> str:
        names = [str(step) for step in self.steps[-2:]]
        return f"`{'.'.join(names)}`" if names else "the file"

    def _find(self, rule: str, weight: Weight, what: str, hint: str | None) -> None:
        found = Finding(rule, weight, what, self.location, hint)
        if found not in self.reading.findings:
            self.reading.findings.append(found)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was written: a file and the way to it."""

    document: Document = field(repr=False)
    steps: Steps = ()

    @classmethod
    def made_in(cls, folder: Path) -> Origin:
        """Return the origin of what code has made: no file, but a folder where its relative paths start."""
        return cls(Document(folder / "<made>", {}))

    @property
    def folder(self) -> Path:
        """Where relative paths start: the folder of the file."""
        return self.document.path.resolve().parent

    @property
    def written(self) -> Any:
        """What was written there, as plain values."""
        return self.document.get(*self.steps)

    def at(self, *steps: Step) -> Location:
        """Return where a key under it was written: `job.origin.at("inputs", "rows")`."""
        return self.document.at(*self.steps, *steps)
