"""Imports on a real catalog, without processes: begun, worked on step by step, looked at."""

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.rows import DictRow, dict_row

from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog import ends, imports, results
from gateway.catalog.outbox import Outbox
from gateway.control.imports import work_of
from gateway.control.work import Means, Pace, Step, Work
from gateway.originals import Stores
from gateway.origins import OriginMeans, open_origin
from streamkit import Codec, ObjectStore

Example = Callable[..., dict[str, Any]]
Row = dict[str, Any]

MANY = 1000
PACE = Pace(in_flight=MANY, limit=1000, least=MANY)
"""Under which no import waits for its photos."""


def make_means(
    outbox: Outbox,
    disk: ObjectStore,
    pace: Pace = PACE,
    clock: Callable[[], float] = time.monotonic,
    store: Stores | None = None,
) -> Means:
    """What works share; `store` takes the bytes instead of `disk`."""
    opens = partial(open_origin, means=OriginMeans(disk))
    return Means(outbox, store or disk, pace, opens, clock)


def fill(folder: Path, **files: str) -> None:
    """Write files; two underscores in a name are a slash."""
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def create(conn: db.Conn, outbox: Outbox, *roots: Path) -> str:
    """Begin an import of folders."""
    return imports.begin_import(
        conn,
        outbox,
        owner=ids.LOCAL_OWNER,
        lane="batch",
        kind="folder",
        roots=[str(root) for root in roots],
        location={},
    )


def taken_up(conn: db.Conn, batch_id: str, means: Means) -> Work:
    """The work on an import, from where it stands."""
    (batch,) = [one for one in imports.open_imports(conn) if one.batch_id == batch_id]
    return work_of(conn, batch, means)


def to_the_end(work: Work) -> None:
    """Step until the work is over; it must never wait."""
    while (step := work.step(MANY)) is not Step.SEALED:
        assert step is Step.WORKED


def run(conn: db.Conn, means: Means, *roots: Path) -> str:
    """Import folders to the last file."""
    batch_id = create(conn, means.outbox, *roots)
    to_the_end(taken_up(conn, batch_id, means))
    return batch_id


def items(conn: db.Conn, batch_id: str) -> list[Row]:
    """What is recorded of an import's files."""
    return conn.execute(
        "SELECT * FROM batch_items WHERE batch_id = %s ORDER BY index", (batch_id,)
    ).fetchall()


def states(conn: db.Conn, batch_id: str, folder: Path) -> dict[str, str]:
    """State by path in the folder."""
    return {
        item["path"].removeprefix(f"{folder}/"): item["state"] for item in items(conn, batch_id)
    }


def batch_row(conn: db.Conn, batch_id: str) -> Row:
    """The import."""
    row = conn.execute("SELECT * FROM batches WHERE batch_id = %s", (batch_id,)).fetchone()
    assert row is not None
    return row


def events(conn: db.Conn, codec: Codec, topic: str) -> list[Row]:
    """The events of a topic that wait in the outbox."""
    rows = conn.execute("SELECT value FROM outbox WHERE topic = %s ORDER BY id", (topic,))
    return [codec.decode(topic, row["value"]) for row in rows]


def end(conn: db.Conn, example: Example, item: Row) -> None:
    """Record an outcome of a photo and, of a file of an import, its end."""
    about = {"photo_id": str(item["photo_id"]), "analysis_id": str(item["analysis_id"])}
    outcome = example(names.PHOTO_SUGGESTED, **about)
    results.record_outcome(conn, (outcome, str(uuid4())))  # type: ignore[arg-type]
    if "index" in item:
        where = {"batch_id": str(item["batch_id"]), "index": item["index"]}
        told = example(names.BATCH_PHOTO_ENDED, end="suggested", partial=False, **about, **where)
        ends.record_end(conn, told)  # type: ignore[arg-type]


def until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Wait for a condition; fails after `seconds`."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        pause.wait(0.02)


class Killed(BaseException):
    """The process is gone: nothing after this line happens."""


class Fuse:
    """Makes trouble at the n-th thing that is done."""

    def __init__(self, steps: int, trouble: type[BaseException] = Killed) -> None:
        self.left = steps
        self._trouble = trouble

    def burn(self) -> None:
        """One more thing is done."""
        self.left -= 1
        if self.left == 0:
            raise self._trouble


class FragileConnection(psycopg.Connection[DictRow]):
    """A connection on which the n-th statement is never sent."""

    fuse: Fuse

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        self.fuse.burn()
        return super().cursor(*args, **kwargs)


def fragile(database: str, fuse: Fuse) -> FragileConnection:
    """Such a connection."""
    conn = FragileConnection.connect(database, autocommit=True, row_factory=dict_row)
    conn.fuse = fuse
    return conn
