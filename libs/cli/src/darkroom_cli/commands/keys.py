"""`darkroom keys`: who may ask the gateway, and for what.

Straight in the catalog, by the gateway's own program: so that there can be a first key, and one
when all are lost.
"""

import getpass
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from darkroom_cli.commands.photos import AsJson
from darkroom_cli.commands.stack import Data, local_stack
from darkroom_cli.errors import DarkroomError
from darkroom_cli.settings import CliSettings

keys = typer.Typer(no_args_is_help=True, help="Who may ask the gateway, and for what.")

ROLES: Final = ("viewer", "uploader", "reviewer", "trainer", "admin")

_SPAN: Final = re.compile(r"([1-9][0-9]{0,3})([hdw])")
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
_PATIENCE_S: Final = 60.0


def _role(role: str) -> str:
    if role not in ROLES:
        raise typer.BadParameter(f"choose {', '.join(ROLES)}")
    return role


def _span(text: str | None) -> str | None:
    if text is not None and not _SPAN.fullmatch(text):
        raise typer.BadParameter("say it as 12h, 90d or 8w")
    return text


@keys.command(
    "create", epilog="Example: export DARKROOM_API_KEY=$(darkroom keys create me -r admin)"
)
def create(
    name: Annotated[str, typer.Argument(help="What it is for; the audit log shows it.")],
    role: Annotated[
        str,
        typer.Option(
            "--role",
            "-r",
            callback=_role,
            help=f"What it may do: {' < '.join(ROLES)}; each may do what those before it may.",
        ),
    ],
    expires: Annotated[
        str | None,
        typer.Option(callback=_span, help="For how long, as 12h, 90d or 8w; else for ever."),
    ] = None,
    owner: Annotated[str, typer.Option(help="Whose photos it hands in and sees.")] = "local",
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Make a key. It is shown once, alone on standard output, and kept only as a hash."""
    until = None if expires is None else (datetime.now(UTC) + _length(expires)).isoformat()
    wanted = {"name": name, "role": role, "owner": owner, "expires_at": until}
    made = ask({"do": "create", "key": wanted, "by": _me()}, data)
    if as_json:
        typer.echo(json.dumps(made, indent=2))
        return
    until = "until it is revoked" if expires is None else f"until {_moment(made['expires_at'])}"
    typer.echo(f"darkroom: {name} is a key of the role {role}, {until}.", err=True)
    typer.echo("darkroom: keep it now, it is not shown again:", err=True)
    typer.echo(made["token"])


@keys.command("list")
def list_(as_json: AsJson = False, data: Data = None) -> None:
    """Show all keys that were ever made, the newest first, without their secrets."""
    found = ask({"do": "list"}, data)["items"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found:
        Console(highlight=False).print(table(found, datetime.now(UTC)))
    else:
        typer.echo("There is no key yet; `darkroom keys create NAME --role ROLE` makes one.")


@keys.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Its name or its id.")],
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Have a key open nothing any more, from now on; its sessions end with it."""
    revoked = ask({"do": "revoke", "key": name, "by": _me()}, data)
    if as_json:
        typer.echo(json.dumps(revoked, indent=2))
    else:
        typer.echo(f"{revoked['name']} ({revoked['prefix']}) opens nothing any more.")


def ask(request: dict[str, Any], data: Any) -> dict[str, Any]:
    """The answer of the gateway's program. Raises DarkroomError."""
    database = CliSettings().database
    url = database.get_secret_value() if database else local_stack(data).address("database")
    answer = subprocess.run(
        (sys.executable, "-m", "gateway", "keys"),
        input=json.dumps(request),
        env={**os.environ, "DARKROOM_DATABASE": url},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    try:
        told: dict[str, Any] = json.loads(answer.stdout)
    except ValueError:
        last = answer.stderr.strip().splitlines()[-1:] or ["no answer"]
        raise DarkroomError("The catalog can't be asked.", last[0]) from None
    if "error" in told:
        raise DarkroomError(str(told["error"]))
    return told


def table(found: list[dict[str, Any]], now: datetime) -> Table:
    """A row for each key."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "key", "role", "owner", "state", "last used", "made"):
        shown.add_column(column)
    for key in found:
        shown.add_row(
            *(key["name"], f"{key['prefix']}_…", key["role"], key["owner"], _state(key, now)),
            _moment(key["last_used_at"]) if key["last_used_at"] else "never",
            f"{_moment(key['created_at'])} by {key['created_by']}",
        )
    return shown


def _state(key: dict[str, Any], now: datetime) -> str:
    if key["revoked_at"]:
        return f"[red]revoked[/] {_moment(key['revoked_at'])}"
    if key["expires_at"] is None:
        return "[green]holds[/]"
    over = datetime.fromisoformat(key["expires_at"]) <= now
    until = _moment(key["expires_at"])
    return f"[red]expired[/] {until}" if over else f"[green]holds[/] until {until}"


def _moment(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M}"


def _length(text: str) -> timedelta:
    found = _SPAN.fullmatch(text)
    if found is None:  # pragma: no cover  # the option was checked
        raise ValueError(text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _me() -> str:
    """Who asks, for the record."""
    try:
        return getpass.getuser()[:100] or "cli"
    except (OSError, KeyError):  # no such user, as in some containers
        return "cli"
