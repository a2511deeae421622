"""`studiolo catalog card`: what a model's authors say of it, what its licence asks for, how it hears a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import studiolo
from studiolo.commands.formats import Answer
from workspace.errors import NotFound

if TYPE_CHECKING:
    from catalog.about import About

_RESULTS = 10


def card_command(
    model: Annotated[str, typer.Argument(help="A model of this workspace (NAME, NAME:VERSION), or AUTHOR/NAME.")],
    revision: Annotated[str | None, typer.Option(help="Of a repository: a branch, a tag or a commit.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the card's text as well.")] = False,
) -> Answer:
    """Show a model's card: licence in plain words, results, tokenizer, a conversation as the model hears it."""
    from catalog import about
    from studiolo.card_results import measured

    with studiolo.open_workspace() as workspace:
        try:
            asset = workspace.assets.get("model", model)
        except NotFound:
            if "/" not in model:
                raise
            found, ours = about.of_repository(model, revision=revision), []
        else:
            found, ours = about.of_folder(workspace.assets.path(asset)), measured(workspace, asset)
    return Answer(value={"about": found, "measured": ours}, words=_told(model, found, ours, text=text))


def _told(model: str, found: About, ours: list[tuple[str, str]], *, text: bool) -> str:
    card = found.card
    allows = {True: "commercial use allowed", False: "no commercial use", None: "ask whether commercial use is allowed"}
    lines = [model, card.summary, "", f"licence: {card.license.name} ({allows[card.license.commercial]})"]
    lines += [f"  - {duty}" for duty in card.license.duties]
    lines += [f"  {card.license.link}"] if card.license.link else []
    named = {"task": card.task, "library": card.library, "languages": ", ".join(card.languages),
             "made from": ", ".join(card.base), "trained on": ", ".join(card.datasets)}  # fmt: skip
    lines += [f"{name}: {value}" for name, value in named.items() if value]
    if card.results:
        lines += ["results that the card claims:"]
        lines += [f"  {each.dataset}: {each.metric} {each.value:g}" for each in card.results[:_RESULTS]]
    if ours:
        lines += ["measured here:", *(f"  {name}: {value}" for name, value in ours)]
    if found.tokenizer is not None:
        longest = f", texts of up to {found.tokenizer.longest:,} tokens" if found.tokenizer.longest else ""
        lines += [f"tokenizer: {found.tokenizer.kind}{longest}"]
        lines += [f"  {name}: {token}" for name, token in found.tokenizer.special.items()]
    if found.chat is not None:
        knows = [
            name for name, known in (("system messages", found.chat.system), ("functions", found.chat.tools)) if known
        ]
        lines += [f"chat template ({', '.join(knows) or 'messages only'}):"]
        lines += [f"  {line}" for line in found.chat.text.splitlines()]
    lines += [f"note: {problem}" for problem in found.problems]
    return "\n".join(inert(line) for line in (lines if not text else [*lines, "", *card.text.splitlines()]))


def inert(line: str) -> str:
    """Return a line of a stranger without what would steer a terminal."""
    return "".join(sign if sign.isprintable() or sign == "\t" else "�" for sign in line)
