"""`darkroom review next | answer | skip | release | undo | stats | precision`: what photos show."""

import json
from typing import Annotated, Any
from uuid import uuid4

import typer
from rich.console import Console

from darkroom_cli import door, show_labels, show_precision
from darkroom_cli.client import Json
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.policy import By
from darkroom_cli.commands.stack import Data
from darkroom_cli.paths import DataFolder
from darkroom_cli.reviews_door import ReviewsDoor

review = typer.Typer(
    help="Photos that a person shall look at: get some, say what they show.", no_args_is_help=True
)

_ORDERS = ("useful", "uncertain", "newest", "oldest")
_ANSWERS = ("confirm", "correct", "none", "skip")

PhotoId = Annotated[str, typer.Argument(metavar="PHOTO", help="Its id.")]


def _order(word: str) -> str:
    if word not in _ORDERS:
        raise typer.BadParameter(f"choose {', '.join(_ORDERS)}")
    return word


def _kind(word: str) -> str:
    if word not in _ANSWERS:
        raise typer.BadParameter(f"choose {', '.join(_ANSWERS)}")
    return word


@review.command("next", epilog="Example: darkroom review next --count 5")
def next_(
    by: By,
    count: Annotated[int, typer.Option(min=1, max=20, help="At most so many.")] = 1,
    order: Annotated[
        str,
        typer.Option(
            callback=_order,
            help="useful (whose answers teach most), uncertain, newest or oldest first.",
        ),
    ] = "useful",
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Get photos to look at. They are yours for two minutes: nobody else gets them meanwhile.

    One of ten or so is an audit: it was labelled without asking, and drawn by lot to tell how often
    such labels are right.
    """
    with explained():
        opened = _door(url, data, by)
        items = opened.next(count, order)
    if as_json:
        _print_json(items)
    elif items:
        Console().print(show_labels.reviews_table(items, opened.gateway.url))
    else:
        typer.echo("Nobody has to look at any photo.")


@review.command("answer", epilog="Example: darkroom review answer PHOTO correct --label receipt")
def answer(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    photo_id: PhotoId,
    kind: Annotated[
        str,
        typer.Argument(metavar="ANSWER", callback=_kind, help="confirm, correct, none or skip."),
    ],
    by: By,
    label: Annotated[str | None, typer.Option(help="What it shows, to correct it.")] = None,
    lease: Annotated[
        str | None, typer.Option(help="With which you were given it; else you are known by name.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Say what a photo shows. Every set that has the label learns it.

    Exit code 1 if somebody else looks at it, or its outcome changed.
    """
    if (kind == "correct") != (label is not None):
        raise typer.BadParameter("--label belongs to the answer correct", param_hint="--label")
    said = {"answer": kind, "label": label, "lease": lease, "answer_id": str(uuid4())}
    _say(_door(url, data, by), photo_id, said, as_json)


@review.command("skip")
def skip(
    photo_id: PhotoId, by: By, as_json: AsJson = False, url: Url = None, data: Data = None
) -> None:
    """Look at a photo later: it comes to you again behind all others."""
    said = {"answer": "skip", "answer_id": str(uuid4())}
    _say(_door(url, data, by), photo_id, said, as_json)


@review.command("release")
def release(
    photo_id: PhotoId, by: By, as_json: AsJson = False, url: Url = None, data: Data = None
) -> None:
    """Give a photo back without an answer: others may get it at once."""
    with explained():
        had = _door(url, data, by).release(photo_id)
    if as_json:
        _print_json({"released": had})
    else:
        typer.echo("Given back." if had else "You did not have it.")


@review.command("undo", epilog="Example: darkroom review undo")
def undo(
    by: By,
    photo_id: Annotated[
        str | None, typer.Argument(metavar="[PHOTO]", help="Its id; else your last answer.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Take back your last answer, or your last about a photo."""
    with explained():
        opened = _door(url, data, by)
        undone = opened.undo(opened.last(photo_id))
    if as_json:
        _print_json(undone)
        return
    holds = undone["holds"]
    then = f"{holds['answer']} by {holds['reviewer']} holds" if holds else "it waits again"
    typer.echo(f"Undone: {show_labels.answered(undone['undone'])}; {then}.")


@review.command("stats")
def stats(as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """How many photos wait for a person, and who answered how many today."""
    with explained():
        found = _door(url, data, "").stats()
    if as_json:
        _print_json(found)
        return
    console = Console(highlight=False)
    audits = f" {found['audits']:,} are audits." if found["audits"] else ""
    console.print(
        f"{found['waiting']:,} photos wait, {found['leased']:,} of them are looked at.{audits}"
    )
    if found["by_label"]:
        console.print(show_labels.waiting_table(found))
    if found["today"]:
        console.print(show_labels.today_table(found))


@review.command("precision", epilog="Example: darkroom review precision --label receipt")
def precision(
    label: Annotated[
        str | None, typer.Option(help="Show this one by how sure the machine was.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show how often labels are right, by what people answered."""
    with explained():
        found = _door(url, data, "").precision()
    shown = [one for one in found["items"] if label in (None, one["label"])]
    if as_json:
        _print_json({**found, "items": shown})
    elif not shown:
        typer.echo("Nobody has answered anything that would tell.")
    else:
        console = Console(highlight=False)
        console.print(show_precision.precision_table({**found, "items": shown}))
        if label is not None:
            console.print(show_precision.bands_table(shown[0]))


def _say(opened: ReviewsDoor, photo_id: str, said: Json, as_json: bool) -> None:
    with explained():
        answered = opened.answer(photo_id, said)
    if as_json:
        _print_json(answered)
    else:
        typer.echo(show_labels.answered(answered))


def _door(url: str | None, data: Any, by: str) -> ReviewsDoor:
    with explained():
        return ReviewsDoor(door.gateway(url, DataFolder.at(data)), by)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
