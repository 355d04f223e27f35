"""`darkroom load`: how much of each lane waits, and how much more is taken in, which `pin` and
`unpin` set."""

import json
import re
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from darkroom_cli import door
from darkroom_cli.client import Json
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.policy import By
from darkroom_cli.commands.stack import Data
from darkroom_cli.paths import DataFolder
from darkroom_cli.show import plain

load = typer.Typer(
    invoke_without_command=True,
    help="How much of each lane waits for which stage, and how much more is taken in.",
)

UNKNOWN: Final = "Nothing is known yet: is the control door running? (`darkroom status`)"

LANES: Final = ("high", "default", "batch", "learning")

_STYLES: Final = {"open": "green", "warned": "yellow", "closed": "red"}
_SHARES: Final = {0.5: "half of what", 1.0: "what", 2.0: "twice what"}
_SPAN: Final = re.compile(r"([1-9][0-9]{0,3})([mhd])")
_UNITS_S: Final = {"m": 60, "h": 3_600, "d": 86_400}


def _lane(lane: str) -> str:
    if lane not in LANES:
        raise typer.BadParameter(f"choose {', '.join(LANES)}")
    return lane


def _share(share: float) -> float:
    if share not in _SHARES:
        raise typer.BadParameter("choose 0.5, 1 or 2")
    return share


def _span_s(text: str) -> int:
    """Typer's parser for `30m`, `2h` or `7d`."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise typer.BadParameter("say it as 30m, 2h or 7d")
    return int(found[1]) * _UNITS_S[found[2]]


LaneName = Annotated[str, typer.Argument(callback=_lane, help="high, default, batch or learning.")]


@load.callback()
def show(
    context: typer.Context, as_json: AsJson = False, url: Url = None, data: Data = None
) -> None:
    """Show how much of each lane waits for which stage, and how much more is taken in."""
    if context.invoked_subcommand is not None:
        return
    with explained():
        found = door.gateway(url, DataFolder.at(data)).load()
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    if found["lanes"]:
        console.print(table(found["lanes"]))
    else:
        console.print(UNKNOWN)
    for lane in found["lanes"]:
        if lane["cause"]:
            console.print(cause(lane))
    for share in found["admission"]:
        if share["share"] != 1 or share["pinned"] is not None:
            console.print(f"{share['lane']}: {admitted(share)}", markup=False)
    if found["lanes"]:
        console.print(
            f"From {found['refuse_at']:,} on new photos of a lane are refused, until fewer than"
            f" {found['warn_at']:,} wait. Imports pace themselves."
        )


@load.command("pin", epilog='Example: darkroom load pin batch 0.5 --for 2h --reason "backup"')
def pin(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    lane: LaneName,
    share: Annotated[float, typer.Argument(callback=_share, help="Times the limits: 0.5, 1 or 2.")],
    reason: Annotated[str, typer.Option(help="Why, for the next person.")],
    by: By,
    for_s: Annotated[
        int | None,
        typer.Option(
            "--for",
            parser=_span_s,
            metavar="SPAN",
            help="For how long, as 30m, 2h or 7d; else until `darkroom load unpin`.",
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Set how much of a lane is let in, whatever the load of the workers is.

    Half the limits, the limits as they are configured, or twice as much: of photos that are handed
    in and imports that are begun. What is under way goes on as it does.
    """
    wanted = {"share": share, "for_s": for_s, "reason": reason, "by": by}
    with explained():
        pinned = door.gateway(url, DataFolder.at(data)).pin_share(lane, wanted)
    _told(pinned, as_json)


@load.command("unpin")
def unpin(
    lane: LaneName, by: By, as_json: AsJson = False, url: Url = None, data: Data = None
) -> None:
    """Let the load of the workers decide again how much of a lane is let in."""
    with explained():
        unpinned = door.gateway(url, DataFolder.at(data)).unpin_share(lane, by)
    _told(unpinned, as_json)


def _told(share: Json, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(share, indent=2, ensure_ascii=False))
        return
    words = admitted(share, f" of lane {share['lane']}")
    typer.echo(f"{words[0].upper()}{words[1:]}")


def admitted(share: Json, of: str = "") -> str:
    """How much of a lane is let in, until when and why."""
    said = f"{_SHARES.get(share['share'], 'a part of what')} is configured is let in{of}"
    if share["pinned"] is not None:
        if share["pinned_until"]:
            until = datetime.fromisoformat(share["pinned_until"]).astimezone()
            said += f" until {until:%Y-%m-%d %H:%M}"
        why = f"{share['pinned_by']} set it: {share['pinned_reason']}"
    else:
        why = share["cause"] if share["share"] != 1 else ""
    return plain(f"{said}; {why}" if why else said).rstrip(".") + "."


def table(lanes: list[Json]) -> Table:
    """A row for each lane: how much waits, for how long, and for what."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    shown.add_column("lane")
    shown.add_column("state")
    shown.add_column("wait", justify="right")
    shown.add_column("oldest", justify="right")
    shown.add_column("for what")
    for lane in lanes:
        state = lane["state"]
        shown.add_row(
            lane["lane"],
            f"[{_STYLES.get(state, 'white')}]{state}[/]",
            f"{lane['records']:,}",
            _age(max(stage["oldest_s"] for stage in lane["stages"])),
            ", ".join(_places(lane)) or "-",
        )
    return shown


def _places(lane: Json) -> list[str]:
    places = [f"Kafka {lane['outbox']:,}"] if lane["outbox"] else []
    places += [_stage(stage) for stage in lane["stages"] if stage["records"]]
    again = sum(lane["retries"].values())
    return places + ([f"another attempt {again:,}"] if again else [])


def cause(lane: Json) -> str:
    """Why a lane is not open, and until when."""
    until = f" Perhaps open in {lane['retry_after_s']} s." if lane["state"] == "closed" else ""
    return f"{lane['lane']}: {lane['cause']}{until}"


def _stage(stage: Any) -> str:
    rate = f" ({stage['per_s']:.1f}/s)" if stage["per_s"] else ""
    return f"{stage['name']} {stage['records']:,}{rate}"


def _age(seconds: float) -> str:
    if not seconds:
        return "-"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
