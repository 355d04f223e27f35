"""`darkroom bench`: measurements beside peers and limits, each a program in `bench/`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from darkroom_cli.errors import SetupError
from darkroom_cli.modules import run_module
from darkroom_cli.paths import repository_root

bench = typer.Typer(help="Measure beside peers and limits.", no_args_is_help=True)

_RUNTIME = ("fanout", "stage", "latency")
_OVERLOAD = ("storm", "standstill")
_MODELS = ("speed", "accuracy", "text", "pipeline", "people")

Parts = list[str] | None


def _out_of(known: Sequence[str]) -> Callable[[Parts], Parts]:
    """What refuses other parts than these."""

    def check(parts: Parts) -> Parts:
        if any(part not in known for part in parts or ()):
            raise typer.BadParameter(f"choose {_listed(known)}")
        return parts

    return check


def _listed(known: Sequence[str]) -> str:
    return ", ".join(known)


def _some_of(known: Sequence[str]) -> Any:
    """The option that takes some of them."""
    return typer.Option(callback=_out_of(known), help=f"One of {_listed(known)}; may be repeated.")


JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write everything measured to this file.")
]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 if a limit is missed.")]


@bench.command("runtime")
def runtime(
    json_file: JsonFile = None,
    quick: Annotated[bool, typer.Option("--quick", help="Less of it: under 15 minutes.")] = False,
    check: Check = False,
    only: Annotated[Parts, _some_of(_RUNTIME)] = None,
) -> None:
    """The worker runtime beside Celery, Dramatiq and a bare loop; takes 20 minutes.

    Starts a Kafka and a Redis of its own on free loopback ports, and ends all that it started.
    Leave the machine alone meanwhile: everything runs on its cores. Example:

    ./darkroom bench runtime --quick --json runtime.json
    """
    arguments = [
        *(("--quick",) if quick else ()),
        *(("--check",) if check else ()),
        *_written_to(json_file),
        *(("--only", *only) if only else ()),
    ]
    raise typer.Exit(run_module("bench.runtime", arguments, repository_root()))


@bench.command("import")
def imports(
    photos: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Photos through the whole system.")
    ] = 20_000,
    json_file: JsonFile = None,
    check: Check = False,
) -> None:
    """Photos a second from a folder to the catalog, and what counting a million of them takes.

    Starts a system of its own whose engines answer at once, imports a folder twice, then has an
    aggregator alone count a million photos: about 15 minutes with 20,000 photos, 6 with 2,000.
    Exits with 1 if any total is not exact. Leave the machine alone meanwhile. Example:

    ./darkroom bench import --photos 2000 --json import.json
    """
    arguments = [
        *("--photos", str(photos)),
        *(("--check",) if check else ()),
        *_written_to(json_file),
    ]
    raise typer.Exit(run_module("bench.imports", arguments, repository_root()))


@bench.command("models")
def models(
    json_file: JsonFile = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A third of it: under 15 minutes.")
    ] = False,
    check: Check = False,
    only: Annotated[Parts, _some_of(_MODELS)] = None,
) -> None:
    """How fast and how right the models are, beside EasyOCR and plain scripts; takes 40 minutes.

    Every engine that loads here alone, the text stage beside stock EasyOCR, photos through a whole
    system of its own beside a script, single photos beside an import. Leave the machine alone
    meanwhile: everything runs on its cores. Example:

    ./darkroom bench models --quick --json models.json
    """
    arguments = [
        *(("--quick",) if quick else ()),
        *(("--check",) if check else ()),
        *_written_to(json_file),
        *(("--only", *only) if only else ()),
    ]
    raise typer.Exit(run_module("bench.models", arguments, repository_root()))


@bench.command("overload")
def overload(
    json_file: JsonFile = None,
    check: Check = False,
    seconds: Annotated[float, typer.Option(min=5, max=600, help="For so long it storms.")] = 60.0,
    only: Annotated[Parts, _some_of(_OVERLOAD)] = None,
) -> None:
    """What is refused, kept and told when more is asked for than can be done; takes 4 minutes.

    Starts a system of its own whose engines take 20 ms a photo, without rate limits: five times as
    many photos as it can do; then photos while the detector stands still. Leave the machine alone
    meanwhile. Example:

    ./darkroom bench overload --json overload.json
    """
    arguments = [
        "--seconds",
        str(seconds),
        *(("--check",) if check else ()),
        *_written_to(json_file),
        *(argument for part in only or () for argument in ("--only", part)),
    ]
    raise typer.Exit(run_module("bench.overload", arguments, repository_root()))


@bench.command("learning")
def learning(
    folder: Annotated[
        Path | None,
        typer.Option(help="A folder of your own photos for each label, instead of made pictures."),
    ] = None,
    json_file: JsonFile = None,
    quick: Annotated[bool, typer.Option("--quick", help="5 seeds instead of 20.")] = False,
    augmentation: Annotated[
        bool,
        typer.Option(
            "--augmentation", help="Instead: whether changed copies of the examples teach more."
        ),
    ] = False,
    check: Check = False,
) -> None:
    """How right a head is after a few examples, how few answers will do, and how soon it is used;
    takes 5 minutes.

    Looks at pictures with the packaged embedder, and starts a system of its own. Example:

    ./darkroom bench learning --folder ~/labelled --json learning.json
    """
    if folder is not None and not folder.is_dir():
        raise SetupError(f"{folder} is no folder.", "Name one that has a folder for each label.")
    arguments = [
        *(("--folder", str(folder.resolve())) if folder else ()),
        *(("--quick",) if quick else ()),
        *(("--augmentation",) if augmentation else ()),
        *(("--check",) if check else ()),
        *_written_to(json_file),
    ]
    raise typer.Exit(run_module("bench.learning", arguments, repository_root()))


def _written_to(json_file: Path | None) -> Sequence[str]:
    """The option for it, once its folder is known to be there."""
    if json_file is None:
        return ()
    file = json_file.resolve()
    if not file.parent.is_dir():
        raise SetupError(f"{file.parent} is no folder.", "Make it, or name another.")
    return "--json", str(file)
