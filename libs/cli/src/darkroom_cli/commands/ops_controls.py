"""`darkroom ops pause | resume | rate | concurrency | controls | tasks | cancel`."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer
from rich.console import Console

from darkroom_cli import door, show_controls
from darkroom_cli.client import Gateway, Json
from darkroom_cli.commands.dlq_options import moment
from darkroom_cli.commands.imports import meant
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.photos import check_lane as known_lane
from darkroom_cli.commands.policy import By
from darkroom_cli.commands.stack import Data
from darkroom_cli.paths import DataFolder

NONE: Final = "none"

_CONTROLS: Final = "/v1/operations/controls"
_STAGES: Final = ("intake", "detector", "ocr", "embedder")
_STATES: Final = ("waiting", "done", "failed", "cancelled")
_SPAN: Final = re.compile(r"([1-9][0-9]{0,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PAGE: Final = 200
_WHEN: Final = "at or after: 30m, 2h, 3d (ago), or 2026-11-25T14:30"


def _target(text: str) -> str:
    service, slash, lane = text.partition("/")
    if not service or bool(slash) != bool(lane) or "/" in lane:
        raise typer.BadParameter("write SERVICE or SERVICE/LANE, as ocr or ocr/batch")
    return text


def _span(text: str | None) -> str | None:
    if text is not None and not _SPAN.fullmatch(text):
        raise typer.BadParameter("say it as 90s, 10m, 2h or 1d")
    return text


def _why(text: str) -> str:
    if not text.strip():
        raise typer.BadParameter("say why: the next person who looks will ask")
    return text


def _at_a_time(text: str) -> str:
    if text != NONE and not (text.isascii() and text.isdigit() and int(text)):
        raise typer.BadParameter("write a number from 1, or none")
    return text


def _one_of(known: tuple[str, ...], word: str | None) -> str | None:
    if word is not None and word not in known:
        raise typer.BadParameter(f"choose {', '.join(known)}")
    return word


def _stage(word: str | None) -> str | None:
    return _one_of(_STAGES, word)


def _state(word: str | None) -> str | None:
    return _one_of(_STATES, word)


def _lane(word: str | None) -> str | None:
    return None if word is None else known_lane(word)


def _moment(text: str | None) -> str | None:
    return None if text is None else datetime.fromtimestamp(moment(text) / 1000, UTC).isoformat()


Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", callback=_target, help="SERVICE or SERVICE/LANE, as ocr or ocr/batch."
    ),
]
Why = Annotated[str | None, typer.Option("--reason", help="Why, for the next person who looks.")]


def pause(
    target: Target,
    reason: Annotated[str, typer.Option(callback=_why, help="Why, for the next person who looks.")],
    by: By,
    for_: Annotated[
        str | None,
        typer.Option(
            "--for",
            callback=_span,
            metavar="TIME",
            help="It goes on by itself after so long, as 10m; else when somebody resumes it.",
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Hold the work of a service, or of one of its lanes, back. Nothing is lost meanwhile."""
    end: Json = {"paused_until": None}
    if for_ is not None:
        end = {"pause_s": int(for_[:-1]) * _SECONDS[for_[-1]]}
    wanted = {"paused": True, **end, "reason": reason, "by": by}
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        _change(gateway, target, wanted, as_json=as_json)


