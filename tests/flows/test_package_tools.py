"""Package tools: found by entry point, checked, loaded by id."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import package_tools
from flows.package_tools import OWNER, choices, find, function_of, load, read, tool_from, wrong
from workspace.errors import Invalid, NotFound

UPPER = {"name": "Upper", "type": "python", "module": "shouting.tools", "function": "upper",
         "inputs": {"text": {"type": ["string"]}}}  # fmt: skip


@pytest.fixture
def shouting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with two tools, one of them a method that replaces an old one."""
    package = tmp_path / "shouting"
    package.mkdir()
    (package / "__init__.py").write_text(
        "def tools():\n"
        "    common = {'type': 'python', 'module': 'shouting.tools', 'inputs': {'text': {'type': ['string']}}}\n"
        "    return {'shouting.tools.upper': {'name': 'Upper', 'function': 'upper', **common},\n"
        "            'shouting.tools.Echo.say': {'name': 'Echo', 'class_name': 'Echo', 'function': 'say', **common,\n"
        "                                        'deprecated_tools': ['shouting.old.say']},\n"
        "            'shouting.tools.broken': {'name': 'Broken'}}\n"
    )
    (package / "tools.py").write_text(
        "from promptflow.core import tool, ToolProvider\n"
        "@tool\ndef upper(text: str) -> str:\n    return text.upper()\n"
        "class Echo(ToolProvider):\n"
        "    def __init__(self, times: int):\n        self.times = times\n"
        "    @tool\n    def say(self, text: str) -> str:\n        return text * self.times\n"
        "def names(prefix, subscription_id=None):\n"
        "    return [{'value': f'{prefix}{subscription_id}', 'display_value': 'shown'}]\n"
        "def nothing():\n    return ['a']\n"
    )
    info = tmp_path / "shouting-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[package_tools]\nall = shouting:tools\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "shouting"]:
        del sys.modules[name]


def test_tools_of_installed_packages_are_found(shouting: Path) -> None:
    found, problems = find()
    tool = found["shouting.tools.upper"]
    assert (tool.name, tool.package, tool.package_version) == ("Upper", "shouting", "1.2")
    assert any("'shouting.tools.broken' needs" in problem for problem in problems)


def test_a_tool_is_loaded_by_its_id(shouting: Path) -> None:
    assert load("shouting.tools.upper")(text="loud") == "LOUD"


def test_a_method_knows_its_class(shouting: Path) -> None:
    method = load("shouting.tools.Echo.say")
    owner = getattr(method, OWNER)
    assert getattr(owner(2), method.__name__)(text="ho") == "hoho"


def test_an_old_id_leads_to_the_tool_that_replaces_it(shouting: Path) -> None:
    assert load("shouting.old.say").__name__ == "say"


def test_an_unknown_id_names_one_that_is_close(shouting: Path) -> None:
    with pytest.raises(NotFound) as caught:
        load("shouting.tools.uper")
    assert caught.value.hint is not None


def test_what_flows_name_without_installing_anything_is_there() -> None:
    assert "promptflow.tools.embedding.embedding" in package_tools.BUILTIN
    assert load("promptflow.tools.embedding.embedding").__name__ == "embedding"
    assert getattr(load("promptflow.tools.openai_gpt4v.OpenAI.chat"), OWNER).__name__ == "OpenAI"


def test_a_module_that_is_missing_is_named() -> None:
    with pytest.raises(Invalid, match="no_such_module"):
        function_of(tool_from("a.b", UPPER | {"module": "no_such_module"}))


def test_everything_wrong_with_a_description_is_said() -> None:
    problems = list(wrong("mine", {"type": "magic", "inputs": {"a": {"enabled_by": "z"}}}))
    assert len(problems) == 6
    assert any("enabled by 'z'" in problem for problem in problems)


def test_a_tool_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "tools.yaml"
    file.write_text("mine.tools.say:\n  name: Say\n  type: python\n  module: mine.tools\n  inputs: {}\n")
    with pytest.raises(Invalid, match=r"tools.yaml:1.*needs `function`"):
        read(file)


def test_a_dynamic_list_is_called_with_what_it_asks_for(shouting: Path) -> None:
    listed = choices("shouting.tools.names", {"prefix": "a"}, subscription_id="s", workspace_name="w")
    assert listed == [{"value": "as", "display_value": "shown"}]
    assert choices(f"{shouting}/shouting/tools.py:names", {"prefix": "b"}) == [
        {"value": "bNone", "display_value": "shown"}
    ]


def test_a_dynamic_list_must_return_values(shouting: Path) -> None:
    with pytest.raises(Invalid, match="`value`"):
        choices("shouting.tools.nothing")
    with pytest.raises(NotFound):
        choices("shouting.tools.gone")
