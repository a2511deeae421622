"""Batch endpoints: who scores files, with which deployments, and the jobs that do it."""

from __future__ import annotations

import streamlit as st

from app import parts, places
from app.pages import batch_form, batch_job
from serving.endpoints import Deployment, Endpoint
from studiolo import batch_activity, batch_asking, batch_shapes
from studiolo.batch_activity import Job, Summary

_PAGE = 20  # jobs on a page
_FILE = """name: count
endpoint_name: {endpoint}
model: {{path: model}}
code_configuration: {{code: code, scoring_script: score.py}}
compute: local
"""


@parts.guarded
def show() -> None:
    """Show all batch endpoints, the one that the address names, or one of its jobs."""
    chosen, job = st.query_params.get("endpoint"), st.query_params.get("job")
    if chosen:
        with st.container():
            if job:
                places.link("batch", parts.plain(chosen), icon="arrow_back", endpoint=chosen)
            else:
                places.link("batch", "All batch endpoints", icon="arrow_back")
    if chosen and job:
        batch_job.show(chosen, job)
    elif chosen:
        _detail(batch_activity.endpoint(parts.workspace(), chosen))
    else:
        _all()


def _all() -> None:
    st.title("Batch endpoints")
    found = batch_activity.summaries(parts.workspace())
    if not found:
        parts.empty(
            "No batch endpoint yet",
            "A batch endpoint scores files when there is time: a folder goes in, predictions come out. Write this into "
            "`count.yml`, beside a script and a model, and:",
        )
        st.code(_FILE.format(endpoint="letters"), language="yaml")
        st.code(_commands("letters"), language="bash")
        return
    for each in found:
        _card(each)
    parts.command("studiolo batch-endpoint list")


def _commands(endpoint: str) -> str:
    create = f"studiolo batch-endpoint create -n {endpoint}\n"
    return create + "studiolo batch-deployment create -f count.yml --set-default"


def _card(summary: Summary) -> None:
    endpoint, newest = summary.endpoint, summary.newest
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            places.link("batch", parts.plain(endpoint.name), icon="dynamic_feed", endpoint=endpoint.name)
            said = f":blue[{summary.running:,} running]" if summary.running else parts.many(summary.jobs, "job")
            st.markdown(f":small[{said if summary.jobs else 'no job yet'}]", width="content")
        if newest:
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                places.link("batch", parts.plain(newest.name), endpoint=endpoint.name, job=newest.name)
                st.markdown(f":small[{_told(newest)}]", width="content")
        if not endpoint.deployments:
            st.markdown(":orange[It has no deployment.]")


def _told(job: Job) -> str:
    counted = batch_job.counted(job)
    return " · ".join(each for each in (batch_job.state(job), counted, parts.ago(job.began)) if each)


def _detail(endpoint: Endpoint) -> None:
    st.title(parts.plain(endpoint.name))
    if text := endpoint.properties.get("description"):
        st.markdown(parts.plain(str(text)))
    if not endpoint.deployments:
        parts.empty("No deployment yet", "It needs a model or a script that reads files. Write this into `count.yml`:")
        st.code(_FILE.format(endpoint=endpoint.name), language="yaml")
        st.code("studiolo batch-deployment create -f count.yml --set-default", language="bash")
        _jobs(endpoint)
    else:
        _deployments(endpoint)
        left, right = st.columns([2, 3], gap="large")
        with left:
            st.subheader("Score files")
            batch_form.show(endpoint)
        with right:
            _jobs(endpoint)
    parts.acts(endpoint.name)
    making = batch_asking.as_making(endpoint)
    parts.command(making, title="The files that make it", files=batch_asking.files(endpoint))


def _deployments(endpoint: Endpoint) -> None:
    st.subheader("Deployments")
    default = batch_activity.default_deployment(endpoint)
    for name, way in sorted(endpoint.deployments.items()):
        with st.container(border=True, gap="xsmall"):
            mark = " :green[✓ answers where none is named]" if name == default else ""
            st.markdown(f"**{parts.plain(name)}**{mark}")
            st.caption(parts.plain(" · ".join(_settings(way))))
    if not default:
        st.markdown(":orange[None answers by itself: a job names its deployment.]")


def _settings(way: Deployment) -> list[str]:
    shown = batch_shapes.deployment(way)
    if shown["type"] == "pipeline":
        return [f"runs {shown['command']}", f"writes {', '.join(shown['outputs']) or 'nothing'}"]
    retries, may_fail = shown["retry_settings"], shown["error_threshold"]
    return [
        way.engine,
        str(way.model or ""),
        f"files a call: {shown['mini_batch_size']:,}",
        f"processes: {shown['instance_count'] * shown['max_concurrency_per_instance']:,}",
        f"seconds a call: {retries['timeout']:g}",
        f"tries again: {retries['max_retries']:,}",
        "any file may fail" if may_fail < 0 else f"files that may fail: {may_fail:,}",
        f"writes {shown['output_file_name']}" if shown["output_action"] == "append_row" else "writes its own files",
    ]


def _jobs(endpoint: Endpoint) -> None:
    st.subheader("Jobs")
    jobs = batch_activity.jobs(parts.workspace(), endpoint.name)
    if not jobs:
        st.markdown("No job yet. Give it files, and each job appears here with how far it is.")
        return
    rows = st.container()
    pages = -(-len(jobs) // _PAGE)
    page = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
    goes_on = not all(job.ended for job in jobs)
    with rows:
        st.fragment(_rows, run_every=3 if goes_on else None)(endpoint.name, page, goes_on)
    st.caption(f"{parts.many(len(jobs), 'job')}, the newest first.")


def _rows(endpoint: str, page: int, went_on: bool) -> None:
    """Show a page of jobs, and again every few seconds while one goes on."""
    jobs = batch_activity.jobs(parts.workspace(), endpoint)
    for job in jobs[_PAGE * (page - 1) : _PAGE * page]:
        with st.container(border=True, gap="xsmall"):
            places.link("batch", parts.plain(job.name), endpoint=endpoint, job=job.name)
            st.markdown(f":small[{_told(job)}]")
            if not job.ended:
                st.progress(job.share)
    if went_on and all(job.ended for job in jobs):
        st.rerun()  # nothing is left to look at again
