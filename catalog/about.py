"""What is known about a model that is here or on the Hub: its card, its tokenizer, what a conversation becomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from catalog import card as cards
from catalog import template_preview
from catalog.card import Card
from catalog.hub import Hub, refused
from catalog.template_preview import Preview
from workspace.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    import httpx

_FILES = ("README.md", "tokenizer_config.json", "chat_template.jinja")
_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
_LARGEST = 20_000_000  # bytes of one of these files


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """What its configuration says: its class, how many tokens a text may have, and which tokens mean what."""

    kind: str
    longest: int | None
    special: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """All of it. `chat` is None where the model has no chat template; `problems` are what could not be read."""

    card: Card
    tokenizer: Tokenizer | None
    chat: Preview | None
    problems: tuple[str, ...]


def of_folder(folder: Path) -> About:
    """Read what a model's folder says of it."""
    return _about({name: _text(folder / name) for name in _FILES if (folder / name).is_file()})


def of_repository(name: str, *, revision: str | None = None, hub: Hub | None = None) -> About:
    """Read what a repository of the Hub says; its small files are kept where every tool of the Hub keeps them."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    hub = hub or Hub.of_person()
    found = {}
    for file in _FILES:
        try:
            path = hf_hub_download(name, file, revision=revision, endpoint=hub.endpoint, token=hub.token or False)
        except LocalEntryNotFoundError:
            raise Unavailable(
                f"{hub.endpoint} cannot be reached, and {name} is not here", hint="try again later"
            ) from None
        except EntryNotFoundError:
            continue
        except HFValidationError:
            raise NotFound(f"{name!r} is no model", hint="write AUTHOR/NAME") from None
        except HfHubHTTPError as error:
            # Its client is a later version of ours; what is read of a response is the same.
            raise refused(str(error.response.url), cast("httpx.Response", error.response)) from None
        found[file] = _text(Path(path))
    return _about(found)


def _about(files: Mapping[str, str]) -> About:
    card = cards.read(files.get("README.md", ""))
    problems = list(card.problems) if "README.md" in files else ["there is no card"]
    told: Mapping[str, Any] = {}
    if "tokenizer_config.json" in files:
        try:
            read = json.loads(files["tokenizer_config.json"])
            told = read if isinstance(read, dict) else {}
        except ValueError:
            problems.append("tokenizer_config.json is no JSON")
    special = {name: token for name in _SPECIAL if (token := _token(told.get(name)))}
    template = files.get("chat_template.jinja") or _template(told.get("chat_template"))
    chat = None
    if template:
        try:
            chat = template_preview.preview(template, tokens=special)
        except Invalid as error:
            problems.append(str(error))
    longest = told.get("model_max_length")
    tokenizer = Tokenizer(
        kind=str(told.get("tokenizer_class") or "not said")[:100],
        longest=int(longest) if isinstance(longest, int | float) and 0 < longest < 1e9 else None,
        special=special,
    )
    return About(card=card, tokenizer=tokenizer if told else None, chat=chat, problems=tuple(problems))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_LARGEST).decode("utf-8", "replace")


def _token(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value[:100] if isinstance(value, str) else ""


def _template(value: object) -> str:
    """Return the template of a configuration; where it has several by name, the default one."""
    if isinstance(value, list):
        named = [each for each in value if isinstance(each, dict)]
        value = next((each.get("template") for each in named if each.get("name") == "default"), None)
    return value if isinstance(value, str) else ""
