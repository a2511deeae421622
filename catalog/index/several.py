"""Several shelves as one: the Hub's, this machine's, and those of other providers, each with a snapshot of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from catalog.index.search import Found, Model, Shelf, Wanted
from workspace.errors import NotFound


def search(shelves: Sequence[Shelf], wanted: Wanted, *, facets: bool = True) -> Found:
    """Answer a question from all shelves, the best of each first.

    Where some have all the words and others only a few, the others say nothing.
    """
    answers = [(shelf, *shelf.rank(wanted, facets=facets)) for shelf in shelves]
    fewest = min((len(found.without) for _, found, ranked in answers if ranked), default=0)
    saying = [each for each in answers if each[2] and len(each[1].without) == fewest]
    if not saying:
        return answers[0][1] if answers else Found(models=(), total=0)
    best = sorted(
        ((each.value, shelf, each.number) for shelf, _, ranked in saying for each in ranked), key=lambda each: -each[0]
    )[wanted.offset : wanted.offset + wanted.limit]
    models = {
        id(shelf): dict(zip(numbers, shelf.models(numbers), strict=True))
        for shelf in {id(shelf): shelf for _, shelf, _ in best}.values()
        if (numbers := [number for _, other, number in best if other is shelf])
    }
    return Found(
        models=tuple(models[id(shelf)][number] for _, shelf, number in best),
        total=sum(found.total for _, found, _ in saying),
        facets=_together([found.facets for _, found, _ in saying])
        | ({"provider": _providers(saying)} if facets else {}),
        instead={word: right for _, found, _ in saying for word, right in found.instead.items()},
        without=saying[0][1].without,
    )


def get(shelves: Sequence[Shelf], name: str) -> Model:
    """Return the model of that name from the first shelf that has it. Raises NotFound with what is near."""
    refused = NotFound("the catalog is empty", hint="studiolo catalog sync")
    for shelf in shelves:
        try:
            return shelf.get(name)
        except NotFound as error:
            if refused.hint in (None, "studiolo catalog sync", "studiolo catalog search"):
                refused = error
    raise refused


def _together(facets: Sequence[Mapping[str, tuple[tuple[str, int], ...]]]) -> dict[str, tuple[tuple[str, int], ...]]:
    kinds = dict.fromkeys(kind for each in facets for kind in each)
    counted = {kind: sum((Counter(dict(each.get(kind, ()))) for each in facets), Counter()) for kind in kinds}
    return {kind: tuple(counts.most_common()) for kind, counts in counted.items()}


def _providers(saying: Sequence[tuple[Shelf, Found, object]]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter({shelf.provider: found.total for shelf, found, _ in saying}).most_common())
