"""The `darkroom` command: which words it knows. Each is a function in `commands/`."""

import sys
from importlib import import_module
from typing import Any, Final

import typer

from darkroom_cli.errors import DarkroomError

COMMANDS: Final = {
    "demo": "demo.demo",
    "up": "stack.up",
    "down": "stack.down",
    "status": "stack.status",
    "logs": "logs.logs",
    "import": "import_.import_",
    "analyze": "photos.analyze",
    "search": "photos.search",
    "photo": "photos.photo",
    "reprocess": "reprocess.reprocess",
    "train": "trainings.train",
    "audit": "policy.audit",
    "backup": "data.backup",
    "restore": "data.restore",
    "migrate": "data.migrate",
    "test": "tests.run_tests",
    "docs": "documentation.docs",
}
"""Word → function, of its module in `commands`; in the order in which help shows them."""

GROUPS: Final = {
    "imports": "imports.imports",
    "labels": "labels.labels",
    "trainings": "trainings.trainings",
    "review": "review.review",
    "policy": "policy.policy",
    "models": "models.models",
    "keys": "keys.keys",
    "notify": "notify.notify",
    "failures": "failures.failures",
    "load": "load.load",
    "ops": "ops_commands.ops",
    "sources": "sources.sources",
    "schedules": "schedules.schedules",
    "topics": "contracts.topics",
    "schemas": "contracts.schemas",
    "dlq": "dlq.dlq",
    "bench": "bench.bench",
}
"""Words that are followed by another one."""


def build(word: str | None = None) -> typer.Typer:
    """The whole command; or, since some words need seconds of imports, what `word` needs, if it
    is one that is known."""
    app = typer.Typer(
        help="Darkroom understands photographs. Start with: ./darkroom demo",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    only = {word} & (COMMANDS.keys() | GROUPS.keys())
    for name, place in COMMANDS.items():
        if not only or name in only:
            app.command(name)(_found(place))
    for name, place in GROUPS.items():
        if not only or name in only:
            app.add_typer(_found(place), name=name)
    return app


def _root() -> None:
    """Makes words of what would be the whole command if it were the only one."""


def _found(place: str) -> Any:
    module, _, name = place.partition(".")
    return getattr(import_module(f"darkroom_cli.commands.{module}"), name)


def main() -> None:
    """Run the command line; errors that the user can put right end with exit code 1."""
    try:
        build(next(iter(sys.argv[1:]), None))(prog_name="darkroom")
    except DarkroomError as error:
        typer.secho(f"darkroom: {error.cause}", fg="red", err=True)
        if error.cure:
            typer.echo(error.cure, err=True)
        sys.exit(1)
