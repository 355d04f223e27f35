"""Photos that were seen before, labelled by the heads of now: on a real catalog, and through the
aggregator and the recorder on a real broker."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg
import pytest

from aggregator_machine import OUTCOMES, Machine
from catalog_seed import MODEL, OWNER, Look, Seed, Seeded, picture
from darkroom_schemas import names
from darkroom_schemas.heads import ENGINE, FILE, head_name
from gateway import db
from gateway.catalog import (
    labels,
    model_reports,
    models,
    operations,
    policies,
    read,
    rescoring,
    results,
    reviews,
    search,
    statistics,
)
from gateway.catalog.label_shapes import Wish
from gateway.catalog.model_shapes import ModelFile, Rescoring
from gateway.catalog.models import By, Wanted
from gateway.catalog.outbox import Outbox
from gateway.catalog.review_shapes import Said
from gateway.control.rescore import Rescorer, Turn
from heads import Head, Rejection
from streamkit import Codec, ObjectStore

ADA = By("ada")
RECEIPT, MENU, NOTHING = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
REPLICA = "embedder-bulk@a:1"


def head(scale: float = 9.0, labels: tuple[str, ...] = ("receipt", "menu"), **more: Any) -> Head:
    """Labels the first axes of the embeddings; nothing is far from both."""
    weights = scale * np.eye(len(labels), 3, dtype=np.float32)
    return Head(
        labels=labels,
        weights=weights,
        bias=np.zeros(len(labels), np.float32),
        means=np.eye(len(labels), 3, dtype=np.float32),
        **{"model_version": MODEL, "temperature": 1.0, "rejection": Rejection(20, 0, -10), **more},
    )


class World:
    """A catalog with photos and heads, and the Rescorer."""

    def __init__(self, conn: db.Conn, outbox: Outbox, store: ObjectStore, codec: Codec) -> None:
        self.conn, self.outbox, self.store, self.codec = conn, outbox, store, codec
        self.moment = 0.0
        self.rescorer = self.another()
        self.machine = Machine()
        self._reports = 0
        self._heads: dict[str, int] = {}

    def another(self, per_s: float = 1e9) -> Rescorer:
        """A control door that knows nothing but the catalog."""
        return Rescorer(self.outbox, self.store, per_s, lambda: self.moment)

    def holds(self, which: Head, name: str = "labels", owner: str = OWNER) -> int:
        """Have a head hold; its generation."""
        digest = sha256(which.data).hexdigest()
        uri = self.store.put(f"heads/{digest}", which.data)
        models.keep_file(self.conn, digest, len(which.data), uri)
        made, _ = models.register(
            self.conn,
            Wanted(
                head_name(owner, name),
                ENGINE,
                "trainer",
                files=[ModelFile(path=FILE, sha256=digest, byte_size=len(which.data))],
                embedding_version=which.model_version,
            ),
        )
        done = models.activate(self.conn, self.outbox, head_name(owner, name), made.version, ADA)
        return done.generation

    def obeys(self, replica: str = REPLICA, **changes: Any) -> None:
        """What a replica of the embedder says; heads by the names of their sets."""
        self._reports += 1
        known = changes.pop("heads", {})
        value: Any = {
            **{"replica": replica, "name": "embedder", "state": "ready", "generation": 0},
            **{"wanted": 0, "version": MODEL, "engine": "stub", "shadow": None, "message": None},
            **{"engines": [], "options": {}, "heads_failed": {}},
            "reported_at": datetime.now(UTC) + timedelta(seconds=self._reports),
            "heads": {head_name(OWNER, name): number for name, number in known.items()},
            **changes,
        }
        model_reports.record_reports(self.conn, value)

    def taught(self, which: Head, name: str = "labels") -> None:
        """A head that holds and that the only replica obeys."""
        self._heads[name] = self.holds(which, name)
        self.obeys(heads=self._heads)

    def turns(self, rescorer: Rescorer | None = None) -> int:
        """As many as there are; photos that were looked at."""
        looked = 0
        while True:
            turn = (rescorer or self.rescorer).turn(self.conn)
            if not turn.looked and turn.wait_s:
                return looked
            looked += turn.looked

    def events(self) -> list[Mapping[str, Any]]:
        """What waits in the outbox, which is empty then."""
        rows = self.conn.execute(
            "DELETE FROM outbox WHERE topic = %s RETURNING id, key, event_id, value",
            (names.PHOTO_RESCORED,),
        ).fetchall()
        rows.sort(key=lambda row: int(row["id"]))
        found: list[Mapping[str, Any]] = [
            self.codec.decode(names.PHOTO_RESCORED, row["value"]) for row in rows
        ]
        assert [one["photo_id"] for one in found] == [row["key"] for row in rows]
        assert len({row["event_id"] for row in rows}) == len(rows)
        return found

    def recorded(self, *events: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The aggregator and the recorder have them; the outcomes."""
        results.record_rescored(self.conn, *events)  # type: ignore[arg-type]
        emits = self.machine.feed(
            *((names.PHOTO_RESCORED, one["photo_id"], dict(one)) for one in events)
        )
        outcomes = [one for one in emits if one.topic in OUTCOMES]
        results.record_outcome(self.conn, *((one.value, one.id) for one in outcomes))  # type: ignore[arg-type]
        return [one.value for one in outcomes]

    def rescored(self) -> list[Mapping[str, Any]]:
        """All turns, and what came of them; the events."""
        self.turns()
        events = self.events()
        self.recorded(*events)
        return events

    def progress(self, name: str = "labels") -> Rescoring | None:
        return rescoring.progress(self.conn, OWNER, head_name(OWNER, name))

    def photo(self, seeded: Seeded) -> Any:
        return read.photo(self.conn, OWNER, UUID(seeded.photo_id))


