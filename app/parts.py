"""What every page shows alike: the workspace, errors with their hint, the command that does the same, plain words."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import streamlit as st

import studiolo
from studiolo import StudioloError, Workspace
from studiolo.sessions import Sessions
from workspace.tokens import TokenRecord

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])")
VIEWER = "A token of role viewer looks and asks: this needs a contributor"
TONES = {"FINISHED": "green", "RUNNING": "blue", "FAILED": "red", "KILLED": "orange", "PAUSED": "violet"}
SIGNS = {"FINISHED": "✓", "RUNNING": "●", "FAILED": "✕", "KILLED": "■", "PAUSED": "‖"}


@st.cache_resource(show_spinner="Opening the workspace …")  # type: ignore[untyped-decorator]
def workspace() -> Workspace:
    """Return the workspace of this studio, opened once for all visitors."""
    return studiolo.open_workspace()


def guarded(show: Callable[[], None]) -> Callable[[], None]:
    """Make a page the edge where an error of ours becomes a message and a hint; anything else is a bug."""

    @functools.wraps(show)
    def page() -> None:
        with errors_shown():
            show()

    return page


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show an error of ours where it happens, and go on below."""
    try:
        yield
    except StudioloError as error:
        problem(error)


def problem(error: StudioloError) -> None:
    """Show what happened and what to try."""
    hint = f"  \n{plain(error.hint)}" if error.hint else ""
    st.error(f"**{plain(str(error))}**{hint}", icon=":material/error:")


def command(line: str, *, title: str = "", files: Mapping[str, str] | None = None, request: str = "") -> None:
    """Show the command that does the same as the page, the files that it reads and the HTTP request, if any."""
    with st.expander(title or "The same from the command line", icon=":material/terminal:"):
        st.code(line, language="bash")
        for name, text in (files or {}).items():
            st.caption(plain(name))
            st.code(text, language="yaml")
        if request:
            st.caption("Over HTTP")
            st.code(request, language="bash")


def acts(name: str) -> None:
    """Show what was done to an endpoint, by whom and when."""
    found = studiolo.acts_of(workspace(), name)
    with st.expander("What was done to it", icon=":material/receipt_long:"):
        st.dataframe(
            [
                {"when": datetime.fromtimestamp(act.ts, UTC), "who": act.actor, "what": act.action, "to": act.subject}
                for act in found
            ],
            hide_index=True,
            column_config={"when": st.column_config.DatetimeColumn(format="distance")},
        )


def visitor() -> TokenRecord:
    """Return whose token opened this session."""
    return Sessions(workspace()).holder(st.context.cookies.get(f"studiolo_{st.get_option('server.port')}", ""))


def may_change() -> bool:
    """Whether the visitor may change what others see; a token of role viewer looks and asks."""
    return visitor().role != "viewer"


def change(label: str, *, icon: str, tip: str | None = None, disabled: bool = False) -> bool:
    """Show a button that changes something, and return whether somebody who may has pressed it."""
    may = may_change()
    # Streamlit itself drops a press of a button that is shut.
    return bool(st.button(label, icon=icon, help=tip if may else VIEWER, disabled=disabled or not may))


def empty(title: str, text: str, line: str | None = None) -> None:
    """Show that there is nothing yet, and how something comes to be."""
    with st.container(border=True):
        st.markdown(f"**{title}**")
        st.markdown(text)
        if line:
            st.code(line, language="bash")


def plain(text: str) -> str:
    """Return a text so that Markdown shows it letter by letter: nobody's name becomes a link or a heading."""
    return _MARKUP.sub(r"\\\1", text.replace("\r", " ").replace("\n", " "))


def outcome(run: studiolo.RunRecord) -> str:
    """Return a run's status without colour; a run that ended well with lines that failed says how many."""
    failed = failures(run)
    if run.status == "FINISHED" and failed:
        return f"! Finished, {failed:,} failed"
    return f"{SIGNS.get(run.status, '·')} {run.status.capitalize()}"


def failures(run: studiolo.RunRecord) -> int:
    """Return how many lines of a flow run failed."""
    return int(run.metrics.get("lines.failed", 0))


def tone(run: studiolo.RunRecord) -> str:
    """Return the colour of how a run went: a run with lines that failed is not green."""
    return "orange" if run.status == "FINISHED" and failures(run) else TONES.get(run.status, "gray")


def ago(moment: float | None) -> str:
    """Return how long ago a moment was: "3 min ago"."""
    return "" if moment is None else f"{duration(time.time() - moment)} ago"


def duration(seconds: float | None) -> str:
    """Return a time span in the unit that suits it: "0.31 s", "4 min", "2 h".

    >>> duration(0.0312)
    '31 ms'
    """
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def many(count: int, word: str) -> str:
    """Return how many there are of something: "1 file", "1,200 files"."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def size(count: float | None) -> str:
    """Return a number of bytes in the unit that suits it: "1.2 MB"."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
