"""A scoring script behind its engine, as Azure ML's inference server runs one."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving import endpoints
from serving.engines.launches import kind
from serving.engines.scoring_spec import HERE
from tests.serving.scoring_engine import engine
from workspace.errors import Invalid
from workspace.home import Workspace
from workspace.processes import identity_of

ECHO = """\
import json
import os

def init():
    global folder
    folder = os.environ["AZUREML_MODEL_DIR"] if "AZUREML_MODEL_DIR" in os.environ else ""
    print("init is called")

def run(raw_data):
    return {"said": json.loads(raw_data), "pid": os.getpid()}
"""

Serve = Callable[..., httpx.Client]


def deployed(
    workspace: Workspace,
    code: Path,
    files: Mapping[str, str],
    *,
    model: str = "",
    script: str = "score.py",
    **properties: Any,
) -> endpoints.Deployment:
    """Record a deployment of these files."""
    for name, text in files.items():
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text(text)
    kept = workspace.assets.put("component", "code", code)
    endpoints.put(workspace, "bot")
    found = {"code": kept.ref, "scoring_script": script, **properties}
    return endpoints.put_deployment(workspace, "bot", "blue", engine="script", model=model, properties=found)


@pytest.fixture
def serve(workspace: Workspace, tmp_path: Path) -> Iterator[Serve]:
    """Serve scripts: `serve({"score.py": TEXT})` returns a client."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(files: Mapping[str, str], **more: Any) -> httpx.Client:
            deployment = deployed(workspace, tmp_path / "code", files, **more)
            return stack.enter_context(engine(workspace, deployment))

        yield start


def test_init_runs_once_and_run_for_every_request(serve: Serve, workspace: Workspace) -> None:
    client = serve({"score.py": ECHO})
    answers = [client.post("/score", json={"number": number}).json() for number in range(5)]
    assert [answer["said"]["number"] for answer in answers] == [*range(5)]
    assert (workspace.home / "engine.log").read_text().count("init is called") == 1
    assert client.get("/").text == "Healthy"


def test_a_registered_file_and_a_registered_folder_lie_in_the_model_folder_by_their_names(
    serve: Serve, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.txt").write_text("folder")
    workspace.assets.put("model", "net", tmp_path / "weights", properties={"filename": "weights"})
    look = """\
import os

def run(raw_data):
    root = os.environ["AZUREML_MODEL_DIR"]
    return open(os.path.join(root, raw_data)).read()
"""
    client = serve({"score.py": look}, model="net")
    assert client.post("/score", content="weights/w.txt").json() == "folder"


def test_a_registered_file_lies_in_the_model_folder(serve: Serve, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("file")
    workspace.assets.put("model", "net", tmp_path / "model.txt")
    look = "import os\n\ndef run(raw):\n    return open(os.environ['AZUREML_MODEL_DIR'] + '/model.txt').read()\n"
    assert serve({"score.py": look}, model="net").post("/score", content="").json() == "file"


def test_the_code_folder_is_the_working_folder_and_first_on_the_path(serve: Serve) -> None:
    files = {
        "inner/score.py": "import os\nimport requests\nfrom beside import WORD\n\ndef run(raw):\n"
        "    return [WORD, requests.MINE, open('data.txt').read(), os.environ['MY']]\n",
        "inner/beside.py": "WORD = 'beside'\n",
        "requests.py": "MINE = 'of the root'\n",
        "data.txt": "data",
    }
    client = serve(files, script="inner/score.py", environment_variables={"MY": "True"})
    assert client.post("/score", content="x").json() == ["beside", "of the root", "data", "True"]


def test_raw_http_gives_the_request_and_takes_an_answer_with_its_status(serve: Serve) -> None:
    script = """\
from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse

@rawhttp
def run(request):
    assert isinstance(request, AMLRequest)
    if request.method == "GET":
        return AMLResponse({"q": request.args["q"], "agent": request.headers["x-agent"]}, 200, json_str=True)
    if request.files:
        image = request.files["image"]
        return AMLResponse(image.filename + " " + str(len(image.read())) + " " + request.form["note"], 200)
    if request.method == "POST":
        return AMLResponse(request.get_data(False), 418, {"X-Length": len(request.get_data())})
    return AMLResponse("bad request", 500)
"""
    client = serve({"score.py": script})
    got = client.get("/score?q=a%20b", headers={"X-Agent": "me"})
    assert got.json() == {"q": "a b", "agent": "me"}
    posted = client.post("/score", content=b"\x00\x01\xff", headers={"content-type": "application/octet-stream"})
    assert (posted.status_code, posted.content, posted.headers["x-length"]) == (418, b"\x00\x01\xff", "3")
    form = client.post("/score", files={"image": ("cat.png", b"12345", "image/png")}, data={"note": "hi"})
    assert form.text == "cat.png 5 hi"
    assert client.put("/score").status_code == 500


def test_an_error_of_the_script_is_told_and_logged_and_the_next_request_is_answered(
    serve: Serve, workspace: Workspace
) -> None:
    client = serve({"score.py": "def run(raw):\n    return 1 / int(raw)\n"})
    failed = client.post("/score", content="0")
    assert (failed.status_code, failed.text) == (500, "ZeroDivisionError: division by zero")
    assert client.post("/score", content="2").json() == 0.5
    assert "Traceback" in (workspace.home / "engine.log").read_text()


def test_arrays_are_written_as_lists(serve: Serve) -> None:
    script = "import numpy\n\ndef run(raw):\n    return {'a': numpy.arange(3), 'b': numpy.float32(0.5)}\n"
    assert serve({"score.py": script}).post("/score", content="x").json() == {"a": [0, 1, 2], "b": 0.5}


def test_what_json_cannot_write_is_an_error_of_the_script(serve: Serve) -> None:
    failed = serve({"score.py": "def run(raw):\n    return object()\n"}).post("/score", content="x")
    assert (failed.status_code, failed.text) == (500, "TypeError: run() returned object, which JSON cannot write")


def test_as_many_processes_answer_as_worker_count_says(serve: Serve) -> None:
    from concurrent.futures import ThreadPoolExecutor

    script = "import os\nimport time\n\ndef run(raw):\n    time.sleep(0.3)\n    return os.getpid()\n"
    client = serve({"score.py": script}, environment_variables={"WORKER_COUNT": "2"})
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: client.post("/score", content="x").json(), range(4))]
    assert len(set(found)) == 2


