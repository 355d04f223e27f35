"""Trainings on a real catalog: what is due begins, what trainers say, the fence between them."""

import hashlib
import io
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import fastavro
import httpx
import numpy as np
import pytest

from api_door import api_door, door_settings
from catalog_seed import MODEL, OWNER, Look, Seed, Seeded, picture
from darkroom_schemas import names
from darkroom_schemas.avro import schema_of
from darkroom_schemas.heads import head_name
from gateway import db
from gateway.catalog import (
    labels,
    model_reports,
    models,
    reviews,
    training_ends,
    training_reports,
    trainings,
    workers,
)
from gateway.catalog.keys import KeyRequest, make_key
from gateway.catalog.label_shapes import Wish
from gateway.catalog.models import By
from gateway.catalog.outbox import Outbox
from gateway.catalog.review_shapes import Said
from gateway.catalog.training_shapes import Training
from gateway.control.job_run import JobContext
from gateway.control.training_job import training_job
from gateway.control.trainings import Tutor
from gateway.settings import Settings
from gateway.training_rules import TrainingRules
from infrastructure import Infrastructure
from streamkit import Codec, ObjectStore, Retry
from trainer.manifest import read

Example = Callable[..., dict[str, Any]]

HEAD = head_name(OWNER, "labels")
RULES = TrainingRules(least_accuracy=0.8, least_examples=3, time_limit_s=3_600.0)
ADA = By("ada", "why not")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def events(conn: db.Conn, codec: Codec, topic: str) -> list[Mapping[str, Any]]:
    rows = conn.execute("SELECT value FROM outbox WHERE topic = %s ORDER BY id", (topic,))
    return [codec.decode(topic, row["value"]) for row in rows]


def notices(conn: db.Conn) -> list[str]:
    found = conn.execute("SELECT title FROM notices WHERE kind = 'training_finished'")
    return [row["title"] for row in found]


def photos(seed: Seed, count: int, **look: Any) -> list[Seeded]:
    return [
        seed.analyzed(f"{number}.jpg", picture(size=(40 + number, 30)), Look(**look))
        for number in range(count)
    ]


def taught(conn: db.Conn, *wishes: tuple[str, str | None], source: str = "person") -> None:
    labels.put_label_set(conn, OWNER, "labels", ["receipt", "ticket"], "ada")
    labels.give(conn, (OWNER, "labels"), [Wish(*one) for one in wishes], source, "ada")


@pytest.fixture
def embedder(conn: db.Conn, example: Example) -> Callable[..., None]:
    """A report of a replica of the embedder, each a second later than the one before."""
    moments = iter(datetime.now(UTC) + timedelta(seconds=n) for n in range(1000))

    def say(replica: str = "embedder-bulk@a:1", **changes: Any) -> None:
        known = {"name": "embedder", "state": "ready", "generation": 0, "wanted": 0}
        known |= {"version": MODEL, "engine": "stub", "message": None}
        value = {**known, "replica": replica, "reported_at": next(moments), **changes}
        model_reports.record_reports(conn, cast(Any, example(names.MODEL_REPORTED, **value)))

    return say


@pytest.fixture
def tutor(outbox: Outbox, store: ObjectStore) -> Tutor:
    return Tutor(outbox, store, RULES)


def asks(conn: db.Conn, outbox: Outbox, *, forced: bool = False) -> str:
    return trainings.ask(conn, outbox, (OWNER, "labels"), "ada", forced=forced)


def shown(conn: db.Conn, request_id: str) -> Training:
    found = trainings.training(conn, OWNER, UUID(request_id))
    assert found is not None
    return found.training


@pytest.fixture
def begun(
    conn: db.Conn, outbox: Outbox, seed: Seed, tutor: Tutor, embedder: Callable[..., None]
) -> Callable[[], str]:
    """A training that trainers are told of."""

    def begin() -> str:
        embedder()
        taught(conn, *((one.photo_id, "receipt") for one in photos(seed, 2)))
        request_id = asks(conn, outbox)
        assert tutor.turn(conn) == 1
        return request_id

    return begin


@pytest.fixture
def says(conn: db.Conn, outbox: Outbox, example: Example) -> Callable[..., None]:
    """What a trainer says of a training, recorded as one transaction of a connection."""

    def say(request_id: str, token: int, end: str | None = None, **more: Any) -> None:
        on = more.pop("on", conn)
        about = {"request_id": request_id, "owner": OWNER, "model": "labels", "token": token}
        with on.transaction():
            if end is None:
                event = example(names.TRAINING_PROGRESSED, **about, **more)
                training_ends.record_progress(on, cast(Any, event))
                return
            head = {
                **{"uri": f"file:///objects/{token}", "sha256": f"{token:064x}"},
                **{"byte_size": 9, "model_version": MODEL, **more.pop("head", {})},
            }
            event = example(
                names.TRAINING_ENDED,
                **{**about, "end": end, "head": head if end == "trained" else None},
                **more,
            )
            training_ends.record_end(on, outbox, cast(Any, event))

    return say


@pytest.fixture
def manifest(conn: db.Conn, codec: Codec, store: ObjectStore) -> Callable[[], dict[str, Any]]:
    """What the last training learns from."""

    def last() -> dict[str, Any]:
        event = events(conn, codec, names.TRAINING_PREPARED)[-1]
        found: dict[str, Any] = json.loads(store.get(event["manifest_uri"], limit=10_000))
        return found

    return last


