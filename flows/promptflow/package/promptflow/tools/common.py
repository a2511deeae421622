"""Prompts and their messages."""

from flows.promptflow.models import parse_chat as parse_chat
from flows.promptflow.models import render_jinja_template as render_jinja_template
