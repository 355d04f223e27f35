"""Programs that come from the operating system's packages: Maven, Redis, what tests need."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence

from darkroom_cli.errors import SetupError

_PACKAGES = {
    "mvn": {"apt": "maven", "dnf": "maven", "brew": "maven"},
    "redis-server": {"apt": "redis-server", "dnf": "valkey", "brew": "redis"},
    "heif-enc": {"apt": "libheif-examples", "dnf": "libheif-tools", "brew": "libheif"},
    "kcat": {"apt": "kcat", "dnf": "kcat", "brew": "kcat"},
    "prometheus": {"apt": "prometheus", "dnf": "golang-github-prometheus", "brew": "prometheus"},
    "promtool": {"apt": "prometheus", "dnf": "golang-github-prometheus", "brew": "prometheus"},
    "chromium": {"apt": "chromium", "dnf": "chromium", "brew": "chromium"},
}
_APT_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "RUNLEVEL": "1",  # in a container: do not start the daemon that a package brings
}


def ensure_programs(programs: Sequence[str], report: Callable[[str], None]) -> None:
    """Install those of the programs that are missing; raises SetupError where we may not."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing and not install_with_apt(missing, report):
        raise SetupError(*what_to_install(missing))


def what_to_install(missing: Sequence[str]) -> tuple[str, str]:
    """Cause and cure for programs that are missing."""
    names = {manager: _names(missing, manager) for manager in ("apt", "dnf", "brew")}
    cure = (
        "Install with one of these, then start again:\n"
        f"  Debian, Ubuntu:  sudo apt-get install {names['apt']}\n"
        f"  Fedora:          sudo dnf install {names['dnf']}\n"
        f"  macOS:           brew install {names['brew']}"
    )
    return f"Missing on this machine: {', '.join(missing)}.", cure


def _names(missing: Sequence[str], manager: str) -> str:
    return " ".join(dict.fromkeys(_PACKAGES[program][manager] for program in missing))


def install_with_apt(missing: Sequence[str], report: Callable[[str], None]) -> bool:
    """Install what is missing when this is root on Debian; False when we may not.

    Raises SetupError when apt fails.
    """
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    packages = _names(missing, "apt").split()
    report(f"installing {', '.join(packages)} with apt")
    _apt("update", "-qq")
    _apt("install", "-y", "-qq", "--no-install-recommends", *packages)
    return True


def _apt(*arguments: str) -> None:
    result = subprocess.run(
        ("apt-get", *arguments),
        env={**os.environ, **_APT_ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        tail = "\n".join((result.stdout + result.stderr).strip().splitlines()[-5:])
        raise SetupError(
            f"apt-get {arguments[0]} failed with exit code {result.returncode}:\n{tail}",
            "Run it by hand to see more, then start again.",
        )