@pytest.fixture
def six(seed: Seed, embedder: Callable[..., None]) -> list[Seeded]:
    """Photos that are embedded."""
    embedder()
    return photos(seed, 6)


# --- what is due begins ----------------------------------------------------------------------


def test_a_training_is_told_of_with_all_that_it_learns_from(
    conn: db.Conn, outbox: Outbox, codec: Codec, store: ObjectStore, seed: Seed, tutor: Tutor,
    embedder: Callable[..., None],
) -> None:  # fmt: skip
    embedder()
    first, second = photos(seed, 2, vector=(0.6, 0.8, 0.0))
    taught(conn, (first.photo_id, "receipt"), (second.photo_id, None), source="folder")
    conn.execute(
        "INSERT INTO training_fences (owner, model, fence) VALUES (%s, 'labels', 7)", (OWNER,)
    )
    request_id = asks(conn, outbox)
    assert shown(conn, request_id).state == "requested"

    assert (tutor.turn(conn), tutor.turn(conn)) == (1, 0)

    (event,) = events(conn, codec, names.TRAINING_PREPARED)
    assert (event["request_id"], event["reason"], event["fence"]) == (request_id, "person", 7)
    data = store.get(event["manifest_uri"], limit=10_000)
    assert hashlib.sha256(data).hexdigest() == event["manifest_sha256"]
    manifest = json.loads(data)
    assert (manifest["labels"], manifest["model_version"]) == (["receipt", "ticket"], MODEL)
    assert manifest["policy"] == {"least_accuracy": 0.8, "least_examples": 3}
    assert (manifest["time_limit_s"], manifest["seed"], manifest["active"]) == (3600.0, 0, None)
    said = {one["photo_id"]: (one["label"], one["weight"]) for one in manifest["examples"]}
    assert said == {first.photo_id: ("receipt", 1.0), second.photo_id: (None, 1.0)}
    stored = store.get(manifest["vectors"]["uri"], limit=10_000)
    assert hashlib.sha256(stored).hexdigest() == manifest["vectors"]["sha256"]
    vectors = np.load(io.BytesIO(stored))
    assert (vectors.dtype, vectors.shape) == (np.float32, (2, 3))
    assert vectors[0].tolist() == pytest.approx([0.6, 0.8, 0.0])
    training = shown(conn, request_id)
    assert (training.state, training.note) == ("prepared", None)
    assert training.prepared_at is not None


def test_what_is_written_down_the_trainer_reads(
    conn: db.Conn, outbox: Outbox, codec: Codec, store: ObjectStore, tutor: Tutor,
    six: list[Seeded],
) -> None:  # fmt: skip
    taught(conn, *((one.photo_id, "receipt") for one in six[:4]), (six[4].photo_id, None))
    asks(conn, outbox)
    tutor.turn(conn)
    (event,) = events(conn, codec, names.TRAINING_PREPARED)
    lesson = read(store, event["manifest_uri"], event["manifest_sha256"])
    assert (lesson.labels, lesson.model_version) == (("receipt", "ticket"), MODEL)
    assert (len(lesson.examples), dict(lesson.poisoned)) == (5, {})
    assert (lesson.policy.least_examples, lesson.policy.least_accuracy) == (3, 0.8)
    assert (lesson.time_limit_s, lesson.active, lesson.unreadable) == (3_600.0, None, "")


def test_rows_of_vectors_are_those_of_the_examples_and_who_lacks_one_is_left_out(
    conn: db.Conn, outbox: Outbox, codec: Codec, store: ObjectStore, seed: Seed, tutor: Tutor,
    embedder: Callable[..., None],
) -> None:  # fmt: skip
    embedder()
    whole = [
        seed.analyzed(f"{n}.jpg", picture(size=(50 + n, 9)), Look(vector=(float(n), 1.0, 0.0)))
        for n in range(5)
    ]
    odd = seed.analyzed("odd.jpg", picture(size=(9, 9)), Look(vector=(1.0, 0.0)))
    failed = seed.analyzed("failed.jpg", picture(size=(8, 8)))
    conn.execute("DELETE FROM embeddings WHERE photo_id = %s", (failed.photo_id,))
    taught(conn, *((one.photo_id, "receipt") for one in (*whole, odd, failed)))
    asks(conn, outbox)
    assert tutor.turn(conn) == 1
    (event,) = events(conn, codec, names.TRAINING_PREPARED)
    manifest = json.loads(store.get(event["manifest_uri"], limit=10_000))
    vectors = np.load(io.BytesIO(store.get(manifest["vectors"]["uri"], limit=10_000)))
    by_photo = dict(zip([o["photo_id"] for o in manifest["examples"]], vectors, strict=True))
    assert {one: row[0] for one, row in by_photo.items()} == {
        one.photo_id: float(n) for n, one in enumerate(whole)
    }


def test_a_training_waits_for_photos_that_are_still_analysed_but_not_for_ever(
    conn: db.Conn, outbox: Outbox, seed: Seed, tutor: Tutor, embedder: Callable[..., None]
) -> None:
    (known,) = photos(seed, 1)
    pending = seed.requested("new.jpg", picture(size=(9, 9)))
    taught(conn, (known.photo_id, "receipt"), (pending.photo_id, "ticket"))
    request_id = asks(conn, outbox)
    assert tutor.turn(conn) == 0
    assert "No embedder has said yet" in (shown(conn, request_id).note or "")
    embedder()
    assert tutor.turn(conn) == 0
    waits = "It waits for the embeddings of 1 of its 2 examples."
    assert (shown(conn, request_id).state, shown(conn, request_id).note) == ("requested", waits)
    conn.execute("UPDATE trainings SET waits_since = now() - interval '601 s'")
    assert tutor.turn(conn) == 1
    assert shown(conn, request_id).state == "prepared"


