"""Connections and transactions on a real PostgreSQL."""

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from gateway import db
from gateway.db import piped_transaction


@pytest.fixture
def table(conn: db.Conn) -> db.Conn:
    conn.execute("CREATE TABLE notes (n int PRIMARY KEY)")
    return conn


def noted(database: str) -> list[int]:
    """What others see."""
    with db.connect(database, name="other") as other:
        return [row["n"] for row in other.execute("SELECT n FROM notes ORDER BY n")]


def test_a_connection_that_the_server_has_ended_is_not_handed_out(
    conn: db.Conn, database: str
) -> None:
    pool = db.open_pool(database, name="test-pool")
    try:
        with pool.connection(timeout=10) as one:
            first = one.info.backend_pid
        conn.execute("SELECT pg_terminate_backend(%s, 5000)", (first,))
        with pool.connection(timeout=10) as one:
            assert one.execute("SELECT 1 AS n").fetchone() == {"n": 1}
            assert one.info.backend_pid != first
    finally:
        pool.close()


def test_what_is_asked_in_a_piped_transaction_is_answered_then_or_afterwards(
    table: db.Conn, database: str
) -> None:
    with piped_transaction(table):
        table.execute("INSERT INTO notes VALUES (1)")
        assert table.execute("SELECT n FROM notes").fetchall() == [{"n": 1}]
        assert noted(database) == []
        table.execute("INSERT INTO notes VALUES (2)")
        later = table.execute("SELECT count(*) AS n FROM notes")
    assert later.fetchone() == {"n": 2}
    assert noted(database) == [1, 2]


@pytest.mark.parametrize("heard", [False, True])
def test_of_a_piped_transaction_that_fails_nothing_is_left(
    heard: bool, table: db.Conn, database: str
) -> None:
    def fail() -> None:
        with piped_transaction(table):
            table.execute("INSERT INTO notes VALUES (1)")
            table.execute("SELECT 1").fetchone()
            failing = table.execute("INSERT INTO notes VALUES (1) RETURNING n")
            if heard:
                failing.fetchone()
            table.execute("INSERT INTO notes VALUES (2)")

    with pytest.raises(psycopg.errors.UniqueViolation):
        fail()
    assert table.info.transaction_status == TransactionStatus.IDLE
    assert noted(database) == []
    with pytest.raises(ZeroDivisionError), piped_transaction(table):
        table.execute("INSERT INTO notes VALUES (3)").rowcount / 0
    assert table.info.transaction_status == TransactionStatus.IDLE
    with piped_transaction(table):
        table.execute("INSERT INTO notes VALUES (4)")
    assert noted(database) == [4]
