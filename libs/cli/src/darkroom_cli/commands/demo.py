"""`darkroom demo`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from darkroom_cli.commands.photos import explained
from darkroom_cli.commands.stack import Data, local_stack
from darkroom_cli.demo import run, tell


def demo(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything found to this file.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop everything at the end.")] = False,
    data: Data = None,
) -> None:
    """Start everything, import real photographs, show what was found.

    Exit code 0 only if all went as it should.
    """
    console = Console()
    with explained():
        found = run(local_stack(data), console, stop=stop)
        tell(found, console, json_file, stopped=stop)
    if found.problems:
        raise typer.Exit(1)
