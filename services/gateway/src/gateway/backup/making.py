"""Makes a backup while everything runs."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from psycopg import IsolationLevel, sql
from psycopg.rows import tuple_row

from gateway import db, locks
from gateway.backup import objects, tables
from gateway.backup.manifest import (
    FORMAT,
    BackupError,
    Catalog,
    File,
    Manifest,
    Object,
    Objects,
    Schemas,
    described,
    write_manifest,
)
from gateway.backup.registry import Registry
from gateway.control.tidying import RETENTION
from streamkit import ObjectStore, Reject, Retry

Progress = Callable[[str, int, int | None], None]
"""Hears what is being done, how many tables or objects are done, of how many if that is known."""

NAMED: Final = {
    "photos": ("source_uri", "rendition_uri", "thumbnail_uri"),
    "model_files": ("uri",),
    "trainings": ("report_uri",),
}
"""Columns that hold URIs of objects. (And batches.location, of archives.)"""

_PRIVATE: Final = 0o700
_OTHERS: Final = 0o077


def back_up(
    folder: Path, database: str, store: ObjectStore, registry: Registry | None, tell: Progress
) -> Manifest:
    """Make a backup in `folder`, which is empty, new, or has an earlier one; that one is whole
    until this one is, and the objects of both are kept once.

    Raises BackupError, psycopg.Error, OSError.
    """
    with _claimed(folder):
        at = datetime.now(UTC)
        stamp = f"{at:%Y%m%dT%H%M%S.%fZ}"
        (folder / stamp).mkdir()
        with db.connect(database, name="darkroom-backup") as conn, _no_retention(conn):
            catalog, named = _catalog(conn, folder, stamp, store, tell)
            schemas = _schemas(folder, stamp, registry, tell)
            found = _objects(store, folder, stamp, named, tell)
        made = Manifest(
            format=FORMAT,
            made_at=at,
            version=version("darkroom-gateway"),
            catalog=catalog,
            schemas=schemas,
            objects=found,
        )
        write_manifest(folder, made)
        _forget_older(folder, stamp, found.listing)
    return made


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """The folder is ours alone, and so is all that is written. Raises BackupError where something
    else lies in it."""
    before = os.umask(_OTHERS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            (folder / objects.FOLDER).mkdir(exist_ok=True)
            for each in (folder, folder / objects.FOLDER):
                with suppress(PermissionError):  # a volume's root may be another's
                    each.chmod(_PRIVATE)
            yield
    finally:
        os.umask(before)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = folder / ".lock"
    if not lock.exists() and any(folder.iterdir()):
        raise BackupError(
            f"{folder} is not empty, and no backup lies in it.", "Name a folder of its own."
        )
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"Another backup is being made in {folder}.") from None
        yield


@contextmanager
def _no_retention(conn: db.Conn) -> Iterator[None]:
    """No object is deleted meanwhile: the job waits for its next time. Waits for one that runs."""
    keys = (locks.JOBS, RETENTION)
    conn.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", keys)
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", keys)


def _catalog(
    conn: db.Conn, folder: Path, place: str, store: ObjectStore, tell: Progress
) -> tuple[Catalog, Path]:
    """All tables as of one moment, and a file with the keys of objects that they name."""
    named = folder / place / "named"
    conn.isolation_level = IsolationLevel.REPEATABLE_READ
    conn.read_only = True
    with conn.transaction():
        revision = tables.revision_of(conn)
        if revision is None:
            raise BackupError(
                "There is no catalog in this database.",
                "Check DARKROOM_DATABASE; or start it once.",
            )
        names = tables.table_names(conn)
        written = []
        for number, name in enumerate(names):
            tell("catalog", number, len(names))
            written.append(tables.write_out(conn, folder, place, name))
        with named.open("w", encoding="utf-8") as file:
            file.writelines(f"{key}\n" for key in _named(conn, store.uri_of("")))
    conn.read_only = False
    conn.isolation_level = None
    server = str(conn.info.server_version)
    return Catalog(revision=revision, postgres=server, tables=tuple(written)), named


def _named(conn: db.Conn, below: str) -> Iterator[str]:
    """Keys of the objects of ours that the catalog names; some more than once."""
    columns = [(table, column) for table, some in NAMED.items() for column in some]
    with conn.cursor("named", row_factory=tuple_row) as cursor:
        union = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {} AS uri FROM {}").format(
                sql.Identifier(column), sql.Identifier(table)
            )
            for table, column in columns
        )
        archives = sql.SQL(
            " UNION ALL SELECT location ->> 'uri' FROM batches"
            " WHERE kind = 'archive' AND NOT location ? 'forgotten'"
        )
        for (uri,) in cursor.execute(union + archives):
            if uri is not None and uri.startswith(below):
                yield unquote(uri.removeprefix(below))


def _schemas(folder: Path, place: str, registry: Registry | None, tell: Progress) -> Schemas | None:
    if registry is None:
        return None
    tell("schemas", 0, None)
    path = f"{place}/registry.zip"
    registry.export(folder / path)
    return Schemas(file=described(folder, path), ids=registry.ids())


def _objects(store: ObjectStore, folder: Path, place: str, named: Path, tell: Progress) -> Objects:
    path = f"{place}/objects.jsonl"
    before = objects.listed_before(folder)
    there: set[str] = set()
    size = 0
    with (folder / path).open("w", encoding="utf-8") as file:

        def note(one: Object) -> None:
            nonlocal size
            file.write(one.model_dump_json() + "\n")
            there.add(one.key)
            size += one.bytes
            tell("objects", len(there), None)

        try:
            for one in objects.copy_out(store, folder, before):
                note(one)
        except (Retry, Reject) as error:
            raise objects.told_of_store(error) from error
        with named.open(encoding="utf-8") as lines:
            missing = sorted({line.rstrip("\n") for line in lines} - there)
        for key in missing:
            if saved := objects.kept(folder, key, before):
                note(saved)
    named.unlink()
    missing_keys = f"{place}/missing.txt" if missing else None
    if missing_keys:
        text = "".join(f"{key}\n" for key in missing)
        (folder / missing_keys).write_text(text, encoding="utf-8")
    return Objects(
        location=store.uri_of("").rstrip("/"),
        count=len(there),
        bytes=size,
        listing=described(folder, path),
        missing=len(missing),
        missing_keys=missing_keys,
    )


def _forget_older(folder: Path, kept: str, listing: File) -> None:
    """Delete what earlier backups in this folder had beside what this one has."""
    for each in folder.iterdir():
        if each.is_dir() and each.name not in (kept, objects.FOLDER):
            shutil.rmtree(each)
    keys = {one.key for one in objects.listed_in(folder, listing)}
    below = folder / objects.FOLDER
    for file in below.rglob("*"):
        if file.is_file() and str(file.relative_to(below)) not in keys:
            file.unlink()
