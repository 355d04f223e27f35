"""`darkroom topics|schemas apply|check`: what is declared, against a broker and a registry."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from darkroom_cli.contracts import ContractError, Finding, Subjects, Topics
from darkroom_schemas import catalogue

topics = typer.Typer(help="Topics as schemas/topics.yaml declares them.", no_args_is_help=True)
schemas = typer.Typer(help="Schemas as schemas/*.avsc declare them.", no_args_is_help=True)

Kafka = Annotated[str, typer.Option(envvar="DARKROOM_KAFKA", help="Bootstrap servers.")]
Registry = Annotated[str, typer.Option(envvar="DARKROOM_REGISTRY", help="Registry's URL.")]
Prefix = Annotated[
    str, typer.Option(envvar="DARKROOM_TOPIC_PREFIX", help="Put before every topic.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")]


@topics.command("apply")
def topics_apply(kafka: Kafka, prefix: Prefix = "", as_json: AsJson = False) -> None:
    """Create missing topics and set their settings; never deletes, never repartitions."""
    _report(lambda: Topics(kafka, catalogue.load(), prefix).apply(), as_json)


@topics.command("check")
def topics_check(kafka: Kafka, prefix: Prefix = "", as_json: AsJson = False) -> None:
    """Compare the broker's topics with the declared ones; exit 1 if they differ."""
    _report(lambda: Topics(kafka, catalogue.load(), prefix).check(), as_json)


@schemas.command("apply")
def schemas_apply(registry: Registry, prefix: Prefix = "", as_json: AsJson = False) -> None:
    """Register missing schemas and new versions, FULL_TRANSITIVE."""
    _report(lambda: Subjects(registry, catalogue.load(), prefix).apply(), as_json)


@schemas.command("check")
def schemas_check(registry: Registry, prefix: Prefix = "", as_json: AsJson = False) -> None:
    """Compare the registry's schemas with the declared ones; exit 1 if they differ."""
    _report(lambda: Subjects(registry, catalogue.load(), prefix).check(), as_json)


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
