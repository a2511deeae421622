"""What all pages of evaluations are printed on: the colours and the type of `paper.css`, escaped text, no network."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup


def template(name: str) -> Template:
    """Return a page of this package, to be rendered; everything put into it is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    here = files("evals.reports")
    environment.globals["paper"] = Markup(here.joinpath("paper.css").read_text("utf-8"))  # noqa: S704 - our own file
    return environment.from_string(here.joinpath(name).read_text("utf-8"))
