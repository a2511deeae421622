"""A sample conversation as a model's chat template writes it. Templates are strangers' programs: each runs in a process
of its own that has little memory and little time, in Jinja's sandbox.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from workspace.errors import Invalid

PATIENCE = 5.0  # seconds
MEMORY = 512_000_000
LARGEST = 200_000  # characters, of a template and of what it writes
SAMPLE = (
    {"role": "system", "content": "You answer in one sentence."},
    {"role": "user", "content": "What is a studiolo?"},
    {"role": "assistant", "content": "A small private study."},
    {"role": "user", "content": "Who had one?"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a template writes. `system` and `tools`: whether it knows system messages and functions."""

    text: str
    system: bool
    tools: bool


def preview(template: str, *, tokens: dict[str, str] | None = None, patience: float = PATIENCE) -> Preview:
    """Write the sample by a template; `tokens` are its special tokens: `{"bos_token": "<s>"}`.

    Raises Invalid where it is no template, never ends, takes too much memory or writes too much.
    """
    if len(template) > LARGEST:
        raise Invalid(f"the chat template has {len(template):,} characters, more than {LARGEST:,}")
    told = json.dumps({"template": template, "tokens": tokens or {}})
    try:
        done = subprocess.run(
            [sys.executable, "-I", __file__], input=told, capture_output=True, text=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        raise Invalid(f"the chat template did not end within {patience:g} s") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise Invalid("the chat template took more memory or time than it may") from None
    if "problem" in answer:
        raise Invalid(f"the chat template cannot be used: {answer['problem']}")
    return Preview(**answer)


def _write(template: str, tokens: dict[str, str]) -> dict[str, Any]:
    from datetime import datetime

    from jinja2 import TemplateError, meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda pattern: datetime.now().astimezone().strftime(pattern),
    }
    parsed = environment.from_string(template)
    try:
        text, system = parsed.render(messages=SAMPLE, add_generation_prompt=True, **tokens), True
        system = SAMPLE[0]["content"] in text
    except TemplateError:  # many allow no system message
        text, system = parsed.render(messages=SAMPLE[1:], add_generation_prompt=True, **tokens), False
    asked = meta.find_undeclared_variables(environment.parse(template))
    return {"text": text[:LARGEST], "system": system, "tools": "tools" in asked}


def _main() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(PATIENCE) + 1, int(PATIENCE) + 1))
    told = json.load(sys.stdin)
    try:
        answer = _write(told["template"], told["tokens"])
    except Exception as error:  # noqa: BLE001  whatever a stranger's program does is said, and ends here
        answer = {"problem": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(answer))  # noqa: T201  to the process that asked


if __name__ == "__main__":
    _main()
