"""`darkroom import`: begins an import and watches it to its end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from darkroom_cli import door, show, show_imports
from darkroom_cli.client import Gateway, Json
from darkroom_cli.commands.photos import AsJson, Lane, Url, explained
from darkroom_cli.commands.stack import Data
from darkroom_cli.follow import follow, watch
from darkroom_cli.import_words import counts
from darkroom_cli.paths import DataFolder
from darkroom_cli.uploading import Progress, upload

_INTERRUPTED: Final = 130
_NAMED: Final = 5
"""Exit code after Ctrl-C (128 + SIGINT), as shells have it."""


def import_(  # noqa: PLR0913, PLR0917  # a command's options are its parameters
    paths: Annotated[
        list[Path] | None, typer.Argument(exists=True, help="Files and folders.")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Only files whose path matches, such as '*.jpg'.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="No files and folders whose path matches.")
    ] = None,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Names that begin with a dot as well.")
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A zip or tar file, which is sent."),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URI", help="Objects of a store, such as s3://b/2026.")
    ] = None,
    send: Annotated[
        bool,
        typer.Option("--upload", help="Send the files, to a gateway that can't read them itself."),
    ] = False,
    lane: Lane = "batch",
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when it has begun.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Import files and folders and show what became of every file.

    Folders are taken whole; symbolic links, and hidden files unless asked for, are left out.
    Importing a folder again analyses only what is new. Ctrl-C ends the watching and not the import.
    Exit code 0 when it is over, also with rejected files, which are reported; 1 if it was
    cancelled; 130 after Ctrl-C.
    """
    patterns = {"include": include or [], "exclude": exclude or [], "hidden": hidden}
    _check(paths, archive, store, send=send, patterned=any(patterns.values()))
    with explained():
        gateway = door.gateway(url, DataFolder.at(data))
        if archive is not None:
            with Console(stderr=True).status(f"sending {show.plain(archive.name)}"):
                started = gateway.start_archive(archive, lane, patterns)
        elif store is not None:
            started = gateway.start_store(store, lane, patterns)
        else:
            roots = [path.resolve() for path in paths or ()]
            if send:
                started = _upload(gateway, roots, lane, quiet=as_json)
            else:
                with door.allowed(roots, DataFolder.at(data)):
                    started = gateway.start_import(roots, lane, patterns)
        if detach:
            _tell_begun(started, as_json)
        else:
            finish(gateway, started["batch_id"], as_json)


def _check(
    paths: list[Path] | None,
    archive: Path | None,
    store: str | None,
    *,
    send: bool,
    patterned: bool,
) -> None:
    if sum(map(bool, (paths, archive, store))) != 1:
        raise typer.BadParameter("give files and folders, or --archive, or --store")
    if send and not paths:
        raise typer.BadParameter("--upload sends files and folders; name some")
    if send and patterned:
        raise typer.BadParameter("--upload sends all that it is given, without patterns")


def _upload(gateway: Gateway, roots: list[Path], lane: str, *, quiet: bool) -> Json:
    console = Console(stderr=True)
    with console.status("looking at the files") as status:

        def tell(progress: Progress) -> None:
            size = f"{progress.sent_bytes / 1e6:.1f} MB"
            words = f"{progress.offered} of {progress.files} files looked at, {size} sent"
            status.update(f"{words}; {progress.waiting}" if progress.waiting else words)

            changed[:] = progress.changed

        changed: list[str] = []
        with _goes_on_later(quiet):
            batch = gateway.batch(upload(gateway, roots, lane, tell))
    if changed and not quiet:
        _tell_changed(console, changed)
    return batch


def _tell_changed(console: Console, changed: list[str]) -> None:
    """Files that are others than those that this import has under their paths."""
    names = ", ".join(show.plain(name) for name in changed[:_NAMED])
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    one = len(changed) == 1
    console.print(
        f"{'1 file has' if one else f'{len(changed)} files have'} changed since this upload began"
        f" and {'is' if one else 'are'} not part of it: {names}{more}. Upload again once it is"
        " over.",
        style="yellow", markup=False, highlight=False,
    )  # fmt: skip


@contextmanager
def _goes_on_later(quiet: bool) -> Iterator[None]:
    """An upload that is interrupted can be resumed; that is told."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        if not quiet:
            typer.echo("\nNot everything is sent; the same command goes on there.", err=True)
        raise typer.Exit(_INTERRUPTED) from stopped


def _tell_begun(batch: Json, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"batch": batch}, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{batch['batch_id']} has begun; {_hints(batch['batch_id'])}")


def _hints(batch_id: str) -> str:
    short = batch_id[:8]
    return (
        f"`darkroom imports show {short} --follow` watches it, "
        f"`darkroom imports cancel {short}` ends it"
    )


def finish(gateway: Gateway, batch_id: str, as_json: bool) -> None:
    """Watch an import to its end and tell what came of it; raises typer.Exit unless that is 0."""
    console = Console()
    with _import_goes_on(batch_id):
        if as_json:
            batch = follow(gateway, batch_id, lambda _batch: None)
        else:
            batch = watch(gateway, batch_id, console)
    if as_json:
        _print_all(batch, gateway.items(batch_id))
    else:
        _print_end(gateway, batch, console)
    if batch["state"] == "cancelled":
        raise typer.Exit(1)


@contextmanager
def _import_goes_on(batch_id: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stopped:
        typer.echo(f"\nThe import goes on; {_hints(batch_id)}.", err=True)
        raise typer.Exit(_INTERRUPTED) from stopped


def _print_end(gateway: Gateway, batch: Json, console: Console) -> None:
    short = batch["batch_id"][:8]
    if 0 < batch["found"] <= show_imports.FEW:
        items = list(gateway.items(batch["batch_id"]))
        console.print(show.items_table(items, f"Import {batch['batch_id']}"))
    elif batch["failures"]:
        console.print(show_imports.failures_table(gateway.failures(batch["batch_id"], limit=1)))
    console.print(f"{batch['found']} files: {counts(batch)}", soft_wrap=True)
    if batch["found"] > show_imports.FEW:
        hint = f"every file: darkroom imports report {short} report.html (or .csv)"
        console.print(hint, markup=False, soft_wrap=True)


def _print_all(batch: Json, items: Iterator[Json]) -> None:
    """The import and its files as JSON, written while they are read."""
    typer.echo(f'{{"batch": {json.dumps(batch, ensure_ascii=False)}, "photos": [', nl=False)
    for number, item in enumerate(items):
        typer.echo(",\n" if number else "\n", nl=False)
        typer.echo(json.dumps(item, ensure_ascii=False), nl=False)
    typer.echo("\n]}")
