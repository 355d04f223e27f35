"""Archives that no import was begun with: an upload was broken off behind its last byte."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.db import Conn
from gateway.origins.archive_store import FOLDER_KEY, kept_since
from streamkit import ObjectStore, Reject

_SETTLED: Final = timedelta(days=1)
"""An upload that is stored becomes an import at once."""


def _now() -> datetime:
    return datetime.now(UTC)


def forget_strays(conn: Conn, objects: ObjectStore, now: Callable[[], datetime] = _now) -> int:
    """Delete archives that are a day old and belong to no import; returns how many.

    Repeating is harmless. Raises Retry, psycopg.Error.
    """
    folder = objects.uri_of(FOLDER_KEY)
    try:
        names = [listed.path for listed in objects.list(folder)]
    except Reject as error:
        if error.code == "object_missing":  # no archive was ever uploaded
            return 0
        raise
    before = now() - _SETTLED
    old = [name for name in names if (since := kept_since(name)) and since < before]
    strays = {objects.within(folder, name) for name in old} - _used(conn)
    for uri in strays:
        objects.delete(uri)
    return len(strays)


def _used(conn: Conn) -> set[str]:
    rows = conn.execute(
        "SELECT location ->> 'uri' AS uri FROM batches"
        " WHERE kind = 'archive' AND NOT location ? 'forgotten'"
    )
    return {row["uri"] for row in rows}
