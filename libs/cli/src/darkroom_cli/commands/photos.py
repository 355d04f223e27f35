"""`darkroom analyze | search | photo`, and what commands that ask the gateway share."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from darkroom_cli import door, show
from darkroom_cli.client import Gateway, GatewayError, Json
from darkroom_cli.commands.stack import Data
from darkroom_cli.follow import StalledError
from darkroom_cli.paths import DataFolder

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Url = Annotated[
    str | None,
    typer.Option(envvar="DARKROOM_URL", help="The gateway; else the one that runs here."),
]
LANES = ("high", "default", "batch", "learning")


@contextmanager
def explained() -> Iterator[None]:
    """Errors for people: one line on standard error and exit code 1."""
    try:
        yield
    except (GatewayError, StalledError) as error:
        typer.echo(f"darkroom: {error}", err=True)
        raise typer.Exit(1) from error


def check_lane(lane: str) -> str:
    """Typer's callback for a lane."""
    if lane not in LANES:
        raise typer.BadParameter(f"choose {', '.join(LANES)}")
    return lane


Lane = Annotated[str, typer.Option(callback=check_lane, help=f"One of {', '.join(LANES)}.")]


def analyze(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A photo.")],
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Hand in a single photo and answer when its outcome is there.

    Exit code 1 if it is rejected or not decided within a minute.
    """
    with explained():
        photo = door.gateway(url, DataFolder.at(data)).analyze(file)
    _print_photo(photo, as_json)
    if photo["status"] == "pending":
        again = f"darkroom photo {photo['photo_id']}"
        typer.echo(f"darkroom: not decided yet; ask again with `{again}`", err=True)
    if photo["status"] != "analyzed":
        raise typer.Exit(1)


def photo(
    photo_id: Annotated[str, typer.Argument(help="Its id, as the other commands show it.")],
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show all that is known of a photo."""
    if not _is_id(photo_id):
        raise typer.BadParameter(f"{photo_id!r} is not a photo's id")
    with explained():
        found = door.gateway(url, DataFolder.at(data)).photo(photo_id)
    _print_photo(found, as_json)


def search(
    text: Annotated[str | None, typer.Argument(help="Words: labels, categories, text.")] = None,
    like: Annotated[str | None, typer.Option(help="A photo's id, or a file.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="Weak results too.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Find photos by words, or those that resemble a photo."""
    if bool(text and text.strip()) == (like is not None):
        raise typer.BadParameter("give either words or --like")
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        known = _photo_id(gateway, like) if like is not None else None
        found = gateway.search(text=text, like=known, limit=limit)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = Console()
    if not found:
        console.print("Nothing found.")
        return
    shown = found if everything else found[: show.strong([hit["score"] for hit in found])]
    console.print(show.hits_table(shown))
    if len(shown) < len(found):
        console.print(f"{len(found) - len(shown)} weaker ones are left out; --all shows them.")


def _is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _photo_id(gateway: Gateway, like: str) -> str:
    """The id that is meant: itself, or that of a file, which is analysed if it is new."""
    if _is_id(like):
        return like
    if not Path(like).is_file():
        raise typer.BadParameter(f"{like} is neither a photo's id nor a file")
    analyzed = gateway.analyze(Path(like))
    if analyzed["status"] != "analyzed":
        reason = (analyzed["error"] or {}).get("message", "it is not decided yet")
        raise GatewayError(f"{like} can't be compared: {reason}")
    return str(analyzed["photo_id"])


def _print_photo(photo: Json, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(photo, indent=2, ensure_ascii=False))
    else:
        Console().print(show.photo_table(photo))
