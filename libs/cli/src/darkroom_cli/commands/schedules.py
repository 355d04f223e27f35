"""`darkroom schedules`: what Darkroom does at times, and how that went."""

import json
import time
from itertools import islice
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from darkroom_cli import door, show_schedules
from darkroom_cli.client import Gateway, GatewayError, Json
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.policy import By
from darkroom_cli.commands.stack import Data
from darkroom_cli.paths import DataFolder

schedules = typer.Typer(
    help="What Darkroom does at times: when, and how it went. Times are in UTC.",
    no_args_is_help=True,
)

Job = Annotated[str, typer.Argument(metavar="JOB", help="Its name, as `list` shows it.")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Return when it has ended.")]
Cron = Annotated[
    str,
    typer.Argument(
        metavar="CRON",
        help="Minute, hour, day of the month, month, day of the week, in UTC: '*/15 * * * *'.",
    ),
]

_BEGIN_S: Final = 60.0
_LOOK_S: Final = 0.3


@schedules.command("list")
def list_(as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Show all jobs, when they run next and how they went last."""
    with explained():
        found = door.gateway(url, DataFolder.at(data)).schedules()
    if as_json:
        print_json(found)
    else:
        Console().print(show_schedules.schedules_table(found))


@schedules.command("history", epilog="Example: darkroom schedules history reconcile --limit 5")
def history(
    job: Job,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show the runs of a job: when, why, what they came to. With --json their whole reports."""
    with explained():
        found = list(islice(door.gateway(url, DataFolder.at(data)).runs(job), limit))
    if as_json:
        print_json(found)
    elif found:
        Console().print(show_schedules.runs_table(found))
    else:
        typer.echo("It has not run yet.")


@schedules.command("run", epilog="Example: darkroom schedules run retention --wait")
def run(
    job: Job,
    by: By,
    wait: Wait = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Run a job now, whatever its schedule says, also if it is disabled.

    With --wait exit code 0 if it was done, 1 if it failed or was interrupted.
    """
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        run_now(gateway, job, by, wait=wait, as_json=as_json)


@schedules.command("set", epilog="Example: darkroom schedules set retention '30 4 * * *'")
def set_(
    job: Job, schedule: Cron, by: By, as_json: AsJson = False, url: Url = None, data: Data = None
) -> None:
    """Give a job another schedule. That of a source: `darkroom sources set`."""
    _change(job, {"schedule": schedule, "by": by}, as_json, url, data)


@schedules.command("enable")
def enable(job: Job, by: By, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Have a job run at its times again."""
    _change(job, {"enabled": True, "by": by}, as_json, url, data)


@schedules.command("disable")
def disable(job: Job, by: By, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Have a job run only if somebody asks for it."""
    _change(job, {"enabled": False, "by": by}, as_json, url, data)


def _change(job: str, change: Json, as_json: bool, url: Url = None, data: Data = None) -> None:
    with explained():
        changed = door.gateway(url, DataFolder.at(data)).change_schedule(job, change)
    if as_json:
        print_json(changed)
    elif changed["enabled"]:
        when = show_schedules.moment(changed["next_at"]) if changed["next_at"] else "soon"
        typer.echo(f"{job} runs at {changed['schedule']} (UTC): {changed['words']}; next {when}.")
    else:
        typer.echo(f"{job} runs only if it is asked for.")


def run_now(gateway: Gateway, job: str, by: str, *, wait: bool, as_json: bool) -> None:
    """Ask for a run and tell; exit code 1 if it is waited for and comes to no good end."""
    before = gateway.schedule(job)["last_run"]
    asked = gateway.run_schedule(job, by)
    if not wait:
        if as_json:
            print_json(asked)
        else:
            typer.echo(f"It is asked for; `darkroom schedules history {job}` shows its runs.")
        return
    ended = _ended(gateway, job, before and before["run_id"])
    if as_json:
        print_json(ended)
    else:
        typer.echo(show_schedules.sentence(ended))
    if ended["state"] != "done":
        raise typer.Exit(1)


def _ended(gateway: Gateway, job: str, before: str | None) -> Json:
    """The run that was asked for, once it is over."""
    until = time.monotonic() + _BEGIN_S
    while True:
        seen = gateway.schedule(job)
        last: Json | None = seen["last_run"]
        begun = seen["asked_at"] is None and last is not None and last["run_id"] != before
        if begun and last is not None and last["state"] != "running":
            return last
        if not begun and (last is None or last["state"] != "running") and time.monotonic() > until:
            raise GatewayError(f"{job} did not begin; does the control door run?")
        time.sleep(_LOOK_S)


def print_json(value: Any) -> None:
    """For programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