def test_photos_that_are_to_be_embedded_again_are_waited_for_unless_that_failed(
    conn: db.Conn, outbox: Outbox, seed: Seed, tutor: Tutor, embedder: Callable[..., None]
) -> None:
    taught(conn, *((one.photo_id, "receipt") for one in photos(seed, 2)))
    embedder(version="stub@2")
    first, second = conn.execute("SELECT photo_id FROM embeddings ORDER BY 1").fetchall()
    asks(conn, outbox)
    assert tutor.turn(conn) == 0
    conn.execute(
        "INSERT INTO embeddings (photo_id, model_version, owner, vector)"
        " VALUES (%s, 'stub@2', %s, '[1,0]')",
        (first["photo_id"], OWNER),
    )
    assert tutor.turn(conn) == 0
    conn.execute(
        "INSERT INTO embedding_requests (photo_id, model_version, owner, ended_at, error)"
        " VALUES (%s, 'stub@2', %s, now(), 'no')",
        (second["photo_id"], OWNER),
    )
    assert tutor.turn(conn) == 1


def test_without_any_embedding_a_training_fails_with_the_cause_and_one_notice(
    conn: db.Conn, outbox: Outbox, tutor: Tutor, embedder: Callable[..., None]
) -> None:
    embedder()
    taught(conn, (str(uuid4()), "receipt"))
    request_id = asks(conn, outbox)
    assert tutor.turn(conn) == 0
    training = shown(conn, request_id)
    assert (training.state, training.note) == ("failed", f"No example has an embedding by {MODEL}.")
    assert len(notices(conn)) == 1
    assert tutor.turn(conn) == 0


def test_of_a_model_one_training_is_under_way_at_a_time(
    conn: db.Conn, outbox: Outbox, begun: Callable[[], str], tutor: Tutor, says: Callable[..., None]
) -> None:
    first = begun()
    second = asks(conn, outbox)
    assert tutor.turn(conn) == 0
    assert (shown(conn, second).state, shown(conn, first).state) == ("requested", "prepared")
    says(first, 1, "not_enough")
    assert tutor.turn(conn) == 1
    assert shown(conn, second).state == "prepared"


def test_what_is_asked_for_while_a_training_is_under_way_is_not_merged_into_it(
    conn: db.Conn, example: Example, begun: Callable[[], str]
) -> None:
    begun()
    event: Any = example(
        names.TRAINING_REQUESTED, owner=OWNER, model="labels", request_id=str(uuid4())
    )
    trainings.record_training(conn, event)
    training = shown(conn, event["request_id"])
    assert training.state == "requested", "it learns from what came since"
    assert training.due_at is not None
    assert training.due_at > datetime.now(UTC) + timedelta(minutes=50)


def test_a_large_import_asks_for_all_sets_of_its_owner_that_have_examples(
    conn: db.Conn, seed: Seed, example: Example
) -> None:
    (photo,) = photos(seed, 1)
    for name in ("pets", "rooms", "empty"):
        labels.put_label_set(conn, OWNER, name, ["one", "other"], "ada")
    for name in ("pets", "rooms"):
        labels.give(conn, (OWNER, name), [Wish(photo.photo_id, "one")], "person", "ada")
    event: Any = example(names.TRAINING_REQUESTED, owner=OWNER, model="labels", reason="batch")
    for _ in range(2):
        trainings.record_training(conn, event)
    found = trainings.trainings(conn, OWNER, 10, None)
    assert sorted((one.model, one.state) for one in found) == [
        ("pets", "requested"),
        ("rooms", "requested"),
    ]
    assert {one.batch_id for one in found} == {event["batch_id"]}

    taught(conn, (photo.photo_id, "receipt"))
    trainings.record_training(conn, cast(Any, {**event, "request_id": str(uuid4())}))
    states = [(one.model, one.state) for one in trainings.trainings(conn, OWNER, 10, None)]
    assert ("labels", "requested") in states
    assert states.count(("pets", "merged")) == 1


def test_a_store_that_is_away_is_waited_for(
    conn: db.Conn, outbox: Outbox, seed: Seed, embedder: Callable[..., None], store: ObjectStore
) -> None:
    class Away:
        def put(self, _key: str, _data: bytes) -> str:
            raise Retry("the disk is gone")

    embedder()
    taught(conn, (photos(seed, 1)[0].photo_id, "receipt"))
    request_id = asks(conn, outbox)
    assert Tutor(outbox, Away(), RULES).turn(conn) == 0
    assert "the disk is gone" in (shown(conn, request_id).note or "")
    assert Tutor(outbox, store, RULES).turn(conn) == 1
    assert shown(conn, request_id).note is None


def test_a_forced_training_needs_one_example_of_each_label(
    conn: db.Conn, outbox: Outbox, tutor: Tutor, six: list[Seeded],
    manifest: Callable[[], dict[str, Any]],
) -> None:  # fmt: skip
    taught(conn, (six[0].photo_id, "receipt"))
    asks(conn, outbox, forced=True)
    tutor.turn(conn)
    assert manifest()["policy"]["least_examples"] == 1


