"""What the api door writes into the catalog; each call is one transaction and blocks."""

from gateway.api.problems import unavailable
from gateway.catalog.imports import create_import
from gateway.catalog.outbox import Outbox
from gateway.catalog.submissions import Submission, Submitted, submit_photo
from gateway.db import Conn


class Writes:
    """Hands photos and imports in while the outbox has room.

    Events wait in the outbox while Kafka is away. Above `limit` of them new work is refused:
    ProblemError (503) with the time to come back.
    """

    def __init__(self, outbox: Outbox, limit: int) -> None:
        self._outbox = outbox
        self._limit = limit

    def photo(self, conn: Conn, _owner: str, submission: Submission) -> Submitted:
        """Hand in a photo whose bytes are stored."""
        self._check(conn)
        return submit_photo(conn, self._outbox, submission)

    def folders(self, conn: Conn, owner: str, lane: str, roots: list[str]) -> str:
        """Ask for an import of allowed, resolved paths; returns its id."""
        self._check(conn)
        return create_import(conn, self._outbox, owner=owner, lane=lane, roots=roots)

    def _check(self, conn: Conn) -> None:
        row = conn.execute(
            "SELECT count(*) AS rows FROM (SELECT FROM outbox LIMIT %s) waiting", (self._limit,)
        ).fetchone()
        if row and row["rows"] >= self._limit:
            detail = f"{self._limit} events wait for Kafka already. Try again later."
            raise unavailable("outbox_full", detail, retry_after_s=30)
