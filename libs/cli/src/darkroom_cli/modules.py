"""Programs of the checkout: benchmarks, and what builds the documentation."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run_module(module: str, arguments: Sequence[str], root: Path) -> int:
    """Run a module of the checkout as a program of its own; its exit code.

    It ends what it started when it is told to stop, and it is told when we end (Linux).
    """
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH", ""))))
    leash = ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()
    command = (*leash, sys.executable, "-m", module, *arguments)
    with subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": path}) as program:
        try:
            return program.wait()
        except KeyboardInterrupt:  # the terminal has told both
            return program.wait()
