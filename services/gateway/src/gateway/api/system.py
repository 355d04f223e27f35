"""What the door knows of the parts around it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import httpx
import psycopg
import psycopg_pool
import redis.asyncio
from pydantic import BaseModel, Field
from redis.exceptions import RedisError

from gateway.api.catalog import Catalog
from gateway.api.kafka_version import kafka_version
from gateway.catalog.read import counts
from gateway.catalog.shapes import Counts
from gateway.db import Conn
from gateway.settings import Settings

T = TypeVar("T")

_ASK_S: Final = 3.0
_COMPONENTS_FRESH_S: Final = 10.0
_COUNTS_FRESH_S: Final = 0.5  # below the second in which the page asks at most once
_AWAY: Final = (
    OSError,
    TimeoutError,
    RedisError,
    httpx.HTTPError,
    psycopg.Error,
    psycopg_pool.PoolTimeout,
)


class Components(BaseModel):
    """Versions of the parts that were reached, null where one does not answer."""

    kafka: str | None = Field(examples=["4.4"])
    registry: str | None = Field(examples=["3.3.3"])
    postgres: str | None = Field(examples=["18.4"])
    redis: str | None = Field(examples=["7.0.15"])


class SystemState(BaseModel):
    """The installation at a glance; `counts` is null while the catalog is away."""

    version: str
    components: Components
    counts: Counts | None


class Cached(Generic[T]):
    """An answer kept for a while; who asks meanwhile waits for the same question."""

    def __init__(self, ask: Callable[[], Awaitable[T]], fresh_s: float) -> None:
        self._ask = ask
        self._fresh_s = fresh_s
        self._lock = asyncio.Lock()
        self._kept: tuple[float, T] | None = None

    async def get(self) -> T:
        """The answer, at most so old; raises what the question raises."""
        async with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > self._fresh_s:
                answer = await self._ask()
                self._kept = (time.monotonic(), answer)
            return self._kept[1]


class System:
    """Looks at the parts when asked, not more often than is useful."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog
        self._components = Cached(self._look, _COMPONENTS_FRESH_S)
        self._counts: dict[str, Cached[Counts]] = {}

    async def state(self, catalog: Catalog) -> SystemState:
        """All that is known, with the counts of a catalog's owner; a part that is away is a null,
        not an error."""
        counting = self._counts.setdefault(
            catalog.owner, Cached(lambda: catalog.ask(counts), _COUNTS_FRESH_S)
        )
        components, counted = await asyncio.gather(self._components.get(), reached(counting.get()))
        return SystemState(
            version=version("darkroom-gateway"), components=components, counts=counted
        )

    async def lacking(self) -> list[str]:
        """What this door cannot work without and does not have, as words for a person.

        Kafka, registry and Redis are not among them: the outbox, remembered schema ids and looks
        into the catalog bridge their absence.
        """
        tables = await reached(self._catalog.ask(_has_tables))
        if tables is None:
            return ["PostgreSQL does not answer"]
        return [] if tables else ["the catalog has no tables; run `python -m gateway migrate`"]

    async def _look(self) -> Components:
        kafka, registry, postgres, redis_version = await asyncio.gather(
            reached(kafka_version(self._settings.kafka, self._settings.kafka_tls())),
            reached(_registry_version(self._settings.registry)),
            reached(self._catalog.ask(_postgres_version)),
            reached(_redis_version(self._settings.redis)),
        )
        return Components(kafka=kafka, registry=registry, postgres=postgres, redis=redis_version)


async def reached(asking: Awaitable[T]) -> T | None:
    """The answer of a part, None if it has none within three seconds."""
    try:
        async with asyncio.timeout(_ASK_S):
            return await asking
    except _AWAY:
        return None


def _has_tables(conn: Conn, _owner: str) -> bool:
    row = conn.execute("SELECT to_regclass('outbox') IS NOT NULL AS there").fetchone()
    return bool(row and row["there"])


def _postgres_version(conn: Conn, _owner: str) -> str:
    return conn.info.parameter_status("server_version") or "unknown"


async def _redis_version(url: str) -> str:
    client: Any = redis.asyncio.from_url(url, socket_connect_timeout=_ASK_S)
    async with client:
        told = await client.info("server")
    return str(told["redis_version"])


async def _registry_version(url: str) -> str:
    """Apicurio tells its version beside the Confluent API; of others it is not known."""
    parts = urlsplit(url)
    async with httpx.AsyncClient(timeout=_ASK_S) as client:
        told = await client.get(f"{parts.scheme}://{parts.netloc}/apis/registry/v3/system/info")
        if told.is_success:
            return str(told.json().get("version", "unknown"))
        (await client.get(f"{url.rstrip('/')}/subjects")).raise_for_status()
    return "unknown"
