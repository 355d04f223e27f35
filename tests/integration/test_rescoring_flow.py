"""A photo that was seen before, from its embedding to what is shown: the aggregator's and the
recorder's own processes on a real broker, registry and catalog."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest

from catalog_seed import MODEL, OWNER, Seed, picture
from darkroom_cli.contracts import Subjects, Topics
from darkroom_cli.infra.ports import any_port
from darkroom_schemas import avro, catalogue, ids, names
from darkroom_schemas.heads import ENGINE, FILE, head_name
from gateway import db
from gateway.catalog import model_reports, models, read
from gateway.catalog.model_shapes import ModelFile
from gateway.catalog.models import By, Wanted
from gateway.catalog.outbox import Outbox
from gateway.control.relay import Relay
from gateway.control.rescore import Rescorer
from heads import Head, Rejection
from infrastructure import Infrastructure
from streamkit import Codec, Emit, ObjectStore, Publisher, RawRecord, SchemaIds
from topic_reader import TopicReader

pytestmark = pytest.mark.long

READY_S = 60.0
OUTCOMES = (names.PHOTO_AUTO_LABELED, names.PHOTO_SUGGESTED, names.PHOTO_REVIEW_REQUESTED)


def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait for a condition; fails after `seconds`."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        pause.wait(0.1)


@contextmanager
def running(module: str, *arguments: str, log: Path, **settings: str) -> Iterator[None]:
    """A service's process, ready; killed at the end."""
    port = any_port()
    env = {**os.environ, **settings, "DARKROOM_HEALTH_PORT": str(port)}

    def ready() -> bool:
        assert process.poll() is None, log.read_text(encoding="utf-8")[-3000:]
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, "-m", module, *arguments], env=env, stdout=out)
    try:
        until(ready, f"{module} is ready", READY_S)
        yield
    finally:
        process.kill()
        process.wait()


class Stream:
    """Topics of its own, and two services on them."""

    def __init__(self, places: Infrastructure, database: str, folder: Path) -> None:
        self.prefix = f"test-{uuid4().hex}."
        self._settings = {
            "DARKROOM_KAFKA": places.kafka,
            "DARKROOM_REGISTRY": places.registry,
            "DARKROOM_REDIS": places.redis,
            "DARKROOM_DATABASE": database,
            "DARKROOM_CACHE": str(folder / "cache"),
            "DARKROOM_OBJECTS": f"file://{folder}/objects",
            "DARKROOM_TOPIC_PREFIX": self.prefix,
            "DARKROOM_AGGREGATOR_INSTANCE": "only",
        }
        found = Topics(places.kafka, catalogue.load(), self.prefix).apply()
        found += Subjects(places.registry, catalogue.load(), self.prefix).apply()
        assert all(one.good for one in found)
        cache = folder / "cache"
        self.codec = Codec(SchemaIds(places.registry, cache), avro.schema_of, self.prefix)
        self.publisher = Publisher(
            places.kafka, source="test", codec=self.codec, prefix=self.prefix
        )
        self.topics = TopicReader(places.kafka, places.registry, cache, self.prefix)
        self._folder = folder

    @contextmanager
    def running(self) -> Iterator[None]:
        """Aggregator and recorder."""
        with ExitStack() as stack:
            for module, *door in (("aggregator",), ("gateway", "recorder")):
                log = self._folder / f"{module}.log"
                stack.enter_context(running(module, *door, log=log, **self._settings))
            yield

    def outcomes(self) -> dict[str, Mapping[str, Any]]:
        """By id; the same id always has the same value."""
        found: dict[str, Mapping[str, Any]] = {}
        for topic in OUTCOMES:
            for name, value in self.topics.events(topic):
                assert found.setdefault(name, value) == value
        return found


@pytest.fixture
def stream(infrastructure: Infrastructure, database: str, tmp_path: Path) -> Stream:
    return Stream(infrastructure, database, tmp_path)


def head(*labels: str) -> Head:
    return Head(
        labels=labels,
        model_version=MODEL,
        weights=9 * np.eye(len(labels), 3, dtype=np.float32),
        bias=np.zeros(len(labels), np.float32),
        means=np.eye(len(labels), 3, dtype=np.float32),
        temperature=1.0,
        rejection=Rejection(20, 0, -10),
    )


