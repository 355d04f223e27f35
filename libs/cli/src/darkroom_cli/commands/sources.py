"""`darkroom sources`: folders and prefixes of stores that are looked through again and again."""

import re
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from darkroom_cli import door, show_schedules
from darkroom_cli.client import Gateway, GatewayError, Json
from darkroom_cli.commands.photos import LANES, AsJson, Lane, Url, explained
from darkroom_cli.commands.policy import By
from darkroom_cli.commands.schedules import Wait, print_json, run_now
from darkroom_cli.commands.stack import Data
from darkroom_cli.paths import DataFolder

sources = typer.Typer(
    help="Folders and stores that are looked through again and again, for what is new.",
    no_args_is_help=True,
)

DELETIONS: Final = ("report", "forget")

_RUNS_SHOWN: Final = 5
_LONGEST_NAME: Final = 64


def _deletions(word: str | None) -> str | None:
    if word is not None and word not in DELETIONS:
        raise typer.BadParameter(f"choose {', '.join(DELETIONS)}")
    return word


def _lane(word: str | None) -> str | None:
    if word is not None and word not in LANES:
        raise typer.BadParameter(f"choose {', '.join(LANES)}")
    return word


Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name, as `list` shows it.")]
Deletions = typer.Option(
    callback=_deletions,
    help="Of a file that vanishes: `report` it, or `forget` it besides. Its photo stays.",
)
Schedule = typer.Option(metavar="CRON", help="When, in UTC, such as '*/15 * * * *'.")


@sources.command("add", epilog="Example: darkroom sources add /mnt/nas --schedule '0 * * * *'")
def add(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    place: Annotated[
        str, typer.Argument(metavar="PATH|URI", help="A folder, or such as s3://bucket/prefix.")
    ],
    by: By,
    name: Annotated[
        str | None, typer.Option(help="What it is called; else as its last part.")
    ] = None,
    schedule: Annotated[str | None, Schedule] = None,
    lane: Lane = "default",
    include: Annotated[
        list[str] | None, typer.Option(help="Only files whose path matches, such as '*.jpg'.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="No files and folders whose path matches.")
    ] = None,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Names that begin with a dot as well.")
    ] = False,
    deletions: Annotated[str, Deletions] = "report",
    disabled: Annotated[
        bool, typer.Option("--disabled", help="Look through it only if that is asked for.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Add a source. It is looked through at once, and then by its schedule, if it has one.

    What is new or changed is imported; a file that vanishes is told. Nothing is ever written to
    it, and no photo is deleted because its file is gone. If all files vanish at once, the drive is
    taken to be away, and nothing counts as gone.
    """
    wanted: Json = {"include": include or [], "exclude": exclude or [], "hidden": hidden}
    wanted |= {"lane": lane, "schedule": schedule, "deletions": deletions, "by": by}
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        folders = [] if "://" in place else [Path(place).resolve()]
        wanted |= {"path": str(folders[0])} if folders else {"uri": place}
        called = name or name_of(wanted.get("path", place))
        with door.allowed(folders, DataFolder.at(data)):
            added = gateway.add_source(wanted | {"name": called, "enabled": not disabled})
    if as_json:
        print_json(added)
    else:
        Console().print(show_schedules.source_table(added))


@sources.command("list")
def list_(as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Show all sources, what they hold and how they were looked through last."""
    with explained():
        found = door.gateway(url, DataFolder.at(data)).sources()
    if as_json:
        print_json(found)
    elif found:
        Console().print(show_schedules.sources_table(found))
    else:
        typer.echo("There is no source yet; `darkroom sources add PATH` adds one.")


@sources.command("show")
def show(name: Name, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Show a source and its last looks. With --json their whole reports."""
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        source = _named(gateway, name)
        runs = list(islice(gateway.runs(source["job"]["name"]), _RUNS_SHOWN))
    if as_json:
        print_json({"source": source, "runs": runs})
    else:
        Console().print(show_schedules.source_table(source))
        Console().print(show_schedules.runs_table(runs))


@sources.command("run", epilog="Example: darkroom sources run nas --wait")
def run(
    name: Name,
    by: By,
    wait: Wait = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Look through a source now. Files that could not be read are tried again, too.

    With --wait it returns when the look is over, not the import that it may have begun; exit code
    1 if it failed.
    """
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        run_now(gateway, _named(gateway, name)["job"]["name"], by, wait=wait, as_json=as_json)


@sources.command("set", epilog="Example: darkroom sources set nas --schedule '0 3 * * *'")
def set_(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    name: Name,
    by: By,
    schedule: Annotated[str | None, Schedule] = None,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help="No schedule: only if that is asked for.")
    ] = False,
    lane: Annotated[
        str | None, typer.Option(callback=_lane, help=f"One of {', '.join(LANES)}.")
    ] = None,
    deletions: Annotated[str | None, Deletions] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Change a source; what is not named stays. For another place, remove it and add it anew."""
    if schedule is not None and by_hand:
        raise typer.BadParameter("give either --schedule or --by-hand")
    named = {"schedule": schedule, "lane": lane, "deletions": deletions}
    change: Json = {key: value for key, value in named.items() if value is not None}
    if by_hand:
        change["schedule"] = None
    if not change:
        raise typer.BadParameter("say what shall be different")
    _change(name, change | {"by": by}, as_json, url, data)


@sources.command("enable")
def enable(name: Name, by: By, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Have a source looked through at its times again."""
    _change(name, {"enabled": True, "by": by}, as_json, url, data)


@sources.command("disable")
def disable(
    name: Name, by: By, as_json: AsJson = False, url: Url = None, data: Data = None
) -> None:
    """Have a source looked through only if that is asked for."""
    _change(name, {"enabled": False, "by": by}, as_json, url, data)


@sources.command("remove")
def remove(name: Name, by: By, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Remove a source. Its photos and imports stay; nothing in it is touched."""
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        found = _named(gateway, name)
        removed = gateway.remove_source(found["source_id"], by)
        others = {one["place"] for one in gateway.sources()}
        if found["kind"] == "folder" and found["place"] not in others:
            door.forbid([Path(found["place"])], DataFolder.at(data))
    if as_json:
        print_json(removed)
    else:
        typer.echo(f"{name} is removed; its photos stay.")


def name_of(place: str) -> str:
    """A name that a source may have, from the last part of its place."""
    last = place.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).lstrip("-._")[:_LONGEST_NAME] or "source"


def _named(gateway: Gateway, name: str) -> Json:
    found = [one for one in gateway.sources() if name in (one["name"], one["source_id"])]
    if not found:
        raise GatewayError(f"there is no source called {name!r}; see `darkroom sources list`")
    return found[0]


def _change(name: str, change: Json, as_json: bool, url: Url = None, data: Data = None) -> None:
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        changed = gateway.change_source(_named(gateway, name)["source_id"], change)
    if as_json:
        print_json(changed)
    else:
        Console().print(show_schedules.source_table(changed))
