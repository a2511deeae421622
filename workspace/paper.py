"""What pages that are kept as files are printed on: the colours and type of `paper.css`, escaped text, no network."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup


def template(package: str, name: str) -> Template:
    """Return a page of a package, to be rendered; everything put into it is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    css = files("workspace").joinpath("paper.css").read_text("utf-8")
    environment.globals["paper"] = Markup(css)  # noqa: S704 - our own file
    return environment.from_string(files(package).joinpath(name).read_text("utf-8"))