def test_a_training_that_nobody_takes_says_why_and_fails_when_its_time_is_over(
    conn: db.Conn, codec: Codec, begun: Callable[[], str], tutor: Tutor
) -> None:
    request_id = begun()
    tutor.look_after(conn, LONG_AGO)
    assert shown(conn, request_id).note is None
    conn.execute("UPDATE trainings SET prepared_at = now() - interval '61 s'")
    tutor.look_after(conn, LONG_AGO)
    assert "No trainer is running" in (shown(conn, request_id).note or "")
    trainer(conn)
    tutor.look_after(conn, LONG_AGO)
    assert "have other models in hand" in (shown(conn, request_id).note or "")

    conn.execute("UPDATE trainings SET prepared_at = now() - interval '2 hours'")
    tutor.look_after(conn, datetime.now(UTC))
    assert shown(conn, request_id).state == "prepared", "who has just begun to listen waits"
    tutor.look_after(conn, LONG_AGO)
    training = shown(conn, request_id)
    assert (training.state, training.ended_at is not None) == ("failed", True)
    assert len(notices(conn)) == 1
    (told,) = events(conn, codec, names.TRAINING_CANCELLED)
    assert told["request_id"] == request_id


def trainer(conn: db.Conn) -> None:
    """A trainer is alive."""
    at = datetime.now(UTC)
    workers.note(
        conn,
        [
            workers.Heartbeat(
                **{"worker": "trainer@a:1", "service": "trainer", "host": "a", "pid": 1},
                **{"version": "1", "state": "working", "started_at": at, "reported_at": at},
                **{"every_s": 5.0, "cpu": 0.1, "cpu_cores": 1.0, "memory": 0.1},
                **{"memory_bytes": 1, "lanes": [], "work": []},
            )
        ],
    )


def test_every_night_what_has_something_new_to_learn_is_asked_for(
    conn: db.Conn, outbox: Outbox, six: list[Seeded], embedder: Callable[..., None],
    says: Callable[..., None], tutor: Tutor,
) -> None:  # fmt: skip
    job = training_job(outbox, least=3, every_s=0.0)

    def night() -> int:
        """How many trainings are asked for."""
        return int(job.run(conn, JobContext("trainings"))["asked"])

    def learns(token: int) -> None:
        assert tutor.turn(conn) == 1
        newest = trainings.trainings(conn, OWNER, 1)[0]
        assert newest.reason == "schedule"
        says(newest.request_id, token, "trained", publish=True)

    taught(conn, *((one.photo_id, "receipt") for one in six[:3]))
    assert night() == 0, "examples of ticket are missing"
    taught(conn, *((one.photo_id, "ticket") for one in six[3:]))
    assert (night(), night()) == (1, 0)
    learns(1)
    assert night() == 0
    taught(conn, (six[0].photo_id, None))
    taught(conn, (str(uuid4()), "receipt"))
    assert night() == 1
    learns(2)
    assert night() == 0
    embedder(version="stub@2")
    assert night() == 1


def test_answers_of_reviews_are_something_new_for_the_sets_that_they_concern(
    conn: db.Conn, outbox: Outbox, six: list[Seeded], tutor: Tutor
) -> None:
    job = training_job(outbox, least=1, every_s=0.0)
    photo, example = six[0].photo_id, six[2].photo_id
    for name in ("labels", "papers", "pets"):
        labels.put_label_set(conn, OWNER, name, [f"{name}-a", f"{name}-b", "receipt"], "ada")
        wishes = [Wish(six[at].photo_id, f"{name}-{end}") for at, end in ((3, "a"), (4, "b"))]
        labels.give(conn, (OWNER, name), [*wishes, Wish(six[5].photo_id, "receipt")], "folder", "a")
    labels.give(conn, (OWNER, "pets"), [Wish(example, "pets-a")], "person", "ada")

    def night() -> set[str]:
        """Which sets are trained, and are done with it."""
        job.run(conn, JobContext("trainings"))
        asked = [one for one in trainings.trainings(conn, OWNER, 99) if one.state == "requested"]
        while tutor.turn(conn):
            pass
        for one in asked:
            trainings.cancel(conn, outbox, OWNER, UUID(one.request_id), "ada")
        return {one.model for one in asked}

    def answers(photo_id: str, label: str | None, kind: Any = "correct") -> None:
        said = Said(uuid4(), kind, label, "ada")
        assert reviews.answer(conn, outbox, OWNER, UUID(photo_id), said)

    assert night() == {"labels", "papers", "pets"}
    assert night() == set()
    answers(photo, None, "skip")
    answers(photo, "fox")
    assert night() == set(), "it says nothing of any set"
    answers(photo, "papers-a")
    assert night() == {"papers"}
    reviews.undo(conn, outbox, OWNER, UUID(photo), "ada", None)
    assert night() == {"papers"}
    answers(six[1].photo_id, "receipt")
    assert night() == {"labels", "papers", "pets"}
    answers(example, "fox")
    assert night() == {"pets"}, "it is no example any more"


# --- what trainers say -----------------------------------------------------------------------


def test_progress_is_shown_and_an_older_one_changes_nothing(
    conn: db.Conn, begun: Callable[[], str], says: Callable[..., None]
) -> None:
    request_id, at = begun(), datetime.now(UTC)
    says(request_id, 3, step="assessing", done=0.5, worker="trainer@a:1", at=at)
    says(request_id, 3, step="fitting", done=0.1, at=at - timedelta(seconds=1))
    says(request_id, 2, step="fitting", done=0.9, at=at + timedelta(seconds=9))
    training = shown(conn, request_id)
    assert (training.state, training.step, training.done) == ("running", "assessing", 0.5)
    assert (training.token, training.worker) == (3, "trainer@a:1")
    says(request_id, 4, step="waiting", done=0.0, at=at - timedelta(seconds=9))
    assert (shown(conn, request_id).token, shown(conn, request_id).done) == (4, 0.0)


