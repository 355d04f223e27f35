"""`darkroom ops workers | worker | stages | history`: what goes on, and how that was."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from darkroom_cli import door, show_operations
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.stack import Data
from darkroom_cli.operations_door import OperationsDoor
from darkroom_cli.paths import DataFolder

NOBODY: Final = (
    "No worker has said anything: are the services running, and the control door? "
    "(`darkroom status`)"
)

_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([smh])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours"}
_POINTS: Final = 360


def span(text: str) -> str:
    """Typer's callback for a length of time."""
    if not _SPAN.fullmatch(text):
        raise typer.BadParameter("say it as 90s, 30m or 24h")
    return text


def length(text: str) -> timedelta:
    """The length of time that `span` has let pass."""
    number, unit = text[:-1], text[-1]
    return timedelta(**{_UNITS[unit]: int(number)})


def workers(
    service: Annotated[str | None, typer.Option(help="Only those of this service.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show who works: what each has, how busy it is, and when it was last heard of."""
    with explained():
        found = _door(url, data).workers(service)
    if as_json:
        _print_json(found)
    elif not found:
        typer.echo(NOBODY if service is None else f"There is no worker of {service}.")
    else:
        console = Console(highlight=False)
        there = [one for one in found if one["state"] != "gone"]
        console.print(show_operations.workers_table(there))
        for line in show_operations.missing(there):
            console.print(line, style="red", markup=False)
        if gone := len(found) - len(there):
            console.print(f"{gone} more ended by themselves in the last hour.", style="dim")


def worker(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `darkroom ops workers` says.")],
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show all of one worker: its lanes and partitions, and which records it works on."""
    with explained():
        found = _door(url, data).worker(name)
    if as_json:
        _print_json(found)
    else:
        show_operations.print_worker(found, Console(highlight=False))


def stages(as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Show of each service and lane what waits, how fast it goes, and what went wrong."""
    with explained():
        found = _door(url, data).overview()
    if as_json:
        _print_json(found)
    else:
        show_operations.print_stages(found, Console(highlight=False))


def history(
    series: Annotated[
        list[str] | None,
        typer.Argument(metavar="SERIES...", help="Names of series; without any all are listed."),
    ] = None,
    since: Annotated[
        str, typer.Option(callback=span, help="How far back: 90s, 30m or 24h, which is all.")
    ] = "1h",
    points: Annotated[
        int | None,
        typer.Option(min=2, max=2000, help="At most so many; else what the terminal is wide for."),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Plot what was measured, a line for each series."""
    console = Console(highlight=False)
    with explained():
        opened = _door(url, data)
        if not series:
            names = opened.series()
        else:
            began = datetime.now(UTC) - length(since)
            fit = _POINTS if as_json else show_operations.points(series, console.width)
            found = opened.history(series, began, points or fit)
    if not series:
        _print_json(names) if as_json else typer.echo("\n".join(names))
    elif as_json:
        _print_json(found)
    else:
        show_operations.print_history(found, console)


def _door(url: str | None, data: Any) -> OperationsDoor:
    return OperationsDoor(door.gateway(url, DataFolder.at(data)))


def _print_json(found: Any) -> None:
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
