"""When people are told that the object store is away: once in a while, and as soon as can be."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import MagicMock

import psycopg
import pytest

from gateway.db import Conn
from gateway.store_away import StoreAway


class Catalog:
    """Hands out connections unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.now = 100.0

    @contextmanager
    def connect(self) -> Iterator[Conn]:
        if self.away:
            raise psycopg.OperationalError("it is away")
        yield cast(Conn, MagicMock())


def test_it_is_told_once_a_minute_and_until_it_could_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Any] = []
    monkeypatch.setattr("gateway.store_away.tell_away", lambda _conn, *what: told.append(what))
    catalog = Catalog()
    away = StoreAway(catalog.connect, lambda: catalog.now)
    catalog.away = True
    away("no route")
    assert told == []
    catalog.away = False
    away("no route")
    away("no route")
    assert told == [("object store", "no route")]
    catalog.now += 60
    away("still none")
    assert told[1:] == [("object store", "still none")]
