"""`darkroom topics|schemas apply|check`: what is declared, against a broker and a registry."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from darkroom_cli.commands.stack import Data, local_stack
from darkroom_cli.contracts import ContractError, Finding, Subjects, Topics
from darkroom_cli.errors import DarkroomError
from darkroom_cli.growing import Grower, next_steps
from darkroom_schemas import catalogue
from streamkit.settings import KafkaSettings

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
Replication = Annotated[
    int | None,
    typer.Option(
        envvar="DARKROOM_TOPIC_REPLICATION",
        min=1,
        max=32767,
        help="Brokers that keep a new topic; else as many as the broker's default says.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")]


@topics.command("apply")
def topics_apply(
    kafka: Kafka = None,
    prefix: Prefix = "",
    replication: Replication = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Create missing topics and set their settings; never deletes, never repartitions."""
    _report(lambda: _topics(kafka, prefix, data, replication).apply(), as_json)


@topics.command("check")
def topics_check(
    kafka: Kafka = None, prefix: Prefix = "", as_json: AsJson = False, data: Data = None
) -> None:
    """Compare the broker's topics with the declared ones; exit 1 if they differ."""
    _report(lambda: _topics(kafka, prefix, data).check(), as_json)


@topics.command("grow", epilog="Example: darkroom topics grow photo 12 --yes")
def topics_grow(
    group: Annotated[str, typer.Argument(help="Topics that are joined: photo, chunk, batch.")],
    partitions: Annotated[int, typer.Argument(min=1, max=10_000, help="How many each gets.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only shown.")] = False,
    kafka: Kafka = None,
    prefix: Prefix = "",
    data: Data = None,
) -> None:
    """Give all topics of a co-partition group more partitions, while nothing but Kafka runs.

    Keys move, so the aggregator's tables are emptied; what is not done is said again afterwards.
    """
    bootstrap, options = broker(kafka, data)
    grower = Grower(bootstrap, _declared(), prefix, options)
    growth = grower.plan(group, partitions)
    for name in growth.grown:
        typer.echo(f"{name}: {partitions} partitions")
    for name in growth.anew:
        typer.echo(f"{name}: made anew, empty, with {partitions} partitions")
    if not growth.grown and not growth.anew:
        typer.echo(f"all topics of {group} have {partitions} partitions")
        return
    grower.check(growth)
    if yes:
        grower.grow(growth)
        typer.echo(next_steps(growth))
    else:
        typer.echo("Nothing was changed: say --yes.")


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


def broker(kafka: str | None, data: Path | None) -> tuple[str, dict[str, str]]:
    """Bootstrap servers, and what librdkafka needs to get in there: `kafka`, as the settings
    DARKROOM_KAFKA_… say, else those of the stack that runs here. Raises DarkroomError."""
    if kafka is None:
        return local_stack(data).address("kafka"), {}
    try:
        return kafka, KafkaSettings().kafka_options
    except ValidationError as error:
        raise DarkroomError(_slip(error.errors(include_url=False, include_input=False))) from error


def _declared() -> catalogue.Catalogue:
    """Raises DarkroomError for what the environment can't mean."""
    try:
        return catalogue.load()
    except ValueError as error:
        raise DarkroomError(f"{error}.") from error


def _slip(errors: list[Any]) -> str:
    places = (("_".join(map(str, error["loc"])), error["msg"]) for error in errors)
    return "; ".join(f"DARKROOM_{place.upper()}: {why}" if place else why for place, why in places)


def _topics(
    kafka: str | None, prefix: str, data: Path | None, replication: int | None = None
) -> Topics:
    bootstrap, options = broker(kafka, data)
    return Topics(bootstrap, _declared(), prefix, replication=replication, options=options)


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
