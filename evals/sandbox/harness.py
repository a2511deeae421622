"""What runs in the sandbox: the program, then its tests; the end is told with a word that the program does not know.

A program that leaves early, or says itself that it has passed, has not passed. One that searches this process for the
word finds it: that is cheating on purpose, which no test in the same process can exclude.
"""

from __future__ import annotations

import os
import sys
import traceback
import unittest


def main(given: str, report: int) -> None:
    word = sys.stdin.readline().strip()
    mistake = _tried(given)
    line = f"{word}\n{mistake or ''}"[:4000]
    os.write(report, line.encode("utf-8", "replace"))
    sys.stdout.flush()
    os._exit(0)


def _tried(given: str) -> str | None:
    try:
        with open(f"{given}/program.py", encoding="utf-8") as file:  # noqa: PTH123 - as little as can be is imported
            code = compile(file.read(), "program.py", "exec")
        room = {"__name__": "__main__", "__builtins__": __builtins__}
        exec(code, room)  # noqa: S102 - that is what this is for
        _call_tests(room)
    except BaseException as error:  # noqa: BLE001 - also SystemExit: whoever leaves early has not passed
        last = traceback.extract_tb(error.__traceback__)[-1:]
        place = f" (line {last[0].lineno})" if last and last[0].filename == "program.py" else ""
        return f"{type(error).__name__}: {error}"[:2000] + place
    return None


def _call_tests(room: dict[str, object]) -> None:
    for name, each in [*room.items()]:
        if name.startswith("test_") and callable(each):
            each()
        elif isinstance(each, type) and issubclass(each, unittest.TestCase) and each is not unittest.TestCase:
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(each).run(result)
            for test, told in (*result.failures, *result.errors):
                raise AssertionError(f"{test}: {told.strip().splitlines()[-1]}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
