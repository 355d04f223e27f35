"""`darkroom imports list | show | pause | …`: the imports that there are."""

import getpass
import json
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from darkroom_cli import door, show_imports
from darkroom_cli.client import Gateway, GatewayError, Json
from darkroom_cli.commands.import_ import finish
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.stack import Data
from darkroom_cli.paths import DataFolder

imports = typer.Typer(help="Imports: where they stand, what came of them.", no_args_is_help=True)

Id = Annotated[
    str, typer.Argument(metavar="IMPORT", help="Its id, the beginning of one, or `last`.")
]
_LISTED: Final = 100


def meant(gateway: Gateway, text: str) -> str:
    """The id of the import that is meant; raises GatewayError where that is not clear."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        known = [batch["batch_id"] for batch in gateway.imports(_LISTED)]
    found = known[:1] if text == "last" else [each for each in known if each.startswith(text)]
    if len(found) != 1:
        many = "more than one import" if found else "no import of late"
        raise GatewayError(f"{many} is called {text!r}; see `darkroom imports list`")
    return str(found[0])


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


@imports.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=_LISTED, help="At most so many.")] = 10,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """The newest imports and where they stand."""
    with explained():
        found = door.gateway(url, DataFolder.at(data)).imports(limit)
    if as_json:
        _print_json(found)
    elif found:
        Console().print(show_imports.imports_table(found))
    else:
        typer.echo("Nothing was imported yet.")


@imports.command("show")
def show_(
    batch: Id,
    watched: Annotated[
        bool, typer.Option("--follow", "-f", help="Watch it until it is over.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Where an import stands. With --follow exit codes are those of `darkroom import`."""
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        batch_id = meant(gateway, batch)
        if watched:
            finish(gateway, batch_id, as_json)
        elif as_json:
            _print_json(gateway.batch(batch_id))
        else:
            show_imports.print_import(gateway.batch(batch_id), Console())


@imports.command()
def pause(
    batch: Id,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="It goes on by itself after so many.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Take no more files for now; photos that are under way go on."""
    more = {} if minutes is None else {"for_s": minutes * 60}
    _command(batch, "pause", more, as_json=as_json, url=url, data=data)


@imports.command()
def resume(batch: Id, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Go on after a pause."""
    _command(batch, "resume", {}, as_json=as_json, url=url, data=data)


@imports.command()
def cancel(batch: Id, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """End an import. What is done stays; photos under way are called off."""
    _command(batch, "cancel", {}, as_json=as_json, url=url, data=data)


def _command(
    batch: str,
    word: str,
    more: Json,
    *,
    as_json: bool,
    url: str | None,
    data: Path | None,
) -> None:
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        told = gateway.command(meant(gateway, batch), word, {"by": _me(), **more})
    if as_json:
        _print_json(told)
    else:
        show_imports.print_import(told, Console())


def _me() -> str:
    """Who asks, for the record."""
    try:
        return getpass.getuser()[:100] or "cli"
    except (OSError, KeyError):  # no such user, as in some containers
        return "cli"


@imports.command()
def failures(
    batch: Id,
    files: Annotated[
        int, typer.Option(min=0, help="So many of the files are listed, besides the reasons.")
    ] = 20,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Why files failed: all reasons with their number of files, and the first of the files."""
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        found = gateway.failures(meant(gateway, batch), limit=files)
    if as_json:
        _print_json(found)
        return
    console = Console()
    if not found["reasons"]:
        console.print("No file failed.")
        return
    console.print(show_imports.failures_table(found))
    if found["items"]:
        console.print(show_imports.failed_files_table(found["items"]))
    if found["next"]:
        console.print("There are more; --files shows them, and so does the report.", markup=False)


@imports.command()
def statistics(batch: Id, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """An import in numbers: totals, labels, how long photos took."""
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        found = gateway.statistics(meant(gateway, batch))
    if as_json:
        _print_json(found)
    else:
        show_imports.print_statistics(found, Console())


@imports.command()
def report(
    batch: Id,
    file: Annotated[
        Path | None,
        typer.Argument(dir_okay=False, help="NAME.csv or NAME.html; standard output gets CSV."),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Write what became of every file: as CSV, or as a page with pictures.

    --json says where it was written and how many bytes it has.
    """
    form = "csv" if file is None else file.suffix.lower().removeprefix(".")
    if form not in ("csv", "html"):
        raise typer.BadParameter("the file's name ends with .csv or .html")
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        pieces = gateway.report(meant(gateway, batch), form)
        if file is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.flush()
            return
        size = _written(file, pieces)
    if as_json:
        _print_json({"file": str(file.resolve()), "bytes": size})
    else:
        typer.echo(f"written: {file}")


def _written(file: Path, pieces: Iterator[bytes]) -> int:
    """Write a file wholly or not at all; returns its size."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with new.open("wb") as out:
            for piece in pieces:
                out.write(piece)
        new.replace(file)
    except OSError as error:
        raise GatewayError(f"{file} can't be written: {error.strerror}") from error
    finally:
        new.unlink(missing_ok=True)
    return file.stat().st_size