def resume(
    target: Target,
    by: By,
    reason: Why = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """End a pause. What else was set stays."""
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        _change(gateway, target, _with({"paused": False, "by": by}, reason), as_json=as_json)


def rate(
    target: Target,
    rate: Annotated[str, typer.Argument(metavar="RATE", help="As 20/s, 100/m or 1000/h; none.")],
    by: By,
    reason: Why = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Bound how many records may begin, in all workers of a service together."""
    wanted = {"rate": None if rate == NONE else rate, "by": by}
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        _change(gateway, target, _with(wanted, reason), as_json=as_json)


def concurrency(
    target: Target,
    number: Annotated[
        str, typer.Argument(metavar="N", callback=_at_a_time, help="From 1; none: as many as fit.")
    ],
    by: By,
    reason: Why = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Bound how many records of a lane the engines of a worker hold at a time."""
    wanted = {"concurrency": None if number == NONE else int(number), "by": by}
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        _change(gateway, target, _with(wanted, reason), as_json=as_json)


def controls(as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Show what is paused, bounded or held to a rate: by whom, and why."""
    with explained():
        found = door.gateway(url, DataFolder.at(data)).ask("GET", _CONTROLS)["items"]
    if as_json:
        _print_json(found)
    elif found:
        Console(highlight=False).print(show_controls.controls_table(found))
    else:
        typer.echo("Nothing is paused, bounded or held to a rate.")


def tasks(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    stage: Annotated[
        str | None, typer.Option(callback=_stage, help=f"One of {', '.join(_STAGES)}.")
    ] = None,
    lane: Annotated[str | None, typer.Option(callback=_lane, help="Handed in on it.")] = None,
    state: Annotated[
        str | None, typer.Option(callback=_state, help=f"One of {', '.join(_STATES)}.")
    ] = None,
    since: Annotated[str | None, typer.Option(callback=_moment, help=f"Ended {_WHEN}.")] = None,
    until: Annotated[str | None, typer.Option(callback=_moment, help="Ended before that.")] = None,
    photo: Annotated[str | None, typer.Option(help="Of this photo.")] = None,
    batch: Annotated[
        str | None,
        typer.Option("--import", help="Of this import: its id, the beginning of one, or `last`."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Done by this version of a model.")] = None,
    code: Annotated[str | None, typer.Option(help="Failed with this code.")] = None,
    slower: Annotated[
        float | None, typer.Option(min=0, metavar="MS", help="Done in more milliseconds.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show what stages had to do, the newest first: what waits, is done, failed, was cancelled."""
    chosen: Json = {
        **{"stage": stage, "lane": lane, "state": state, "since": since, "until": until},
        **{"photo_id": photo, "model_version": model, "code": code, "slower_ms": slower},
    }
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        chosen["batch_id"] = None if batch is None else meant(gateway, batch)
        wanted = {name: value for name, value in chosen.items() if value is not None}
        found = list(islice(_tasks(gateway, wanted, limit), limit))
    if as_json:
        _print_json(found)
    elif found:
        Console(highlight=False).print(show_controls.tasks_table(found))
    else:
        typer.echo("Nothing fits.")


def cancel(
    photo_id: Annotated[str, typer.Argument(metavar="PHOTO", help="Its id.")],
    by: By,
    reason: Why = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Call the analysis of a photo off, whoever waits for it. What was found before stays."""
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        path = f"/v1/photos/{quote(photo_id, safe='')}/cancel"
        found = gateway.ask("POST", path, json=_with({"by": by}, reason))
    if as_json:
        _print_json(found)
    else:
        typer.echo(f"{show_controls.name_of(found)}: {found['status']}")


def _with(wanted: Json, reason: str | None) -> Json:
    return wanted if reason is None else {**wanted, "reason": reason}


def _change(gateway: Gateway, target: str, wanted: Json, *, as_json: bool) -> None:
    """Set it, and tell what holds now: of a lane also what its service has."""
    path = "/".join(quote(part, safe="") for part in target.split("/"))
    control = gateway.ask("PATCH", f"{_CONTROLS}/{path}", json=wanted)
    if as_json:
        _print_json(control)
        return
    typer.echo(show_controls.sentence(control))
    if control["lane"] is not None:
        for other in gateway.ask("GET", _CONTROLS)["items"]:
            if other["target"] == control["service"]:
                typer.echo(show_controls.sentence(other))


def _tasks(gateway: Gateway, wanted: Json, limit: int) -> Iterator[Json]:
    query = {**wanted, "limit": min(limit, _PAGE)}
    while True:
        page = gateway.ask("GET", "/v1/operations/tasks", params=query)
        yield from page["items"]
        if page["next"] is None:
            return
        query["cursor"] = page["next"]


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
