"""OpenAI models that see: the prompt's images are sent with it."""

from promptflow.tools.openai import OpenAI as OpenAI