def test_what_is_published_is_registered_holds_and_is_told_once(
    conn: db.Conn, codec: Codec, begun: Callable[[], str], says: Callable[..., None]
) -> None:
    request_id = begun()
    said = json.dumps({"accuracy": 0.92, "low": 0.85, "high": 0.96, "examples": 50, "x": "\0"})
    for _ in range(2):
        says(request_id, 1, "trained", publish=True, reason="accuracy 92.0%", metrics=said)
    says(request_id, 1, "failed", reason="no")
    says(request_id, 1, done=0.1)

    training = shown(conn, request_id)
    assert (training.state, training.note, training.done) == ("published", "accuracy 92.0%", 1.0)
    assert (training.accuracy, training.accuracy_low, training.examples) == (0.92, 0.85, 50)
    (version,) = models.versions(conn, HEAD)
    assert (version.version, version.stage) == (training.version, "active")
    assert version.version.startswith("head@")
    assert (version.embedding_version, version.created_by) == (MODEL, "trainer")
    assert [one.path for one in version.files] == ["head.safetensors"]
    assert version.metrics["accuracy"] == 0.92
    (event,) = events(conn, codec, names.MODEL_ACTIVATED)
    assert (event["name"], event["generation"], event["active"]["engine"]) == (HEAD, 1, "head")
    assert event["active"]["files"][0]["uri"] == "file:///objects/1"
    assert notices(conn) == ["Training of labels ended: its new version labels photos"]


def test_what_the_gate_keeps_is_a_candidate(
    conn: db.Conn, codec: Codec, begun: Callable[[], str], says: Callable[..., None]
) -> None:
    request_id = begun()
    says(request_id, 1, "trained", publish=False, reason="accuracy 60.0% is not above 80.0%")
    training = shown(conn, request_id)
    assert (training.state, training.note) == ("candidate", "accuracy 60.0% is not above 80.0%")
    assert [one.stage for one in models.versions(conn, HEAD)] == ["candidate"]
    assert events(conn, codec, names.MODEL_ACTIVATED) == []


@pytest.mark.parametrize("end", ["not_enough", "failed", "cancelled", "timed_out"])
def test_other_ends_are_states_with_their_reason_and_no_version(
    conn: db.Conn, begun: Callable[[], str], says: Callable[..., None], end: str
) -> None:
    request_id = begun()
    says(request_id, 1, end, reason="because", metrics="not JSON")
    training = shown(conn, request_id)
    assert (training.state, training.note, training.version) == (end, "because", None)
    assert models.versions(conn, HEAD) == []
    assert len(notices(conn)) == 1


def test_a_stale_trainer_publishes_nothing(
    conn: db.Conn, codec: Codec, begun: Callable[[], str], says: Callable[..., None]
) -> None:
    request_id = begun()
    says(request_id, 5)
    says(request_id, 4, "trained", publish=True)
    assert shown(conn, request_id).state == "running"
    assert (models.versions(conn, HEAD), notices(conn)) == ([], [])
    says(request_id, 5, "trained", publish=True)
    says(request_id, 6, "trained", publish=True)
    assert shown(conn, request_id).token == 5
    assert len(events(conn, codec, names.MODEL_ACTIVATED)) == 1


def test_the_fence_holds_from_one_training_to_the_next(
    conn: db.Conn, outbox: Outbox, codec: Codec, tutor: Tutor, begun: Callable[[], str],
    says: Callable[..., None],
) -> None:  # fmt: skip
    first = begun()
    says(first, 5, "failed")
    second = asks(conn, outbox)
    tutor.turn(conn)
    assert events(conn, codec, names.TRAINING_PREPARED)[-1]["fence"] == 5
    says(second, 4, "trained", publish=True)
    assert shown(conn, second).state == "prepared"
    says(second, 6, "trained", publish=True)
    assert shown(conn, second).state == "published"


@pytest.mark.parametrize("order", [(7, 8), (8, 7)])
def test_of_two_trainers_that_end_at_once_exactly_one_is_taken(
    conn: db.Conn, codec: Codec, database: str, begun: Callable[[], str],
    says: Callable[..., None], order: tuple[int, int],
) -> None:  # fmt: skip
    request_id = begun()
    first, second = order
    with db.connect(database, name="one") as one, db.connect(database, name="two") as two:
        reached = threading.Event()

        def late() -> None:
            reached.set()
            says(request_id, second, "trained", publish=True, on=two)

        with ThreadPoolExecutor(1) as pool:
            with one.transaction():
                says(request_id, first, "trained", publish=True, on=one)
                waiting = pool.submit(late)
                reached.wait(10)
                blocked(conn, "two")
            waiting.result(timeout=20)
    assert shown(conn, request_id).token == first
    assert len(events(conn, codec, names.MODEL_ACTIVATED)) == 1
    assert len(notices(conn)) == 1


