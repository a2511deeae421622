"""Templates fill in values and can do nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import flow, templates
from flows.chat_text import Prompt
from flows.steps import Kit
from flows.templates import render
from workspace.errors import Invalid


def test_unknown_names_are_empty_and_blocks_leave_no_line() -> None:
    assert render("{% if a %}\nyes {{ a }}{{ b }}\n{% endif %}\n", {"a": 1}) == "yes 1\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% for i in range(3) %}{{ loop.index }}{% if not loop.last %},{% endif %}{% endfor %}", "1,2,3"),
        ("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;"),
        ("{% macro hi(name, mark='!') %}hi {{ name }}{{ mark }}{% endmacro %}{{ hi('Ann') }}{{ hi('Bo', mark='?') }}",
         "hi Ann!hi Bo?"),
        ("{% set ns = namespace(total=0) %}{% for i in [1, 2, 3] %}{% set ns.total = ns.total + i %}{% endfor %}"
         "{{ ns.total }}", "6"),
        ("{% set comma = joiner(', ') %}{% for i in items %}{{ comma() }}{{ i }}{% endfor %}", "x, y"),
        ("{% set row = cycler('odd', 'even') %}{{ row.next() }} {{ row.next() }}", "odd even"),
        ("{{ dict(a=1, b=x).b }} {{ {'k': [x]}['k'][0] }}", "7 7"),
        ("{{ items | join('/') | upper }} {{ 'a' ~ x ~ items }}", "X/Y a7['x', 'y']"),
        ("{% set seen = [] %}{% for i in items %}{% set _ = seen.append(i) %}{% endfor %}{{ seen | length }}", "2"),
        ("{% set text %}in {{ x }}{% endset %}{{ text }}{% filter upper %} up{% endfilter %}", "in 7 UP"),
        ("{{ '%s-%03d' % ('a', 5) }} {{ '{:>4}|{}'.format('b', x) }} {{ '-' * 3 }}", "a-005    b|7 ---"),
        ("{{ d | tojson }} {{ items[0].center(5) | trim }} {{ missing | default('none') }}", '{"a": 1, "b": 2} x none'),
        ("{% for item in tree recursive %}{{ item.n }}{{ loop(item.of) }}{% endfor %}", "123"),
        ("{{ items[1:] }}{# a note #}{% raw %}{{ raw }}{% endraw %}", "['y']{{ raw }}"),
    ],
)  # fmt: skip
def test_what_prompts_use_works(source: str, said: str) -> None:
    values = {"d": {"a": 1, "b": 2}, "items": ["x", "y"], "x": 7,
              "tree": [{"n": 1, "of": [{"n": 2, "of": []}]}, {"n": 3, "of": []}]}  # fmt: skip
    assert render(source, values) == said


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ x.__init__.__globals__ }}",
        "{{ ''|attr('__class__') }}",
        "{{ x|map(attribute='__class__')|list }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ 'a'.format_map(x) }}{{ '{0.__class__}'.format(x) }}",
        "{{ ''|attr('format')|string }}{{ ('{0.__class__}'|attr('format'))(x) }}",
        "{{ self._TemplateReference__context }}",
        "{{ loop.__class__ }}{{ namespace.__init__ }}",
    ],
)
def test_an_attack_on_the_process_is_refused_or_blank(attack: str) -> None:
    text = ""
    with contextlib.suppress(ValueError):
        text = str(render(attack, {"x": [1]}))
    assert "class" not in text
    assert "root:" not in text
    assert "builtins" not in text


_GROW = "{% set ns = namespace(x='aa') %}{% for i in range(60) %}{% set ns.x = STEP %}{% endfor %}{{ ns.x }}"


@pytest.mark.parametrize(
    "attack",
    [
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * ['a'] }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ 'a'|center(10**9) }}",
        "{{ 'a'.ljust(10**9) }}{{ 'a'.zfill(10**9) }}",
        "{{ ('\t' * 10**6).expandtabs(10**6) }}",
        "{{ ('a' * 10**6)|replace('a', 'b' * 10**6) }}",
        "{{ ('a' * 10**6).replace('', 'b' * 10**6) }}",
        "{{ ('b' * 10**6).join('a' * 10**6) }}",
        "{{ ('a' * 10**6)|join('b' * 10**6) }}",
        "{{ ('\n' * 10**6)|indent(10**6) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 10**9) }}",
        "{{ [1]|batch(10**9, 'x')|list }}",
        "{{ (5).to_bytes(10**9) }}",
        "{{ 1.5|round(10**9, 'floor') }}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        _GROW.replace("STEP", "ns.x ~ ns.x"),
        _GROW.replace("STEP", "ns.x + ns.x"),
        _GROW.replace("STEP", "[ns.x, ns.x]"),
        _GROW.replace("STEP", "(ns.x, ns.x)"),
        _GROW.replace("STEP", "{'a': ns.x, 'b': ns.x}"),
        _GROW.replace("STEP", "dict(a=ns.x, b=ns.x)"),
        _GROW.replace("STEP", "[ns.x, ns.x]|list"),
        "{% set a = [1] %}{% for i in range(60) %}{% set _ = a.extend(a) %}{% endfor %}{{ a|length }}",
        "{{ " + "(" * 20_000 + ")" * 20_000 + " }}",
    ],
)
def test_what_would_grow_without_end_is_refused(attack: str) -> None:
    with pytest.raises(ValueError, match="cannot be rendered"):
        render(attack, {})


def test_a_rendered_prompt_has_a_bound() -> None:
    with pytest.raises(ValueError, match="longer"):
        render("{% for a in x %}{% for b in x %}{{ big }}{% endfor %}{% endfor %}", {"x": [1] * 50, "big": "y" * 1000})


def test_a_template_changes_its_own_copy_of_a_value_only() -> None:
    values = {"x": [1], "d": {"a": {"b": 1}}}
    assert render("{% set _ = x.append(2) %}{% set _ = d.a.update(b=2) %}{{ x }}{{ d.a.b }}", values) == "[1, 2]2"
    assert values == {"x": [1], "d": {"a": {"b": 1}}}


def test_many_long_documents_are_no_attack() -> None:
    documents = [{"text": "word " * 2_000, "score": number} for number in range(500)]
    source = "{% for d in docs|sort(attribute='score')|list %}{{ d.text|trim|truncate(20) }}\n{% endfor %}"
    assert len(render(source, {"docs": documents}).splitlines()) == 500


def test_a_template_that_is_none_says_where(tmp_path: Path) -> None:
    file = tmp_path / "ask.jinja2"
    file.write_text("one\n{% if x %}\n{{ y \n")
    with pytest.raises(Invalid) as caught:
        templates.read(file)
    assert caught.value.at is not None
    assert caught.value.at.path == file
    assert caught.value.at.line in (3, 4)


def test_a_prompt_node_gives_text_that_is_a_prompt(make_step: Callable[..., Any]) -> None:
    step = make_step("Hello {{ name }}, {{ mood }}", {"mood": "happy"})
    made = step.call(**step.constants, name="Ann")
    assert made == "Hello Ann, happy"
    assert isinstance(made, Prompt)


@pytest.fixture
def make_step(tmp_path: Path) -> Callable[..., Any]:
    """A prompt node: `make_step(template, inputs)`."""

    def make(source: str, inputs: dict[str, Any]) -> Any:
        file = tmp_path / "say.jinja2"
        file.write_text(source)
        node = flow.Node(name="say", type="prompt", path=file, inputs=inputs)
        return templates.make(node, Kit(flow.Flow(name="f", folder=tmp_path, file=file, nodes=(node,)), {}))

    return make
