"""`darkroom train SET`, `darkroom trainings list | show | cancel`: teach labels of your own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from darkroom_cli import door, show_trainings
from darkroom_cli.client import Gateway, GatewayError, Json
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.policy import By
from darkroom_cli.commands.stack import Data
from darkroom_cli.models_door import ModelsDoor
from darkroom_cli.paths import DataFolder
from darkroom_cli.show import plain
from darkroom_cli.trainings_door import PUBLISHED, WITHOUT, NotEnoughError, TrainingsDoor

trainings = typer.Typer(
    help="How your own labels were learned, and how well: see also `darkroom train`.",
    no_args_is_help=True,
)

_EVERYWHERE_S: Final = 60.0
_INTERRUPTED: Final = 130

NOTHING_NEW: Final = 3
"""Exit code of what went as it should, and after which nothing new holds."""

TrainingId = Annotated[
    str, typer.Argument(metavar="TRAINING", help="Its id, the beginning of one, or `last`.")
]


def train(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    by: By,
    name: Annotated[str, typer.Argument(metavar="[SET]", help="The set of labels.")] = "labels",
    force: Annotated[
        bool, typer.Option("--force", help="Also where examples are missing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Until it has ended; else at once.")
    ] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait at most.")] = 3_700.0,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Teach a set of your own labels by its examples, while everything goes on.

    What comes of it is used only if it is right often enough, and not less often than what is in
    use. Exit code 3 if it is not used, or examples are missing; 1 if the training failed.
    """
    with explained():
        opened = _door(url, data, by)
        try:
            asked = opened.ask(name, force=force)
        except NotEnoughError as error:
            typer.echo(f"darkroom: {error}", err=True)
            raise typer.Exit(NOTHING_NEW) from error
        request_id = asked["request_id"]
        found = followed(opened, request_id, timeout, quiet=as_json) if wait else asked
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif wait:
        _print(*show_trainings.ended(found))
        _next(found)
    else:
        _print(plain(f"{found['request_id']}: {show_trainings.standing(found)}"))
    if wait and (code := exit_code(found)):
        raise typer.Exit(code)


@trainings.command("list")
def list_(
    model: Annotated[str | None, typer.Option("--set", help="Only of this set.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The newest ones.")] = 10,
    merged: Annotated[
        bool, typer.Option("--all", help="Also those that another one stands for.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show what asked for trainings, and what became of them."""
    with explained():
        found = _door(url, data, "").all(model, limit, merged=merged)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        _print(show_trainings.table(found))
    else:
        typer.echo("Nothing has asked for a training yet; `darkroom train` does.")


@trainings.command("show")
def show(
    request_id: TrainingId = "last", as_json: AsJson = False, url: Url = None, data: Data = None
) -> None:
    """Show how well a training went, and which examples are likely wrong."""
    with explained():
        opened = _door(url, data, "")
        found = opened.one(opened.meant(request_id))
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(*show_trainings.detail(found))


@trainings.command("cancel")
def cancel(
    request_id: TrainingId, by: By, as_json: AsJson = False, url: Url = None, data: Data = None
) -> None:
    """Call a training off: it changes nothing any more."""
    with explained():
        opened = _door(url, data, by)
        found = opened.cancel(opened.meant(request_id))
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{found['request_id']} is cancelled.")


def exit_code(ended: Json) -> int:
    """Of a command that waited for a training: whether something new holds."""
    if ended["state"] == PUBLISHED:
        return 0
    return NOTHING_NEW if ended["state"] in WITHOUT else 1


def followed(opened: TrainingsDoor, request_id: str, timeout_s: float, *, quiet: bool) -> Json:
    """A training once it has ended, with its standing shown meanwhile; what it published is
    everywhere then, or it is told where not."""
    console = Console(stderr=True, quiet=quiet, highlight=False)
    try:
        with console.status("asked for") as status:

            def tell(found: Json) -> None:
                status.update(plain(show_trainings.standing(found)) or found["state"])

            found = opened.ended(request_id, timeout_s, _lines(console, tell))
            if found["state"] == PUBLISHED:
                status.update("its version is loaded")
                _everywhere(opened.gateway, f"head:{found['model']}")
    except KeyboardInterrupt as stopped:
        if not quiet:
            typer.echo(f"\nThe training goes on: darkroom trainings show {request_id}", err=True)
        raise typer.Exit(_INTERRUPTED) from stopped
    return found


def _lines(console: Console, tell: Callable[[Json], None]) -> Callable[[Json], None]:
    """Where there is no terminal, a line for each thing that is new."""
    if console.is_terminal:
        return tell
    said: list[str] = []

    def line(found: Json) -> None:
        standing = plain(f"{found['state']} {found['step'] or found['note'] or ''}")
        if said[-1:] != [standing]:
            said.append(standing)
            console.print(standing, markup=False)

    return line


def _everywhere(gateway: Gateway, name: str) -> None:
    registry = ModelsDoor(gateway)
    try:
        registry.everywhere(name, registry.one(name)["generation"], _EVERYWHERE_S, lambda _: None)
    except GatewayError as error:
        typer.echo(plain(f"It holds, but: {error}"), err=True)


def _next(found: Json) -> None:
    if found["suspicious"]:
        count = show_trainings.suspicious(found["suspicious_of"])
        typer.echo(f"{count}: darkroom trainings show {found['request_id']}")


def _print(*shown: Any) -> None:
    console = Console(highlight=False, markup=False)
    for one in shown:
        console.print(one, soft_wrap=isinstance(one, str))


def _door(url: str | None, data: Path | None, by: str) -> TrainingsDoor:
    with explained():
        return TrainingsDoor(door.gateway(url, DataFolder.at(data)), by)
