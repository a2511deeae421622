"""A flow as a folder that is carried elsewhere and served there: its files, its connections without secrets, a start.

`docker` adds a Dockerfile. What `executable` was for, one file that starts, is `start.sh` of the folder: Python code
frozen into a binary could not import what a flow's own requirements bring.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from flows import includes, snapshot
from flows.connection_files import template
from flows.connections import Connection, variable_of
from flows.flow import Flow
from flows.graph import load
from workspace.errors import Conflict, Invalid
from workspace.paths import writing

Format = Literal["folder", "docker", "executable"]
FORMATS: tuple[Format, ...] = ("folder", "docker", "executable")
IMAGE = "python:3.11-slim"
_OURS = ("flow", "settings.json", "start.sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A folder that can be served: `variables` must be set there, `note` is what the person should know."""

    folder: Path
    format: Format
    variables: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Needs:
    """What the flow's `environment` says, and whether it needs a model of its own."""

    image: str
    requirements: str
    setup: str
    conda: str
    package: str


def build(flow: Flow, output: Path, *, connections: Iterable[Connection] = (), format: Format = "docker") -> Built:  # noqa: A002
    """Write a flow to a folder: variants chosen, includes merged, connections with `${env:NAME}` for secrets.

    The folder is written beside and put in place at the end; an earlier build there is replaced, anything else kept.
    """
    target = output.expanduser().absolute()
    _check(flow, target, format)
    known = sorted(connections, key=lambda each: each.name)
    variables = tuple(variable_of(each.name, key) for each in known for key in each.secrets)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with writing(target), tempfile.TemporaryDirectory(prefix=".studiolo-build-", dir=target.parent) as made:
        folder = Path(made) / "built"
        folder.mkdir()
        _copy_flow(flow, folder / "flow")
        (folder / "connections").mkdir()
        for connection in known:
            (folder / "connections" / f"{_file_name(connection.name)}.yaml").write_text(template(connection), "utf-8")
        settings = json.dumps(dict.fromkeys(variables, ""), indent=2) + "\n"
        (folder / "settings.json").write_text(settings, "utf-8")
        _write_start(flow, folder)
        needs = _needs(flow, folder / "flow")
        if format == "docker":
            (folder / "Dockerfile").write_text(_dockerfile(needs), "utf-8")
            (folder / ".dockerignore").write_text("**/__pycache__\n**/.env\n.studiolo\n", "utf-8")
        (folder / "README.md").write_text(_readme(flow, format, variables, needs), "utf-8")
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    return Built(folder=target, format=format, variables=variables, note=_note(format, needs))


def _check(flow: Flow, target: Path, format: str) -> None:  # noqa: A002
    if format not in FORMATS:
        raise Invalid(f"no format {format!r}", hint=f"known: {', '.join(FORMATS)}")
    if target.is_relative_to(flow.folder):
        raise Invalid(f"{str(target)!r} lies in the flow's own folder", hint="build beside it")
    if target.is_file():
        raise Conflict(f"{str(target)!r} is a file", hint="name a folder")
    if target.is_dir() and any(target.iterdir()) and not all((target / name).exists() for name in _OURS):
        raise Conflict(f"{str(target)!r} holds something that is no build", hint="name another folder, or empty it")


# The flow


def _copy_flow(flow: Flow, folder: Path) -> None:
    includes.copy(flow, folder)
    for path in list(snapshot.secret_files(folder)):
        path.unlink()
    file = folder / flow.file.name
    if file.suffix != ".prompty":
        _rewrite(file, _resolved(flow))
    load(file)  # what cannot be served is not handed over


def _resolved(flow: Flow) -> Callable[[dict[str, Any]], None]:
    chosen = {node.name: node.variant for node in flow.nodes if node.variants}

    def change(root: dict[str, Any]) -> None:
        choices = root.pop("node_variants", None) or {}
        root.pop("additional_includes", None)
        for index, node in enumerate(root.get("nodes") or []):
            if node.get("use_variants") is True:
                variant = choices[node["name"]]["variants"][chosen[node["name"]]]["node"]
                root["nodes"][index] = {"name": node["name"], **variant}

    return change


def _rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a YAML file; its comments stay."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096
    root = yaml.load(file.read_text(encoding="utf-8"))
    before = json.dumps(root, default=str)
    change(root)
    if json.dumps(root, default=str) != before:
        with file.open("w", encoding="utf-8") as out:
            yaml.dump(root, out)


# What stands around it


def _needs(flow: Flow, folder: Path) -> _Needs:
    asked: Mapping[str, Any] = {}
    if flow.file.suffix != ".prompty":
        from workspace.documents import read_yaml

        asked = read_yaml(flow.file).root.get("environment") or {}
    requirements = str(asked.get("python_requirements_txt") or "")
    if not requirements and (folder / "requirements.txt").is_file():
        requirements = "requirements.txt"
    local = any(node.type in ("llm", "prompty") and not node.connection for node in flow.nodes)
    return _Needs(
        image=str(asked.get("image") or IMAGE),
        requirements=_inside(folder, requirements),
        setup=_inside(folder, str(asked.get("setup_sh") or "")),
        conda=str(asked.get("conda_file") or ""),
        package=f"studiolo{'[torch]' if local else ''}=={version('studiolo')}",
    )


