"""What training scripts take from `azureml.core`: the run they are, told to MLflow, and where models lie."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from typing import Any

ALONE = "OfflineRun_"  # what a run is called that nobody supervises
_INPUT = "AZURE_ML_INPUT_"


class Dataset(str):
    """An input of the run: its path, which can be read as a table."""

    def to_pandas_dataframe(self) -> Any:
        """Read it with pandas."""
        if os.path.isdir(self):
            return importlib.import_module("mltable").load(str(self)).to_pandas_dataframe()
        pandas = importlib.import_module("pandas")
        return pandas.read_parquet(self) if self.endswith(".parquet") else pandas.read_csv(self)

    def download(self, target_path: Any = None, overwrite: bool = False) -> list[str]:
        """Copy it into a folder."""
        target = os.path.join(target_path or os.getcwd(), os.path.basename(self))
        if os.path.exists(target) and not overwrite:
            raise ValueError(target + " exists")
        if os.path.isdir(self):
            shutil.copytree(self, target)
        else:
            shutil.copyfile(self, target)
        return [target]


class Experiment:
    """What the run is shown among."""

    def __init__(self, workspace: Any = None, name: Any = None) -> None:
        self.name = name or os.environ.get("AZUREML_EXPERIMENT_NAME", "")
        self.workspace = workspace or Workspace()


class Workspace:
    """The workspace that the run belongs to, as far as scripts ask for it."""

    name = "studiolo"
    resource_group = "studiolo"
    subscription_id = "00000000-0000-0000-0000-000000000000"
    location = "local"

    @classmethod
    def from_config(cls, *_: Any, **__: Any) -> Workspace:
        """Return the workspace of the run, whatever a file says."""
        return cls()

    def get_mlflow_tracking_uri(self) -> str:
        """Return where MLflow answers."""
        return os.environ.get("MLFLOW_TRACKING_URI", "")


class Run:
    """The run that this script is. Without a supervisor it logs to the terminal."""

    def __init__(self) -> None:
        self.id = os.environ.get("AZUREML_RUN_ID") or ALONE + str(os.getpid())
        self._step = {}  # type: dict[str, int]
        self.experiment = Experiment()

    @staticmethod
    def get_context(allow_offline: bool = True, **_: Any) -> Run:
        """Return the run that this process belongs to."""
        if not allow_offline and "AZUREML_RUN_ID" not in os.environ:
            raise RuntimeError("this script is no run of a job")
        return Run()

    @property
    def input_datasets(self) -> dict[str, Dataset]:
        """The inputs, by name."""
        return {name[len(_INPUT) :]: Dataset(path) for name, path in os.environ.items() if name.startswith(_INPUT)}

    @property
    def parent(self) -> Run:
        """The run that began this one; here the same."""
        return self

    def log(self, name: str, value: Any, description: str = "", step: Any = None) -> None:  # noqa: ARG002
        """Log a number; each time a step further."""
        number = self._step.get(name, 0) if step is None else step
        self._step[name] = number + 1
        moment = int(time.time() * 1000)
        self._tell("log-metric", {"key": name, "value": float(value), "timestamp": moment, "step": number})

    def log_list(self, name: str, value: Any, description: str = "") -> None:  # noqa: ARG002
        """Log numbers one after the other."""
        for each in value:
            self.log(name, each)

    def log_row(self, name: str, description: str = "", **values: Any) -> None:  # noqa: ARG002
        """Log several numbers, each under its name."""
        for key, each in values.items():
            if isinstance(each, (int, float)):
                self.log(name + "." + key, each)

    def log_table(self, name: str, value: dict[str, Any], description: str = "") -> None:  # noqa: ARG002
        """Log columns of numbers."""
        for key, each in value.items():
            self.log_list(name + "." + key, each if isinstance(each, (list, tuple)) else [each])

    def log_image(self, name: str, path: Any = None, plot: Any = None, description: str = "") -> None:  # noqa: ARG002
        """Keep a picture among the outputs."""
        target = _output(name if "." in os.path.basename(name) else name + ".png")
        if plot is not None:
            plot.savefig(target)
        else:
            shutil.copyfile(path, target)

    def tag(self, key: str, value: Any = None) -> None:
        """Set a tag."""
        self._tell("set-tag", {"key": key, "value": str(value)})

    set_tags = property(lambda self: lambda tags: [self.tag(key, value) for key, value in tags.items()])

    def upload_file(self, name: str, path_or_stream: str, **_: Any) -> None:
        """Keep a file among the outputs."""
        shutil.copyfile(path_or_stream, _output(name))

    def upload_folder(self, name: str, path: str, **_: Any) -> None:
        """Keep a folder among the outputs."""
        for place, _folders, files in os.walk(path):
            for each in files:
                source = os.path.join(place, each)
                shutil.copyfile(source, _output(os.path.join(name, os.path.relpath(source, path))))

    def register_model(self, model_name: str, model_path: Any = None, tags: Any = None, **_: Any) -> Model:
        """Register what lies in the outputs as a model of MLflow's registry."""
        return Model.register(model_path=model_path or "outputs", model_name=model_name, tags=tags)

    def complete(self, **_: Any) -> None:
        """Do nothing: the run ends with its process."""

    def flush(self, timeout_seconds: int = 300) -> None:
        """Do nothing: what was logged is written."""

    def get_status(self) -> str:
        """Return that it goes on."""
        return "Running"

    def _tell(self, what: str, said: dict[str, Any]) -> None:
        if self.id.startswith(ALONE):
            print(what, json.dumps(said))  # noqa: T201  where nobody listens, people read it
            return
        ask("runs/" + what, dict(said, run_id=self.id))


