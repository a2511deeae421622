"""Playground: talk to any endpoint or model of the gateway, and see what each answer cost."""

from __future__ import annotations

from contextlib import closing
from itertools import chain

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

import studiolo
from app import parts

_AVATARS = {"user": ":material/person:", "assistant": ":material/smart_toy:"}


@parts.guarded
def show() -> None:
    """Show a conversation: its id and every parameter stand in the address."""
    workspace = parts.workspace()
    st.title("Playground")
    gateway = studiolo.running_gateway(workspace)
    models = studiolo.chat_models(workspace, gateway)
    if not models:
        parts.empty("No model yet", "Prepare the two that come with Studiolo:", "studiolo models prepare")
        return
    chat = _chat(workspace)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        sampling = _sampling(models)
        _tools(gateway, chat, sampling)
    for turn in chat.turns:
        _turn(turn)
    # Below the conversation, above the field: it stands still while the answer grows, as a click on a button that
    # moves away is lost.
    stop = st.bottom.empty()
    question = st.chat_input("Ask the model", key="question")
    if question:
        chat = studiolo.ask(workspace, chat, question)
        st.query_params["chat"] = chat.id
        _turn(chat.turns[-1])
    if not chat.turns:
        parts.empty("Ask something", "The conversation is kept under this page's address: reload it, or send it on.")
    if chat.open_question and (question or st.session_state.pop("again", False)):
        with parts.errors_shown():
            _answer(gateway, chat, sampling, stop)
    if chat.turns:
        st.button("Answer" if chat.open_question else "Regenerate", icon=":material/refresh:", on_click=_again)


def _sampling(models: list[str]) -> studiolo.Sampling:
    model = st.selectbox("Endpoint or model", models, key="model", bind="query-params", width=340)
    with st.popover("Parameters", icon=":material/tune:"):
        system = st.text_area("System prompt", key="system", bind="query-params", placeholder="You are …")
        left, right = st.columns(2)
        temperature = left.slider("Temperature", 0.0, 2.0, 0.7, 0.05, key="temperature", bind="query-params")
        top_p = right.slider("Top p", 0.05, 1.0, 1.0, 0.05, key="top_p", bind="query-params")
        most = left.number_input("Most tokens", 1, 8192, 256, key="max_tokens", bind="query-params")
        seed = right.number_input(
            "Seed", 0, 2**31 - 1, None, key="seed", bind="query-params", placeholder="any",
            help="With a seed the same question gets the same answer",
        )  # fmt: skip
    return studiolo.Sampling(
        model=model, system=system, temperature=temperature, top_p=top_p, max_tokens=int(most), seed=seed
    )


def _chat(workspace: studiolo.Workspace) -> studiolo.Chat:
    identifier = st.query_params.get("chat")
    if not identifier:
        return studiolo.new_chat()
    if st.session_state.pop("answering", None) == identifier:
        # The run before this one was cut short while it answered. It ends beside this one, not before it.
        return studiolo.settle(workspace, identifier)
    return studiolo.load_chat(workspace, identifier)


def _tools(gateway: studiolo.Gateway, chat: studiolo.Chat, sampling: studiolo.Sampling) -> None:
    with st.popover("View code", icon=":material/code:"):
        curl, python = st.tabs(["curl", "Python"])
        curl.code(studiolo.as_curl(gateway, chat, sampling), language="bash")
        python.code(studiolo.as_python(gateway, chat, sampling), language="python")
    if chat.turns:
        st.button("New chat", icon=":material/add:", on_click=_forget)


def _turn(turn: studiolo.Turn) -> None:
    with st.chat_message(turn.role, avatar=_AVATARS[turn.role]):
        if turn.role == "user":
            st.text(turn.text)
        else:
            st.markdown(turn.text or "*The model said nothing.*")
        if turn.measured:
            _measured(turn.measured)


def _answer(gateway: studiolo.Gateway, chat: studiolo.Chat, sampling: studiolo.Sampling, stop: DeltaGenerator) -> None:
    answer = studiolo.reply(parts.workspace(), gateway, chat, sampling)
    st.session_state["answering"] = chat.id
    # It runs the page again, which closes the stream here: the answer is kept as far as it came.
    stop.button("Stop", icon=":material/stop:")
    with st.chat_message("assistant", avatar=_AVATARS["assistant"]), closing(answer) as pieces:
        text, _figures = st.empty(), st.empty()  # where an answer given before stood with its figures: both go at once
        with text, st.spinner("Waiting for the first token; a model asked for the first time is loaded first …"):
            first = next(pieces, "")
        text.write_stream(chain([first], pieces))
    st.session_state.pop("answering", None)
    st.rerun()


def _measured(measured: studiolo.Measured) -> None:
    speed, first = measured.tokens_per_second, measured.first_token
    said = [
        f"{measured.prompt_tokens} → {measured.completion_tokens} tokens" if measured.completion_tokens else "",
        f"first token {parts.duration(first)}" if first is not None else "",
        f"{speed:.1f} tokens/s" if speed else "",
        f"{parts.duration(measured.seconds)} in all",
        "stopped" if measured.stopped else "",
        parts.plain(measured.deployment),
        parts.plain(measured.model),
    ]
    st.caption(" · ".join(part for part in said if part))


def _forget() -> None:
    st.query_params.pop("chat", None)


def _again() -> None:
    workspace = parts.workspace()
    studiolo.ask_again(workspace, studiolo.load_chat(workspace, st.query_params["chat"]))
    st.session_state["again"] = True
