"""The checks and test suites of the repository, as data and as one run."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO, Final


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests that are run together.

    `programs` are what they need beside Python. `checks` are commands that must exit with 0, run
    beside the tests. `budget_s` is how long all that may take. `workers` processes share the
    tests; each starts what its tests need. Suites that are `alone` hold how soon work goes on
    against limits, and so have the machine to themselves; others run beside each other.
    """

    name: str
    paths: tuple[str, ...]
    budget_s: int
    programs: tuple[str, ...] = ()
    checks: tuple[tuple[str, ...], ...] = ()
    workers: int = 1
    alone: bool = False


_CHECKS: Final = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy", "libs", "services", "schemas", "tests", "examples", "bench", "docs", "deploy"),
    ("lint-imports",),
    ("python", "schemas/generate.py", "--check"),
)

SUITES: Final = (
    Suite(
        "unit",
        ("libs", "services", "schemas", "bench"),
        660,
        ("heif-enc",),
        _CHECKS,
    ),
    Suite(
        "integration", ("tests/contract", "tests/integration"), 600, ("kcat", "promtool"), workers=4
    ),
    Suite("e2e", ("tests/e2e",), 360, ("kcat", "prometheus"), workers=2),
    Suite("web", ("tests/web",), 240, ("chromium",)),
    Suite("edges", ("tests/edges",), 150),
    Suite("chaos", ("tests/chaos",), 420, workers=3, alone=True),
)


@dataclass(slots=True)
class Result:
    """How a suite went."""

    suite: Suite
    passed: int = 0
    failed: int = 0
    seconds: float = 0.0
    broken_checks: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether all checks and at least one test passed, and none failed."""
        return not self.failed and not self.broken_checks and self.passed > 0


_SHARING: Final = ("--dist", "loadfile", "--no-loadscope-reorder")
"""tests/support/sharing_out.py says what belongs together and what is first."""


def run_suites(suites: Sequence[Suite], root: Path, arguments: Sequence[str]) -> list[Result]:
    """Run them, two at a time where they allow it; a suite's output comes when it has ended, or, of
    a single one, as it arises."""
    if len(suites) == 1:
        return [run_suite(suites[0], root, arguments, sys.stdout)]
    results: list[Result] = []
    with ThreadPoolExecutor(2) as pool:
        for alone, some in groupby(suites, key=lambda suite: suite.alone):
            if alone:
                results += [_told(suite, root, arguments) for suite in some]
            else:
                results += pool.map(lambda suite: _told(suite, root, arguments), list(some))
    return results


_telling: Final = threading.Lock()


def _told(suite: Suite, root: Path, arguments: Sequence[str]) -> Result:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        result = run_suite(suite, root, arguments, out)
        out.seek(0)
        with _telling:
            sys.stdout.write(f"\n── {suite.name}: {', '.join(suite.paths)}\n")
            shutil.copyfileobj(out, sys.stdout)
            sys.stdout.flush()
    return result


def run_suite(suite: Suite, root: Path, arguments: Sequence[str], out: IO[str]) -> Result:
    """Run the suite's checks and tests in `root`, side by side; their output goes to `out`, which
    is a file of the system's."""
    result = Result(suite)
    began = time.monotonic()
    with (
        ThreadPoolExecutor(1) as beside,
        tempfile.TemporaryDirectory() as folder,
        _environment() as environment,
    ):
        checks = [(check, beside.submit(_check, check, root)) for check in suite.checks]
        report = Path(folder) / "report.xml"
        shared = ("-n", str(suite.workers), *_SHARING) if suite.workers > 1 else ()
        told = ("-q", "--durations=10", "--durations-min=5", f"--junitxml={report}")
        command = (sys.executable, "-m", "pytest", *told, *shared, *arguments, *suite.paths)
        out.flush()
        code = subprocess.run(
            command, cwd=root, check=False, stdout=out, stderr=subprocess.STDOUT, env=environment
        ).returncode
        if out.seekable():  # what the tests wrote moved the file, not our place in it
            out.seek(0, os.SEEK_END)
        result.passed, result.failed = _counts(report)
        for check, done in checks:
            output, broken = done.result()
            out.write(f"$ {' '.join(check)}\n{output}")
            if broken:
                result.broken_checks.append(" ".join(check))
    if code and not result.failed:
        result.broken_checks.append(f"pytest ended with {code}")
    result.seconds = time.monotonic() - began
    return result


_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made there
_ROOM: Final = 6 * 1024**3
"""Bytes that all suites together need at most for what they write, with a good deal to spare."""


@contextmanager
def _environment() -> Iterator[dict[str, str]]:
    """Tests write and forget, thousands of databases among others: that happens in memory where
    there is room, so that no disk is waited for. Systems under test have the same right to the CPU
    as the suites that run beside them."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM
    with tempfile.TemporaryDirectory(
        prefix="darkroom-", dir=_MEMORY if roomy else None, ignore_cleanup_errors=True
    ) as folder:
        equal = {"DARKROOM_SERVICE_NICE": "0", "DARKROOM_API_REALTIME": "false"}
        yield {**os.environ, **equal, "TMPDIR": folder}


def _check(check: Sequence[str], root: Path) -> tuple[str, bool]:
    """A check's output, and whether it failed."""
    program = sys.executable if check[0] == "python" else str(_beside_python(check[0]))
    done = subprocess.run(
        (program, *check[1:]),
        cwd=root,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.stdout, done.returncode != 0


def _beside_python(program: str) -> Path:
    return Path(sys.executable).with_name(program)


def _counts(report: Path) -> tuple[int, int]:
    """Tests that passed, and that did not, in a JUnit report of ours."""
    if not report.is_file():
        return 0, 0
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - written by our own pytest
    numbers = [
        {k: int(s.get(k, 0)) for k in ("tests", "failures", "errors", "skipped")} for s in suites
    ]
    failed = sum(n["failures"] + n["errors"] for n in numbers)
    return sum(n["tests"] - n["skipped"] for n in numbers) - failed, failed
