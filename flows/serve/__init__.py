"""A flow over HTTP: the contract of prompt flow, a page, an OpenAI chat model."""
