"""Texts to token numbers and back, as vLLM's /tokenize and /detokenize have it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.engines.fields import are_tokens, flag, parse, word, wrong
from serving.engines.messages import read_messages
from serving.engines.templates import Template
from serving.engines.tools import read_offer


def tokenizing(tokenizer: Any, length: int, template: Template | None) -> list[Route]:
    """Return the two routes for a model that reads `length` tokens; conversations need its template."""

    async def tokenize(request: Request) -> Response:
        body = parse(await request.body())
        if "messages" not in body:
            special = flag(body, "add_special_tokens", default=True)
            text = word(body, "prompt") if body.get("prompt") != "" else ""
        elif template is None:
            raise wrong("this model reads texts, no conversations; give a 'prompt'", param="messages")
        else:
            special = flag(body, "add_special_tokens")
            prompted = flag(body, "add_generation_prompt", default=True)
            text = template.render(read_messages(body), read_offer(body), prompted=prompted)
        tokens = tokenizer(text, add_special_tokens=special, truncation=False)["input_ids"]
        words = tokenizer.convert_ids_to_tokens(tokens) if flag(body, "return_token_strs") else None
        return JSONResponse({"count": len(tokens), "max_model_len": length, "tokens": tokens, "token_strs": words})

    async def detokenize(request: Request) -> Response:
        tokens = parse(await request.body()).get("tokens")
        if not isinstance(tokens, list) or not are_tokens(tokens):
            raise wrong("'tokens' must be a list of token numbers", param="tokens")
        if tokens and max(tokens) >= len(tokenizer):
            raise wrong(f"token {max(tokens)} is not in the vocabulary of {len(tokenizer)}", param="tokens")
        return JSONResponse({"prompt": tokenizer.decode(tokens, clean_up_tokenization_spaces=False)})

    return [Route("/tokenize", tokenize, methods=["POST"]), Route("/detokenize", detokenize, methods=["POST"])]