def test_a_process_that_dies_or_hangs_is_replaced(serve: Serve) -> None:
    script = """\
import os
import time

def run(raw):
    if raw == "die":
        os._exit(7)
    if raw == "hang":
        time.sleep(60)
    return os.getpid()
"""
    client = serve({"score.py": script}, environment_variables={"WORKER_TIMEOUT": "1"})
    first = client.post("/score", content="x").json()
    died = client.post("/score", content="die")
    assert died.status_code == 500
    assert "exit code 7" in died.text
    second = client.post("/score", content="x").json()
    assert "more than 1 s" in client.post("/score", content="hang").text
    assert len({first, second, client.post("/score", content="x").json()}) == 3


def test_a_script_whose_init_fails_ends_the_engine_with_its_words(workspace: Workspace, tmp_path: Path) -> None:
    script = "def init():\n    raise OSError('no weights')\n\ndef run(raw): ...\n"
    launch = kind("script").launch(workspace, deployed(workspace, tmp_path / "c", {"score.py": script}))
    command = [*launch.command, "--socket", str(workspace.home / "e.sock")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "the code cannot be loaded: OSError: no weights" in done.stderr


def test_other_code_or_other_variables_are_another_engine(workspace: Workspace, tmp_path: Path) -> None:
    options = kind("script").options
    one = deployed(workspace, tmp_path / "c", {"score.py": ECHO})
    other = deployed(workspace, tmp_path / "c", {"score.py": ECHO}, environment_variables={"A": "1"})
    assert options(one) != options(other)
    assert options(one) == options(deployed(workspace, tmp_path / "c", {"score.py": ECHO}))


def test_secrets_in_variables_are_not_on_the_command_line(workspace: Workspace, tmp_path: Path) -> None:
    deployment = deployed(workspace, tmp_path / "c", {"score.py": ECHO}, environment_variables={"KEY": "hunter22"})
    launch = kind("script").launch(workspace, deployment)
    assert "hunter22" not in " ".join(launch.command)
    spec = Path(launch.command[-1])
    assert json.loads(spec.read_text())["variables"] == {"KEY": "hunter22"}
    assert spec.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("count", ["0", "two", "-1"])
def test_a_worker_count_that_is_none_is_refused(workspace: Workspace, tmp_path: Path, count: str) -> None:
    variables = {"WORKER_COUNT": count}
    deployment = deployed(workspace, tmp_path / "c", {"score.py": ECHO}, environment_variables=variables)
    with pytest.raises(Invalid, match="WORKER_COUNT"):
        kind("script").launch(workspace, deployment)


def test_what_a_collector_is_given_is_kept_as_cloud_events_joined_by_their_correlation(
    serve: Serve, workspace: Workspace
) -> None:
    script = """\
import pandas
from azureml.ai.monitoring import Collector
from azureml.ai.monitoring.context import BasicCorrelationContext

inputs, outputs, other = Collector(name="model_inputs"), Collector(name="model_outputs"), Collector(name="other")

def run(raw):
    context = inputs.collect(pandas.DataFrame({"x": [1, 2], "api_key": ["sk-0123456789abcdefXYZ", "b"]}))
    outputs.collect(pandas.DataFrame({"y": [3]}), context)
    other.collect(pandas.DataFrame({"z": [1]}), BasicCorrelationContext(id="mine"))
    inputs.collect("no frame")
    return "ok"
"""
    collected = {"collections": ["model_inputs", "model_outputs"], "sampling_rate": 1.0, "rolling_rate": "day"}
    assert serve({"score.py": script}, data_collector=collected).post("/score", content="x").json() == "ok"
    root = workspace.home / "modelDataCollector" / "bot" / "blue"
    events: dict[str, Any] = {}
    deadline = time.monotonic() + 5
    while len(events) < 2 and time.monotonic() < deadline:
        events = {path.parts[-5]: json.loads(path.read_text()) for path in root.glob("*/*/*/*/*.jsonl")}
    assert set(events) == {"model_inputs", "model_outputs"}
    given, answered = events["model_inputs"], events["model_outputs"]
    assert given["data"] == [{"x": 1, "api_key": "******"}, {"x": 2, "api_key": "******"}]
    assert given["correlationid"] == answered["correlationid"]
    assert (given["specversion"], given["type"]) == ("1.0", "azureml.inference.model_inputs")
    assert given["collectdatatype"] == "pandas.DataFrame"
    assert "takes a pandas DataFrame" in (workspace.home / "engine.log").read_text()


def test_a_request_whose_client_left_while_it_waited_is_not_run(serve: Serve) -> None:
    from concurrent.futures import ThreadPoolExecutor

    script = "import time\n\ndef run(raw):\n    open('ran.txt', 'a').write(raw)\n    time.sleep(0.6)\n    return raw\n"
    script += "\ndef init():\n    open('ran.txt', 'w')\n"
    client = serve({"score.py": script.replace("return raw", "return open('ran.txt').read()")})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/score", content="a")
        time.sleep(0.2)
        with pytest.raises(httpx.ReadTimeout):
            client.post("/score", content="b", timeout=0.1)
        first.result()
    assert client.post("/score", content="c").json() == "ac"


def test_the_decorators_of_inference_schema_type_the_arguments_and_describe_them(serve: Serve) -> None:
    pytest.importorskip("inference_schema", reason="inference-schema is not installed: it is in the extra dev")
    script = """\
import numpy
import pandas
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

@input_schema("data", PandasParameterType(pandas.DataFrame({"x": [1.0], "y": [2]})))
@input_schema("weights", NumpyParameterType(numpy.array([1.0, 2.0])))
@input_schema("note", StandardPythonParameterType("a"))
@output_schema(NumpyParameterType(numpy.array([1.0])))
def run(data, weights, note):
    assert isinstance(data, pandas.DataFrame)
    assert isinstance(weights, numpy.ndarray)
    return (data["x"] * weights[0] + data["y"] * weights[1]).tolist()
"""
    client = serve({"score.py": script})
    body = {"data": [{"x": 1.0, "y": 2}, {"x": 3.0, "y": 4}], "weights": [10.0, 100.0], "note": "b"}
    assert client.post("/score", json=body).json() == [210.0, 430.0]
    described = client.get("/swagger.json").json()
    assert described["swagger"] == "2.0"
    assert set(described["definitions"]["ServiceInput"]["properties"]) == {"data", "weights", "note"}
    assert described["definitions"]["ServiceOutput"]["type"] == "array"
    newer = client.get("/swagger.json?version=3").json()
    assert newer["components"]["schemas"]["ServiceInput"] == described["definitions"]["ServiceInput"]
    refused = client.post("/score", json={"dta": []})
    assert (refused.status_code, "unknown field 'dta'" in refused.text) == (400, True)
    assert client.post("/score", content="no json").status_code == 400


WORKERS = (
    "scoring_worker.py", "script_scorer.py", "mlflow_scorer.py", "batch_script_scorer.py",
    "shims/services.py", "shims/monitoring.py",
)  # fmt: skip


@pytest.mark.parametrize("name", WORKERS)
def test_what_runs_in_other_pythons_needs_no_new_one_and_none_of_our_packages(name: str) -> None:
    tree = ast.parse((HERE / name).read_text(), feature_version=(3, 8))
    imported = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert {module.split(".")[0] for module in imported} <= sys.stdlib_module_names


def test_a_plain_script_is_described_too(serve: Serve) -> None:
    described = serve({"score.py": ECHO}).get("/swagger.json").json()
    assert set(described["paths"]) == {"/", "/score"}


def test_the_processes_of_an_engine_that_was_killed_end_by_themselves(workspace: Workspace, tmp_path: Path) -> None:
    script = "import os\n\ndef run(raw):\n    return [os.getpid(), os.getppid()]\n"
    deployment = deployed(workspace, tmp_path / "code", {"score.py": script})
    with engine(workspace, deployment) as client:
        worker, parent = client.post("/score", content="x").json()
        os.kill(parent, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while identity_of(worker) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert identity_of(worker) is None
