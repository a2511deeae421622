"""Searching the shelf: words and filters in, models with facets out, in milliseconds over millions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from catalog.index.arriving import CLOSED, line
from catalog.index.publish import KINDS, newest
from catalog.index.words import Meant, meant
from workspace.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    import duckdb

Sort = Literal[
    "relevance", "trending", "downloads", "likes", "newest", "updated", "small", "cheap", "popular-small", "fresh"
]
# What is sorted by, largest first; what is alike is sorted by downloads.
_BY = {
    "trending": "trending + downloads / 1e12",
    "downloads": "downloads",
    "likes": "likes + downloads / 1e12",
    "newest": "created",
    "updated": "modified",
    "small": "-coalesce(parameters, 9e18)",
    "cheap": "-coalesce(input_price + 3 * output_price, 9e18)",
    # Trade-offs: ten times the downloads count as much as a fourth of the size; half a year halves what is fresh.
    "popular-small": "log10(1 + downloads) - log10(1 + coalesce(parameters, 1e10)) / log10(4)",
    "fresh": "log10(1 + downloads + 1000 * trending) * exp((modified::BIGINT - newest) / 2.25e7)",
}
_FACET = 20  # words of a facet
_POPULAR = 0.12  # what a factor of e in downloads counts beside a word that fits
_NOT_NAMED = 0.35  # what a word counts that stands in the task or library only, and not in the name


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A question to the shelf. All that is said must hold; `parameters` and `context` are from-to, either end open.

    `weights` is how many bytes the weights may take; `gated` False leaves out what must be asked for.
    """

    words: str = ""
    task: str | None = None
    library: str | None = None
    license: str | None = None
    type: str | None = None
    precision: str | None = None
    author: str | None = None
    base: str | None = None
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    parameters: tuple[float | None, float | None] = (None, None)
    context: tuple[float | None, float | None] = (None, None)
    weights: float | None = None
    gated: bool | None = None
    sort: Sort | None = None
    limit: int = 20
    offset: int = 0

    def __post_init__(self) -> None:
        """Raise Invalid for what cannot be asked."""
        if self.sort is not None and self.sort not in get_args(Sort):
            raise Invalid(f"cannot sort by {self.sort!r}", hint=f"one of {', '.join(get_args(Sort))}")
        if not 1 <= self.limit <= 1000 or self.offset < 0:
            raise Invalid("the limit is from 1 to 1000, the offset not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model on the shelf. Times are UTC; what is not known is None. `provider` is whose list it stands in."""

    id: str
    provider: str
    sha: str | None
    task: str | None
    library: str | None
    license: str | None
    type: str | None
    precision: str | None
    gated: Literal["open", "ask", "approval"]
    parameters: int | None
    weights: int | None
    context: int | None
    input_price: float | None
    output_price: float | None
    downloads: int
    likes: int
    trending: int
    created: datetime
    modified: datetime | None
    base: str | None
    relation: str | None
    formats: tuple[str, ...]
    languages: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An answer: one page of `total` models; `facets` count what each further word would leave, were it chosen.

    `instead` says which words were taken for mistyped ones, `without` which were left out since no model has them too.
    """

    models: tuple[Model, ...]
    total: int
    facets: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()


class _Counts(defaultdict[str, list[tuple[int, int]]]):
    """Of each kind, codes with how many models have them."""


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A model's number in its snapshot, and what it is sorted by."""

    number: int
    value: float


@dataclass(frozen=True, slots=True)
class _Near:
    """Where a question is answered from: what holds for its models, and for each kind what holds without it."""

    source: str
    by: str
    where: str
    without: Mapping[str, str]
    everything: bool = False


class Shelf:
    """One snapshot, open for reading: `with Shelf.open(folder) as shelf: shelf.search(Wanted(words="qwen"))`."""

    def __init__(self, file: duckdb.DuckDBPyConnection, path: Path, provider: str) -> None:
        self._file = file
        self.path = path
        self.provider = provider
        # A snapshot never changes: the words of its kinds are read once.
        terms = file.execute("SELECT kind, code, word, models FROM terms").fetchall()
        self._words = {(kind, code): word for kind, code, word, _ in terms}
        self._codes = {(kind, word.lower()): code for kind, code, word, _ in terms}
        self._models_of = {(kind, code): models for kind, code, _, models in terms}

    @classmethod
    @contextmanager
    def open(cls, folder: Path, provider: str = "hub") -> Iterator[Shelf]:
        """Open the newest snapshot. Raises NotFound where nothing was synced yet."""
        import duckdb

        path = newest(folder)
        if path is None:
            raise NotFound("the catalog is empty", hint="studiolo catalog sync")
        try:
            file = duckdb.connect(str(path), read_only=True, config=CLOSED)
        except duckdb.Error as error:
            raise Unavailable(f"cannot read {path}: {line(error)}", hint="studiolo catalog sync --full") from None
        with file:
            yield cls(file, path, provider)

    def search(self, wanted: Wanted, *, facets: bool = True) -> Found:
        """Answer a question."""
        found, ranked = self.rank(wanted, facets=facets)
        return replace(found, models=self.models([each.number for each in ranked[wanted.offset :]]))

    def rank(self, wanted: Wanted, *, facets: bool = True) -> tuple[Found, list[_Ranked]]:
        """Answer a question but for the models; these are told by number, from the very first to the last asked for."""
        words = meant(self._file, wanted.words)
        instead = {word.asked: word.instead for word in words if word.instead}
        without = self._match(words)
        if len(without) > 1 and words[0].asked not in without:
            # The rarest word may be the one that is too much.
            others = self._match(words[1:])
            without = (words[0].asked, *others) if len(others) + 1 < len(without) else self._match(words)
        rules = self._rules(wanted)
        if rules is None or (words and len(without) == len(words)):
            return Found(models=(), total=0, instead=instead, without=without), []
        by = self._by(wanted, scored=bool(words))
        near = self._near(rules, by, scored=bool(words))
        total, counts = self._count(near, wanted=facets)
        ranked = self._page(near, wanted)
        return Found(models=(), total=total, facets=counts, instead=instead, without=without), ranked

    def get(self, name: str) -> Model:
        """Return the model at a path, also by a path that it had once. Raises NotFound."""
        found = self._file.execute("SELECT n FROM texts WHERE id = ?", [name]).fetchall()
        found = (
            found
            or self._file.execute(
                """SELECT n FROM texts JOIN renamed USING (key) WHERE old = ? ORDER BY noticed DESC LIMIT 1""", [name]
            ).fetchall()
        )
        found = found or self._file.execute("SELECT n FROM texts WHERE lower(id) = lower(?)", [name]).fetchall()
        if not found:
            near = self.search(Wanted(words=name.replace("/", " "), limit=3), facets=False).models
            hint = f"did you mean {', '.join(model.id for model in near)}?" if near else "studiolo catalog search"
            raise NotFound(f"no model {name!r} in the catalog", hint=hint)
        return self.models([found[0][0]])[0]

    def _match(self, words: Sequence[Meant]) -> tuple[str, ...]:
        """Write down which models have the words, and how well these fit; return the words that none has too."""
        without = [word.asked for word in words if not word.codes]
        self._file.execute("DROP TABLE IF EXISTS matching")
        first = True
        for word in words:
            if not word.codes:
                continue
            codes = ", ".join(f"({code}, {weight:.4f}::FLOAT)" for code, weight in word.codes.items())
            rare = 1 / (1 + word.rarity) ** 0.05
            score = f"{rare:.4f}::FLOAT * max(weight * CASE WHEN named THEN 1 ELSE {_NOT_NAMED} END)"
            before, among = ("", "") if first else ("any_value(score) + ", "JOIN matching USING (n)")
            grouped = "GROUP BY n" if len(word.codes) > 1 else ""  # a word names a model once
            if not grouped:
                score, before = score.replace("max(", "("), before.replace("any_value(score)", "score")
            self._file.execute(
                f"""CREATE OR REPLACE TEMP TABLE fitting AS SELECT n, {before}{score} AS score
                FROM says JOIN (VALUES {codes}) AS meant (word, weight) USING (word) {among} {grouped}"""
            )
            if not first and not self._one("SELECT count(*) FROM fitting"):
                without.append(word.asked)
                continue
            self._file.execute("DROP TABLE IF EXISTS matching; ALTER TABLE fitting RENAME TO matching")
            first = False
        return tuple(without)

    def _rules(self, wanted: Wanted) -> dict[str, str] | None:
        """Return what must hold, by its subject, in SQL; None where no model can be it."""
        rules = {}
        for kind in KINDS:
            word = getattr(wanted, kind)
            if word is not None:
                code = self._codes.get((kind, word.lower()))
                if code is None:
                    return None
                rules[kind] = f"facts.{kind} = {code}"
        named = [*wanted.languages, *wanted.tags]
        named += [f"author:{wanted.author}"] if wanted.author else []
        named += [f"base_model:{wanted.base}"] if wanted.base else []
        for tag in named:
            code = self._one("SELECT code FROM tags WHERE tag = ?", [tag])
            if code is None:
                return None
            rules[tag] = f"n IN (SELECT n FROM tagged WHERE tag = {code})"
        for name, (low, high) in (("parameters", wanted.parameters), ("context", wanted.context)):
            rules |= {f"{name} from": f"{name} >= {low:.0f}"} if low is not None else {}
            rules |= {f"{name} to": f"{name} <= {high:.0f}"} if high is not None else {}
        if wanted.weights is not None:
            rules["weights"] = f"coalesce(weights, 2 * parameters) <= {wanted.weights:.0f}"
        if wanted.gated is not None:
            rules["gated"] = "gated > 0" if wanted.gated else "gated = 0"
        return rules

    def _by(self, wanted: Wanted, *, scored: bool) -> str:
        if wanted.sort in (None, "relevance"):
            return f"score + {_POPULAR} * ln(1 + downloads + 100 * likes)" if scored else "downloads"
        assert wanted.sort is not None  # noqa: S101  said above
        return _BY[wanted.sort].replace("newest", "(SELECT max(modified) FROM facts)")

    def _near(self, rules: Mapping[str, str], by: str, *, scored: bool) -> _Near:
        """Settle what is counted and sorted; where words were asked for, what has them is set apart once.

        There, models are set apart that are what was asked but for one kind at most; `missed` is that kind's place.
        """
        asked = [kind for kind in KINDS if kind in rules]
        others = [rule for name, rule in rules.items() if name not in asked]
        if not scored:
            without = {kind: _where(rule for name, rule in rules.items() if name != kind) for kind in asked}
            return _Near("facts", by, _where(rules.values()), without, everything=not rules)
        missed = " ".join(f"WHEN {rules[kind]} IS NOT TRUE THEN {place}" for place, kind in enumerate(asked, 1))
        misses = " + ".join(f"({rules[kind]} IS NOT TRUE)::UTINYINT" for kind in asked)
        rules_ = [*others, f"{misses} <= 1"] if len(asked) > 1 else others
        self._file.execute(
            f"""CREATE OR REPLACE TEMP TABLE near AS SELECT n, {", ".join(KINDS)}, ({by})::DOUBLE AS value,
            {f"CASE {missed} ELSE 0 END" if asked else "0"} AS missed
            FROM facts JOIN matching USING (n) {_where(rules_)}"""
        )
        without = {kind: f"WHERE missed IN (0, {place})" for place, kind in enumerate(asked, 1)}
        return _Near("near", "value", "WHERE missed = 0", without)

    def _page(self, near: _Near, wanted: Wanted) -> list[_Ranked]:
        rows = self._file.execute(
            f"""SELECT n, ({near.by})::DOUBLE AS value FROM {near.source} {near.where}
            ORDER BY value DESC, n LIMIT {wanted.offset + wanted.limit}"""
        )
        return [_Ranked(*row) for row in rows.fetchall()]

    def _count(self, near: _Near, *, wanted: bool) -> tuple[int, dict[str, tuple[tuple[str, int], ...]]]:
        """Count all, and by every kind; a kind that is itself asked for is counted as though it were not."""
        if not wanted:
            return int(self._one(f"SELECT count(*) FROM {near.source} {near.where}")), {}
        total, counts = self._all() if near.everything else self._counted(near)
        return total, {
            kind: tuple((self._words[kind, code], count) for code, count in sorted(counts[kind], key=_often)[:_FACET])
            for kind in KINDS
        }

    def _all(self) -> tuple[int, _Counts]:
        counts = _Counts(list)
        for (kind, code), models in self._models_of.items():
            counts[kind].append((code, models))
        return int(self._one("SELECT count(*) FROM facts")), counts

    def _counted(self, near: _Near) -> tuple[int, _Counts]:
        counts = _Counts(list)
        free = [kind for kind in KINDS if kind not in near.without]
        sets = "".join(f"({kind}), " for kind in free)
        rows = self._file.execute(
            f"""SELECT {"".join(f"{kind}, " for kind in free)} count(*) FROM {near.source} {near.where}
            GROUP BY GROUPING SETS ({sets} ())"""
        ).fetchall()
        for *codes, count in rows:
            for kind, code in zip(free, codes, strict=True):
                if code is not None:
                    counts[kind].append((code, count))
        for kind, where in near.without.items():
            counts[kind] = self._file.execute(
                f"SELECT {kind}, count(*) FROM {near.source} {where} GROUP BY ALL HAVING {kind} IS NOT NULL"
            ).fetchall()
        return max(count for *_, count in rows), counts  # the largest group is that of all

    def models(self, numbers: Sequence[int]) -> tuple[Model, ...]:
        """Return models by their numbers, in that order."""
        if not numbers:
            return ()
        # A join finds a few rows among millions; an IN would look at every row.
        few = "(VALUES " + ", ".join(f"({number}::UINTEGER)" for number in numbers) + ") AS few (n)"
        found: dict[int, dict[str, Any]] = {number: {} for number in numbers}
        for table in ("facts", "texts"):
            rows = self._file.execute(f"SELECT {table}.* FROM {few} JOIN {table} USING (n)")
            names = [column[0] for column in rows.description]
            for row in rows.fetchall():
                told = dict(zip(names, row, strict=True))
                found[told["n"]] |= told
        return tuple(self._model(found[number]) for number in numbers)

    def _model(self, told: dict[str, Any]) -> Model:
        named = {kind: self._words.get((kind, told[kind])) for kind in KINDS}
        lists = {name: tuple(told[name] or ()) for name in ("formats", "languages", "tags")}
        kept = {name: value for name, value in told.items() if name not in ("n", "key")}
        return Model(
            **kept
            | named
            | lists
            | {
                "provider": self.provider,
                "gated": ("open", "ask", "approval")[told["gated"]],
                "created": datetime.fromtimestamp(told["created"], UTC),
                "modified": datetime.fromtimestamp(told["modified"], UTC) if told["modified"] else None,
            }
        )

    def _one(self, query: str, values: Sequence[Any] = ()) -> Any:
        row = self._file.execute(query, list(values)).fetchone()
        return None if row is None else row[0]


def _where(rules: Iterable[str]) -> str:
    said = list(rules)
    return f"WHERE {' AND '.join(said)}" if said else ""


def _often(counted: tuple[int, int]) -> tuple[int, int]:
    code, count = counted
    return -count, code
