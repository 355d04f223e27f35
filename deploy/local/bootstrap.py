"""Makes the Python environment of this checkout, then becomes the `darkroom` command.

Runs with the machine's Python and its standard library only. The environment lies in `.venv`
at the root of the checkout. A stamp in it says for which inputs it was made; while that fits,
nothing is done and no network is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "darkroom-stamp.json"
LOG = VENV / "darkroom-setup.log"
LOCKED_PACKAGES = ROOT / "requirements" / "all.txt"
INSTALLER = ROOT / "requirements" / "bootstrap.txt"

UNFINISHED = "{}"
STEPS = 4
_TICK = 0.5
_TICK_WITHOUT_TERMINAL = 15.0
_TAIL = 12
_OFFLINE = (
    "name resolution",
    "dns error",
    "Could not resolve",
    "Connection refused",
    "Network is unreachable",
    "NewConnectionError",
    "error sending request",
    "Failed to fetch",
    "timed out",
    "No matching distribution found",
)


class SetupError(Exception):
    """What is wrong, and what to do about it."""

    def __init__(self, cause: str, cure: str) -> None:
        self.cause = cause
        self.cure = cure
        super().__init__(cause)


def prepare() -> int:
    """Make the environment if need be; 0 when it is there, else the exit code."""
    try:
        if not is_current():
            with only_one():
                if not is_current():
                    make_environment()
    except SetupError as error:
        say(f"darkroom: {error.cause}\n{error.cure}")
        return 1
    except OSError as error:
        say(f"darkroom: {error}\nPut that right (rights? a full disk?), then start again.")
        return 1
    except KeyboardInterrupt:
        say("\ndarkroom: interrupted; the next start begins the setup again.")
        return 130
    return 0


def become_darkroom() -> NoReturn:
    """Replace this process by the command inside the environment."""
    # Where this is set (as it is in many images of Python), each of some dozens of processes would
    # compile anew, at each start, all that it imports: up to half of what a start costs.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.execv(PYTHON, [str(PYTHON), "-m", "darkroom_cli", *sys.argv[1:]])  # noqa: S606


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def members() -> list[Path]:
    """The folders of our own packages, as the workspace names them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = settings["tool"]["uv"]["workspace"]["members"]
    found = {file.parent for pattern in patterns for file in ROOT.glob(f"{pattern}/pyproject.toml")}
    return sorted(found)


def wanted_stamp() -> dict[str, str]:
    """What an environment for this checkout, as it is now, is made from."""
    inputs = [LOCKED_PACKAGES, INSTALLER, Path(__file__)]
    inputs += [folder / "pyproject.toml" for folder in members()]
    digest = hashlib.sha256()
    for file in inputs:
        digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return {
        "root": str(ROOT),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "inputs": digest.hexdigest(),
    }


