"""Azure OpenAI models that see: the prompt's images are sent with it."""

from promptflow.tools.aoai import AzureOpenAI as AzureOpenAI
