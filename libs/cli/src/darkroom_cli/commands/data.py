"""`darkroom backup | restore | migrate`: what Darkroom keeps, saved, put back, moved to a version.

Of the stack that runs here; or, where DARKROOM_DATABASE is set, of what the settings DARKROOM_…
name.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from darkroom_cli.commands.stack import Data, local_stack
from darkroom_cli.errors import DarkroomError, StackError
from darkroom_cli.gateway_program import ask_gateway
from darkroom_cli.paths import DataFolder
from darkroom_cli.settings import CliSettings
from darkroom_cli.stack import INFRASTRUCTURE, Stack

Folder = Annotated[Path, typer.Argument(help="Folder of the backup.", file_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: what it has, in numbers.")]
WithoutSchemas = Annotated[
    bool,
    typer.Option("--without-schemas", help="Leave out the schema registry, if it is not Apicurio."),
]

_LACKING: Final = 3
"""The exit code of a backup that lacks objects."""

_SHOWN: Final = 5

_WORDS: Final = {
    "verify": "reading the backup",
    "catalog": "the catalog",
    "schemas": "the schemas",
    "objects": "photos and other objects",
}


def backup(
    folder: Folder,
    without_schemas: WithoutSchemas = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Save catalog, photos and schemas while Darkroom runs. Into the same folder again: only what
    is new is copied, and until all is there the backup of before stays.

    Exit code 3: it was made, but the store lacks objects that the catalog names.
    """
    environment = {} if _elsewhere() else _environment(local_stack(data))
    done = _told("backup", folder, _flags(without_schemas), environment)
    _show(done, f"saved in {folder}", as_json)
    if done["missing"]:
        _tell_missing(folder / done["missing_keys"], done["missing"])
        raise typer.Exit(_LACKING)


def restore(
    folder: Folder,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where there is something: that goes.")
    ] = False,
    without_schemas: WithoutSchemas = False,
    schemas_only: Annotated[
        bool,
        typer.Option("--schemas-only", help="Only the schema registry, where Kafka alone is lost."),
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Check a backup and put it back, before Darkroom is started. Interrupted, run it again."""
    if schemas_only:
        if replace or without_schemas:
            raise typer.BadParameter("--schemas-only goes with neither of the others")
        done = _schemas_only(folder, data)
        if as_json:
            typer.echo(json.dumps(done, indent=2))
        else:
            typer.echo(f"{done['schemas']} versions of schemas have their ids")
        return
    words = _flags(without_schemas)
    if _elsewhere():
        done = _told("restore", folder, [*words, *(["--replace"] if replace else [])], {})
        _show(done, "restored", as_json)
        return
    place = DataFolder.at(data)
    _refuse_running(data)
    if replace:
        _told("restore", folder, ["--verify-only"], {})
        _set_aside(place, folder.resolve())
    with _started(place, INFRASTRUCTURE) as stack:
        done = _told("restore", folder, words, stack.environment)
    _show(done, "restored; start it with ./darkroom up", as_json)


def migrate(
    to: Annotated[
        str, typer.Option(help="A revision such as 0012, head, or base: no catalog.")
    ] = "head",
    lose_data: Annotated[
        bool, typer.Option("--lose-data", help="Also to where data is lost.")
    ] = False,
    data: Data = None,
) -> None:
    """Move the catalog to another version's tables, with Darkroom stopped. Says what would be lost
    on the way back, and loses nothing unless told so. `up` goes forward by itself."""
    words = ["migrate", "--to", to, *(["--lose-data"] if lose_data else [])]
    if _elsewhere():
        done = ask_gateway(words, {}, _silent)
    else:
        _refuse_running(data)
        with _started(DataFolder.at(data), ("postgres",)) as stack:
            done = ask_gateway(words, stack.environment, _silent)
    typer.echo(f"the catalog is at {done['revision']}")


def _elsewhere() -> bool:
    """Whether the settings say what is meant, and not the stack here."""
    return CliSettings().database is not None


def _environment(stack: Stack) -> dict[str, str]:
    """Raises StackError if it is not up."""
    stack.address("database")
    return stack.environment


def _flags(without_schemas: bool) -> list[str]:
    return ["--without-schemas"] if without_schemas else []


def _schemas_only(folder: Path, data: Path | None) -> Any:
    words = ["--schemas-only"]
    if _elsewhere():
        return _told("restore", folder, words, {})
    _refuse_running(data)
    with _started(DataFolder.at(data), ("kafka", "registry")) as stack:
        return _told("restore", folder, words, stack.environment)


def _tell_missing(keys: Path, number: int) -> None:
    """Say which of the objects the store lacks."""
    with keys.open(encoding="utf-8") as lines:
        first = [line.rstrip("\n") for line in islice(lines, _SHOWN)]
    typer.secho(
        f"darkroom: {number} objects that the catalog names are not in the store as they were:"
        f" {', '.join(first)}{', …' if number > len(first) else ''}.",
        fg="red",
        err=True,
    )
    typer.echo(f"All of them are in {keys}. The backup has all else.", err=True)


def _refuse_running(data: Path | None) -> None:
    if local_stack(data).running:
        raise StackError("Darkroom is up, and would see it happen.", "Stop it: ./darkroom down.")


@contextmanager
def _started(place: DataFolder, infrastructure: Sequence[str]) -> Iterator[Stack]:
    console = Console(stderr=True)
    with console.status("starting") as line:
        stack = Stack(place.root, (), infrastructure=infrastructure)
        stack.start(progress=line.update)
    try:
        yield stack
    finally:
        with console.status("stopping"):
            stack.stop()


def _set_aside(place: DataFolder, backup_folder: Path) -> None:
    """Move what is there away. Raises DarkroomError where the backup itself lies in it."""
    if any(backup_folder.is_relative_to(each) for each in place.kept):
        raise DarkroomError(
            f"The backup lies inside of what --replace moves away: {backup_folder}.",
            "Copy it elsewhere first.",
        )
    aside = place.root / f"before-restore-{time.strftime('%Y%m%dT%H%M%S')}"
    for each in place.kept:
        if each.exists():
            aside.mkdir(mode=0o700, exist_ok=True)
            each.rename(aside / each.name)
    if aside.exists():
        typer.echo(f"darkroom: what was there lies in {aside}; delete it when you like.", err=True)


def _told(door: str, folder: Path, words: Sequence[str], environment: Mapping[str, str]) -> Any:
    console = Console(stderr=True)
    with console.status(door) as line:

        def tell(step: str, done: int, of: int | None) -> None:
            count = f": {done:,}" + (f" of {of:,}" if of else "") if done else ""
            line.update(f"{_WORDS[step]}{count}")

        return ask_gateway([door, "--folder", str(folder.resolve()), *words], environment, tell)


def _silent(_step: str, _done: int, _of: int | None) -> None:
    return None


def _show(done: Mapping[str, Any], what: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(done, indent=2))
        return
    typer.echo(
        f"{done['photos']:,} photos, {done['rows']:,} rows of the catalog, {done['objects']:,}"
        f" objects, {done['schemas']} versions of schemas, {done['bytes'] / 1e6:,.1f} MB: {what}"
    )
