"""`darkroom up | down | status`."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from darkroom_cli.commands import stack_view
from darkroom_cli.errors import StackError
from darkroom_cli.infra.services import EXTRAS
from darkroom_cli.paths import DataFolder
from darkroom_cli.settings import CliSettings
from darkroom_cli.stack import Stack

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Data folder; default DARKROOM_HOME, else .darkroom/ here."),
]

_WATCH_EVERY = 0.5


def _known_extras(names: list[str] | None) -> list[str] | None:
    unknown = [name for name in names or () if name not in EXTRAS]
    if unknown:
        raise typer.BadParameter(f"no {', '.join(unknown)} here; choose {', '.join(EXTRAS)}")
    return names


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when everything is ready.")
    ] = False,
    extras: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="EXTRA",
            callback=_known_extras,
            help=f"What else shall run: {', '.join(EXTRAS)}; may be repeated.",
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Start everything. In the foreground it shows what happens; Ctrl-C stops all.

    Exit code 0 when all was ready, 1 with the failing program's last log lines.
    """
    console = Console()
    stack = local_stack(data, extras or ())
    if stack.running:
        if lacking := stack.lacking():
            raise StackError(
                f"Darkroom is up, without {', '.join(lacking)}.",
                "Stop it with ./darkroom down, then start it again.",
            )
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


def local_stack(data: Path | None, extras: Sequence[str] = ()) -> Stack:
    """The stack of a data folder, its page at the usual port if that is free."""
    return Stack(DataFolder.at(data).root, api_port=CliSettings().api_port, extras=extras)


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