def test_progress_by_a_newer_trainer_that_is_being_recorded_keeps_the_older_one_out(
    conn: db.Conn, codec: Codec, database: str, begun: Callable[[], str],
    says: Callable[..., None],
) -> None:  # fmt: skip
    request_id = begun()
    says(request_id, 7)
    with (
        db.connect(database, name="one") as one,
        db.connect(database, name="two") as two,
        ThreadPoolExecutor(1) as pool,
    ):
        with one.transaction():
            says(request_id, 8, on=one)
            stale = pool.submit(says, request_id, 7, "trained", publish=True, on=two)
            blocked(conn, "two")
        stale.result(timeout=20)
    assert (shown(conn, request_id).state, shown(conn, request_id).token) == ("running", 8)
    assert events(conn, codec, names.MODEL_ACTIVATED) == []


def blocked(conn: db.Conn, name: str) -> None:
    """Wait until a connection waits for a lock."""
    for _ in range(2_000):
        row = conn.execute(
            "SELECT wait_event_type = 'Lock' AS waits FROM pg_stat_activity"
            " WHERE application_name = %s AND datname = current_database()",
            (name,),
        ).fetchone()
        if row and row["waits"]:
            return
        conn.execute("SELECT pg_sleep(0.005)")
    pytest.fail(f"{name} does not wait")


def test_what_was_cancelled_stays_so_whatever_its_trainer_says(
    conn: db.Conn, outbox: Outbox, codec: Codec, begun: Callable[[], str],
    says: Callable[..., None],
) -> None:  # fmt: skip
    request_id = begun()
    says(request_id, 1)
    for _ in range(2):
        assert trainings.cancel(conn, outbox, OWNER, UUID(request_id), "ada")
    says(request_id, 1, "trained", publish=True)
    says(request_id, 1, done=0.9)
    training = shown(conn, request_id)
    assert (training.state, training.note) == ("cancelled", "ada cancelled it")
    assert models.versions(conn, HEAD) == []
    assert len(notices(conn)) == 1
    (told,) = events(conn, codec, names.TRAINING_CANCELLED)
    assert (told["request_id"], told["by"]) == (request_id, "ada")


# --- why what the gate lets through stays a candidate all the same ---------------------------


def published(
    conn: db.Conn, outbox: Outbox, tutor: Tutor, says: Callable[..., None], token: int
) -> Training:
    request_id = asks(conn, outbox)
    assert tutor.turn(conn) == 1
    says(request_id, token, "trained", publish=True)
    return shown(conn, request_id)


def test_the_version_in_use_is_told_to_the_next_training(
    conn: db.Conn, outbox: Outbox, tutor: Tutor, manifest: Callable[[], dict[str, Any]],
    begun: Callable[[], str], says: Callable[..., None],
) -> None:  # fmt: skip
    first = begun()
    says(first, 1, "trained", publish=True, report_uri="file:///objects/report-1.json")
    asks(conn, outbox)
    tutor.turn(conn)
    assert manifest()["active"] == {
        "version": shown(conn, first).version,
        "head": {"uri": "file:///objects/1", "sha256": f"{1:064x}"},
        "report_uri": "file:///objects/report-1.json",
    }


def test_a_version_that_somebody_changed_meanwhile_is_left_alone(
    conn: db.Conn, outbox: Outbox, tutor: Tutor, begun: Callable[[], str],
    says: Callable[..., None],
) -> None:  # fmt: skip
    first = begun()
    says(first, 1, "trained", publish=True)
    second = published(conn, outbox, tutor, says, 2)
    third = asks(conn, outbox)
    tutor.turn(conn)
    models.activate(conn, outbox, HEAD, shown(conn, first).version or "", ADA)
    says(third, 3, "trained", publish=True)
    assert second.state == "published"
    training = shown(conn, third)
    assert training.state == "candidate"
    assert "with which it was not compared" in (training.note or "")
    active = models.current(conn, HEAD)
    assert active is not None
    assert active.version == shown(conn, first).version


def test_a_head_for_embeddings_of_before_is_a_candidate(
    conn: db.Conn, begun: Callable[[], str], says: Callable[..., None],
    embedder: Callable[..., None],
) -> None:  # fmt: skip
    request_id = begun()
    embedder(version="stub@2")
    says(request_id, 1, "trained", publish=True)
    training = shown(conn, request_id)
    assert training.state == "candidate"
    assert "made for embeddings of stub@1, and photos are embedded by stub@2" in (
        training.note or ""
    )


def test_a_version_that_a_person_retired_is_not_taken_back(
    conn: db.Conn, outbox: Outbox, tutor: Tutor, begun: Callable[[], str],
    says: Callable[..., None],
) -> None:  # fmt: skip
    first = begun()
    says(first, 1, "trained", publish=False)
    models.retire(conn, HEAD, shown(conn, first).version or "", ADA)
    again = asks(conn, outbox)
    tutor.turn(conn)
    says(again, 2, "trained", publish=True, head={"sha256": f"{1:064x}"})
    assert shown(conn, again).state == "candidate"
    assert models.current(conn, HEAD) is None


# --- heads in the registry -------------------------------------------------------------------


