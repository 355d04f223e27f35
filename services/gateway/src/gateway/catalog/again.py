"""A photo that is analysed again, as an item of a batch of the kind `reprocess`.

The new analysis is one of its own: what it comes to is shown instead of what was known before, as
soon as it is there, and until then nothing changes.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.catalog.imports import Import, NotScanningError
from gateway.catalog.items import Item, ItemState, Place, joined_event, record_refusal
from gateway.catalog.outbox import Outbox
from gateway.catalog.submissions import Status, Submission, Submitted, begin_analysis
from gateway.db import Conn

_GONE: Final = ("photo_gone", "The photo is not there any more.")
_UNKNOWN: Final = ("original_unknown", "The photo was refused before its bytes were stored.")


def record_again(conn: Conn, outbox: Outbox, batch: Import, place: Place, photo_id: str) -> Item:
    """Begin a new analysis of a photo, in one transaction with the item.

    A photo of which there are no bytes is refused. Raises NotScanningError, psycopg.Error with
    nothing written.
    """
    with conn.transaction():
        photo = _hold(conn, batch, photo_id)
        if photo is None:
            return record_refusal(conn, batch, place, *_GONE)
        if photo["source_uri"] is None:
            return record_refusal(conn, batch, place, *_UNKNOWN)
        submission = Submission(
            owner=batch.owner,
            sha256=photo["sha256"],
            source_uri=photo["source_uri"],
            byte_size=photo["byte_size"],
            file_name=photo["file_name"],
            lane=batch.lane,
            submission_id=f"again:{batch.batch_id}:{place.index}",
        )
        asked = begin_analysis(conn, submission, photo["policy_revision"])
        submitted = Submitted(Status.NEW, photo_id, submission.analysis_id)
        conn.execute(
            "INSERT INTO batch_items"
            " (batch_id, index, path, state, photo_id, analysis_id, byte_size)"
            " VALUES (%s, %s, %s, 'submitted', %s, %s, %s)",
            (
                *(batch.batch_id, place.index, place.path),
                *(photo_id, submission.analysis_id, photo["byte_size"]),
            ),
        )
        outbox.add(conn, [joined_event(batch, place, submitted), asked])
    return Item(ItemState.SUBMITTED, photo_id, submission.analysis_id)


def _hold(conn: Conn, batch: Import, photo_id: str) -> Mapping[str, Any] | None:
    """The photo, held as `submissions` do: whoever submits it sees the new analysis."""
    # KEY SHARE keeps commands out until the end of the transaction; see `items`.
    state = conn.execute(
        "SELECT state FROM batches WHERE batch_id = %s FOR KEY SHARE", (batch.batch_id,)
    ).fetchone()
    if state is None or state["state"] != "scanning":
        raise NotScanningError
    return conn.execute(
        "SELECT sha256, source_uri, byte_size, file_name,"
        " (SELECT max(revision) FROM policies) AS policy_revision"
        " FROM photos WHERE photo_id = %s AND owner = %s FOR NO KEY UPDATE",
        (photo_id, batch.owner),
    ).fetchone()
