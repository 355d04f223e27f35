"""The broker's and the registry's Java programs, brought by Maven into a shared cache."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom_cli.errors import SetupError

_SAY_EVERY = 5.0
_TAIL = 12


def jars_folder(cache: Path, pom: Path) -> Path:
    """The folder for exactly what this pom asks for."""
    return cache / f"jars-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"


def fetch_jars(pom: Path, target: Path, java_home: Path, report: Callable[[str], None]) -> None:
    """Let Maven fill `target`, which appears in one move when it is complete.

    A second caller waits for the first. Raises SetupError with Maven's own words.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_suffix(".lock"), report):
            if target.is_dir():
                return
            for unfinished in target.parent.glob(f"{target.name}.part-*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            part = target.with_name(f"{target.name}.part-{os.getpid()}")
            _run_maven(pom, part, java_home, report)
            shutil.rmtree(part / "maven", ignore_errors=True)
            part.rename(target)
    except OSError as error:
        raise SetupError(
            f"Can't write {target.parent}: {error.strerror}.",
            "Make room, or point XDG_CACHE_HOME at another folder, then start again.",
        ) from error


@contextmanager
def _locked(file: Path, report: Callable[[str], None]) -> Iterator[None]:
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another start that is fetching the jars")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run_maven(pom: Path, out: Path, java_home: Path, report: Callable[[str], None]) -> None:
    out.mkdir()
    log = out / "maven.log"
    command = ("mvn", "-B", "-ntp", "-f", str(pom), "package", f"-Ddarkroom.out={out}")
    began = time.monotonic()
    report("fetching the broker's and the registry's jars with Maven (about 220 MB)")
    with log.open("wb") as output:
        maven = subprocess.Popen(
            command,
            env=_maven_environment(java_home),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            code = _wait(maven, began, report)
        finally:
            maven.kill()
            maven.wait()
    if code:
        raise _maven_error(log.read_text(errors="replace"))
    log.unlink()


def _wait(maven: subprocess.Popen[bytes], began: float, report: Callable[[str], None]) -> int:
    while True:
        try:
            return maven.wait(timeout=_SAY_EVERY)
        except subprocess.TimeoutExpired:
            report(f"fetching the jars: {time.monotonic() - began:.0f} s so far")


def _maven_environment(java_home: Path) -> dict[str, str]:
    """Maven runs on the machine's Java where there is one, else on ours."""
    environment = dict(os.environ)
    if not environment.get("JAVA_HOME") and not shutil.which("java"):
        environment["JAVA_HOME"] = str(java_home)
    return environment


def _maven_error(output: str) -> SetupError:
    tail = "\n".join([line for line in output.splitlines() if line.strip()][-_TAIL:])
    if "No space left on device" in output:
        return SetupError(
            "The disk is full: the jars could not be stored.", "Make room, then start again."
        )
    offline = ("Unknown host", "UnknownHost", "Connection refused", "timed out", "unreachable")
    if any(sign in output for sign in offline):
        return SetupError(
            "Maven could not reach its repository; the first start needs the network.",
            f"Check the network, or the proxy or mirror in ~/.m2/settings.xml. Maven said:\n{tail}",
        )
    return SetupError(f"Maven failed:\n{tail}", "Put it right, then start again.")
