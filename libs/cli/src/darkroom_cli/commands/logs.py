"""`darkroom logs`."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from darkroom_cli import log_search
from darkroom_cli.commands.stack import Data
from darkroom_cli.errors import StackError
from darkroom_cli.log_search import Line, Wanted
from darkroom_cli.paths import DataFolder
from darkroom_cli.supervision import logreader
from streamkit.log_line import LEVELS

_LOOK_EVERY: Final = 0.5
_TRACE: Final = re.compile("[0-9a-f]{32}")


def _uuid(text: str | None) -> str | None:
    try:
        return None if text is None else str(UUID(text))
    except ValueError as error:
        raise typer.BadParameter("the id of a photo is a UUID") from error


def _trace(text: str | None) -> str | None:
    if text is not None and not _TRACE.fullmatch(text):
        raise typer.BadParameter("a trace id is 32 hexadecimal digits")
    return text


def _level(text: str | None) -> str | None:
    if text is not None and text not in LEVELS:
        raise typer.BadParameter(f"choose {', '.join(LEVELS)}")
    return text


def logs(  # noqa: PLR0913 - options of a command
    name: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="One program; default all.")
    ] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", min=0, help="How many last lines.")] = 50,
    photo: Annotated[
        str | None,
        typer.Option(
            metavar="ID", callback=_uuid, help="One photo's path through all services, whole."
        ),
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option(metavar="ID", callback=_trace, help="All that belongs to one trace."),
    ] = None,
    level: Annotated[
        str | None, typer.Option(callback=_level, help=f"At least: {', '.join(LEVELS)}.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Services' lines, as written.")] = False,
    data: Data = None,
) -> None:
    """Show the logs, those of all programs merged by time.

    `--photo` and `--trace` look through all that is kept; what was never said is an error.
    """
    folder = DataFolder.at(data).logs
    names = _names(folder, name)
    show = json.dumps if as_json else log_search.shown
    if photo or trace:
        files = log_search.files_of(folder, names)
        for line in _path(files, Wanted(photo or "", trace or "", level or "")):
            typer.echo(show(line))
        return
    told = _told(level, show if as_json else None)
    files = [folder / f"{one}.log" for one in names]
    followers = [logreader.Follower(file) for file in files]
    _echo(logreader.merged(files, lines if level is None else 100_000), told, lines)
    with contextlib.suppress(KeyboardInterrupt):
        while follow:
            _echo(sorted(line for one in followers for line in one.new_lines()), told)
            time.sleep(_LOOK_EVERY)


def _names(folder: Path, name: str | None) -> list[str]:
    names = sorted(file.stem for file in folder.glob("*.log"))
    if name is not None and name not in names:
        known = f"There are {', '.join(names)}." if names else "Nothing has run here yet."
        raise StackError(f"No log of {name}.", known)
    return [name] if name else names


def _path(files: Sequence[Path], wanted: Wanted) -> list[Line]:
    """What is said of a photo, with all of its traces; or of a trace."""
    about = Wanted(wanted.photo, wanted.trace)
    lines = log_search.found(files, about)
    if wanted.photo and not wanted.trace:
        lines = log_search.traced(files, lines)
    if not lines:
        what = f"photo {wanted.photo}" if wanted.photo else f"trace {wanted.trace}"
        cure = "Logs keep the last 30 MB of each program."
        if wanted.photo:
            cure += f" What is known of it: darkroom photo {wanted.photo}"
        raise StackError(f"No log says anything of {what}.", cure)
    return [line for line in lines if Wanted(level=wanted.level).fits(line)]


def _told(level: str | None, show: Callable[[Line], str] | None) -> Callable[[str], str | None]:
    """What is shown of a raw line: itself, unless a level is asked for, or JSON."""
    if level is None and show is None:
        return lambda text: text
    wanted = Wanted(level=level or "")

    def told(text: str) -> str | None:
        line = log_search.parsed(text)
        if line is None or not wanted.fits(line):
            return None
        return show(line) if show is not None else text

    return told


def _echo(lines: Sequence[str], told: Callable[[str], str | None], most: int | None = None) -> None:
    shown = [text for line in lines if (text := told(line)) is not None]
    for text in shown if most is None else shown[len(shown) - min(most, len(shown)) :]:
        typer.echo(text)
