"""`studiolo catalog search`, `show` and `compare`: the shelf of models, asked by words and filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

import studiolo
from studiolo.commands.formats import Answer
from workspace.errors import Invalid

if TYPE_CHECKING:
    from catalog.index.search import Found, Model

COLUMNS = ("id", "task", "parameters", "weights", "license", "downloads", "likes", "modified")
MOST = 8  # models side by side
_FACETS = 6  # words of a facet in the terminal
_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}

Word = Annotated[str | None, typer.Option(help="Only these.")]
Range = Annotated[str | None, typer.Option(metavar="FROM:TO", help="Either end may be left out: 1B:8B, :500M, 32k:")]


def search_command(
    words: Annotated[list[str] | None, typer.Argument(help="Words of names, tasks and libraries.")] = None,
    *,
    task: Word = None,
    library: Word = None,
    license: Word = None,  # noqa: A002  the name of the option
    type: Annotated[str | None, typer.Option(help="Only this architecture: llama, qwen3 …")] = None,  # noqa: A002
    precision: Annotated[str | None, typer.Option(help="BF16, F32, gguf, gptq, awq …")] = None,
    author: Word = None,
    base: Annotated[str | None, typer.Option(help="Only what was made from this model.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="de, en …; repeatable.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of the Hub; repeatable.")] = None,
    parameters: Range = None,
    context: Range = None,
    provider: Annotated[str | None, typer.Option(help="Only this one's: hub, local, or one that was added.")] = None,
    fits: Annotated[bool, typer.Option(help="Only what this machine has the memory for.")] = False,
    gated: Annotated[bool | None, typer.Option(help="Only what must be asked for; or nothing of it.")] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="relevance, trending, downloads, likes, newest, updated, small, cheap, popular-small or fresh."
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, max=1000)] = 20,
    offset: Annotated[int, typer.Option(min=0, help="How many to leave out.")] = 0,
) -> Answer:
    """Search the catalog: words and filters must all hold; what a further filter would leave stands below."""
    from catalog.index import several
    from catalog.index.search import Wanted
    from studiolo.catalog_shelf import room_for_weights, shelves

    with studiolo.open_workspace() as workspace, shelves(workspace, provider) as opened:
        found = several.search(
            opened,
            Wanted(
                words=" ".join(words or ()), task=task, library=library, license=license, type=type,
                precision=precision, author=author, base=base, languages=tuple(language or ()), tags=tuple(tag or ()),
                parameters=number_range(parameters), context=number_range(context),
                weights=room_for_weights() if fits else None, gated=gated, sort=sort,  # type: ignore[arg-type]  # it says
                limit=limit, offset=offset,
            ),
        )  # fmt: skip
    next_ = f"studiolo catalog show {found.models[0].id}" if found.models else ""
    if len(opened) == 1 and provider is None and not found.models:
        next_ = "studiolo catalog sync --task text-generation"  # only the models of this workspace are there
    return Answer(value=found, words=_told(found, offset), next=next_)


def show_command(model: Annotated[str, typer.Argument(help="Its path: AUTHOR/NAME.")]) -> Answer:
    """Show all that the catalog knows of a model."""
    from catalog.index import several
    from studiolo.catalog_shelf import shelves

    with studiolo.open_workspace() as workspace, shelves(workspace) as opened:
        found = several.get(opened, model)
    return Answer(value=found, next=f"studiolo catalog fit {found.id}")


def compare_command(models: Annotated[list[str], typer.Argument(help="Their paths, two to eight.")]) -> Answer:
    """Show models side by side."""
    from catalog.index import several
    from studiolo.catalog_shelf import shelves

    if not 2 <= len(models) <= MOST:
        raise Invalid(f"two to {MOST} models can be compared, not {len(models)}")
    with studiolo.open_workspace() as workspace, shelves(workspace) as opened:
        found = [several.get(opened, model) for model in models]
    return Answer(value=found, words=_side_by_side(found))


def number_range(written: str | None) -> tuple[float | None, float | None]:
    """Read a range of numbers.

    >>> number_range("1B:8B"), number_range(":500M"), number_range("32k")
    ((1000000000.0, 8000000000.0), (None, 500000000.0), (32000.0, None))
    """
    if written is None:
        return None, None
    low, _, high = written.partition(":")
    return _number(low), _number(high)


def _number(written: str) -> float | None:
    if not written:
        return None
    unit = _UNITS.get(written[-1].lower())
    try:
        return float(written[:-1]) * unit if unit else float(written)
    except ValueError:
        raise Invalid(f"{written!r} is no number", hint="write 500M, 1B:8B, 32k:") from None


def _told(found: Found, offset: int) -> str:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model", no_wrap=True, overflow="fold")
    columns: dict[str, list[str]] = {
        "parameters": [short(model.parameters) for model in found.models],
        "task": [model.task or "" for model in found.models],
        "licence": [model.license or "" for model in found.models],
        "downloads": [short(model.downloads or None) for model in found.models],
        "weights": [_bytes(model.weights) for model in found.models],
        "likes": [short(model.likes or None) for model in found.models],
        "$ a million": [_prices(model) for model in found.models],
    }
    names = [model.id + ("" if model.gated == "open" else " (gated)") for model in found.models]
    width = max(map(len, names), default=0)
    shown: list[list[str]] = []
    for heading, values in columns.items():
        width += 2 + max(len(heading), *map(len, values), 0)
        if any(values) and (width <= console.width or len(shown) < 2):
            table.add_column(heading, justify="right" if heading in ("parameters", "downloads", "likes") else "left")
            shown.append(values)
    for name, *row in zip(names, *shown, strict=True):
        table.add_row(name, *row)
    with console.capture() as captured:
        for wrong, right in found.instead.items():
            console.print(f"{wrong!r} is no word of the catalog; searched for {right!r}", markup=False, highlight=False)
        for word in found.without:
            console.print(f"left out: {word!r}, which no such model has", markup=False, highlight=False)
        console.print(table)
        last = offset + len(found.models)
        console.print(f"{offset + 1 if found.models else 0} to {last} of {found.total:,}", highlight=False)
        for kind, words in found.facets.items():
            if words:
                told = "  ".join(f"{word} {short(count)}" for word, count in words[:_FACETS])
                console.print(f"{kind}: {told}", markup=False, highlight=False, style="dim")
    return captured.get().rstrip()


def _side_by_side(models: list[Model]) -> str:
    from rich.console import Console
    from rich.table import Table

    rows: list[tuple[str, list[Any]]] = [
        ("task", [model.task for model in models]),
        ("library", [model.library for model in models]),
        ("kind", [model.type for model in models]),
        ("parameters", [short(model.parameters) for model in models]),
        ("weights", [_bytes(model.weights) for model in models]),
        ("precision", [model.precision for model in models]),
        ("context", [short(model.context) for model in models]),
        ("licence", [model.license for model in models]),
        ("$ a million tokens", [_prices(model) for model in models]),
        ("access", [model.gated for model in models]),
        ("languages", [", ".join(model.languages) for model in models]),
        ("made from", [model.base for model in models]),
        ("downloads", [short(model.downloads) for model in models]),
        ("likes", [short(model.likes) for model in models]),
        ("updated", [model.modified and f"{model.modified:%Y-%m-%d}" for model in models]),
    ]
    table = Table("", *(model.id for model in models), box=None, header_style="bold", pad_edge=False)
    for name, values in rows:
        if any(values):
            table.add_row(name, *(str(value or "-") for value in values))
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()


def short(number: int | None) -> str:
    """Return a count as people say it: `short(135_000_000) == "135M"`."""
    if number is None:
        return ""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _prices(model: Model) -> str:
    sides = ((model.input_price, "in"), (model.output_price, "out"))
    return ", ".join(f"{price:g} {side}" for price, side in sides if price is not None)


def _bytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
