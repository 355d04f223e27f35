"""Connections to the catalog's PostgreSQL.

Connections are in autocommit mode and hand out rows as dictionaries; what belongs together is
written inside `with connection.transaction()`, or `piped_transaction` where it is in a hurry.
"""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

Conn = psycopg.Connection[DictRow]
"""A connection as every function of the catalog takes it."""

Pool = ConnectionPool[Conn]

_KEEPALIVE: Final[dict[str, Any]] = {
    # A server that vanished without a word is noticed within 25 s instead of hours.
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


_POOL_SIZE: Final = 8


def connect(database: str, *, name: str) -> Conn:
    """A connection of its own, for work that holds session state (locks, LISTEN).

    `name` is what `pg_stat_activity` shows. Blocks at most 5 s per address; raises
    psycopg.OperationalError where the database is away.
    """
    return psycopg.connect(
        database, autocommit=True, row_factory=dict_row, application_name=name, **_KEEPALIVE
    )


def open_pool(database: str, *, name: str) -> Pool:
    """A pool of a few connections, opened in the background: the database may be away.

    `pool.connection(timeout=…)` raises psycopg_pool.PoolTimeout while it is. Close it at the end.
    """
    options: dict[str, Any] = {
        "autocommit": True,
        "row_factory": dict_row,
        "application_name": name,
        **_KEEPALIVE,
    }
    return ConnectionPool(
        database,
        connection_class=Conn,
        kwargs=options,
        min_size=1,
        max_size=_POOL_SIZE,
        name=name,
        check=_check,
        open=True,
    )


def _check(conn: Conn) -> None:
    """Raise what is wrong with a connection that was left alone. Asking the server costs whoever
    gets the connection a round trip; one that ended it has said so, and there is something to
    read. Of a host that vanished the system's keepalives will tell."""
    said = select.poll()
    said.register(conn.fileno())
    if any(event & ~select.POLLOUT for _, event in said.poll(0)):
        ConnectionPool.check_connection(conn)


@contextmanager
def piped_transaction(conn: Conn) -> Iterator[None]:
    """A transaction whose beginning and end, and all statements between whose answers nobody
    waits, go to the server with what follows. Answers may be fetched after it.

    Neither within another transaction nor around one: psycopg does not hear of this one's
    beginning, and would end it with the inner one. `conn.transaction()` in a pipeline waits at its
    beginning, before and after its end.
    """
    try:
        with conn.pipeline():
            conn.execute("BEGIN")
            yield
            # Where something before has failed unheard, the server passes this over.
            conn.execute("COMMIT")
    except BaseException:
        if conn.info.transaction_status in _OPEN:
            conn.rollback()
        raise


_OPEN: Final = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


def away(error: psycopg.Error) -> bool:
    """Whether the database, and not what was asked of it, is the trouble: wait and try again.

    By SQLSTATE class (PostgreSQL, appendix A): 08 connection, 40 rolled back, 53 resources
    (connections, disk), 55 not in the needed state, 57 shut down, 58 system. Errors without a
    state come from the client: the connection broke.
    """
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate[:2] in _AWAY


_AWAY: Final = frozenset({"08", "40", "53", "55", "57", "58"})


def wait_for_notice(conn: Conn, seconds: float) -> bool:
    """Wait until a channel that `conn` listens to has news, at most `seconds`; whether it had."""
    return any(True for _notice in conn.notifies(timeout=seconds, stop_after=1))