@pytest.fixture
def world(conn: db.Conn, outbox: Outbox, store: ObjectStore, codec: Codec) -> World:
    return World(conn, outbox, store, codec)


@pytest.fixture
def look(seed: Seed) -> Callable[..., Seeded]:
    """An analysed photo with this embedding."""
    numbers = iter(range(1000))

    def analyzed(vector: Sequence[float] = RECEIPT, **more: Any) -> Seeded:
        number = next(numbers)
        return seed.analyzed(
            f"{number}.jpg", picture(size=(40 + number, 30)), Look(vector=vector, **more)
        )

    return analyzed


Photo = Callable[..., Seeded]


def own(event: Mapping[str, Any]) -> list[str]:
    return [label["name"] for label in event["labels"]]


def test_photos_are_labelled_from_their_embeddings(world: World, look: Photo) -> None:
    receipt, nothing = look(RECEIPT), look(NOTHING)
    world.taught(head())
    assert world.turns() == 2
    (event,) = world.events()
    version = models.current(world.conn, head_name(OWNER, "labels"))
    assert (event["photo_id"], event["revision"]) == (receipt.photo_id, 2)
    assert own(event) == ["receipt", "menu"]
    assert event["labels"][0]["head"] == head_name(OWNER, "labels")
    assert version is not None
    assert event["labels"][0]["head_version"] == version.version
    assert sorted((one["stage"], one["revision"]) for one in event["others"]) == [
        ("detector", 1),
        ("ocr", 1),
    ]

    (outcome,) = world.recorded(event)
    assert (outcome["revision"], outcome["label"]) == (2, "receipt")
    shown = world.photo(receipt)
    assert (shown.revision, shown.label, shown.category) == (2, "receipt", "cat")
    assert shown.embedding_dim == 3
    assert shown.stages["embedder"].ms == 4.0
    assert [hit.photo.photo_id for hit in search.by_words(world.conn, OWNER, "receipt", 9)] == [
        receipt.photo_id
    ]
    assert world.photo(nothing).label == "tabby"
    assert world.progress() == Rescoring(
        version=version.version,
        **{"state": "done", "heads": ["head:labels"], "photos": 2, "done": 2, "changed": 1},
    )
    assert world.turns() == 0


