"""What the gateway speaks beside chat completions: OpenAI's responses, Anthropic's messages, an OpenAPI document."""
