"""`darkroom docs`."""

from pathlib import Path
from typing import Annotated

import typer

from darkroom_cli.modules import run_module
from darkroom_cli.paths import repository_root


def docs(
    serve: Annotated[
        bool, typer.Option("--serve", help="Then show it on this machine, until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="For --serve.")] = 8000,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder of the site; default .site/ here.")
    ] = None,
) -> None:
    """Build the documentation as a site that needs no other host. Its search works where it is
    served, not in pages opened as files.

    Exit code 1 if a link leads nowhere, the navigation lacks a page, or the folder of the site has
    something else in it. Pages that are made of code are written anew by
    `python -m docs.tools.generate`. Example:

    ./darkroom docs --serve
    """
    root = repository_root()
    folder = (output or root / ".site").resolve()
    arguments = ["--output", str(folder), "--port", str(port), *(("--serve",) if serve else ())]
    raise typer.Exit(run_module("docs.tools.site", arguments, root))