def test_what_is_said_already_is_not_said_again(world: World, look: Photo) -> None:
    look(RECEIPT)
    world.taught(head())
    assert len(world.rescored()) == 1
    world.conn.execute("DELETE FROM rescorings")  # as if it began anew
    assert world.turns() == 1
    assert world.events() == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"confidence": 0.0009}, False),
        ({"confidence": 0.002}, True),
        ({"name": "bill"}, True),
        ({"head_version": "head@2"}, True),
        ({"head": "head:o:other"}, True),
    ],
)
def test_labels_are_others_by_name_head_version_or_clearly_by_confidence(
    change: dict[str, Any], told: bool
) -> None:
    label = {"name": "receipt", "confidence": 0.9, "head": "head:o:l", "head_version": "head@1"}
    other = {**label, **change}
    if "confidence" in change:
        other["confidence"] = 0.9 + change["confidence"]
    menu = {**label, "name": "menu", "confidence": 0.05}
    assert rescoring.differ([label, menu], [menu, other]) is told
    assert rescoring.differ([label], []) is True


def test_nothing_happens_before_every_live_replica_labels_by_the_head(
    world: World, look: Photo
) -> None:
    look(RECEIPT)
    generation = world.holds(head())
    assert world.turns() == 0
    world.obeys(heads={"labels": generation})
    world.obeys("embedder-bulk@b:1")
    assert world.turns() == 0
    assert world.progress() is not None
    assert world.progress().state == "waiting"  # type: ignore[union-attr]
    world.obeys("embedder-bulk@b:1", state="gone")
    assert world.turns() == 1


def test_a_replica_that_starts_later_does_not_hold_it_up_nor_begin_it_anew(
    world: World, look: Photo
) -> None:
    for _ in range(101):
        look(RECEIPT)
    world.taught(head())
    assert world.rescorer.turn(world.conn).looked == 100
    world.obeys("embedder-bulk@b:1")
    assert world.turns() == 1
    assert len(world.events()) == 101


def test_an_older_generation_does_not_count(world: World, look: Photo) -> None:
    look(RECEIPT)
    world.taught(head())
    assert len(world.rescored()) == 1
    world.holds(head(scale=3.0))
    assert world.turns() == 0
    world.obeys(heads={"labels": 2})
    assert world.turns() == 1


def test_a_rolled_back_head_labels_again(world: World, look: Photo) -> None:
    photo = look(RECEIPT)
    world.taught(head())
    world.rescored()
    world.taught(head(labels=("bill", "menu")))
    world.rescored()
    assert (world.photo(photo).label, world.photo(photo).revision) == ("bill", 3)
    back = models.roll_back(world.conn, world.outbox, head_name(OWNER, "labels"), ADA)
    world.obeys(heads={"labels": back.generation})
    (event,) = world.rescored()
    assert event["revision"] == 4
    assert world.photo(photo).label == "receipt"


def test_it_goes_on_where_it_stood_after_a_restart(world: World, look: Photo) -> None:
    for _ in range(150):
        look(RECEIPT)
    world.taught(head())
    assert world.rescorer.turn(world.conn).looked == 100
    assert world.progress() == Rescoring(
        version=world.progress().version,  # type: ignore[union-attr]
        **{"state": "running", "heads": ["head:labels"]},
        **{"photos": 150, "done": 100, "changed": 100},
    )
    assert world.turns(world.another()) == 50
    events = world.events()
    assert len({event["photo_id"] for event in events}) == len(events) == 150