class Model:
    """A model by name and version."""

    def __init__(self, workspace: Any = None, name: str = "", version: Any = None, **_: Any) -> None:
        self.workspace = workspace
        self.name = name
        self.version = version

    @staticmethod
    def get_model_path(model_name: str, version: Any = None, _workspace: Any = None) -> str:  # noqa: ARG004
        """Return where a model lies: in AZUREML_MODEL_DIR, or an input of the job of that name."""
        root = os.environ.get("AZUREML_MODEL_DIR", "")
        places = [os.path.join(root, model_name), root] if root else []
        places += [os.environ.get(_INPUT + model_name, ""), os.path.join("azureml-models", model_name)]
        for place in places:
            if place and os.path.exists(place):
                return place
        raise ValueError("no model {!r}: make it an input of the job of that name".format(model_name))  # noqa: UP032

    @staticmethod
    def register(
        workspace: Any = None, model_path: str = "", model_name: str = "", tags: Any = None, **_: Any
    ) -> Model:
        """Register what the run has left as a model of MLflow's registry."""
        try:
            ask("registered-models/create", {"name": model_name})
        except urllib.error.HTTPError as error:
            if b"RESOURCE_ALREADY_EXISTS" not in error.read():
                raise
        run = os.environ.get("AZUREML_RUN_ID", "")
        said: dict[str, Any] = {
            "name": model_name,
            "source": "runs:/" + run + "/" + model_path.strip("/"),
            "run_id": run,
        }
        said["tags"] = [{"key": str(key), "value": str(value)} for key, value in (tags or {}).items()]
        made = ask("model-versions/create", said)["model_version"]
        return Model(workspace, model_name, int(made["version"]))


def ask(what: str, said: dict[str, Any]) -> Any:
    """Ask MLflow's server."""
    base = os.environ.get("MLFLOW_TRACKING_URI", "")
    if base.startswith("azureml:") or not base:
        base = os.environ.get("STUDIOLO_TRACKING_URI", "")
    if not base.startswith("http"):
        raise RuntimeError("MLflow answers nowhere: MLFLOW_TRACKING_URI is " + repr(base))
    headers = {"Content-Type": "application/json"}
    if os.environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]
    url = base.rstrip("/") + "/api/2.0/mlflow/" + what
    request = urllib.request.Request(url, json.dumps(said).encode(), headers)  # noqa: S310  http, by the line above
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.loads(answer.read() or b"{}")


def _output(name: str) -> str:
    inside = os.path.normpath(name if name.split("/")[0] == "outputs" else os.path.join("outputs", name))
    if inside.startswith("..") or os.path.isabs(inside):
        raise ValueError(name + " leads out of the outputs")
    os.makedirs(os.path.dirname(inside), exist_ok=True)
    return inside
