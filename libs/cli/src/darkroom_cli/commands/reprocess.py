"""`darkroom reprocess`: known photos analysed again."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from darkroom_cli import door
from darkroom_cli.client import Json
from darkroom_cli.commands.dlq_options import moment
from darkroom_cli.commands.imports import meant
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.policy import By
from darkroom_cli.commands.stack import Data
from darkroom_cli.follow import follow, watch
from darkroom_cli.import_words import counts
from darkroom_cli.paths import DataFolder
from darkroom_cli.show import plain

STAGES: Final = ("detector", "ocr", "embedder")
LANES: Final = ("batch", "learning")


def _one_of(words: tuple[str, ...], word: str) -> str:
    if word not in words:
        raise typer.BadParameter(f"choose {', '.join(words)}")
    return word


def stage(word: str) -> str:
    """Typer's parser for a stage."""
    return _one_of(STAGES, word)


def lane(word: str) -> str:
    """Typer's callback for a lane."""
    return _one_of(LANES, word)


def other_model(text: str) -> Json:
    """Typer's parser for `ocr=rapidocr@3.4`: a stage, and a model or engine."""
    named, _, model = text.partition("=")
    if not model:
        raise typer.BadParameter(f"{text!r}: write it like ocr=rapidocr@3.4")
    return {"stage": stage(named), "model": model}


def reprocess(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    by: By,
    everything: Annotated[bool, typer.Option("--all", help="Every photo.")] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Last rejected, or analysed without some stage.")
    ] = False,
    missing: Annotated[
        str | None, typer.Option(parser=stage, metavar="STAGE", help="Analysed without this stage.")
    ] = None,
    older: Annotated[
        Any,
        typer.Option(
            "--older-than-model",
            parser=other_model,
            metavar="STAGE=MODEL",
            help="Whose part of a stage is by another model version, or engine, than this.",
        ),
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(help="One of auto_labeled, suggested, review.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Whose best label is this.")] = None,
    batch: Annotated[
        str | None,
        typer.Option("--import", help="Of this import: its id, the beginning of one, or `last`."),
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(parser=moment, metavar="WHEN", help="Handed in since: 2h, 3d, or a time."),
    ] = None,
    before: Annotated[
        int | None, typer.Option(parser=moment, metavar="WHEN", help="Handed in before then.")
    ] = None,
    photo: Annotated[
        list[str] | None, typer.Option(help="This one, by its id; repeatable.")
    ] = None,
    lane: Annotated[str, typer.Option(callback=lane, help="batch, or learning: behind all.")] = (
        "batch"
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Don't wait for the end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Analyse photos again, with today's models and policy.

    Photos have to fit everything that is named. What is known of one stays until its new outcome
    is there. It is an import like others: `darkroom imports pause` holds it back.
    """
    chosen = {
        **({"all": True} if everything else {}),
        **({"failed": True} if failed else {}),
        **{"missing": missing, "other_than": older, "outcome": outcome, "label": label},
        **{"batch": batch, "after": _time(after), "before": _time(before), "photos": photo},
    }
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if not chosen:
        raise typer.BadParameter("say which photos by a filter such as --failed, or all by --all")
    wanted: Json = {"filter": chosen, "lane": lane, "by": by}
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        if batch is not None:
            chosen["batch"] = meant(gateway, batch)
        seen = gateway.reprocess({**wanted, "dry_run": True})
        if dry_run or seen["count"] == 0:
            _tell_preview(seen, as_json)
            return
        if not yes:
            typer.confirm(f"Analyse {_photos(seen['count'])} again?", abort=True, err=True)
        begun = gateway.reprocess(wanted)
        if detach:
            _tell_begun(begun, as_json)
        elif as_json:
            over = follow(gateway, begun["batch_id"], lambda _batch: None)
            typer.echo(json.dumps({"batch": over}, indent=2, ensure_ascii=False))
        else:
            console = Console()
            over = watch(gateway, begun["batch_id"], console)
            console.print(f"{_photos(over['found'])}: {counts(over)}")


def _tell_preview(seen: Json, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(seen, indent=2, ensure_ascii=False))
        return
    typer.echo(f"{_photos(seen['count'])} fit{'s' if seen['count'] == 1 else ''}.")
    for one in seen["sample"]:
        typer.echo(f"  {one['photo_id']}  {plain(one['file_name'] or '')}")
    if seen["count"] > len(seen["sample"]):
        typer.echo("  …")


def _tell_begun(begun: Json, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"batch": begun}, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"Begun as import {begun['batch_id']}; `darkroom imports show` follows it.")


def _time(ms: int | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _photos(number: int) -> str:
    return f"{number:,} photo{'' if number == 1 else 's'}"
