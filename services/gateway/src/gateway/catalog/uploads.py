"""Imports whose files are uploaded one by one, by whoever has them; resumed as often as it takes.

The client names its files by their paths and may ask at any time which of them are recorded.
A path stands for the bytes with which it came first. All functions return None where the owner has
no such import, and raise ImportStateError where it takes no files: `not_an_upload`,
`import_paused`, `import_sealed`, `import_over`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from darkroom_schemas import ids
from gateway.catalog import imports, items
from gateway.catalog.import_commands import ImportStateError, refusal_of
from gateway.catalog.imports import Import, import_of
from gateway.catalog.items import Item, ItemState, Place
from gateway.catalog.outbox import Outbox
from gateway.db import Conn
from gateway.originals import Original


class PathTakenError(Exception):
    """Other bytes have come under this path, or it was told that the file can't be read."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A file as its owner describes it: SHA-256 in hex and bytes, or why it can't be read (a code
    and a sentence)."""

    path: str
    sha256: str
    byte_size: int
    problem: tuple[str, str] | None = None


class Standing(StrEnum):
    """What is known of an offered file."""

    RECORDED = "recorded"
    """It needs nothing more."""
    MISSING = "missing"
    """Its bytes are to be sent."""
    TAKEN = "path_taken"
    """Something else is recorded under its path."""


@dataclass(frozen=True, slots=True)
class Flow:
    """How many photos of the import wait for their end, and how many had it."""

    in_flight: int
    ended: int


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A recorded file and its place."""

    index: int
    item: Item


def flow(conn: Conn, owner: str, batch_id: UUID) -> Flow | None:
    """How the import's photos get on."""
    row = conn.execute(
        """
        SELECT kind, state, refused, totals, (
            SELECT count(*) FROM batch_items i WHERE i.batch_id = b.batch_id
              AND i.state = 'submitted' AND i.ended IS NULL) AS in_flight
        FROM batches b WHERE batch_id = %s AND owner = %s
        """,
        (batch_id, owner),
    ).fetchone()
    if row is None:
        return None
    _check(row)
    totals: Mapping[str, int] = row["totals"] or {}
    ended = totals.get("accepted", 0) + totals.get("rejected", 0) - row["refused"]
    return Flow(row["in_flight"], max(0, ended))


def offer(  # one argument per part of the question
    conn: Conn, outbox: Outbox, owner: str, batch_id: UUID, files: Sequence[Offered], room: int
) -> list[Standing] | None:
    """What is known of each file; those that need no bytes are recorded at once.

    These are files that can't be read, and photos of this owner that the catalog has, of which at
    most `room` begin an analysis.
    """
    batch = _open(conn, owner, batch_id)
    if batch is None:
        return None
    told = _recorded(conn, batch_id, [file.path for file in files])
    stored = _stored(conn, [ids.photo_id(owner, file.sha256) for file in files if file.sha256])
    standings = []
    for file in files:
        before = told.get(file.path)
        if before is None:
            recorded = _without_bytes(conn, outbox, batch, file, stored, room)
            if recorded is not None:
                told[file.path] = recorded
                room -= recorded.item.state is ItemState.SUBMITTED
            standings.append(Standing.MISSING if recorded is None else Standing.RECORDED)
        else:
            standings.append(_standing(owner, file, before))
    return standings


def upload(
    conn: Conn, outbox: Outbox, owner: str, batch_id: UUID, path: str, original: Original
) -> Uploaded | None:
    """Record a file whose bytes are stored; the same again is the same. Raises PathTakenError."""
    with conn.transaction():
        _take_turn(conn, batch_id)
        batch = _open(conn, owner, batch_id)
        if batch is None:
            return None
        before = _recorded(conn, batch_id, [path]).get(path)
        if before is not None:
            if before.item.photo_id != ids.photo_id(owner, original.sha256):
                raise PathTakenError(path)
            return before
        place = Place(items.next_index(conn, batch.batch_id), path)
        return Uploaded(place.index, items.record_photo(conn, outbox, batch, place, original))


