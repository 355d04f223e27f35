"""`darkroom load`: how much of each lane waits, and whether more is taken in."""

import json
from typing import Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from darkroom_cli import door
from darkroom_cli.client import Json
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.stack import Data
from darkroom_cli.paths import DataFolder

UNKNOWN: Final = "Nothing is known yet: is the control door running? (`darkroom status`)"

_STYLES: Final = {"open": "green", "warned": "yellow", "closed": "red"}


def load(as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Show how much of each lane waits for which stage, and whether more is taken in."""
    with explained():
        found = door.gateway(url, DataFolder.at(data)).load()
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    if not found["lanes"]:
        console.print(UNKNOWN)
        return
    console.print(table(found["lanes"]))
    for lane in found["lanes"]:
        if lane["cause"]:
            console.print(cause(lane))
    console.print(
        f"From {found['refuse_at']:,} on new photos of a lane are refused, until fewer than"
        f" {found['warn_at']:,} wait. Imports pace themselves."
    )


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
