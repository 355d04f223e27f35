"""`darkroom labels list | show | create | add | remove | import`: labels of your own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from darkroom_cli import door, show_labels, show_trainings
from darkroom_cli.client import Gateway, Json
from darkroom_cli.commands.photos import AsJson, Url, explained
from darkroom_cli.commands.policy import By
from darkroom_cli.commands.stack import Data
from darkroom_cli.commands.trainings import NOTHING_NEW, exit_code, followed
from darkroom_cli.follow import follow, watch
from darkroom_cli.label_folders import NONE, LabelFolders, label_folders
from darkroom_cli.labels_door import LabelsDoor
from darkroom_cli.paths import DataFolder
from darkroom_cli.show import plain
from darkroom_cli.trainings_door import NotEnoughError, TrainingsDoor
from darkroom_cli.uploading import Progress, upload

labels = typer.Typer(
    help="Labels of your own, and the photos from which Darkroom learns them. An answer of a review"
    " is an example in every set that has its label.",
    no_args_is_help=True,
)

_LANE: Final = "learning"
_MOST_FAILED: Final = 10_000
_INTERRUPTED: Final = 130
_TRAINED_S: Final = 3_700.0

Set = Annotated[str, typer.Option("--set", help="The set, which has a model of its own.")]
PhotoId = Annotated[str, typer.Argument(metavar="PHOTO", help="Its id.")]


@labels.command("list")
def list_(as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Show the sets of labels, and whether they have enough examples."""
    with explained():
        found = _door(url, data, "").sets()
    if as_json:
        _print_json(found)
    elif found:
        Console(highlight=False).print(show_labels.sets_table(found))
    else:
        typer.echo("There are no labels yet; `darkroom labels import FOLDER` makes some.")


@labels.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="[SET]")] = "labels",
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Show how many examples each label of a set has, where from, and what is missing."""
    with explained():
        found = _door(url, data, "").show(name)
    _print_set(found, as_json)


@labels.command("create", epilog="Example: darkroom labels create receipt ticket letter")
def create(
    names: Annotated[list[str], typer.Argument(metavar="LABEL…", help="All labels of the set.")],
    by: By,
    name: Set = "labels",
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Make a set of labels, or have it these labels and no others.

    Examples of labels that go are kept, and count again should those come back.
    """
    with explained():
        made = _door(url, data, by).put(name, names)
    _print_set(made, as_json)


