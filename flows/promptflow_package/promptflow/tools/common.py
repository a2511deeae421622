"""Prompts and their messages."""

from flows.promptflow_models import parse_chat as parse_chat
from flows.promptflow_models import render_jinja_template as render_jinja_template