def test_a_crash_in_the_middle_of_a_page_tells_nothing_twice(
    world: World, look: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        look(RECEIPT)
    world.taught(head())

    def crash(*_: Any) -> None:
        raise psycopg.OperationalError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(world.outbox, "add", crash)
        with pytest.raises(psycopg.OperationalError):
            world.rescorer.turn(world.conn)
    assert world.events() == []
    assert world.turns(world.another()) == 3
    assert len(world.events()) == 3


def test_newer_heads_begin_anew(world: World, look: Photo) -> None:
    for _ in range(101):
        look(RECEIPT)
    world.taught(head())
    world.rescorer.turn(world.conn)
    world.moment += 61
    world.taught(head(labels=("bill", "menu")))
    assert world.turns() == 101
    last = {event["photo_id"]: event for event in world.events()}
    assert {tuple(own(event)) for event in last.values()} == {("bill", "menu")}
    assert len(last) == 101


def test_revisions_of_what_is_on_its_way_are_not_taken_twice(world: World, look: Photo) -> None:
    photo = look(RECEIPT)
    world.taught(head())
    world.turns()
    world.taught(head(labels=("bill", "menu")))
    world.turns()
    first, second = world.events()
    assert (first["revision"], second["revision"]) == (2, 3)
    assert second["rescored_at"] > first["rescored_at"]
    world.recorded(second, first)
    assert world.photo(photo).label == "bill"


def test_what_is_on_its_way_and_the_same_is_not_told_again(world: World, look: Photo) -> None:
    look(RECEIPT)
    world.taught(head())
    world.turns()
    world.conn.execute("DELETE FROM rescorings")
    assert world.turns(world.another()) == 1
    assert len(world.events()) == 1


def test_what_was_lost_is_told_again(world: World, look: Photo) -> None:
    look(RECEIPT)
    world.taught(head())
    world.turns()
    world.conn.execute("DELETE FROM rescorings")
    world.conn.execute("UPDATE rescored_photos SET rescored_at = now() - interval '2 h'")
    world.turns(world.another())
    assert [event["revision"] for event in world.events()] == [2, 3]


def test_photos_that_come_late_are_found_by_the_next_round(world: World, look: Photo) -> None:
    for _ in range(2):
        look(RECEIPT)
    world.taught(head())
    world.rescored()
    world.conn.execute("UPDATE embeddings SET embedded_at = now() - interval '1 day'")
    look(RECEIPT)  # by an embedder that did not have the head yet
    assert world.turns() == 0
    world.conn.execute("UPDATE rescorings SET next_at = now()")
    assert world.turns() == 1
    assert len(world.events()) == 1
    progress = world.progress()
    assert progress is not None
    assert (progress.state, progress.photos, progress.done) == ("done", 2, 2)
    assert progress.changed == 3


def test_all_heads_of_the_owner_label_together_and_no_other_owner_s(
    world: World, look: Photo
) -> None:
    look(RECEIPT)
    theirs = str(uuid4())
    generation = world.holds(head(labels=("secret",)), owner=theirs)
    paper = world.holds(head(scale=1.0, labels=("paper",)), name="kind")
    world.taught(head())
    world.obeys(heads={"labels": 1, "kind": paper})
    world.conn.execute(
        "UPDATE model_replicas SET heads = heads || jsonb_build_object(%s::text, %s::int)",
        (head_name(theirs, "labels"), generation),
    )
    world.turns()
    (event,) = world.events()
    assert own(event) == ["paper", "receipt", "menu"]
    sure = [label["confidence"] for label in event["labels"]]
    assert sure == sorted(sure, reverse=True)
    for name in ("labels", "kind"):
        progress = world.progress(name)
        assert progress is not None
        assert progress.heads == ["head:kind", "head:labels"], "the numbers are of both"


def test_labels_of_a_head_that_cannot_be_applied_stay(world: World, look: Photo) -> None:
    photo = look(RECEIPT)
    world.taught(head())
    world.rescored()
    world.holds(head(labels=("bill", "menu")))  # no replica has it yet
    world._heads["kind"] = world.holds(head(labels=("paper",)), name="kind")
    world.obeys(heads={"labels": 1, "kind": world._heads["kind"]})
    (event,) = world.rescored()
    assert sorted(own(event)) == ["menu", "paper", "receipt"]
    assert world.photo(photo).revision == 3


def test_a_head_of_other_embeddings_labels_nothing(world: World, look: Photo) -> None:
    look(RECEIPT)
    world.taught(head(model_version="other@1"))
    assert world.turns() == 0
    world.obeys(version="other@1", heads={"labels": 1})
    assert world.turns() == 0  # there are no embeddings by that
    assert world.events() == []


def test_a_file_that_is_not_the_one_labels_nothing_until_it_is(world: World, look: Photo) -> None:
    look(RECEIPT)
    world.taught(head())
    right = world.conn.execute("SELECT uri FROM model_files").fetchone()
    assert right is not None
    wrong = world.store.put("heads/wrong", head(scale=1.0).data)
    world.conn.execute("UPDATE model_files SET uri = %s", (wrong,))
    assert world.turns() == 0
    world.conn.execute("UPDATE model_files SET uri = %s", (right["uri"],))
    assert world.turns() == 0
    world.moment += 31
    assert world.turns() == 1
    assert len(world.events()) == 1


def test_an_embedding_that_is_none_keeps_only_its_own_photo_out(world: World, look: Photo) -> None:
    good, *_ = look(RECEIPT), look((1.0, 0.0)), look((3.0, 0.0, 0.0))
    world.taught(head())
    assert world.turns() == 3
    assert [event["photo_id"] for event in world.events()] == [good.photo_id]


def test_photos_without_an_outcome_or_without_the_embedder_s_part_are_left_alone(
    world: World, look: Photo, seed: Seed
) -> None:
    pending = seed.requested("p.jpg", picture("#111111"))
    seed.parts(pending, Look(vector=RECEIPT))
    blind = seed.requested("b.jpg", picture("#222222"))
    seed.parts(blind, Look(vector=RECEIPT))
    seed.outcome(blind, Look(), failed=["embedder"])
    world.taught(head())
    assert world.turns() == 2
    assert world.events() == []


def test_what_failed_is_said_to_have_failed(world: World, seed: Seed) -> None:
    photo = seed.requested("p.jpg", picture())
    seed.parts(photo, Look(vector=RECEIPT), detector=False)
    seed.stage_failed(photo, "detector", "engine_error", "It could not.")
    seed.outcome(photo, Look(), failed=["detector"])
    world.taught(head())
    (event,) = world.rescored()
    assert [one["stage"] for one in event["failed"]] == ["detector"]
    assert [one["stage"] for one in event["others"]] == ["ocr"]
    shown = world.photo(photo)
    assert (shown.outcome, shown.partial, shown.failed_stages) == ("review", True, ["detector"])


def test_the_newest_policy_routes_it(world: World, look: Photo) -> None:
    look(RECEIPT)
    wanted = policies.Wanted(0.9, 0.2, {"receipt": (0.99999, 0.9)}, "why", "ada")
    made = policies.change(world.conn, world.outbox, wanted)
    world.taught(head())
    world.turns()
    (event,) = world.events()
    assert event["policy_revision"] == made.revision


def answered(world: World, photo: Seeded, answer: str, label: str | None = None) -> None:
    said = Said(answer=answer, label=label, reviewer="ada", answer_id=uuid4())  # type: ignore[arg-type]
    assert reviews.answer(world.conn, world.outbox, OWNER, UUID(photo.photo_id), said)


def waiting(world: World, photo: Seeded) -> tuple[bool, int, str]:
    row = world.conn.execute(
        "SELECT waiting, revision, label FROM reviews WHERE photo_id = %s", (photo.photo_id,)
    ).fetchone()
    assert row is not None
    return row["waiting"], row["revision"], row["label"]


UNSURE = {"outcome": "review", "labels": (("tabby", 0.3),)}


def test_nobody_is_asked_again_about_a_photo_that_has_an_answer(
    world: World, look: Photo, seed: Seed
) -> None:
    photo, open_one = look(RECEIPT, **UNSURE), look(RECEIPT, **UNSURE)
    answered(world, photo, "correct", "invoice")
    world.taught(head(scale=1.0))
    assert len(world.rescored()) == 2
    assert waiting(world, photo) == (False, 2, "receipt")
    assert waiting(world, open_one) == (True, 2, "receipt")
    assert world.photo(photo).reviewed.label == "invoice"
    # Another look of the stages is another question, which stays one when it is rescored.
    seed.outcome(photo, Look(outcome="review", labels=(("dog", 0.3),)), revision=9)
    assert waiting(world, photo) == (True, 9, "dog")
    world.taught(head(scale=1.0, labels=("bill", "menu")))
    world.rescored()
    assert waiting(world, photo) == (True, 10, "bill")


def test_nobody_is_asked_again_about_a_photo_that_is_a_person_s_example(
    world: World, look: Photo
) -> None:
    photo = look(RECEIPT, outcome="auto_labeled", labels=(("tabby", 0.99),))
    known = look(RECEIPT, **UNSURE)
    names = ["receipt", "invoice"]
    labels.put_label_set(world.conn, OWNER, "labels", names, "ada")
    wishes = [Wish(photo.photo_id, "invoice"), Wish(known.photo_id, "receipt")]
    labels.give(world.conn, (OWNER, "labels"), wishes, "folder", "ada")
    assert waiting(world, known) == (True, 1, "tabby"), "tabby was not spoken of"
    world.taught(head(scale=1.0))
    assert len(world.rescored()) == 2
    assert waiting(world, photo) == (False, 2, "receipt"), "rescored"
    assert waiting(world, known) == (False, 2, "receipt"), "as was said"


def test_an_answer_that_was_taken_back_counts_no_more(world: World, look: Photo) -> None:
    photo = look(RECEIPT, **UNSURE)
    answered(world, photo, "correct", "invoice")
    reviews.undo(world.conn, world.outbox, OWNER, UUID(photo.photo_id), "ada", None)
    world.taught(head(scale=1.0))
    world.rescored()
    assert waiting(world, photo) == (True, 2, "receipt")


def test_a_surer_label_needs_nobody_any_more(world: World, look: Photo) -> None:
    photo = look(RECEIPT, **UNSURE)
    world.taught(head())
    world.rescored()
    assert waiting(world, photo) == (False, 2, "receipt")


def test_a_rescored_photo_is_no_photo_of_the_day(world: World, look: Photo) -> None:
    look(RECEIPT)
    old = look(RECEIPT)
    world.conn.execute(
        "UPDATE outcomes SET decided_at = now() - interval '2 days' WHERE photo_id = %s",
        (old.photo_id,),
    )
    world.taught(head())
    assert len(world.rescored()) == 2
    day = statistics.last_day(world.conn)
    assert day.success == 1
    assert [(one.label, one.count) for one in day.labels] == [("receipt", 1)]
    assert operations._per_s(world.conn) == round(1 / operations._RATE_S, 3)


def test_no_more_than_so_many_a_second(world: World, look: Photo) -> None:
    for _ in range(30):
        look(RECEIPT)
    world.taught(head())
    assert world.another(per_s=10.0).turn(world.conn) == Turn(30, 3.0)


def test_it_waits_for_the_outcomes_of_the_pages_before(world: World, look: Photo) -> None:
    for _ in range(250):
        look(RECEIPT)
    world.taught(head())
    assert [world.rescorer.turn(world.conn).looked for _ in range(3)] == [100, 100, 0]
    first = world.events()
    world.recorded(*first[:100])
    assert world.rescorer.turn(world.conn).looked == 50
    assert world.rescorer.turn(world.conn).wait_s < 1.0


def test_a_lost_outcome_does_not_hold_it_up_for_ever(world: World, look: Photo) -> None:
    for _ in range(201):
        look(RECEIPT)
    world.taught(head())
    assert world.turns() == 200
    world.moment += 61
    assert world.turns() == 1


def test_owners_take_turns(world: World, look: Photo) -> None:
    for _ in range(101):
        look(RECEIPT)
    theirs = str(uuid4())
    world.conn.execute(
        "INSERT INTO embeddings (photo_id, model_version, owner, vector)"
        " SELECT gen_random_uuid(), %s, %s, '[1,0,0]' FROM generate_series(1, 101)",
        (MODEL, theirs),
    )
    generation = world.holds(head(), owner=theirs)
    world.taught(head())
    world.conn.execute(
        "UPDATE model_replicas SET heads = heads || jsonb_build_object(%s::text, %s::int)",
        (head_name(theirs, "labels"), generation),
    )
    for _ in range(2):
        world.rescorer.turn(world.conn)
    rows = world.conn.execute("SELECT done FROM rescorings").fetchall()
    assert [row["done"] for row in rows] == [100, 100]


def test_a_model_of_a_stage_has_no_progress_and_a_head_s_is_in_its_view(
    world: World, look: Photo
) -> None:
    look(RECEIPT)
    world.taught(head())
    world.turns()
    shown = model_reports.model(world.conn, OWNER, head_name(OWNER, "labels"))
    assert shown.rescoring is not None
    assert shown.rescoring.state == "done"
    assert model_reports.model(world.conn, OWNER, "embedder").rescoring is None
