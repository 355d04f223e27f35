"""What the tests across services share: the real infrastructure, and a part of it for each test."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import fastavro
import httpx
import psycopg
import pytest
import redis

from api_door import api_door, door_settings
from catalog_seed import Seed
from darkroom_cli.stack import Stack
from darkroom_schemas import avro, catalogue
from gateway import db, migrations
from gateway.catalog.outbox import Outbox
from gateway.control.work import Means
from gateway.recorder.news import News
from gateway.settings import Settings
from import_kit import make_means
from infrastructure import Infrastructure
from sharing_out import ByGroup, longest_first
from streamkit import Codec, ObjectStore

_SHARED: Final = "darkroom_infrastructure"
_KEPT: Final = pytest.StashKey[Infrastructure]()


def pytest_configure(config: pytest.Config) -> None:
    """Names the marks that suites of several processes know."""
    config.addinivalue_line("markers", "long: of a file whose tests take minutes: begins first")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """See longest_first."""
    longest_first(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    """See ByGroup."""
    return ByGroup(config, log)


def pytest_configure_node(node: Any) -> None:
    """Where processes share the tests, all use the infrastructure that the first of them needs."""
    node.workerinput[_SHARED] = asdict(_shared(node.config))


def _shared(config: pytest.Config) -> Infrastructure:
    known = config.stash.get(_KEPT, None)
    if known is None:
        folder = TemporaryDirectory(prefix="darkroom-tests-")
        stack = Stack(Path(folder.name), services=())
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(stack.stop)
        stack.start()
        known = config.stash[_KEPT] = _places(stack)
    return known


def _places(stack: Stack) -> Infrastructure:
    # Each test makes and drops a database, for which a disk is waited for again and again. These
    # need not outlive a power cut.
    with psycopg.connect(stack.address("database"), autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET fsync = off")
        conn.execute("SELECT pg_reload_conf()")
    return Infrastructure(**{f.name: stack.address(f.name) for f in fields(Infrastructure)})


@pytest.fixture(scope="session")
def infrastructure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Infrastructure]:
    """Kafka, registry, PostgreSQL and Redis, started for this run of tests."""
    shared = getattr(request.config, "workerinput", {}).get(_SHARED)
    if shared is not None:
        yield Infrastructure(**shared)
        return
    with Stack(tmp_path_factory.mktemp("infrastructure"), services=()) as stack:
        yield _places(stack)


def in_database(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def catalog_template(infrastructure: Infrastructure) -> Iterator[str]:
    """Name of a database with an empty catalog, to be copied."""
    name = f"template_{uuid4().hex}"
    with psycopg.connect(infrastructure.database, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
        migrations.upgrade(in_database(infrastructure.database, name))
        yield name
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def database(infrastructure: Infrastructure, catalog_template: str) -> Iterator[str]:
    """URL of a database with an empty catalog, for one test."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(infrastructure.database, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}" TEMPLATE "{catalog_template}" STRATEGY FILE_COPY')
        yield in_database(infrastructure.database, name)
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def empty_database(infrastructure: Infrastructure) -> Iterator[str]:
    """URL of a database without a catalog, for one test."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(infrastructure.database, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
        yield in_database(infrastructure.database, name)
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def conn(database: str) -> Iterator[db.Conn]:
    """A connection to the test's own catalog."""
    with db.connect(database, name="test") as conn:
        yield conn


@pytest.fixture
def outbox(codec: Codec) -> Outbox:
    """Writes events into the test's own catalog."""
    return Outbox(codec)


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """The folder of the test's own object store."""
    folder = tmp_path / "objects"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """An object store of the test's own."""
    return ObjectStore(f"file://{tmp_path}/objects")


@pytest.fixture
def seed(conn: db.Conn, objects: Path) -> Seed:
    """Fills the test's own catalog."""
    return Seed(conn, objects)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to be imported, empty yet."""
    made = tmp_path / "photos"
    made.mkdir()
    return made


@pytest.fixture
def means(outbox: Outbox, store: ObjectStore) -> Means:
    """What the works on imports share."""
    return make_means(outbox, store)


@pytest.fixture
def settings(infrastructure: Infrastructure, database: str, tmp_path: Path) -> Settings:
    """Settings of an api door on the test's own catalog."""
    return door_settings(infrastructure, database, tmp_path)


@pytest.fixture
def door(settings: Settings) -> Iterator[str]:
    """URL of an api door that runs on these settings."""
    with api_door(settings) as url:
        yield url


@pytest.fixture
def client(door: str) -> Iterator[httpx.Client]:
    """Asks that door."""
    with httpx.Client(base_url=door, timeout=20) as client:
        yield client


@pytest.fixture
def news(settings: Settings) -> Iterator[News]:
    """Tells that door what was recorded."""
    with redis.Redis.from_url(settings.redis) as connection:
        yield News(connection, settings.topic_prefix)


class FixedIds:
    """Schema ids without a registry: a schema's place among the names of all."""

    def id_of(self, _subject: str, schema: Mapping[str, Any]) -> int:
        return next(i for i, name in enumerate(avro.names()) if avro.schema(name) == schema)

    def schema(self, number: int) -> Mapping[str, Any]:
        return avro.schema(avro.names()[number])


@pytest.fixture(scope="session")
def codec() -> Codec:
    """A codec for tests in which no record leaves the process."""
    return Codec(FixedIds(), avro.schema_of)


@pytest.fixture(scope="session")
def example() -> Callable[..., dict[str, Any]]:
    """The example of a topic's event, with the fields changed that a test cares for."""

    def make(topic: str, **changes: Any) -> dict[str, Any]:
        name = catalogue.load()[topic].schema
        if name is None:
            raise LookupError(topic)
        text = (catalogue.data_folder() / "examples" / f"{name}.json").read_text(encoding="utf-8")
        line = io.StringIO(json.dumps(json.loads(text)))
        (value,) = fastavro.json_reader(line, fastavro.parse_schema(avro.schema(name)))
        if not isinstance(value, dict):
            raise TypeError(topic)
        return {**value, **changes}

    return make
