"""`darkroom topics|schemas apply|check`: what is declared, against a broker and a registry."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from darkroom_cli.commands.stack import Data, local_stack
from darkroom_cli.contracts import ContractError, Finding, Subjects, Topics
from darkroom_schemas import catalogue

topics = typer.Typer(help="Topics as schemas/topics.yaml declares them.", no_args_is_help=True)
schemas = typer.Typer(help="Schemas as schemas/*.avsc declare them.", no_args_is_help=True)

Kafka = Annotated[
    str | None,
    typer.Option(envvar="DARKROOM_KAFKA", help="Bootstrap servers; else those that run here."),
]
Registry = Annotated[
    str | None,
    typer.Option(envvar="DARKROOM_REGISTRY", help="Registry's URL; else the one that runs here."),
]
Prefix = Annotated[
    str, typer.Option(envvar="DARKROOM_TOPIC_PREFIX", help="Put before every topic.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")]


@topics.command("apply")
def topics_apply(
    kafka: Kafka = None, prefix: Prefix = "", as_json: AsJson = False, data: Data = None
) -> None:
    """Create missing topics and set their settings; never deletes, never repartitions."""
    _report(lambda: _topics(kafka, prefix, data).apply(), as_json)


@topics.command("check")
def topics_check(
    kafka: Kafka = None, prefix: Prefix = "", as_json: AsJson = False, data: Data = None
) -> None:
    """Compare the broker's topics with the declared ones; exit 1 if they differ."""
    _report(lambda: _topics(kafka, prefix, data).check(), as_json)


@schemas.command("apply")
def schemas_apply(
    registry: Registry = None, prefix: Prefix = "", as_json: AsJson = False, data: Data = None
) -> None:
    """Register missing schemas and new versions, FULL_TRANSITIVE."""
    _report(lambda: _subjects(registry, prefix, data).apply(), as_json)


@schemas.command("check")
def schemas_check(
    registry: Registry = None, prefix: Prefix = "", as_json: AsJson = False, data: Data = None
) -> None:
    """Compare the registry's schemas with the declared ones; exit 1 if they differ."""
    _report(lambda: _subjects(registry, prefix, data).check(), as_json)


def _topics(kafka: str | None, prefix: str, data: Path | None) -> Topics:
    return Topics(kafka or local_stack(data).address("kafka"), catalogue.load(), prefix)


def _subjects(registry: str | None, prefix: str, data: Path | None) -> Subjects:
    return Subjects(registry or local_stack(data).address("registry"), catalogue.load(), prefix)


def _report(act: Callable[[], list[Finding]], as_json: bool) -> None:
    try:
        findings = act()
    except ContractError as error:
        typer.echo(f"darkroom: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            typer.echo(f"{finding.name:{width}}  {finding.state:8}  {finding.detail}".rstrip())
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)