def found_stamp() -> dict[str, str] | None:
    """The stamp of the environment that is there; empty for an unfinished one."""
    try:
        stamp = json.loads(STAMP.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return stamp if isinstance(stamp, dict) else {}


def is_current() -> bool:
    return os.access(PYTHON, os.X_OK) and found_stamp() == wanted_stamp()


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold the checkout, so that a second start waits for the first one's setup."""
    handle = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("darkroom: another start is setting up; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def make_environment() -> None:
    """All the steps.

    An environment left unfinished, without installer, or of another place or Python is made anew.
    """
    wanted, found = wanted_stamp(), found_stamp()
    began = time.monotonic()
    say("Setting up Darkroom; the first time downloads about 3 GB (6 GB on disk).")
    alien = found is not None and any(found.get(k) != wanted[k] for k in ("root", "python"))
    uv = VENV / "bin" / "uv"
    if alien or not (os.access(PYTHON, os.X_OK) and uv.exists()):
        new_venv()
    STAMP.write_text(UNFINISHED)
    python = ("--python", str(PYTHON))
    sync = (str(uv), "pip", "sync", *python, "--require-hashes", str(LOCKED_PACKAGES))
    run(3, "installing the packages", sync)
    ours = [part for folder in members() for part in ("-e", str(folder))]
    flags = ("--no-deps", "--no-build-isolation")
    run(4, "adding Darkroom's own packages", (str(uv), "pip", "install", *python, *flags, *ours))
    fresh = STAMP.with_suffix(".new")
    fresh.write_text(json.dumps(wanted))
    fresh.replace(STAMP)
    say(f"Set up in {time.monotonic() - began:.0f} s.")


def new_venv() -> None:
    """An environment with nothing but the installer in it."""
    if importlib.util.find_spec("ensurepip") is None:
        get_ensurepip()
    if VENV.exists():
        shutil.rmtree(VENV)
    VENV.mkdir()
    STAMP.write_text(UNFINISHED)
    run(1, "making the environment in .venv", (sys.executable, "-m", "venv", str(VENV)))
    install = (str(PYTHON), "-m", "pip", "install", "--no-deps", "--require-hashes")
    run(2, "fetching the installer", (*install, "-r", str(INSTALLER)))


def get_ensurepip() -> None:
    """Debian keeps venv's pip in a package of its own."""
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run(1, "reading apt's lists", ("apt-get", "update", "-qq"), quiet)
        run(1, f"installing {package}", ("apt-get", "install", "-y", "-qq", package), quiet)
        return
    raise SetupError(
        "this Python can't make virtual environments: its ensurepip is missing.",
        f"On Debian and Ubuntu: sudo apt-get install {package}; then start again.",
    )


def run(
    number: int, what: str, command: Sequence[str], extra: dict[str, str] | None = None
) -> None:
    """One step, shown with its time. Raises SetupError with the program's last words."""
    began = time.monotonic()
    environment = {"UV_HTTP_TIMEOUT": "180", "UV_PYTHON_DOWNLOADS": "never", **os.environ}
    environment.pop("VIRTUAL_ENV", None)
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("w") as log:
        process = subprocess.Popen(
            command,
            env={**environment, **(extra or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            show_until_done(process, f"[{number}/{STEPS}] {what}", began)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        raise explained(what, LOG.read_text(errors="replace"))


def show_until_done(process: subprocess.Popen[bytes], line: str, began: float) -> None:
    terminal = sys.stderr.isatty()
    if not terminal:
        say(line)
    while True:
        try:
            process.wait(timeout=_TICK if terminal else _TICK_WITHOUT_TERMINAL)
        except subprocess.TimeoutExpired:
            elapsed = f"{line} … {time.monotonic() - began:.0f} s"
            if terminal:
                sys.stderr.write(f"\r\033[K{elapsed}")
                sys.stderr.flush()
            else:
                say(elapsed)
            continue
        if terminal:
            say(f"\r\033[K{line}, {time.monotonic() - began:.0f} s")
        return


def explained(what: str, output: str) -> SetupError:
    """The error for a step that failed, from what its program printed."""
    words = [line for line in output.splitlines() if line.strip()]
    tail = "\n".join(words[-_TAIL:])
    if "No space left on device" in output:
        return SetupError(
            f"{what}: the disk is full.",
            f"Make room (about 10 GB under {ROOT} and in ~/.cache/uv), then start again.",
        )
    if any(sign in output for sign in _OFFLINE):
        return SetupError(
            f"{what}: the package index can't be reached; the first start needs the network.",
            "Check the network or its proxy (HTTPS_PROXY, UV_DEFAULT_INDEX, PIP_INDEX_URL), then "
            f"start again. The last words were:\n{words[-1] if words else ''}",
        )
    return SetupError(
        f"{what} failed:\n{tail}", f"All of it is in {LOG}. Put it right, then start again."
    )


if __name__ == "__main__":
    sys.exit(prepare() or become_darkroom())
