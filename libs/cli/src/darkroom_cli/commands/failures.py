"""`darkroom failures list | show | replay | …`: what failed, and what is done about it."""

import json
from itertools import islice
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from darkroom_cli import door, show_failures
from darkroom_cli.client import Json
from darkroom_cli.commands.imports import meant
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.policy import By
from darkroom_cli.commands.reprocess import lane as check_lane
from darkroom_cli.commands.stack import Data
from darkroom_cli.failures_door import FailuresDoor
from darkroom_cli.paths import DataFolder
from darkroom_cli.show_failures import Bar, all_well, came_to
from darkroom_cli.show_failures import failures as some_failures

failures = typer.Typer(
    help="Photos that failed: why, what helps, trying again, laying aside.", no_args_is_help=True
)

_STAGES: Final = ("import", "intake", "detector", "ocr", "embedder")
_STATES: Final = ("inbox", "open", "replaying", "discarded")
_MOST: Final = 10_000


def _stage(word: str | None) -> str | None:
    if word is not None and word not in _STAGES:
        raise typer.BadParameter(f"choose {', '.join(_STAGES)}")
    return word


def _state(word: str) -> str:
    if word not in _STATES:
        raise typer.BadParameter(f"choose {', '.join(_STATES)}")
    return word


Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FAILURE]...", help="These, by their ids or how those begin."),
]
StageName = Annotated[
    str | None, typer.Option("--stage", callback=_stage, help=f"One of {', '.join(_STAGES)}.")
]
Code = Annotated[str | None, typer.Option(help="With this code.")]
Batch = Annotated[
    str | None,
    typer.Option("--import", help="Of this import: its id, the beginning of one, or `last`."),
]
All = Annotated[bool, typer.Option("--all", help="All that there are.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


@failures.command("list", epilog="Example: darkroom failures list --stage ocr --each")
def list_(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    stage: StageName = None,
    code: Code = None,
    batch: Batch = None,
    state: Annotated[
        str, typer.Option(callback=_state, help=f"One of {', '.join(_STATES)}.")
    ] = "inbox",
    each: Annotated[bool, typer.Option("--each", help="One by one, not by reason.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show what failed and is not whole yet, by reason and with what helps; with a filter or
    --each one by one."""
    one_by_one = each or state != "inbox" or any((stage, code, batch))
    with explained():
        opened = _door(url, data)
        if one_by_one:
            wanted = _fields(opened, stage, code, batch)
            found: Any = list(islice(opened.items(state, wanted), limit))
        else:
            found = opened.inbox()
    if as_json:
        _print_json(found)
    elif not one_by_one:
        show_failures.print_inbox(found, Console(highlight=False))
    elif found:
        Console().print(show_failures.items_table(found))
    else:
        typer.echo("Nothing fits.")


@failures.command("show", epilog="Example: darkroom failures show a5473df0")
def show(
    failure: Annotated[str, typer.Argument(metavar="FAILURE", help="Its id, or how it begins.")],
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show one failure and all that happened."""
    with explained():
        found = _door(url, data).one(failure)
    if as_json:
        _print_json(found)
    else:
        Console().print(show_failures.item_table(found))


@failures.command(
    "replay", epilog="Example: darkroom failures replay --stage detector --code engine_failed"
)
def replay(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    by: By,
    ids: Ids = None,
    stage: StageName = None,
    code: Code = None,
    batch: Batch = None,
    everything: All = False,
    lane: Annotated[str, typer.Option(callback=check_lane, help="batch, or learning.")] = "batch",
    limit: Annotated[
        int, typer.Option(min=1, max=_MOST, help="Only so many, the oldest: to see how it goes.")
    ] = _MOST,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    yes: Yes = False,
    detach: Annotated[bool, typer.Option("--detach", help="Don't wait for the end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Try failures again, once what made them fail was put right.

    Only what failed is done again. Ctrl-C ends the watching, not the replay. Exit code 1 if not all
    of them are whole then.
    """
    with explained():
        opened = _door(url, data)
        chosen = _chosen(opened, ids, _fields(opened, stage, code, batch), everything)
        wanted: Json = {"filter": chosen, "lane": lane, "most": limit, "by": by}
        seen = opened.preview(wanted)
        if dry_run or seen["count"] == 0:
            _tell_preview(seen, as_json)
            return
        if not yes:
            typer.confirm(f"Try {some_failures(seen['count'])} again?", abort=True, err=True)
        over = opened.replay(wanted)
        if not detach:
            over = _watched(opened, over["replay_id"], as_json)
    if as_json:
        _print_json(over)
    elif detach:
        typer.echo("Begun; `darkroom failures replays` shows how far it is.")
    else:
        typer.echo(f"{some_failures(over['total'])}: {came_to(over)}")
    if not detach and not all_well(over):
        raise typer.Exit(1)


@failures.command("replays")
def replays(
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 10,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show the newest replays and what they came to."""
    with explained():
        found = _door(url, data).replays(limit)
    if as_json:
        _print_json(found)
    elif found:
        Console().print(show_failures.replays_table(found))
    else:
        typer.echo("Nothing was replayed yet.")


@failures.command("stop")
def stop(
    replay_id: Annotated[str, typer.Argument(metavar="REPLAY", help="Its id.")],
    by: By,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Begin no more of a replay; what is under way goes on."""
    with explained():
        found = _door(url, data).stop(replay_id, by)
    if as_json:
        _print_json(found)
    else:
        typer.echo(came_to(found))


@failures.command(
    "discard", epilog='Example: darkroom failures discard a5473df0 --reason "a screenshot"'
)
def discard(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    by: By,
    reason: Annotated[str, typer.Option(help="Why, for the next person who looks.")],
    ids: Ids = None,
    stage: StageName = None,
    code: Code = None,
    batch: Batch = None,
    everything: All = False,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Lay failures aside: they leave the list. Photos stay as they are; `restore` takes it back."""
    if not reason.strip():
        raise typer.BadParameter(
            "say why: the next person who looks will ask", param_hint="--reason"
        )
    with explained():
        opened = _door(url, data)
        chosen = _chosen(opened, ids, _fields(opened, stage, code, batch), everything)
        seen = opened.preview({"filter": chosen})
        number = seen["count"] + seen["beyond"]
        if number and not yes:
            typer.confirm(f"Discard {some_failures(number)}?", abort=True, err=True)
        count = opened.discard({"filter": chosen, "reason": reason, "by": by})
    _tell_count(count, "discarded", as_json)


@failures.command("restore", epilog="Example: darkroom failures restore a5473df0")
def restore(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    by: By,
    ids: Ids = None,
    stage: StageName = None,
    code: Code = None,
    batch: Batch = None,
    everything: All = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Put discarded failures back."""
    with explained():
        opened = _door(url, data)
        chosen = _chosen(opened, ids, _fields(opened, stage, code, batch), everything)
        count = opened.restore({"filter": chosen, "by": by})
    _tell_count(count, "put back", as_json)


def _door(url: str | None, data: Any) -> FailuresDoor:
    return FailuresDoor(door.gateway(url, DataFolder.at(data)))


def _fields(opened: FailuresDoor, stage: str | None, code: str | None, batch: str | None) -> Json:
    found = batch and meant(opened.gateway, batch)
    given = {"stage": stage, "code": code, "batch": found}
    return {name: value for name, value in given.items() if value is not None}


def _chosen(opened: FailuresDoor, ids: list[str] | None, fields: Json, everything: bool) -> Json:
    """Which failures are meant; that has to be said."""
    if not (ids or fields or everything):
        raise typer.BadParameter("say which: by id, by a filter such as --stage, or all by --all")
    named = {"failures": [opened.meant(one) for one in ids]} if ids else {}
    return {**fields, **named}


def _watched(opened: FailuresDoor, replay_id: str, as_json: bool) -> Json:
    if as_json:
        return opened.follow(replay_id, lambda _seen: None)
    with Bar(Console()) as bar:
        return opened.follow(replay_id, bar)


def _tell_preview(seen: Json, as_json: bool) -> None:
    if as_json:
        _print_json(seen)
        return
    more = f"; {seen['beyond']:,} more fit" if seen["beyond"] else ""
    typer.echo(f"{some_failures(seen['count'])} would be tried again{more}.")


def _tell_count(count: int, words: str, as_json: bool) -> None:
    if as_json:
        _print_json({"count": count})
    else:
        typer.echo(f"{some_failures(count)} {words}.")


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
