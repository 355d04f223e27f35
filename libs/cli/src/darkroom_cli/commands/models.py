"""`darkroom models`: versions of stages' models and of heads, which of them holds, who has it."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from darkroom_cli import calibrating, door, show_models
from darkroom_cli.client import Json
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.policy import By
from darkroom_cli.commands.stack import Data
from darkroom_cli.models_door import ModelsDoor
from darkroom_cli.paths import DataFolder
from darkroom_cli.show import plain

models = typer.Typer(
    help="Versions of each stage's model, and of what your own labels were taught (head:SET):"
    " register, activate, roll back, compare.",
    no_args_is_help=True,
)

NAMES: Final = ("detector", "ocr", "embedder")

_HEAD: Final = re.compile(r"head:[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a set of labels was taught."""


def stage(name: str) -> str:
    """Typer's callback for the name of a stage's model."""
    if name not in NAMES:
        raise typer.BadParameter(f"choose {', '.join(NAMES)}")
    return name


def known(name: str) -> str:
    """Typer's callback for a model's name."""
    if name not in NAMES and not _HEAD.fullmatch(name):
        raise typer.BadParameter(f"choose {', '.join(NAMES)}, or head:SET")
    return name


def option(text: str) -> tuple[str, str]:
    """Typer's parser for `detector_label_list=receipt,whiteboard`; `@FILE` is a file's content."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r}: write it like detector_labels=3")
    if value.startswith("@"):
        try:
            return name, Path(value[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"{value[1:]} can't be read: {error}") from error
    return name, value


Stage = Annotated[str, typer.Argument(callback=stage, help=f"One of {', '.join(NAMES)}.")]
Model = Annotated[
    str, typer.Argument(callback=known, help=f"One of {', '.join(NAMES)}, or head:SET.")
]
Version = Annotated[str, typer.Argument(help="A version, or how its name begins.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the next person.")]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Until every replica has it; else at once.")
]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds to wait at most.")]


def models_door(url: str | None, data: Path | None) -> ModelsDoor:
    """The registry of the gateway that is meant."""
    return ModelsDoor(door.gateway(url, DataFolder.at(data)))


def _print(found: Any, as_json: bool, *shown: Any) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False, markup=False)
    for one in shown:
        console.print(one, soft_wrap=isinstance(one, str))


@models.command("list")
def list_(as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Show which version of each model holds, and whether every replica has it."""
    with explained():
        found = models_door(url, data).all()
    _print(found, as_json, show_models.overview(found))


