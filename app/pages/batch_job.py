"""One job of a batch endpoint: how far it is, which files failed and why, and what came out."""

from __future__ import annotations

import shlex

import streamlit as st

from app import files, parts, places
from studiolo import batch_activity, batch_asking
from studiolo.asset_files import asset_file, beginning
from studiolo.batch_activity import Job, Output

_STATES = {
    "Queued": ":gray[◌ Queued]", "Starting": ":blue[◌ Starting]", "Running": ":blue[● Running]",
    "CancelRequested": ":orange[■ Is being ended]", "Completed": ":green[✓ Completed]", "Failed": ":red[✕ Failed]",
    "Canceled": ":orange[■ Canceled]",
}  # fmt: skip
_FAILED = 20  # failures on a page


def show(endpoint: str, name: str) -> None:
    """Show the job."""
    workspace = parts.workspace()
    job = batch_activity.job(workspace, endpoint, name)
    st.title(parts.plain(job.name))
    st.fragment(_live, run_every=None if job.ended else 2)(job)
    _buttons(job)
    if job.status == "Failed":
        st.error(parts.plain(batch_activity.why_failed(workspace, job)), icon=":material/error:")
    _failures(job)
    for output in batch_activity.outputs(workspace, job):
        _output(output)
    _given(job)
    _log(job)
    asked = batch_asking.asked_before(workspace, job)
    parts.command(
        f"studiolo job show {shlex.quote(job.name)}\n{batch_asking.as_command(job.endpoint, asked)}",
        files={"inputs.yml": batch_asking.as_file(workspace, asked)},
        request=batch_asking.as_request(workspace, job.endpoint, asked),
    )


def state(job: Job) -> str:
    """Return a job's status in colour; one that is complete with files that failed is not green."""
    if job.status == "Completed" and job.counts.files_failed:
        return f":orange[! Completed, {job.counts.files_failed:,} failed]"
    return _STATES[job.status]


def counted(job: Job) -> str:
    """Return how far a job is: "5 of 7 files, 1 failed, 12 rows"."""
    counts = job.counts
    if not counts.files:
        return ""
    failed = f", {counts.files_failed:,} failed" if counts.files_failed else ""
    return f"{counts.files_done:,} of {parts.many(counts.files, 'file')}{failed}, {parts.many(counts.rows, 'row')}"


def _live(before: Job) -> None:
    """Show how the job stands, and again every few seconds until it has ended; then the whole page."""
    job = batch_activity.job(parts.workspace(), before.endpoint, before.name)
    if job.status != before.status:
        st.rerun()
    took = f"took {parts.duration(job.seconds)}" if job.ended else f"for {parts.duration(job.seconds)}"
    st.markdown(f"{state(job)} · {parts.plain(job.deployment)} · began {parts.ago(job.began)}, {took}")
    counts = job.counts
    if counts.files:
        st.progress(job.share, text=counted(job))
        retries = f" · {counts.retries:,} tried again" if counts.retries else ""
        st.caption(f"{counts.mini_batches_done:,} of {counts.mini_batches:,} mini-batches{retries}")
    elif not job.ended:
        st.progress(0.0, text="Begins")
    if not job.ended and (said := batch_activity.log(parts.workspace(), job)):
        st.code("\n".join(said[-5:]), language=None, wrap_lines=True)


def _buttons(job: Job) -> None:
    workspace = parts.workspace()
    with st.container(horizontal=True, vertical_alignment="center"), parts.errors_shown():
        if not job.ended and parts.change("Cancel", icon=":material/stop:", disabled=job.status == "CancelRequested"):
            batch_activity.cancel(workspace, job.endpoint, job.name)
            st.rerun()
        if job.resumable and parts.change(
            "Go on", icon=":material/play_arrow:", tip="What is finished is not done again"
        ):
            places.go("batch", endpoint=job.endpoint, job=batch_activity.resume(workspace, job.endpoint, job.name).name)
        if job.run_id:
            places.link("runs", "Its run", icon="history", run=job.run_id)
            places.link("lineage", "Lineage", icon="share", node=f"run:{job.run_id}")


def _failures(job: Job) -> None:
    if not job.counts.files_failed:
        return
    found = batch_activity.failures(parts.workspace(), job, most=_FAILED)
    named = sum(len(failure.files) for failure in found)
    with st.expander(f"{parts.many(job.counts.files_failed, 'file')} failed", icon=":material/error:", expanded=True):
        for failure in found:
            st.markdown(f"**{parts.plain(', '.join(failure.files))}**  \n{parts.plain(failure.reason)}")
        if named < job.counts.files_failed:
            st.caption(f"{named:,} of {job.counts.files_failed:,} are shown; the log has all.")


def _output(output: Output) -> None:
    st.subheader("Output" if output.name == "score" else f"Output {parts.plain(output.name)}")
    names = [each.name for each in output.files]
    if not names:
        st.markdown("Nothing was written.")
        return
    chosen = names[0]
    with st.container(horizontal=True, vertical_alignment="bottom" if len(names) > 1 else "center"):
        if len(names) > 1:
            chosen = st.selectbox("File", names, key=f"file-{output.name}", bind="query-params", width=340)
        size = next(each.size for each in output.files if each.name == chosen)
        label = f"Download {chosen} ({parts.size(size)})"
        st.link_button(parts.plain(label), files.data_address(output.ref, chosen), icon=":material/download:")
        places.link_node(output.ref, parts.plain(output.ref))
    _beginning(output.ref, chosen)


def _beginning(ref: str, name: str) -> None:
    found = beginning(asset_file(parts.workspace(), ref, name))
    if found.rows:
        st.dataframe(found.rows, hide_index=True, alt=f"The first rows of {name}")
    elif found.text:
        st.code(found.text, language=None, wrap_lines=True)
    else:
        st.markdown("The file is empty." if found.whole else "This file is not text: download it to look at it.")
    if not found.whole and (found.rows or found.text):
        st.caption(f"The first {len(found.rows) or len(found.text.splitlines())} of more.")


def _given(job: Job) -> None:
    st.subheader("Input")
    for name, given in job.inputs.items():
        if given.path:
            ref = given.path.removeprefix("azureml:")
            places.link_node(ref, parts.plain(ref if name == batch_asking.DATA else f"{name}: {ref}"))
        else:
            st.markdown(parts.plain(f"{name}: {given.value}"))
    if not job.inputs:
        st.markdown("None.")


def _log(job: Job) -> None:
    said = batch_activity.log(parts.workspace(), job)
    if said and job.ended:
        with st.expander("Log", icon=":material/description:", expanded=job.status == "Failed"):
            st.code("\n".join(said), language=None, wrap_lines=True, height=min(360, 60 + 24 * len(said)))
            if len(said) >= batch_activity.LINES:
                st.caption(f"The last {len(said)} lines.")
