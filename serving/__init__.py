"""The OpenAI-compatible gateway, engines, endpoints and traffic."""
