from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import psutil
import pytest

from evals.sandbox import Limits, run
from evals.sandbox.run import MB
from workspace.errors import Invalid


def harnesses() -> list[psutil.Process]:
    """What goes on running in any sandbox: what has been killed needs a moment to be gone."""
    deadline = time.monotonic() + 20
    while running := [
        each for each in psutil.process_iter(["cmdline"]) if "harness.py" in " ".join(each.info["cmdline"] or ())
    ]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return running


QUICK = Limits(seconds=8.0, cpu=2)


@pytest.fixture
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """A port of this machine, and what came in there."""
    heard: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            heard.append(client.recv(100))
            client.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=listen, daemon=True).start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)


def test_a_program_passes_when_it_and_its_tests_come_to_their_end() -> None:
    ran = run("def add(a, b):\n    return a + b\n\ndef test_add():\n    assert add(1, 2) == 3\n    print('fine')\n")
    assert ran.passed
    assert ran.output == "fine\n"
    assert ran.held["network"] is True


@pytest.mark.parametrize(
    ("program", "mistake"),
    [
        ("assert 1 == 2, 'not so'", "AssertionError: not so (line 1)"),
        ("def f(:", "SyntaxError"),
        ("def test_it():\n    assert False", "AssertionError"),
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(1, 2)",
            "AssertionError: test_a (__main__.T.test_a): AssertionError: 1 != 2",
        ),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("import os\nos._exit(0)", "ended before its tests did, with 0"),
        ("import os\nfor fd in range(3, 9):\n    os.write(fd, b'guess\\n')\nos._exit(0)", "OSError"),
        ("import os, sys\nos.write(int(sys.argv[2]), b'guess\\n')\nos._exit(0)", "ended before its tests did, with 0"),
        ("import ctypes\nctypes.string_at(0)", "ended before its tests did, with signal 11"),
    ],
)
def test_a_program_that_fails_or_leaves_early_has_not_passed(program: str, mistake: str) -> None:
    assert str(run(program, limits=QUICK).mistake).startswith(mistake)


def test_no_address_is_reached_not_even_of_this_machine(listening: tuple[int, list[bytes]]) -> None:
    port, heard = listening
    for family in ("AF_INET", "AF_INET6"):
        ran = run(f"import socket\nsocket.socket(socket.{family}).connect(('127.0.0.1', {port}))", limits=QUICK)
        assert "PermissionError" in str(ran.mistake)
    assert not heard


def test_with_network_it_is_reached(listening: tuple[int, list[bytes]]) -> None:
    port, heard = listening
    program = f"import socket\nwith socket.create_connection(('127.0.0.1', {port})) as s:\n    s.sendall(b'hello')"
    ran = run(program, limits=QUICK, network=True)
    assert ran.passed, ran.mistake
    assert ran.held["network"] is False
    assert heard == [b"hello"]


def test_a_fork_bomb_ends_and_leaves_nothing_behind() -> None:
    program = "import os, time\nwhile True:\n    try: os.fork()\n    except OSError: time.sleep(0.01)"
    ran = run(program, limits=Limits(seconds=2.0, cpu=1, processes=8))
    assert not ran.passed
    assert not harnesses()


ESCAPE = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(300)
    os._exit(0)
