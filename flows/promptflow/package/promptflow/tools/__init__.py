"""Tools that ask a model."""

from promptflow.tools.aoai import AzureOpenAI as AzureOpenAI
from promptflow.tools.openai import OpenAI as OpenAI
