"""`darkroom up | down | status | logs`."""

import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from darkroom_cli.commands import stack_view
from darkroom_cli.errors import StackError
from darkroom_cli.paths import DataFolder
from darkroom_cli.settings import CliSettings
from darkroom_cli.stack import Stack
from darkroom_cli.supervision import logreader

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Data folder; default DARKROOM_HOME, else .darkroom/ here."),
]

_WATCH_EVERY = 0.5


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when everything is ready.")
    ] = False,
    data: Data = None,
) -> None:
    """Start everything. In the foreground it shows what happens; Ctrl-C stops all.

    Exit code 0 when all was ready, 1 with the failing program's last log lines.
    """
    console = Console()
    stack = local_stack(data)
    if stack.running:
        with console.status("already up; waiting until all is ready"):
            stack.wait_ready(300.0)
        stack_view.show(stack, console)
        return
    began = time.monotonic()
    try:
        with console.status("starting") as line:
            stack.start(progress=line.update, detach=detach)
        console.print(f"[green]ready[/green] after {time.monotonic() - began:.1f} s")
        stack_view.show(stack, console)
        if not detach:
            _watch(stack, console)
    except KeyboardInterrupt:
        with console.status("stopping"):
            stack.stop()
        console.print("stopped")


def down(data: Data = None) -> None:
    """Stop everything, in reverse order. No error when nothing runs."""
    console = Console()
    stack = local_stack(data)
    was_running = stack.running
    with console.status("stopping"):
        stack.stop()
    console.print("stopped" if was_running else "nothing was running")


def status(
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs; holds the passwords.")
    ] = False,
    data: Data = None,
) -> None:
    """Show every program: state, pid, port, restarts, memory, time up. Exit 0 if all is ready."""
    stack = local_stack(data)
    if as_json:
        typer.echo(stack_view.as_json(stack))
    else:
        stack_view.show(stack, Console())
    state = stack.state()
    if not (stack.running and state and state.all_ready):
        raise typer.Exit(1)


def logs(
    name: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="One program; default all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", min=0, help="How many last lines.")] = 50,
    data: Data = None,
) -> None:
    """Show the logs, those of all programs merged by time."""
    folder = DataFolder.at(data).logs
    names = sorted(file.stem for file in folder.glob("*.log"))
    if name is not None and name not in names:
        known = f"There are {', '.join(names)}." if names else "Nothing has run here yet."
        raise StackError(f"No log of {name}.", known)
    files = [folder / f"{one}.log" for one in ([name] if name else names)]
    followers = [logreader.Follower(file) for file in files]
    for line in logreader.merged(files, lines):
        typer.echo(line)
    with contextlib.suppress(KeyboardInterrupt):
        while follow:
            for line in sorted(line for one in followers for line in one.new_lines()):
                typer.echo(line)
            time.sleep(_WATCH_EVERY)


def local_stack(data: Path | None) -> Stack:
    """The stack of a data folder, its page at the usual port if that is free."""
    return Stack(DataFolder.at(data).root, api_port=CliSettings().api_port)


def _watch(stack: Stack, console: Console) -> None:
    """Tell what changes until somebody stops the stack."""
    console.print("Ctrl-C stops everything.")
    before = stack.state()
    while stack.running:
        now = stack.state()
        for line in stack_view.changes(before, now):
            console.print(line, highlight=False)
        before = now
        time.sleep(_WATCH_EVERY)
    console.print("the stack was stopped")