"""


def test_what_goes_on_in_the_background_ends_with_the_program() -> None:
    ran = run(ESCAPE, limits=QUICK)
    assert ran.passed, ran.mistake
    assert not harnesses()


def test_an_endless_loop_is_stopped_by_its_time() -> None:
    began = time.monotonic()
    ran = run("while True: pass", limits=Limits(seconds=1.0, cpu=30))
    assert ran.mistake == "took more than 1 s"
    assert time.monotonic() - began < 10


def test_memory_is_bounded_for_one_process_and_for_all() -> None:
    small = Limits(seconds=8.0, memory=128 * MB)
    assert "MemoryError" in str(run("x = bytearray(1 << 30)", limits=small).mistake)
    program = (
        "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        x = bytearray(b'1') * (60 << 20)\n"
        "        time.sleep(30)\ntime.sleep(30)"
    )
    assert run(program, limits=small).mistake == "took more than 128 MB of memory"


def test_huge_output_is_stopped_and_not_kept() -> None:
    ran = run("while True: print('x' * 10000)", limits=Limits(seconds=8.0, output=100_000))
    assert ran.mistake == "more than 100000 bytes of output"
    assert len(ran.output) <= 100_000


def test_files_are_bounded_in_size_and_number() -> None:
    small = Limits(seconds=8.0, file_size=MB, disk=4 * MB, files=50)
    assert "too large" in str(run("open('big', 'wb').write(b'x' * (2 << 20))", limits=small).mistake)
    many = "for n in range(10): open(f'f{n}', 'wb').write(b'x' * (1 << 20))"
    assert "No space left" in str(run(many, limits=small).mistake)
    assert "No space left" in str(run("for n in range(2000): open(f'f{n}', 'w').close()", limits=small).mistake)


def test_nothing_outside_its_own_folder_is_written_or_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    secret.chmod(0o644)
    for attack in (
        f"open({str(secret)!r}).read()",
        f"open({str(tmp_path / 'new')!r}, 'w')",
        "open('/usr/bin/evil', 'w')",
        f"import os; os.listdir({str(Path(__file__).parent)!r})",
        "open('/etc/shadow').read()",
        "open('/proc/1/environ', 'rb').read().decode()[0]",
        "open('/proc/sys/kernel/hostname').read()",
        "open('/dev/mem', 'rb')",
    ):
        ran = run(attack, limits=QUICK)
        assert ran.mistake is not None, attack
        assert "Error" in ran.mistake, attack
    assert not (tmp_path / "new").exists()


def test_nothing_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.set_inheritable(server.fileno(), True)
        ran = run(
            "import os\nprint(os.environ, [os.readlink(f.path) for f in os.scandir('/proc/self/fd') if f.is_symlink()])"
        )
    assert ran.passed, ran.mistake
    assert "OPENAI_API_KEY" not in ran.output
    assert "socket" not in ran.output


def test_its_parent_and_its_neighbours_cannot_be_seen_or_killed() -> None:
    program = f"import os, signal\nassert os.getppid() <= 1\nos.kill({os.getpid()}, 0)"
    assert "ProcessLookupError" in str(run(program, limits=QUICK).mistake)
    killed = run("import os, signal\nos.kill(-1, signal.SIGKILL)\nos.kill(1, signal.SIGKILL)", limits=QUICK)
    assert "NotFound" not in str(killed.mistake)


@pytest.mark.parametrize(
    "call", ["unshare(0x10000000)", "ptrace(0, 0, 0, 0)", "mount(0, 0, 0, 0, 0)", "syscall(425, 1, 0)", "setuid(0)"]
)
def test_the_kernel_is_not_asked_for_more(call: str) -> None:
    ran = run(f"import ctypes\nassert ctypes.CDLL(None).{call} == -1", limits=QUICK)
    assert ran.passed, ran.mistake


WITHOUT_NAMESPACES = """
import json, sys
from evals.sandbox import Limits, run, seccomp
assert seccomp.refuse(sockets=False)
programs = json.loads(sys.argv[1])
done = [run(each, limits=Limits(seconds=4.0, cpu=2)) for each in programs]
print(json.dumps([[ran.mistake, dict(ran.held)] for ran in done]))
"""


def test_where_no_namespaces_are_the_network_is_refused_all_the_same_and_the_score_says_what_held(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    programs = [
        "assert True",
        "import socket; socket.socket()",
        ESCAPE,
        f"open({str(secret)!r}).read()",
        f"open({str(secret)!r}, 'w')",
        "import os; os.kill(os.getppid(), 9)",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import os, stat; os.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(8, 0))",
        "open('mine', 'w').write('here')\nassert open('mine').read() == 'here'",
    ]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_NAMESPACES, json.dumps(programs)], capture_output=True, text=True, check=True
    )
    fine, online, escaped, read, written, killed, local, device, own = json.loads(ended.stdout)
    assert fine[0] is None
    assert fine[1] == {"namespaces": False, "network": True, "files": True, "system_calls": True}
    assert all("PermissionError" in each[0] for each in (online, read, written, killed, local, device))
    assert (escaped[0], own[0], secret.read_text()) == (None, None, "hidden")
    assert not harnesses()


def test_limits_that_no_program_can_live_with_are_refused() -> None:
    with pytest.raises(Invalid):
        Limits(memory=1)


# Whoever may not make namespaces as root makes them as a user: this one gives that right away first.
AS_A_USER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 21, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], sys.argv[2]])
"""
RUN_THEM = """
import json, sys
from evals.sandbox import Limits, run
done = [run(each, limits=Limits(seconds=3.0, cpu=2, processes=8)) for each in json.loads(sys.argv[1])]
print(json.dumps([[ran.mistake, dict(ran.held)] for ran in done]))
"""


def test_a_user_makes_the_same_world_as_root(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    programs = [
        "import os\nassert os.getuid() != 0\nopen('mine', 'w').write('x')",
        "import socket\nsocket.socket()",
        f"open({str(secret)!r}).read()",
        "open('/usr/bin/evil', 'w')",
        f"import os\nos.kill({os.getpid()}, 0)",
        "import os, time\nwhile True:\n    try: os.fork()\n    except OSError: time.sleep(0.01)",
    ]
    command = [sys.executable, "-c", AS_A_USER, RUN_THEM, json.dumps(programs)]
    fine, *attacks = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert fine == [None, {"namespaces": True, "network": True, "files": True, "system_calls": True}]
    told = ("PermissionError", "FileNotFoundError", "Read-only file system", "ProcessLookupError", "")
    assert all(mistake and words in mistake for (mistake, _), words in zip(attacks, told, strict=True))
    assert not harnesses()