def _inside(folder: Path, relative: str) -> str:
    """Return a path of the flow's folder as it is written; Invalid where it leads elsewhere."""
    if not relative:
        return ""
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise Invalid(f"`environment` names {relative!r}, which is not in the flow's folder", hint="put it there")
    return path.relative_to(folder.resolve()).as_posix()


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name).lstrip(".") or "_"


def _write_start(flow: Flow, folder: Path) -> None:
    path = folder / "start.sh"
    build_info = json.dumps({"build_number": flow.digest.removeprefix("sha256:")[:16], "flow": flow.digest})
    path.write_text(_START.replace("@FILE@", flow.file.name).replace("@BUILD@", build_info), "utf-8")
    path.chmod(0o755)


def _dockerfile(needs: _Needs) -> str:
    lines = [f"FROM {needs.image}", "WORKDIR /app", f"RUN pip install --no-cache-dir '{needs.package}'"]
    if needs.requirements:
        lines += [
            f'COPY ["flow/{needs.requirements}", "/tmp/requirements.txt"]',
            "RUN pip install --no-cache-dir -r /tmp/requirements.txt",
        ]
    lines += ["COPY . /app"]
    if needs.setup:
        lines += [f"RUN cd /app/flow && sh './{needs.setup}'"]
    return "\n".join([*lines, _DOCKER_END])


def _readme(flow: Flow, format: Format, variables: tuple[str, ...], needs: _Needs) -> str:  # noqa: A002
    set_here = "".join(f"export {name}=…\n" for name in variables)
    given = "".join(f"-e {name} " for name in variables)
    docker = f"""
## In a container

```sh
docker build -t {_file_name(flow.name).lower()} .
docker run -p 8080:8080 {given}{_file_name(flow.name).lower()}
```

The container listens to everybody and prints a token that requests must bear; `-e FLOW_TOKEN_FILE=/run/secrets/token`
takes the token from a file, `-e FLOW_NO_AUTH=1` asks for none.
"""
    return f"""# {flow.name}

A flow, ready to be served. Its version is `{flow.digest}`.

- `flow/`: its files; variants are chosen, included files lie beside the others, files with secrets are left out
- `connections/`: the connections it uses, with `${{env:NAME}}` in place of secrets
- `settings.json`: the variables that must be set
- `start.sh`: serves the flow

## Here

```sh
pip install '{needs.package}'{f" -r flow/{needs.requirements}" if needs.requirements else ""}
{set_here}./start.sh
curl http://127.0.0.1:8080/score -H 'Content-Type: application/json' -d '{_sample(flow)}'
```

`PORT`, `FLOW_HOST` and `PROMPTFLOW_WORKER_NUM` (processes) are read from the environment; `PF_FLOW_INIT_CONFIG` is the
JSON with which the class of a flex flow is made; a field of a connection is overridden by `<CONNECTION>_<FIELD>`.
{docker if format == "docker" else ""}"""


def _sample(flow: Flow) -> str:
    example = {"int": 1, "double": 1.0, "bool": True, "list": [], "object": {}}
    given = {name: example.get(each.type, "…") for name, each in flow.inputs.items()}
    return json.dumps(given, ensure_ascii=False)


def _note(format: Format, needs: _Needs) -> str:  # noqa: A002
    notes = []
    if format == "executable":
        notes.append("no binary is made: start.sh of the folder is what starts, with Python and studiolo installed")
    if needs.conda:
        notes.append(f"conda is not used: put what {needs.conda} lists into a requirements.txt")
    return "; ".join(notes)


_START = """#!/bin/sh
# Serves the flow beside this file. FLOW_HOST, PORT, PROMPTFLOW_WORKER_NUM, FLOW_TOKEN_FILE and FLOW_NO_AUTH=1
# change how.
set -eu
cd "$(dirname "$0")"
export STUDIOLO_HOME="${STUDIOLO_HOME:-$PWD/.studiolo}"
BUILD_INFO=${BUILD_INFO:-'@BUILD@'}
export BUILD_INFO
for file in connections/*.yaml; do
    if [ -e "$file" ]; then studiolo connection create --file "$file" >/dev/null; fi
done
set -- --source 'flow/@FILE@' --host "${FLOW_HOST:-127.0.0.1}" --port "${PORT:-8080}" --skip-open-browser
set -- "$@" --workers "${PROMPTFLOW_WORKER_NUM:-1}"
if [ -n "${FLOW_TOKEN_FILE:-}" ]; then set -- "$@" --token-file "$FLOW_TOKEN_FILE"; fi
if [ "${FLOW_NO_AUTH:-}" = 1 ]; then set -- "$@" --no-auth; fi
exec studiolo flow serve "$@"
"""
_DOCKER_END = """RUN useradd --create-home --uid 10001 flow && mkdir -p /data && chown flow /data
USER flow
ENV FLOW_HOST=0.0.0.0 PORT=8080 STUDIOLO_HOME=/data PYTHONUNBUFFERED=1
EXPOSE 8080
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health')"]
CMD ["/app/start.sh"]
"""
