"""The recorder's connection to the catalog, with its troubles as instructions to the worker."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

import psycopg
from psycopg.errors import DeadlockDetected

from gateway.db import Conn, away
from streamkit import Busy, Reject
from streamkit.backoff import delay_s

T = TypeVar("T")

_TRIES: Final = 3
"""Of a transaction that PostgreSQL ended because it and another one waited for each other."""


class Session:
    """One connection, made when it is needed and made again after it broke. One thread."""

    def __init__(
        self, connect: Callable[[], Conn], *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._connect = connect
        self._sleep = sleep
        self._conn: Conn | None = None

    def transact(self, work: Callable[[Conn], T]) -> T:
        """Run `work` in a transaction and commit it; again, where it got into another's way.

        Raises Busy where the database is away: for as long as it takes, nothing is lost. Raises
        Reject for values that the catalog can never hold. Any other psycopg.Error is a defect.
        """
        tries = 1
        while True:
            try:
                return self._tried(work)
            except DeadlockDetected as error:
                if tries == _TRIES:
                    raise Busy(f"no turn in the catalog: {error}", dependency="catalog") from error
                # At once it would take its locks again before the other one, which PostgreSQL is
                # just waking, has got them: the same knot, as often as it is tried.
                self._sleep(delay_s(tries))
                tries += 1

    def _tried(self, work: Callable[[Conn], T]) -> T:
        try:
            if self._conn is None:
                self._conn = self._connect()
            with self._conn.transaction():
                return work(self._conn)
        except DeadlockDetected:
            raise
        except psycopg.Error as error:
            if away(error):
                self.close()
                raise Busy(f"the catalog is away: {error}", dependency="catalog") from error
            if _unstorable(error):
                raise Reject("unstorable", f"The catalog can't hold it: {_said(error)}") from error
            raise

    def close(self) -> None:
        """Give the connection up; the next transaction makes a new one."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None


def _unstorable(error: psycopg.Error) -> bool:
    """Whether the values are at fault: their form, a constraint, or a limit of PostgreSQL (54)."""
    limit = (error.sqlstate or "").startswith("54")
    return limit or isinstance(error, psycopg.DataError | psycopg.IntegrityError)


def _said(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error)
