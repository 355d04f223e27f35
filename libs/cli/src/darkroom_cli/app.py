"""The `darkroom` command: which words it knows. Each is a function in `commands/`."""

import sys
from collections.abc import Callable

import typer

from darkroom_cli.commands import (
    bench,
    contracts,
    demo,
    dlq,
    import_,
    imports,
    notify,
    photos,
    policy,
    reprocess,
    schedules,
    sources,
    stack,
    tests,
)
from darkroom_cli.errors import DarkroomError

COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("demo", demo.demo),
    ("up", stack.up),
    ("down", stack.down),
    ("status", stack.status),
    ("logs", stack.logs),
    ("import", import_.import_),
    ("analyze", photos.analyze),
    ("search", photos.search),
    ("photo", photos.photo),
    ("reprocess", reprocess.reprocess),
    ("audit", policy.audit),
    ("test", tests.run_tests),
)
"""Word → function; in the order in which help shows them."""

GROUPS: tuple[tuple[str, typer.Typer], ...] = (
    ("imports", imports.imports),
    ("policy", policy.policy),
    ("notify", notify.notify),
    ("sources", sources.sources),
    ("schedules", schedules.schedules),
    ("topics", contracts.topics),
    ("schemas", contracts.schemas),
    ("dlq", dlq.dlq),
    ("bench", bench.bench),
)
"""Words that are followed by another one."""


def build() -> typer.Typer:
    """The whole command."""
    app = typer.Typer(
        help="Darkroom understands photographs. Start with: ./darkroom demo",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for word, function in COMMANDS:
        app.command(word)(function)
    for word, group in GROUPS:
        app.add_typer(group, name=word)
    return app


def main() -> None:
    """Run the command line; errors that the user can put right end with exit code 1."""
    try:
        build()(prog_name="darkroom")
    except DarkroomError as error:
        typer.secho(f"darkroom: {error.cause}", fg="red", err=True)
        if error.cure:
            typer.echo(error.cure, err=True)
        sys.exit(1)