def hold(conn: db.Conn, outbox: Outbox, store: ObjectStore, which: Head) -> None:
    """Have a head hold, everywhere."""
    digest = sha256(which.data).hexdigest()
    models.keep_file(conn, digest, len(which.data), store.put(f"heads/{digest}", which.data))
    name = head_name(OWNER, "labels")
    file = ModelFile(path=FILE, sha256=digest, byte_size=len(which.data))
    wanted = Wanted(name, ENGINE, "trainer", files=[file], embedding_version=MODEL)
    made, _ = models.register(conn, wanted)
    generation = models.activate(conn, outbox, name, made.version, By("ada")).generation
    report: Any = {
        **{"replica": "embedder-bulk@a:1", "name": "embedder", "state": "ready", "generation": 0},
        **{"wanted": 0, "version": MODEL, "engine": "stub", "shadow": None, "message": None},
        **{"engines": [], "options": {}, "heads": {name: generation}, "heads_failed": {}},
        "reported_at": datetime.now(UTC),
    }
    model_reports.record_reports(conn, report)


def parts(conn: db.Conn, seed: Seed) -> list[Emit]:
    """What the stages say of a photo that intake has answered for."""
    seeded = seed.requested("a.jpg", picture())
    about: dict[str, Any] = {
        **{"owner": OWNER, "photo_id": seeded.photo_id, "analysis_id": seeded.analysis_id},
        **{"revision": 1, "policy_revision": 1, "lane": "batch", "ms": 4.0, "engine": "stub"},
        **{"model_version": MODEL, "finished_at": datetime.now(UTC)},
    }
    labels = [{"name": "tabby", "confidence": 0.9}]
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "detector": (
            names.PHOTO_OBJECTS_DETECTED,
            {"category": "cat", "labels": labels, "objects": [], "caption": None}
            | {"calibrated": True},
        ),
        "ocr": (names.PHOTO_TEXT_READ, {"text": "", "lines": []}),
        "embedder": (names.PHOTO_EMBEDDED, {"vector": [1.0, 0.0, 0.0], "labels": []}),
    }
    return [
        Emit(
            topic,
            seeded.photo_id,
            {**about, "stage": stage, **body},
            ids.event_id(seeded.analysis_id, stage, 1),
        )
        for stage, (topic, body) in bodies.items()
    ]


def test_a_photo_is_shown_with_the_label_of_a_head_that_came_later_and_once_only(
    stream: Stream, conn: db.Conn, seed: Seed, store: ObjectStore
) -> None:
    outbox = Outbox(stream.codec)
    rescorer = Rescorer(outbox, store, 1000.0)
    sent: list[RawRecord] = []

    def publish(records: Any) -> None:
        sent.extend(one for one in records if one.topic == names.PHOTO_RESCORED)
        stream.publisher.publish_raw(records)

    relay = Relay(publish)
    events = parts(conn, seed)
    photo_id, analysis_id = events[0].key, events[0].value["analysis_id"]

    def shown() -> tuple[Any, ...]:
        photo = read.photo(conn, OWNER, UUID(photo_id))
        assert photo is not None
        return photo.revision, photo.label, photo.outcome

    with stream.running():
        stream.publisher.publish(events)
        until(lambda: shown() == (1, "tabby", "auto_labeled"), "the first outcome")
        hold(conn, outbox, store, head("receipt", "menu"))
        assert rescorer.turn(conn).looked == 1
        relay.turn(conn)
        until(lambda: shown() == (2, "receipt", "auto_labeled"), "the new label")

        stream.publisher.publish_raw([*sent, *sent])
        hold(conn, outbox, store, head("bill", "menu"))
        assert rescorer.turn(conn).looked == 1
        relay.turn(conn)
        # Of the same photo, so what was repeated is worked on when this is shown.
        until(lambda: shown() == (3, "bill", "auto_labeled"), "the newest label")

    found = stream.outcomes()
    assert sorted((one["revision"], one["label"]) for one in found.values()) == [
        (1, "tabby"),
        (2, "receipt"),
        (3, "bill"),
    ]
    assert set(found) == {ids.event_id(analysis_id, "outcome", number) for number in (1, 2, 3)}
    rows = conn.execute("SELECT revision FROM outcomes ORDER BY revision").fetchall()
    assert [row["revision"] for row in rows] == [1, 2, 3]
    kept = conn.execute(
        "SELECT revision, body FROM parts WHERE stage = 'embedder' ORDER BY revision"
    ).fetchall()
    assert [row["revision"] for row in kept] == [1, 2, 3]
    assert {row["body"]["dimension"] for row in kept} == {3}
    assert conn.execute("SELECT FROM embeddings").rowcount == 1