def seal(conn: Conn, outbox: Outbox, owner: str, batch_id: UUID) -> bool | None:
    """Every file has come. Repeating is harmless."""
    with conn.transaction():
        _take_turn(conn, batch_id)
        row = conn.execute(
            "SELECT kind, state FROM batches WHERE batch_id = %s AND owner = %s", (batch_id, owner)
        ).fetchone()
        if row and row["kind"] == "upload" and row["state"] in _SEALED:
            return True
        batch = _open(conn, owner, batch_id)
        if batch is None:
            return None
        imports.seal(conn, outbox, batch)
    return True


_SEALED: Final = ("running", "completed", "completed_with_failures")


def _without_bytes(
    conn: Conn,
    outbox: Outbox,
    batch: Import,
    file: Offered,
    stored: Mapping[str, Original],
    room: int,
) -> Uploaded | None:
    """Record what can be recorded so; None if its bytes are needed."""
    original = stored.get(ids.photo_id(batch.owner, file.sha256)) if file.sha256 else None
    with conn.transaction():
        _take_turn(conn, UUID(batch.batch_id))
        # Who asked at the same time may have recorded it.
        before = _recorded(conn, UUID(batch.batch_id), [file.path]).get(file.path)
        if before is not None:
            return before
        place = Place(items.next_index(conn, batch.batch_id), file.path)
        if file.problem is not None:
            code, message = file.problem
            size = file.byte_size or None
            item = items.record_refusal(conn, batch, place, code, message, size)
        elif original is None:
            return None
        else:
            known = items.record_known(conn, batch, place, original.sha256, original.byte_size)
            if known is None and room <= 0:
                return None
            item = known or items.record_photo(conn, outbox, batch, place, original)
    return Uploaded(place.index, item)


def _take_turn(conn: Conn, batch_id: UUID) -> None:
    """Files of an import are recorded one after the other, so that indices have no gaps."""
    # Not the batch's row: the recorder, which writes it, must not wait for us.
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"upload:{batch_id}",))


def _open(conn: Conn, owner: str, batch_id: UUID) -> Import | None:
    row = conn.execute(
        "SELECT * FROM batches WHERE batch_id = %s AND owner = %s FOR KEY SHARE", (batch_id, owner)
    ).fetchone()
    if row is None:
        return None
    _check(row)
    return import_of(row)


def _check(row: Mapping[str, Any]) -> None:
    if row["kind"] != "upload":
        raise ImportStateError("not_an_upload", "This import finds its files by itself.")
    if row["state"] != "scanning":
        raise refusal_of(row["state"])


def _recorded(conn: Conn, batch_id: UUID, paths: Sequence[str]) -> dict[str, Uploaded]:
    rows = conn.execute(
        """
        SELECT path, index, state, photo_id, analysis_id FROM batch_items
        WHERE batch_id = %(batch)s AND path = ANY(%(paths)s)
          AND md5(path) = ANY(ARRAY(SELECT md5(p) FROM unnest(%(paths)s::text[]) AS p))
        """,
        {"batch": batch_id, "paths": list(paths)},
    )
    return {row["path"]: Uploaded(row["index"], _item(row)) for row in rows}


def _item(row: Mapping[str, Any]) -> Item:
    photo, analysis = row["photo_id"], row["analysis_id"]
    return Item(ItemState(row["state"]), photo and str(photo), analysis and str(analysis))


def _standing(owner: str, file: Offered, before: Uploaded) -> Standing:
    photo_id = ids.photo_id(owner, file.sha256) if file.sha256 else None
    refused = before.item.photo_id is None and file.problem is not None
    same = refused or (photo_id is not None and before.item.photo_id == photo_id)
    return Standing.RECORDED if same else Standing.TAKEN


def _stored(conn: Conn, photos: Sequence[str]) -> dict[str, Original]:
    """Those of the photos whose bytes are stored."""
    rows = conn.execute(
        "SELECT photo_id, sha256, source_uri, byte_size FROM photos"
        " WHERE photo_id = ANY(%s::uuid[]) AND source_uri IS NOT NULL AND byte_size IS NOT NULL",
        (list(photos),),
    )
    return {
        str(row["photo_id"]): Original(row["sha256"], row["source_uri"], row["byte_size"])
        for row in rows
    }
