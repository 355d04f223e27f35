"""The gateway's program, asked to do something and to tell how far it is."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from darkroom_cli.errors import DarkroomError

Progress = Callable[[str, int, int | None], None]
"""Hears what is being done, how much of it is done, of how much if that is known."""


def ask_gateway(words: Sequence[str], environment: Mapping[str, str], tell: Progress) -> Any:
    """Run `python -m gateway` with these words and settings; what it says at the end.

    Raises DarkroomError with its cause and cure.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        program = subprocess.Popen(
            (sys.executable, "-m", "gateway", *words),
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        with program:
            said = _last(program, tell)
        if "error" in said:
            raise DarkroomError(said["error"], said["cure"])
        if "done" not in said:
            raise DarkroomError(f"The gateway ended with {program.returncode}.", _tail(log))
    return said["done"]


def _last(program: "subprocess.Popen[str]", tell: Progress) -> dict[str, Any]:
    said: dict[str, Any] = {}
    try:
        for line in program.stdout or ():
            said = json.loads(line)
            if "step" in said:
                tell(said["step"], said["done"], said["of"])
    except BaseException:
        program.terminate()
        raise
    return {} if "step" in said else said


def _tail(log: IO[str]) -> str:
    log.seek(0)
    return "".join(log.readlines()[-5:]).strip()
