"""What is asked of a batch endpoint: files that are uploaded, data of the workspace, or files of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from app import parts, places
from serving.batch.inputs import Given
from serving.batch.invoking import Invocation
from serving.endpoints import Endpoint
from studiolo import batch_activity, batch_asking

_UPLOAD, _KEPT = "Upload files", "Data or a path"
_LARGEST = 100  # megabytes of a file that is uploaded

Uploads = Sequence[tuple[str, bytes]]


def show(endpoint: Endpoint) -> None:
    """Show the form; what is chosen stands in the address, files that were chosen do not."""
    workspace, names = parts.workspace(), sorted(endpoint.deployments)
    default = batch_activity.default_deployment(endpoint)
    first = names.index(default) if default else 0
    chosen = st.selectbox("Deployment", names, first, key="deployment", bind="query-params")
    takes = batch_asking.inputs(endpoint.deployments[chosen])
    given, uploads = _given(takes)
    size, processes = _numbers() if batch_asking.takes_files(takes) else (None, None)
    asked = Invocation(deployment=chosen, inputs=given, mini_batch_size=size, instances=processes)
    if st.button("Begin a job", type="primary", icon=":material/play_arrow:"):
        with parts.errors_shown():
            with st.spinner("The files are kept, then the job begins …"):
                job = batch_asking.ask(workspace, endpoint.name, asked, holder=parts.visitor(), uploads=uploads)
            places.go("batch", endpoint=endpoint.name, job=job.name)
    with parts.errors_shown():
        parts.command(
            batch_asking.as_command(endpoint.name, asked),
            files={"inputs.yml": batch_asking.as_file(workspace, asked)},
            request=batch_asking.as_request(workspace, endpoint.name, asked),
        )


def _given(takes: Sequence[batch_asking.Input]) -> tuple[Mapping[str, Given], Uploads | None]:
    """Return the inputs, and the files where they are uploaded: their input stands for them in the command."""
    if not batch_asking.takes_files(takes):
        return {each.name: given for each in takes if (given := _one(each))}, None
    way = st.segmented_control(
        "Input", [_UPLOAD, _KEPT], default=_UPLOAD, required=True, key="from", bind="query-params"
    )
    if way == _KEPT:
        return {each.name: given for each in takes if (given := _one(each))}, None
    chosen = st.file_uploader(
        "Files", accept_multiple_files=True, max_upload_size=_LARGEST, key="files", label_visibility="collapsed"
    )
    uploads = [(each.name, each.getvalue()) for each in chosen]
    if uploads:
        st.caption(f"{parts.many(len(uploads), 'file')}, {parts.size(sum(len(content) for _, content in uploads))}")
    return batch_asking.stand_in(uploads), uploads


def _one(each: batch_asking.Input) -> Given | None:
    label = parts.plain(each.name if each.needed else f"{each.name} (may be left out)")
    if not each.is_path:
        text = st.text_input(label, key=f"value-{each.name}", bind="query-params", placeholder=str(each.value or ""))
        return Given(value=text) if text else None
    may_type = parts.visitor().role == "admin"
    path = st.selectbox(
        label, batch_asking.data(parts.workspace()), None, key=f"path-{each.name}", bind="query-params",
        accept_new_options=may_type, placeholder=str(each.value or "azureml:NAME:1, or a path of this machine"),
        help="Choose data of the workspace" + (", or write the path of a file or folder" if may_type else ""),
    )  # fmt: skip
    return Given(path=path) if path else None


def _numbers() -> tuple[int | None, int | None]:
    with st.popover("Parameters", icon=":material/tune:"):
        size = st.number_input(
            "Files a call", 1, None, None, key="size", bind="query-params", placeholder="as deployed"
        )
        processes = st.number_input(
            "Instances", 1, 64, None, key="instances", bind="query-params", placeholder="as deployed",
            help="How many times the processes of the deployment work at once",
        )  # fmt: skip
    return size, processes
