"""Dockerfiles, read; and their build stage, run in a folder instead of a container."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

_CONTINUED: Final = re.compile(r"\\\n\s*")
_VARIABLE: Final = re.compile(r"\$\{([A-Z_]+)\}")
_BRINGS_UV: Final = "pip install"
"""The installer comes from the same file as the launcher's, of which it is the second step."""

_LEFT_OUT: Final = shutil.ignore_patterns("tests", "__pycache__", "node_modules", ".*")
"""As .dockerignore says."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile, without its flags."""

    word: str
    text: str
    flags: tuple[str, ...] = ()

    @property
    def words(self) -> Sequence[str]:
        """Those of the exec form, else as a shell would part them."""
        text = self.text.removeprefix("CMD ")  # of a HEALTHCHECK
        return loads(text) if text.startswith("[") else shlex.split(text)


def instructions(dockerfile: Path) -> Iterator[Instruction]:
    """All of them, in order."""
    lines = (
        line
        for line in dockerfile.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
    )
    for line in _CONTINUED.sub(" ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        flags = []
        while rest.startswith("--"):
            flag, _, rest = rest.partition(" ")
            flags.append(flag)
        if word:
            yield Instruction(word, rest.strip(), tuple(flags))


def stages(dockerfile: Path) -> list[list[Instruction]]:
    """Its stages, each beginning with FROM; what comes before the first is left out."""
    found: list[list[Instruction]] = []
    for one in instructions(dockerfile):
        if one.word == "FROM":
            found.append([])
        if found:
            found[-1].append(one)
    return found


def last(stage: Sequence[Instruction], word: str) -> Sequence[str]:
    """The words of the last instruction of a kind in a stage; none without one."""
    return next((one.words for one in reversed(stage) if one.word == word), ())


def environment(stage: Sequence[Instruction]) -> dict[str, str]:
    """What the stage's ENV sets."""
    pairs = (pair.partition("=") for one in stage if one.word == "ENV" for pair in one.words)
    return {name: value for name, _, value in pairs}


class Building:
    """Build stages, run below `place`: absolute paths lead there, tools are made once for all."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._tools = threading.Lock()

    def installed(self, dockerfile: Path, name: str) -> Path:
        """The environment that the build stage makes; raises CalledProcessError."""
        here = self._place / name
        work = here / "build"
        work.mkdir(parents=True)
        stage = stages(dockerfile)[0]
        arguments = {n: v for n, _, v in (o.text.partition("=") for o in stage if o.word == "ARG")}
        for one in stage:
            if one.word == "COPY":
                *sources, target = _filled(one.text, arguments).split()
                for source in sources:
                    _copy(ROOT / source, work / target, into=target.endswith("/"))
            elif one.word == "RUN" and not one.text.startswith(_BRINGS_UV):
                self._run(one.text, here, arguments)
        return here / "darkroom"

    def _run(self, command: str, here: Path, arguments: Mapping[str, str]) -> None:
        moved = (
            command.replace("/opt/tools", str(self._place / "tools"))
            .replace("/opt/darkroom", str(here / "darkroom"))
            .replace("/build/", f"{here}/build/")
        )
        if "uv venv" in command and "/opt/tools" in command:
            with self._tools:
                if not (self._place / "tools").exists():
                    _shell(moved, here / "build", arguments)
        else:
            _shell(moved, here / "build", arguments)


def _filled(text: str, arguments: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: arguments[found[1]], text)


def _copy(source: Path, target: Path, *, into: bool) -> None:
    target = target / source.name if into else target
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=_LEFT_OUT)
    else:
        shutil.copy(source, target)


def _shell(command: str, folder: Path, arguments: Mapping[str, str]) -> None:
    beside = Path(sys.executable).parent
    subprocess.run(
        ("sh", "-c", command),
        cwd=folder,
        env={
            **arguments,
            "HOME": os.environ["HOME"],
            "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}",
            "UV_PYTHON": sys.executable,
            **{
                n: v for n, v in os.environ.items() if n.startswith(("UV_", "PIP_", "HTTP", "SSL_"))
            },
        },
        check=True,
        capture_output=True,
        text=True,
    )