@models.command("show")
def show(name: Model, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Show a model's versions, its replicas and its last changes."""
    with explained():
        found = models_door(url, data).one(name)
    _print(found, as_json, *show_models.detail(found))


@models.command(
    "register",
    epilog="Example: darkroom models register detector --engine siglip --files ./siglip-base"
    " --option detector_label_list=receipt,whiteboard --licence Apache-2.0",
)
def register(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    name: Stage,
    engine: Annotated[str, typer.Option(help="One of the stage's built-in engines.")],
    by: By,
    files: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of the checkpoint; is sent."),
    ] = None,
    options: Annotated[
        list[Any] | None,
        typer.Option(
            "--option", parser=option, metavar="NAME=VALUE", help="A setting; @FILE; repeatable."
        ),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Of the weights.")] = None,
    source: Annotated[str | None, typer.Option(help="Where it comes from.")] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="JSON file of what was measured."),
    ] = None,
    notes: Annotated[str | None, typer.Option(help="For the next person.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Add a version as a candidate: nothing uses it until it is activated.

    The same engine, options and files are always the same version. Weights have to be safetensors
    or ONNX. An engine or option that the services do not have is refused before anything is sent.
    """
    wanted = {
        **{"engine": engine, "by": by, "options": dict(options or ())},
        **{"licence": licence, "source": source, "notes": notes, "metrics": _metrics(metrics)},
    }
    with explained():
        made = models_door(url, data).register(name, wanted, files, _told)
    if made["unchecked"]:
        _told(made["unchecked"])
    _print(made, as_json, plain(f"{made['version']} ({made['stage']})"), _next(name, made))


@models.command("activate")
def activate(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    name: Model,
    version: Version,
    by: By,
    reason: Reason = None,
    wait: Wait = True,
    timeout: Timeout = 300.0,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Have a version hold: services load it and change over between two photos.

    Exit code 1 if a replica can't load it; the version before goes on working there.
    """
    with explained():
        registry = models_door(url, data)
        wanted = {"version": registry.meant(name, version), "by": by, "reason": reason}
        _change(registry, name, "activate", wanted, timeout if wait else 0.0, as_json)


@models.command("rollback")
def rollback(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    name: Model,
    by: By,
    reason: Reason = None,
    wait: Wait = True,
    timeout: Timeout = 300.0,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Undo the last activation."""
    with explained():
        wanted = {"by": by, "reason": reason}
        _change(models_door(url, data), name, "rollback", wanted, timeout if wait else 0.0, as_json)


@models.command("shadow")
def shadow(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    name: Model,
    by: By,
    version: Annotated[
        str | None, typer.Argument(help="A version, or how its name begins.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="None looks beside any more.")] = False,
    share: Annotated[float, typer.Option(min=0.0001, max=1.0, help="Of the photos.")] = 1.0,
    wait: Wait = True,
    timeout: Timeout = 300.0,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Have a version look at photos beside the one that holds; what it says is only compared.

    See what came of it by `darkroom models compare`.
    """
    if off is (version is not None):
        raise typer.BadParameter("name a version, or --off")
    with explained():
        registry = models_door(url, data)
        meant = None if version is None else registry.meant(name, version)
        wanted = {"version": meant, "share": share, "by": by}
        _change(registry, name, "shadow", wanted, timeout if wait else 0.0, as_json)


@models.command("compare")
def compare(
    name: Model,
    version: Version,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Disagreements to show.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show how a shadow agrees with what held, and where it does not."""
    with explained():
        registry = models_door(url, data)
        found = registry.shadow_report(name, registry.meant(name, version), limit)
    _print(found, as_json, *show_models.shadow_report(found))


@models.command("calibrate", epilog="Example: darkroom models calibrate ./labelled --activate")
def calibrate(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    by: By,
    folder: Annotated[
        Path | None,
        typer.Argument(exists=True, file_okay=False, help="LABEL/photo.jpg below it."),
    ] = None,
    reviews: Annotated[
        bool, typer.Option("--reviews", help="By people's answers instead of a folder.")
    ] = False,
    files: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="The active version's files, if any."),
    ] = None,
    use: Annotated[bool, typer.Option("--activate", help="Have it hold at once.")] = False,
    timeout: Timeout = 300.0,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Fit the detector's confidences to photos whose labels are known.

    The result is a version of its own: what holds now, with these confidences. Nothing uses it
    until it is activated. Exit code 3 if it would count as uncalibrated (too few photos, or for
    the worse): then --activate does not.
    """
    if reviews is (folder is not None):
        raise typer.BadParameter("name a folder, or --reviews")
    with explained():
        registry = models_door(url, data)
        fitted = calibrating.calibrate(
            registry, DataFolder.at(data), calibrating.Examples(folder, files)
        )
        made = registry.add(calibrating.MODEL, calibrating.as_version(fitted, by))
        shown = (plain(f"{made['version']} ({made['stage']})"), _next(calibrating.MODEL, made))
        use = use and fitted.calibrated
        _print(made, as_json, *(shown[:1] if use else shown))
        if use:
            wanted = {
                **{"version": made["version"], "by": by, "reason": "calibrated"},
                "expected_generation": fitted.generation,
            }
            _change(registry, calibrating.MODEL, "activate", wanted, timeout, as_json)
        elif not fitted.calibrated:
            typer.echo("Not activated: it would count as uncalibrated, see above.", err=True)
            raise typer.Exit(3)


@models.command("retire")
def retire(
    name: Model,
    version: Version,
    by: By,
    reason: Reason = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Say that a version shall not be used any more; activating it takes that back."""
    with explained():
        registry = models_door(url, data)
        wanted = {"version": registry.meant(name, version), "by": by, "reason": reason}
        found = registry.change(name, "retire", wanted)
    _print(found, as_json, plain(f"{found['version']} is retired."))


def _change(
    registry: ModelsDoor,
    name: str,
    word: str,
    wanted: Json,
    timeout_s: float,
    as_json: bool,
) -> None:
    made = registry.change(name, word, wanted)
    if not as_json:
        typer.echo(plain(show_models.changed(name, made)))
    if timeout_s:
        found = registry.everywhere(name, made["generation"], timeout_s, _waits)
        if not as_json:
            have = sum(one["live"] for one in found["replicas"])
            typer.echo(f"Every replica has it ({have}).")
    if as_json:
        typer.echo(json.dumps(made, indent=2, ensure_ascii=False))


def _waits(found: Json) -> None:
    waiting = found["waiting_for"]
    typer.echo(
        f"waits for {len(waiting)} of {sum(one['live'] for one in found['replicas'])} replicas",
        err=True,
    )


def _told(what: str) -> None:
    typer.echo(plain(what), err=True)


def _next(name: str, made: Json) -> str:
    use = f"Use it: darkroom models activate {name} {made['version']}"
    if name == "embedder":  # vectors of two versions can't be compared
        return plain(use)
    return plain(
        f"Try it beside the one that holds: darkroom models shadow {name} {made['version']}\n{use}"
    )


def _metrics(file: Path | None) -> Json:
    if file is None:
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{file} is no JSON file: {error}") from error
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{file} has to hold an object")
    return found