def test_a_head_holds_everywhere_once_every_live_embedder_has_its_generation(
    conn: db.Conn, outbox: Outbox, begun: Callable[[], str], says: Callable[..., None],
    embedder: Callable[..., None],
) -> None:  # fmt: skip
    request_id = begun()
    says(request_id, 1, "trained", publish=True)
    version = shown(conn, request_id).version or ""
    embedder("a")
    embedder("b", heads={HEAD: 1})
    conn.execute(
        "UPDATE model_replicas SET seen_at = now() - interval '40 s'"
        " WHERE replica LIKE 'embedder-bulk%'"
    )
    found = model_reports.model(conn, OWNER, HEAD)
    assert (found.name, found.active, found.generation) == ("head:labels", version, 1)
    assert (found.everywhere, found.waiting_for) == (False, ["a"])
    assert not model_reports.is_made_everywhere(conn, HEAD, 1, version)
    states = {one.replica: (one.state, one.version) for one in found.replicas if one.live}
    assert states == {"a": ("loading", None), "b": ("ready", version)}

    embedder("a", heads_failed={HEAD: "the file is gone"})
    (failed,) = [one for one in model_reports.replicas(conn, HEAD) if one.state == "failed"]
    assert (failed.replica, failed.message, failed.wanted) == ("a", "the file is gone", 1)
    embedder("a", heads={HEAD: 1})
    assert model_reports.model(conn, OWNER, HEAD).everywhere
    assert model_reports.is_made_everywhere(conn, HEAD, 1, version)
    models.shadow(conn, outbox, HEAD, None, 0.0, ADA)
    assert not model_reports.is_made_everywhere(conn, HEAD, 2, version)


def test_a_roll_back_passes_over_heads_that_no_replica_ever_had(
    conn: db.Conn, outbox: Outbox, tutor: Tutor, begun: Callable[[], str],
    says: Callable[..., None], embedder: Callable[..., None],
) -> None:  # fmt: skip
    request_id = begun()
    says(request_id, 1, "trained", publish=True)
    one = shown(conn, request_id).version
    embedder(heads={HEAD: 1})
    published(conn, outbox, tutor, says, 2)
    published(conn, outbox, tutor, says, 3)
    embedder(heads={HEAD: 3})
    assert models.roll_back(conn, outbox, HEAD, ADA).version == one
    with pytest.raises(models.RegistryError) as refused:
        models.roll_back(conn, outbox, HEAD, ADA)
    assert refused.value.code == "nothing_before"
    assert "head:labels" in str(refused.value), "as its owner calls it"


def test_a_head_that_labels_other_embeddings_says_so(
    conn: db.Conn, begun: Callable[[], str], says: Callable[..., None],
    embedder: Callable[..., None],
) -> None:  # fmt: skip
    request_id = begun()
    says(request_id, 1, "trained", publish=True)
    assert model_reports.model(conn, OWNER, HEAD).warning is None
    embedder(version="stub@2")
    assert model_reports.model(conn, OWNER, HEAD).warning == (
        "Made for embeddings of stub@1, photos are embedded by stub@2: train again."
    )


# --- the api ---------------------------------------------------------------------------------


def test_a_person_asks_for_a_training_and_follows_it(
    client: httpx.Client, conn: db.Conn, tutor: Tutor, six: list[Seeded],
    says: Callable[..., None], settings: Settings,
) -> None:  # fmt: skip
    known = six
    assert client.post("/v1/trainings", json={"model": "labels"}).json()["code"] == "no_such_set"
    taught(conn, *((one.photo_id, "receipt") for one in known[:3]), (known[3].photo_id, "ticket"))
    refused = client.post("/v1/trainings", json={"model": "labels"})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_enough_examples")
    assert refused.json()["detail"] == "Needs 2 more of `ticket`."
    assert refused.json()["missing"] == [{"label": "ticket", "needs": 2}]

    taught(conn, *((one.photo_id, "ticket") for one in known[3:]))
    asked = client.post("/v1/trainings", json={"model": "labels", "by": "ada"})
    assert (asked.status_code, asked.json()["state"]) == (202, "requested")
    request_id = asked.json()["request_id"]
    (row,) = conn.execute(
        "SELECT value FROM outbox WHERE topic = %s", (names.TRAINING_REQUESTED,)
    ).fetchall()
    # The door has a registry of its own.
    body = io.BytesIO(row["value"][5:])
    event = fastavro.schemaless_reader(body, schema_of(names.TRAINING_REQUESTED), None)
    assert isinstance(event, dict)
    assert (event["request_id"], event["reason"]) == (request_id, "person")
    trainings.record_training(conn, cast(Any, event))  # as the recorder hears of it
    tutor.turn(conn)
    says(request_id, 1, done=0.25)
    place = f"/v1/trainings/{request_id}"
    assert client.get(place).json()["done"] == 0.25

    report = {
        "said": {},
        "suspicious": [
            {"photo_id": known[0].photo_id, "kind": "mislabelled", "reason": "looks like ticket"},
            {"photo_id": known[0].photo_id, "kind": "copy", "reason": "of another"},
            {"photo_id": "no id", "kind": "copy", "reason": "?"},
        ],
        "metrics": {},
    }
    folder = Path(settings.objects.removeprefix("file://"))
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    says(
        request_id, 1, "trained", publish=True, report_uri=f"{settings.objects}/report.json",
        metrics=json.dumps({"accuracy": 0.9, "confusion": [[3]]}),
    )  # fmt: skip
    found = client.get(place).json()
    assert (found["state"], found["accuracy"], found["report_missing"]) == ("published", 0.9, None)
    assert found["metrics"]["confusion"] == [[3]]
    (odd,) = found["suspicious"]
    assert found["suspicious_of"] == 1, "a photo is counted once"
    assert (odd["file_name"], odd["label"], odd["since"]) == ("0.jpg", "receipt", None)
    assert [one["kind"] for one in odd["doubts"]] == ["mislabelled", "copy"]
    (folder / "report.json").unlink()
    assert client.get(place).json()["report_missing"] is not None

    listed = client.get("/v1/trainings", params={"model": "labels"}).json()["items"]
    assert [one["request_id"] for one in listed] == [request_id]
    assert client.get("/v1/trainings", params={"model": "other"}).json()["items"] == []
    over = client.post(f"{place}/cancel", json={"by": "ada"})
    assert (over.status_code, over.json()["code"]) == (409, "training_over")
    assert client.post(f"/v1/trainings/{uuid4()}/cancel", json={}).status_code == 404
    assert client.get(f"/v1/trainings/{uuid4()}").status_code == 404

    conn.execute("UPDATE trainings SET state = 'merged'")
    assert client.get("/v1/trainings").json()["items"] == []
    (merged,) = client.get("/v1/trainings", params={"merged": True}).json()["items"]
    assert merged["request_id"] == request_id