@labels.command("add", epilog="Example: darkroom labels add PHOTO receipt")
def add(
    photo_id: PhotoId,
    label: Annotated[str, typer.Argument(help="What it shows; none: no label of the set.")],
    by: By,
    name: Set = "labels",
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Have a photo be an example of a label."""
    with explained():
        made = _door(url, data, by).add(name, photo_id, None if label == NONE else label)
    if as_json:
        _print_json(made)
    else:
        typer.echo(f"{made['photo_id']} shows {plain(made['label'] or NONE)}.")


@labels.command("remove")
def remove(
    photo_id: PhotoId, by: By, name: Set = "labels", url: Url = None, data: Data = None
) -> None:
    """Have a photo be no example any more."""
    with explained():
        _door(url, data, by).remove(name, photo_id)
    typer.echo(f"{photo_id} is no example of {plain(name)} any more.")


@labels.command("import", epilog="Example: darkroom labels import ~/by-label")
def import_(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="With a folder for each label.")
    ],
    by: By,
    name: Set = "labels",
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Don't wait until the photos are analysed.")
    ] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Have the set trained then, and wait for what comes.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Send the photos of a folder for each label (`receipt/1.jpg`), and have them be examples.

    Labels that the set lacks are added to it; the folder `none` is for photos that no label fits.
    Photos that Darkroom knows already are not sent again. Interrupted, the same command goes on.
    Exit code 1 if not all files are examples then; with --train 3 if what comes of it is not used,
    or examples are missing, and 1 if the training failed.
    """
    root = folder.resolve()
    with explained():
        opened = _door(url, data, by)
        known = opened.known(name)
        found = label_folders(root, known or ())
        fresh = [one for one in found.labels if one not in (known or ())]
        if fresh or known is None:
            opened.put(name, [*(known or ()), *fresh])
        with _goes_on_later(as_json):
            batch_id = _send(opened.gateway, found, quiet=as_json)
            # At once: what trains when the import is over shall know them.
            taken = opened.take(name, batch_id, found.paths)
            if not detach:
                _wait(opened.gateway, batch_id, quiet=as_json)
                taken = _settled(taken, opened.take(name, batch_id, found.paths))
        refused = _refused(opened.gateway, batch_id, taken, found)
        standing = opened.show(name)
        trained = _train(opened, name, wait=not detach, quiet=as_json) if train else None
    if as_json:
        _print_json(
            {
                **{"set": name, "batch_id": batch_id, "new_labels": fresh, "examples": taken},
                **{"refused": refused, "verdict": standing["verdict"], "training": trained},
            }
        )
    else:
        _print_import(taken, fresh, refused, standing)
        if trained is not None:
            _print_training(trained)
    if code := _exit_code(refused, trained, asked=train, waited=not detach):
        raise typer.Exit(code)


def _exit_code(refused: list[Json], trained: Json | None, *, asked: bool, waited: bool) -> int:
    if refused:
        return 1
    if trained is None:
        return NOTHING_NEW if asked else 0
    return exit_code(trained) if waited else 0


def _train(opened: LabelsDoor, name: str, *, wait: bool, quiet: bool) -> Json | None:
    """A training of the set, when it has ended if that is waited for; None where examples are
    missing, which is told."""
    trainings = TrainingsDoor(opened.gateway, opened.by)
    try:
        asked = trainings.ask(name, force=False)
    except NotEnoughError as error:
        typer.echo(f"darkroom: it can't be trained: {error}", err=True)
        return None
    return followed(trainings, asked["request_id"], _TRAINED_S, quiet=quiet) if wait else asked


def _print_training(trained: Json) -> None:
    console = Console(highlight=False, markup=False)
    for one in show_trainings.ended(trained):
        console.print(one)


def _send(gateway: Gateway, found: LabelFolders, *, quiet: bool) -> str:
    with Console(stderr=True, quiet=quiet).status("looking at the files") as status:

        def tell(progress: Progress) -> None:
            words = f"{progress.offered} of {progress.files} files looked at, {progress.sent} sent"
            status.update(f"{words}; {progress.waiting}" if progress.waiting else words)

        return upload(gateway, [*found.folders], _LANE, tell)


def _wait(gateway: Gateway, batch_id: str, *, quiet: bool) -> None:
    if quiet:
        follow(gateway, batch_id, lambda _batch: None)
    else:
        watch(gateway, batch_id, Console(stderr=True))


@contextmanager
def _goes_on_later(quiet: bool) -> Iterator[None]:
    """What is interrupted can be resumed; that is told."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        if not quiet:
            typer.echo("\nNot everything is done; the same command goes on there.", err=True)
        raise typer.Exit(_INTERRUPTED) from stopped


def _settled(at_once: Json, at_last: Json) -> Json:
    """What came of all files, now that those are known that were rejected meanwhile."""
    examples = at_last["changed"] + at_last["unchanged"]
    return {
        **at_last,
        "changed": examples - at_once["unchanged"],
        "unchanged": at_once["unchanged"],
    }


def _refused(gateway: Gateway, batch_id: str, taken: Json, found: LabelFolders) -> list[Json]:
    """Files that are no examples, and why."""
    failed = gateway.failures(batch_id, _MOST_FAILED)["items"]
    refused = [{"path": one["path"], **_why(one)} for one in failed if one["kind"] != _PARTIAL]
    several = "The same photo lies in folders of several labels."
    refused += [
        {"path": path, "code": "several_labels", "message": several}
        for photo in taken["ambiguous"]
        for path in photo["paths"]
    ]
    beside = "It lies in no folder of a label."
    return refused + [
        {"path": path, "code": "no_label", "message": beside} for path in found.outside
    ]


_PARTIAL: Final = "stage_failed"
"""A photo that a stage failed at is there all the same."""


def _why(failure: Json) -> Json:
    return {"code": failure["code"], "message": failure["message"]}


def _print_import(taken: Json, fresh: list[str], refused: list[Json], standing: Json) -> None:
    console = Console(highlight=False)
    if fresh:
        console.print(f"New labels: {plain(', '.join(fresh))}", markup=False)
    console.print(show_labels.set_table(standing))
    console.print(
        f"{taken['changed']} examples are new, {taken['unchanged']} were known,"
        f" {len(refused)} files are none."
    )
    if refused:
        console.print(show_labels.refused_table(refused))
    console.print(show_labels.verdict(standing))


def _print_set(found: Json, as_json: bool) -> None:
    if as_json:
        _print_json(found)
        return
    console = Console(highlight=False)
    console.print(show_labels.set_table(found))
    console.print(show_labels.verdict(found))
    if found["warning"]:
        console.print(show_labels.warning(found))


def _door(url: str | None, data: Any, by: str) -> LabelsDoor:
    with explained():
        return LabelsDoor(door.gateway(url, DataFolder.at(data)), by)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
