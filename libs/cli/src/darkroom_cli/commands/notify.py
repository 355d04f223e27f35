"""`darkroom notify channels | add | remove | enable | disable | test | list`: who is told what."""

import json
import time
from itertools import islice
from typing import Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from darkroom_cli import door
from darkroom_cli.client import Gateway, GatewayError, Json
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.stack import Data
from darkroom_cli.paths import DataFolder
from darkroom_cli.show import one_line, plain

notify = typer.Typer(
    help="Who is told what happened: imports that are over, what was given up, repairs.",
    no_args_is_help=True,
)

SEVERITIES: Final = ("info", "warning", "critical")
_COLOURS: Final = {"warning": "yellow", "critical": "red", "failed": "red", "waiting": "yellow"}
_LOOK_S: Final = 0.3

Name = Annotated[str, typer.Argument(metavar="NAME", help="A channel's name or id.")]


def check_severity(severity: str | None) -> str | None:
    """Typer's callback for a severity."""
    if severity is not None and severity not in SEVERITIES:
        raise typer.BadParameter(f"choose {', '.join(SEVERITIES)}")
    return severity


Kind = Annotated[
    list[str] | None,
    typer.Option("--kind", help="Only such notices, as batch_completed; repeatable. Else all."),
]


@notify.command("channels")
def channels(as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Show by which ways people are told, and of what."""
    with explained():
        found = door.gateway(url, DataFolder.at(data)).channels()
    if as_json:
        _print(found)
        return
    table = Table("name", "kind", "leads to", "told of", "from", "", box=SIMPLE_HEAD)
    for one in found:
        told_of = ", ".join(one["kinds"]) or "everything"
        state = "" if one["enabled"] else "disabled"
        table.add_row(
            *(Text(plain(one["name"])), one["kind"], Text(plain(one["target"])), plain(told_of)),
            *(one["least_severity"], state),
        )
    Console(highlight=False).print(table)


@notify.command(
    "add",
    epilog="Example: darkroom notify add ops --webhook https://hooks.example.com/darkroom"
    " --least warning",
)
def add(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    name: Annotated[str, typer.Argument(help="What to call it.")],
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Post JSON there, signed.")
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            envvar="DARKROOM_WEBHOOK_SECRET",
            help="To sign with: whsec_ and Base64; else one is made and shown. Better by"
            " DARKROOM_WEBHOOK_SECRET: others see what is on a command line.",
        ),
    ] = None,
    email: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Write there; repeatable.")
    ] = None,
    websocket: Annotated[bool, typer.Option("--websocket", help="By /v1/events.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Into the control door's log.")] = False,
    kinds: Kind = None,
    least: Annotated[
        str, typer.Option(callback=check_severity, help=f"From {', '.join(SEVERITIES)}.")
    ] = "info",
    disabled: Annotated[bool, typer.Option("--disabled", help="Don't use it yet.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Add a way by which you are told from now on. Try it: darkroom notify test NAME.

    A webhook's messages are signed as Standard Webhooks (standardwebhooks.com) says; what they are
    signed with is shown here once and never again.
    """
    ways: list[Json] = []
    if webhook is not None:
        ways.append({"kind": "webhook", "url": webhook} | ({"secret": secret} if secret else {}))
    if email:
        ways.append({"kind": "email", "to": email})
    if websocket:
        ways.append({"kind": "websocket"})
    if log:
        ways.append({"kind": "log"})
    if len(ways) != 1:
        raise typer.BadParameter("say one of --webhook URL, --email ADDRESS, --websocket, --log")
    wish = {"name": name, "kinds": kinds or [], "least_severity": least, "enabled": not disabled}
    with explained():
        made = door.gateway(url, DataFolder.at(data)).add_channel(ways[0] | wish)
    if as_json:
        _print(made)
        return
    typer.echo(f"{plain(made['name'])} is told from now on: {plain(made['target'])}")
    if made["secret"]:
        typer.echo(f"Its secret, shown this once: {made['secret']}")


@notify.command("remove")
def remove(name: Name, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Remove a channel, and what waits for it."""
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        found = _channel(gateway, name)
        gateway.remove_channel(found["channel_id"])
    if as_json:
        _print(found)
    else:
        typer.echo(f"{plain(found['name'])} is removed.")


@notify.command("enable")
def enable(name: Name, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Use a channel again; what was waiting for it is sent."""
    _switch(name, True, as_json, url, DataFolder.at(data))


@notify.command("disable")
def disable(name: Name, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Don't use a channel until it is enabled; what happens meanwhile it is not told of."""
    _switch(name, False, as_json, url, DataFolder.at(data))


@notify.command("test")
def try_out(
    name: Name,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for what comes of it.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Send a notice by one channel, even if it is disabled. Exit code 1 if it does not arrive."""
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        notice = gateway.test_channel(_channel(gateway, name)["channel_id"])
        until = time.monotonic() + wait
        while _delivery(notice)["state"] == "waiting" and time.monotonic() < until:
            time.sleep(_LOOK_S)
            notice = gateway.notice(notice["notice_id"])
    delivery = _delivery(notice)
    if as_json:
        _print(notice)
    elif delivery["state"] == "delivered":
        typer.echo(f"{plain(delivery['channel'])} was told.")
        if delivery["error"]:
            typer.echo(plain(delivery["error"]))
    else:
        waits = "it still waits; is the control door up? `darkroom status`"
        typer.echo(f"darkroom: not told: {plain(delivery['error'] or waits)}", err=True)
    if delivery["state"] != "delivered":
        raise typer.Exit(1)


@notify.command("list")
def list_notices(
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
    kind: Annotated[str | None, typer.Option(help="Only such, as batch_completed.")] = None,
    undelivered: Annotated[
        bool, typer.Option("--undelivered", help="Only those that a channel could not deliver.")
    ] = False,
    whole: Annotated[bool, typer.Option("--whole", help="With what to do about them.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show what people were told, and what became of it."""
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        found = list(islice(gateway.notices(kind, undelivered=undelivered), limit))
    if as_json:
        _print(found)
        return
    console = Console(highlight=False)
    if not found:
        console.print("There is nothing to tell.")
        return
    if whole:
        for one in found:
            _print_whole(console, one)
        return
    table = Table("when", "", "what", "told by", box=SIMPLE_HEAD)
    for one in found:
        table.add_row(
            *(_when(one["occurred_at"]), _coloured(one["severity"])),
            *(Text(one_line(one["title"], 60)), _told_by(one)),
        )
    console.print(table)


def _print_whole(console: Console, notice: Json) -> None:
    line = Text.assemble(
        *(_when(notice["occurred_at"]), "  ", _coloured(notice["severity"]), "  "),
        (plain(notice["title"]), "bold"),
    )
    console.print(line)
    console.print(plain(notice["detail"]), markup=False)
    for one in notice["deliveries"]:
        reason = f": {plain(one['error'])}" if one["error"] else ""
        tries = f", {one['attempts']} tries" if one["attempts"] > 1 else ""
        console.print(f"  {plain(one['channel'])} {one['state']}{tries}{reason}", markup=False)
    console.print()


def _told_by(notice: Json) -> Text:
    told = Text()
    for one in notice["deliveries"]:
        words = plain(one["channel"])
        words += "" if one["state"] == "delivered" else f" ({one['state']})"
        told.append(f"{', ' if told else ''}{words}", _COLOURS.get(one["state"], ""))
    return told


def _coloured(word: str) -> Text:
    return Text(word, _COLOURS.get(word, ""))


def _switch(name: str, enabled: bool, as_json: bool, url: str | None, data: DataFolder) -> None:
    with explained():
        gateway = door.gateway(url, data)
        found = _channel(gateway, name)
        changed = gateway.change_channel(found["channel_id"], {"enabled": enabled})
    if as_json:
        _print(changed)
    else:
        typer.echo(f"{plain(changed['name'])} is {'enabled' if enabled else 'disabled'}.")


def _channel(gateway: Gateway, name: str) -> Json:
    found = gateway.channels()
    for one in found:
        if name in (one["name"], one["channel_id"]):
            return one
    known = ", ".join(plain(one["name"]) for one in found)
    raise GatewayError(f"there is no channel {plain(name)}; there are: {known}")


def _delivery(notice: Json) -> Json:
    """The one delivery of a test; its channel may have been removed meanwhile."""
    gone: Json = {"channel": "", "state": "failed", "error": "the channel is gone"}
    return next(iter(notice["deliveries"]), gone)


def _print(found: Any) -> None:
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _when(moment: str) -> str:
    return moment[:19].replace("T", " ")
