"""Questions to the catalog: asked again after a deadlock, and never waited for long."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
import pytest

from gateway.api import catalog
from gateway.api.catalog import Catalog
from gateway.db import Conn, Pool


class Connections:
    """A pool that has a connection for everybody."""

    @contextmanager
    def connection(self, timeout: float) -> Iterator[Conn]:
        assert timeout > 0
        yield cast(Conn, None)


@pytest.fixture
def asked() -> Catalog:
    return Catalog(cast(Pool, Connections()), "ada")


async def test_a_deadlock_is_tried_again_and_told_if_it_does_not_end(asked: Catalog) -> None:
    ends = iter([psycopg.errors.DeadlockDetected(), psycopg.errors.DeadlockDetected(), None])

    def question(_conn: Conn, owner: str, *_: Any) -> str:
        if (error := next(ends, psycopg.errors.DeadlockDetected())) is not None:
            raise error
        return owner

    assert await asked.ask(question) == "ada"
    with pytest.raises(psycopg.errors.DeadlockDetected):
        await asked.ask(question)


async def test_a_database_that_stands_still_counts_as_away(
    asked: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "_ANSWER_S", 0.05)
    goes_on = threading.Event()

    def question(_conn: Conn, _owner: str) -> bool:
        return goes_on.wait(30)

    with pytest.raises(psycopg.OperationalError, match="no answer within"):
        await asked.ask(question)
    goes_on.set()
