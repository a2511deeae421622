"""Contamination: rows of evaluation sets that training data holds, word for word or nearly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flows import data as files
from jobs.data import tables
from workspace import Asset, Workspace
from workspace.errors import Denied, Invalid, NotFound
from workspace.texts import SHINGLE, Vocabulary, Words, jaccard, signatures

ALIKE = 0.6  # of the shingles of two texts, from where on they are near duplicates
_FEWEST = 4  # words of a text that says something by itself: "Paris" stands in every training set
_WINDOW = 8  # words in a row by which a longer text is found inside another
_SHOWN = 160

Kind = Literal["exact", "normalized", "near"]
_STRENGTH = {"exact": 0, "normalized": 1, "near": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One training row that holds one row of an evaluation set; both are counted from 1.

    `similarity` is 1 for what is the same but for case and punctuation.
    """

    kind: Kind
    row: int
    evalset: str
    evalset_row: int
    similarity: float
    text: str
    evalset_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What was compared, and every pair that was found, the strongest first."""

    data: str
    rows: int
    evalsets: Mapping[str, int]
    matches: tuple[Match, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.matches

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        counts = {kind: sum(match.kind == kind for match in self.matches) for kind in _STRENGTH}
        return {**asdict(self), "clean": self.clean, "counts": counts}


@dataclass(frozen=True, slots=True)
class _Texts:
    """Rows as texts: the leaves of each, and all of them together where there are several."""

    texts: list[str]
    rows: list[int]
    whole: list[bool]
    words: Words


def check(workspace: Workspace, data: Path | Asset | str, *, alike: float = ALIKE) -> Overlap:
    """Compare data with every registered evaluation set: assets of kind evalset, and data that eval runs have read."""
    against = {asset.ref: [*files.rows(workspace.assets.path(asset))] for asset in evaluation_sets(workspace)}
    name, rows = _given(workspace, data)
    return compare(rows, against, name=name, alike=alike)


def require_clean(
    workspace: Workspace, data: Path | Asset | str, *, override_reason: str | None = None, alike: float = ALIKE
) -> Overlap:
    """Raise Denied where the data holds rows of an evaluation set, unless a reason is given; the reason is audited."""
    if override_reason is not None and not override_reason.strip():
        raise Invalid("the reason is empty", hint="say why the overlap does no harm")
    overlap = check(workspace, data, alike=alike)
    if overlap.clean:
        return overlap
    if override_reason is None:
        first = overlap.matches[0]
        rows = len({match.row for match in overlap.matches})
        raise Denied(
            f"{rows} of {overlap.rows} training rows stand in evaluation sets; row {first.row} is row "
            f"{first.evalset_row} of {first.evalset}",
            hint=f"see all: studiolo eval contamination {overlap.data}; or give a reason to train all the same",
        )
    counts = overlap.as_json()["counts"]
    with workspace.light.write() as statements:
        told = {"reason": override_reason.strip(), "evalsets": sorted(overlap.evalsets), **counts}
        workspace.audit.record(statements, "contamination.override", overlap.data, after=told)
    return overlap


def evaluation_sets(workspace: Workspace) -> list[Asset]:
    """Return the versions of evalset assets that are not archived, and the data that eval runs have read.

    What was archived after its last run measures nothing any more: its rows may be trained on.
    """
    sets = {asset.ref: asset for asset in workspace.assets.list("evalset", every_version=True)}
    query = (
        "SELECT source, MAX(runs.started_at) AS read_at FROM edges JOIN runs ON edges.target = 'run:' || runs.run_id "
        "WHERE runs.kind = 'eval' AND (source LIKE 'data:%' OR source LIKE 'evalset:%') GROUP BY source ORDER BY source"
    )
    archived = {
        f"{row['kind']}:{row['name']}:{row['version']}": float(row["archived_at"])
        for row in workspace.light.rows("SELECT kind, name, version, archived_at FROM assets WHERE archived_at > 0")
    }
    for row in workspace.light.rows(query):
        if archived.get(row["source"], row["read_at"]) > row["read_at"]:
            continue
        asset = workspace.assets.get(row["source"].partition(":")[0], row["source"])
        sets.setdefault(asset.ref, asset)
    return [*sets.values()]


def compare(
    rows: Sequence[Mapping[str, Any]],
    against: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    name: str = "data",
    alike: float = ALIKE,
) -> Overlap:
    """Compare rows with those of evaluation sets, by every text in them.

    Texts are the same word for word (exact), but for case and punctuation, or inside a longer one (normalized), or
    share most of their word triples (near, found by MinHash and then counted).
    """
    vocabulary = Vocabulary()
    training = _texts(rows, vocabulary)
    found: dict[tuple[int, str, int], Match] = {}
    for evalset, wanted in against.items():
        tested = _texts(wanted, vocabulary)
        for kind, one, other, similarity in _pairs(training, tested, alike):
            match = Match(
                kind=kind, row=training.rows[one] + 1, evalset=evalset, evalset_row=tested.rows[other] + 1,
                similarity=round(similarity, 4), text=training.texts[one][:_SHOWN],
                evalset_text=tested.texts[other][:_SHOWN],
            )  # fmt: skip
            key = (match.row, evalset, match.evalset_row)
            if key not in found or _rank(match) < _rank(found[key]):
                found[key] = match
    sizes = {evalset: len(wanted) for evalset, wanted in against.items()}
    return Overlap(data=name, rows=len(rows), evalsets=sizes, matches=tuple(sorted(found.values(), key=_rank)))


def _pairs(training: _Texts, tested: _Texts, alike: float) -> Iterator[tuple[Kind, int, int, float]]:
    """Pairs of texts, training first."""
    yield from _same(training, tested)
    yield from _held(training, tested)
    yield from _near(training, tested, alike)


def _same(training: _Texts, tested: _Texts) -> Iterator[tuple[Kind, int, int, float]]:
    known: dict[bytes, list[int]] = defaultdict(list)
    for other in range(len(tested.texts)):
        if tested.whole[other] or tested.words.ends[other + 1] - tested.words.ends[other] >= _FEWEST:
            known[tested.words.of(other).tobytes()].append(other)
    known.pop(b"", None)
    for one in range(len(training.texts)):
        for other in known.get(training.words.of(one).tobytes(), ()):
            exact = training.texts[one].strip() == tested.texts[other].strip()
            yield "exact" if exact else "normalized", one, other, 1.0


def _held(training: _Texts, tested: _Texts) -> Iterator[tuple[Kind, int, int, float]]:
    """Longer texts that stand inside a training text: their first words are looked for, then all of them."""
    hashed, of = training.words.windows(_WINDOW)
    openings, holder = tested.words.windows(_WINDOW)
    first = np.unique(holder, return_index=True)[1]
    order = np.argsort(openings[first], kind="stable")
    opening, text = openings[first][order], holder[first][order]
    hits = np.flatnonzero(np.isin(hashed, opening))
    left, right = np.searchsorted(opening, hashed[hits], "left"), np.searchsorted(opening, hashed[hits], "right")
    for hit, low, high in zip(hits, left, right, strict=True):
        one = int(of[hit])
        inside = training.words.of(one).tobytes()
        for other in text[low:high]:
            wanted = tested.words.of(int(other)).tobytes()
            if len(wanted) < len(inside) and _at_word(inside, wanted):
                yield "normalized", one, int(other), 1.0


def _near(training: _Texts, tested: _Texts, alike: float) -> Iterator[tuple[Kind, int, int, float]]:
    ours, theirs = (np.flatnonzero(each.words.lengths >= max(SHINGLE, _FEWEST)) for each in (training, tested))
    if not len(ours) or not len(theirs):
        return
    one_bands, other_bands = signatures(training.words, ours), signatures(tested.words, theirs)
    seen: set[tuple[int, int]] = set()
    for band in range(one_bands.shape[1]):
        order = np.argsort(other_bands[:, band], kind="stable")
        known = other_bands[order, band]
        hits = np.flatnonzero(np.isin(one_bands[:, band], known))
        left, right = (np.searchsorted(known, one_bands[hits, band], side) for side in ("left", "right"))
        for hit, low, high in zip(hits, left, right, strict=True):
            seen.update((int(ours[hit]), int(theirs[place])) for place in order[low:high])
    shingles: dict[tuple[bool, int], frozenset[int]] = {}
    for one, other in sorted(seen):
        for key, words in (((True, one), training.words), ((False, other), tested.words)):
            if key not in shingles:
                shingles[key] = _shingles(words, key[1])
        similarity = jaccard(shingles[True, one], shingles[False, other])
        if similarity >= alike:
            yield "near", one, other, similarity


def _shingles(words: Words, text: int) -> frozenset[int]:
    own = words.of(text)
    alone = Words(own, np.asarray([0, len(own)], dtype=np.int64))
    return frozenset(alone.windows(SHINGLE)[0].tolist())


def _at_word(inside: bytes, wanted: bytes) -> bool:
    at = inside.find(wanted)
    while at >= 0 and at % 8:
        at = inside.find(wanted, at + 1)
    return at >= 0


def _texts(rows: Sequence[Mapping[str, Any]], vocabulary: Vocabulary) -> _Texts:
    texts: list[str] = []
    of: list[int] = []
    whole: list[bool] = []
    for number, row in enumerate(rows):
        leaves = [*_leaves(row)]
        alone = len(leaves) == 1
        texts += leaves
        whole += [alone] * len(leaves)
        if not alone:
            texts.append("\n".join(leaves))
            whole.append(True)
        of += [number] * (len(texts) - len(of))
    return _Texts(texts, of, whole, vocabulary.number(texts))


def _leaves(value: Any) -> Iterator[str]:
    """The texts of a row, in whatever it holds them; roles, ids and numbers are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if key not in ("role", "id"):
                yield from _leaves(each)
    elif isinstance(value, list | tuple | np.ndarray):  # lists of a table are arrays
        for each in value:
            yield from _leaves(each)


def _rank(match: Match) -> tuple[int, float, int, str, int]:
    return (_STRENGTH[match.kind], -match.similarity, match.row, match.evalset, match.evalset_row)


def _given(workspace: Workspace, data: Path | Asset | str) -> tuple[str, list[Mapping[str, Any]]]:
    if isinstance(data, Asset):
        return data.ref, _rows(workspace.assets.path(data))
    path = Path(data)
    if path.exists():
        return str(data), _rows(path)
    if isinstance(data, str):
        asset = workspace.assets.get("data", data)
        return asset.ref, _rows(workspace.assets.path(asset))
    raise NotFound(f"no file {str(data)!r}", hint="a file of rows, or a data asset: data:NAME")


def _rows(path: Path) -> list[Mapping[str, Any]]:
    """Return the rows of a file, a folder, or a table whose MLTable file says how it is read."""
    if tables.file_in(path) is None:
        return [*files.rows(path)]
    return [*tables.read(path).to_dict("records")]