def test_a_report_tells_how_examples_were_taught_and_what_became_of_them_since(
    conn: db.Conn, six: list[Seeded]
) -> None:
    kept, removed, moved, auto, corrected, of_before = (one.photo_id for one in six)
    taught(conn, *((one, "receipt") for one in (kept, removed, moved, of_before)))
    wishes = [Wish(moved, "ticket"), Wish(corrected, None)]
    labels.give(conn, (OWNER, "labels"), wishes, "person", "ada")
    assert labels.remove_example(conn, OWNER, "labels", UUID(removed), "ada")

    def said(photo_id: str, source: str) -> dict[str, Any]:
        about = {"photo_id": photo_id, "kind": "copy", "reason": "of another"}
        return {**about, "label": "receipt", "source": source}

    report = [
        *(said(one, "person") for one in (kept, removed, moved)),
        *(said(one, "auto") for one in (auto, corrected)),
        {"photo_id": of_before, "kind": "copy", "reason": "of a report without labels"},
    ]
    found = training_reports.suspicious(conn, OWNER, "labels", training_reports.told(report))
    shown = {one.photo_id: (one.label, one.source, one.since, one.label_now) for one in found}
    assert shown == {
        kept: ("receipt", "person", None, "receipt"),
        removed: ("receipt", "person", "removed", None),
        moved: ("receipt", "person", "changed", "ticket"),
        auto: ("receipt", "auto", None, None),
        corrected: ("receipt", "auto", "changed", None),
        of_before: ("receipt", "person", None, "receipt"),
    }


def test_a_training_that_waits_is_cancelled_at_once(
    client: httpx.Client, conn: db.Conn, tutor: Tutor
) -> None:
    taught(conn, (str(uuid4()), "receipt"))
    forced = {"model": "labels", "force": True, "by": "ada"}
    request_id = client.post("/v1/trainings", json=forced).json()["request_id"]
    ended = client.post(f"/v1/trainings/{request_id}/cancel", json={"by": "ada"})
    assert (ended.status_code, ended.json()["state"]) == (200, "cancelled")
    assert tutor.turn(conn) == 0
    rows = conn.execute("SELECT what FROM audit WHERE what LIKE 'training.%' ORDER BY id")
    assert [row["what"] for row in rows] == ["training.requested", "training.cancelled"]


def test_heads_are_models_of_their_owner(
    client: httpx.Client, begun: Callable[[], str], says: Callable[..., None], conn: db.Conn,
) -> None:  # fmt: skip
    request_id = begun()
    assert client.get("/v1/models/head:labels").json()["code"] == "no_such_model"
    says(request_id, 1, "trained", publish=False)
    version = shown(conn, request_id).version
    found = client.get("/v1/models").json()["items"]
    assert [one["name"] for one in found] == ["detector", "ocr", "embedder", "head:labels"]
    body = {"version": version, "by": "ada"}
    done = client.post("/v1/models/head:labels/activate", json=body)
    assert (done.status_code, done.json()["generation"]) == (200, 1)
    detail = client.get("/v1/models/head:labels").json()
    assert (detail["active"], detail["versions"][0]["embedding_version"]) == (version, MODEL)
    query = {"version": version}
    assert client.get("/v1/models/head:labels/shadow-report", params=query).json()["name"] == (
        "head:labels"
    )
    by_hand = client.post("/v1/models/head:labels/versions", json={"engine": "head", "by": "ada"})
    assert by_hand.status_code == 422
    assert client.get(f"/v1/models/{HEAD}").status_code == 422
    assert client.get("/v1/models/head:labels:x").status_code == 422


def test_a_trainer_may_change_heads_but_no_stage_and_no_other_owner_s(
    infrastructure: Infrastructure, database: str, tmp_path: Path, conn: db.Conn,
    begun: Callable[[], str], says: Callable[..., None],
) -> None:  # fmt: skip
    request_id = begun()
    says(request_id, 1, "trained", publish=False)
    body = {"version": shown(conn, request_id).version}
    made = {
        role: make_key(conn, OWNER, KeyRequest(name=role, role=role), "ada").token
        for role in ("trainer", "reviewer")
    }
    door = api_door(door_settings(infrastructure, database, tmp_path, anonymous="none"))
    with door as url, httpx.Client(base_url=url, timeout=20) as client:

        def status(role: str, name: str) -> int:
            bearer = {"Authorization": f"Bearer {made[role]}"}
            place = f"/v1/models/{name}/activate"
            return client.post(place, json=body, headers=bearer).status_code

        assert status("reviewer", "head:labels") == 403
        assert status("trainer", "detector") == 403
        assert status("trainer", "head:labels") == 200
