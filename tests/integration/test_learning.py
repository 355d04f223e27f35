"""Which photos people are asked about first, audits, and what answers tell, on a real catalog."""

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid5

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from catalog_seed import OWNER, Look, Seed, picture
from darkroom_cli.app import build
from darkroom_schemas.heads import head_name
from gateway import db, migrations
from gateway.catalog import audits, labels, review_ranks, reviews
from gateway.catalog.label_shapes import Wish
from gateway.catalog.review_shapes import Order
from gateway.control.head_files import HeadFiles
from gateway.control.learning import Learning, Ranker
from heads import Head, Rejection
from sphere import around, middles
from streamkit import ObjectStore, Reject

VERSION = "stub@1"
SET = "labels"


class NoStore:
    def get(self, uri: str, *, limit: int) -> bytes:
        raise Reject("store_not_allowed", f"{uri} is not read here ({limit})")


class Hours:
    """A clock that is told the time."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def add(
    conn: db.Conn,
    sure: Sequence[float],
    outcome: str = "review",
    label: str = "cat",
    vectors: Any = None,
) -> list[UUID]:
    """Photos with an outcome each, the surest label of which is as sure as this; their ids, and so
    their lots, are the same in each run."""
    (row,) = conn.execute("SELECT count(*) AS before FROM photos")
    photos = [uuid5(UUID(OWNER), str(row["before"] + at)) for at in range(len(sure))]
    sent = [None] * len(photos) if vectors is None else [str(one.tolist()) for one in vectors]
    rows = {"owner": OWNER, "photos": photos, "sure": list(sure), "outcome": outcome}
    given = {**rows, "label": label, "vectors": sent, "version": VERSION}
    with conn.transaction():
        conn.execute(
            "INSERT INTO photos (photo_id, owner, sha256, source_uri, rendition_uri, thumbnail_uri)"
            " SELECT photo, %(owner)s, photo::text, 'file:///x', 'file:///x', 'file:///x'"
            " FROM unnest(%(photos)s::uuid[]) AS photo",
            given,
        )
        conn.execute(
            "INSERT INTO embeddings (photo_id, model_version, owner, vector)"
            " SELECT photo, %(version)s, %(owner)s, sent::vector"
            " FROM unnest(%(photos)s::uuid[], %(vectors)s::text[]) AS given (photo, sent)"
            " WHERE sent IS NOT NULL",
            given,
        )
        conn.execute(
            "INSERT INTO outcomes (analysis_id, revision, photo_id, owner, policy_revision, lane,"
            " outcome, label, confidence, calibrated, labels, partial, failed_stages, parts,"
            " reason, decided_at, event_id)"
            " SELECT gen_random_uuid(), 1, photo, %(owner)s, 1, 'batch', %(outcome)s, %(label)s,"
            " sure, true, jsonb_build_array(jsonb_build_object('name', %(label)s::text,"
            " 'confidence', sure)), false, '{}', '[]', 'as it is', clock_timestamp(),"
            " gen_random_uuid()"
            " FROM unnest(%(photos)s::uuid[], %(sure)s::float8[]) AS given (photo, sure)",
            given,
        )
    return photos


def look(conn: db.Conn, ranker: Ranker | None = None) -> int:
    return (ranker or Ranker(HeadFiles(NoStore()))).turn(conn)


def take(
    conn: db.Conn, count: int, who: str = "ada", order: Order = "useful", lot: float = 0.0
) -> list[UUID]:
    items = reviews.lease(conn, OWNER, who, count, order, 60.0, lambda: lot)
    return [UUID(item.photo_id) for item in items]


def free(conn: db.Conn) -> None:
    conn.execute("UPDATE reviews SET lease = NULL, leased_to = NULL, leased_until = NULL")


def crowds(conn: db.Conn) -> dict[UUID, int]:
    """Photos to the cluster in which they are: one that is large and doubtful, and six others."""
    sizes = (60, *[8] * 6)
    found: dict[UUID, int] = {}
    for at, (middle, size) in enumerate(zip(middles(7), sizes, strict=True)):
        doubt = 0.9 if at == 0 else 0.7
        sure = [1 - doubt + 0.001 * one for one in range(size)]
        photos = add(conn, sure, vectors=around(middle, size, at, 0.3))
        found |= dict.fromkeys(photos, at)
    return found


def test_useful_photos_are_of_more_kinds_than_doubtful_ones(conn: db.Conn) -> None:
    of = crowds(conn)
    assert take(conn, 20) == (by_doubt := take_again(conn, 20)), "no look was taken: as by doubt"
    assert {of[one] for one in by_doubt} == {0}
    free(conn)
    assert look(conn) == 1
    useful = take(conn, 20)
    assert len({of[one] for one in useful[:7]}) == 7
    assert useful[0] in by_doubt


def take_again(conn: db.Conn, count: int) -> list[UUID]:
    free(conn)
    return take(conn, count, order="uncertain")


def test_two_reviewers_at_once_get_different_photos_of_different_kinds(
    database: str, conn: db.Conn
) -> None:
    of = crowds(conn)
    look(conn)
    together = threading.Barrier(2)

    def works(who: str) -> list[UUID]:
        with db.connect(database, name=who) as own:
            together.wait(timeout=30)
            return take(own, 2, who) + take(own, 2, who)

    with ThreadPoolExecutor(2) as pool:
        ada, bob = pool.map(works, ("ada", "bob"))
    assert len({*ada, *bob}) == 8
    assert len({of[one] for one in (*ada, *bob)}) >= 6
    with ThreadPoolExecutor(2) as pool:
        shares = list(pool.map(lambda who: rest(database, who), ("ada", "bob")))
    seen = [*ada, *bob, *shares[0], *shares[1]]
    assert sorted(seen) == sorted(of), "nobody misses any"


def rest(database: str, who: str) -> list[UUID]:
    found: list[UUID] = []
    with db.connect(database, name=who) as own:
        while some := take(own, 3, who):
            found += some
    return found


def test_what_comes_between_two_looks_goes_by_doubt_among_the_others(conn: db.Conn) -> None:
    crowds(conn)
    look(conn)
    (all_doubt,) = add(conn, [0.0])
    (like_the_rest,) = add(conn, [0.301])
    (sure,) = add(conn, [0.99])
    first = take(conn, 1)
    assert first == [all_doubt]
    others = [one for _ in range(7) for one in take(conn, 20)]
    assert others[-1] == sure
    assert 60 < others.index(like_the_rest) < 108
    assert len(others) == 110


def test_a_rank_is_of_an_outcome_and_ends_with_it(conn: db.Conn, seed: Seed) -> None:
    photo = seed.analyzed("a.jpg", picture(), Look(labels=(("cat", 0.1),), outcome="review"))
    (sure,) = add(conn, [0.5], vectors=np.array([[0.0, 1.0, 0.0]], np.float32))
    look(conn)
    assert len(rows(conn)) == 2
    seed.outcome(photo, Look(labels=(("dog", 0.6),), outcome="suggested"), revision=2)
    assert take(conn, 2) == [sure, UUID(photo.photo_id)]


def rows(conn: db.Conn) -> list[UUID]:
    found = conn.execute("SELECT photo_id FROM review_ranks ORDER BY place")
    return [row["photo_id"] for row in found]


def test_what_people_have_seen_or_look_at_is_not_asked_again_first(
    conn: db.Conn, client: httpx.Client
) -> None:
    one, two, three = (around(middle, 6, at, 0.2) for at, middle in enumerate(middles(3)))
    first, second, third = (add(conn, [0.5] * 6, vectors=vectors) for vectors in (one, two, three))
    said = client.post(f"/v1/reviews/{first[0]}", json={"answer": "none", "by": "ada"})
    assert said.status_code == 200
    conn.execute(
        "UPDATE reviews SET lease = gen_random_uuid(), leased_to = 'bob',"
        " leased_until = now() + interval '1 h' WHERE photo_id = %s",
        (second[0],),
    )
    look(conn)
    assert rows(conn)[0] in third
    assert second[0] not in rows(conn)


def test_a_look_is_taken_again_once_enough_has_changed(conn: db.Conn, client: httpx.Client) -> None:
    clock = Hours()
    ranker = Ranker(HeadFiles(NoStore()), clock)
    assert look(conn, ranker) == 0, "nothing waits"
    photos = add(conn, [0.5] * 20, vectors=around(middles(1)[0], 20, 1))
    assert look(conn, ranker) == 1
    assert look(conn, ranker) == 0, "nothing is new"
    clock.now += 3600
    assert look(conn, ranker) == 0
    for photo in photos[:7]:
        client.post(f"/v1/reviews/{photo}", json={"answer": "none", "by": "ada"})
    assert look(conn, ranker) == 1, "some answers, long ago"
    for photo in photos[7:14]:
        client.post(f"/v1/reviews/{photo}", json={"answer": "none", "by": "ada"})
    assert look(conn, ranker) == 0, "too few, too soon"
    client.post(f"/v1/reviews/{photos[14]}", json={"answer": "none", "by": "ada"})
    assert look(conn, ranker) == 1
    assert set(rows(conn)) == set(photos[15:])
    conn.execute("UPDATE reviews SET waiting = false")
    look(conn, ranker)
    assert rows(conn) == []


def test_photos_without_a_vector_or_with_another_ones_go_by_doubt(conn: db.Conn) -> None:
    (bare,) = add(conn, [0.2])
    assert look(conn) == 0
    assert rows(conn) == []
    several = add(conn, [0.5] * 5, vectors=around(middles(1)[0], 5, 1))
    (other,) = add(conn, [0.3], vectors=np.ones((1, 2)))
    conn.execute("UPDATE embeddings SET model_version = 'x@1' WHERE photo_id = %s", (other,))
    assert look(conn) == 1
    assert set(rows(conn)) == set(several)
    assert take(conn, 2) == [bare, other]


@pytest.fixture
def activated(conn: db.Conn, store: ObjectStore) -> Head:
    """A head that holds for the owner's set: it doubts what lies between its two labels."""
    middle = middles(2)
    bias = np.zeros(2, np.float32)
    rule = Rejection(0.0, 0.0, 40.0)
    head = Head(("a", "b"), VERSION, 20 * middle, bias, middle, 1.0, rule)
    uri = store.put("models/head", head.data)
    model = head_name(OWNER, SET)
    sha = head.version
    conn.execute("INSERT INTO model_files (sha256, byte_size, uri) VALUES (%s, 1, %s)", (sha, uri))
    conn.execute(
        "INSERT INTO model_versions (name, version, engine, options, files, sha256, built_in,"
        " metrics, stage, created_by, embedding_version) VALUES (%s, 'head@1', 'head', '{}',"
        " jsonb_build_array(jsonb_build_object('path', 'head', 'sha256', %s::text,"
        " 'byte_size', 1)), %s, false, '{}', 'active', 'test', %s)",
        (model, sha, sha, VERSION),
    )
    conn.execute(
        "INSERT INTO model_activations (name, generation, version, shadow_share, change,"
        " activated_by, activated_at) VALUES (%s, 1, 'head@1', 0, 'activated', 'test', now())",
        (model,),
    )
    return head


def test_the_own_head_tells_how_doubtful_photos_are(
    conn: db.Conn, store: ObjectStore, activated: Head
) -> None:
    one, two = activated.means
    between = (one + two) / np.linalg.norm(one + two)
    add(conn, [0.1] * 6, vectors=around(one, 6, 1, 0.2))
    doubted = add(conn, [0.9] * 6, vectors=around(between, 6, 2, 0.2))
    look(conn)
    assert rows(conn)[0] not in doubted
    conn.execute("DELETE FROM review_ranks")
    assert look(conn, Ranker(HeadFiles(store))) == 1
    assert rows(conn)[0] in doubted


# Audits


def test_of_what_was_labelled_without_asking_a_share_is_audited_by_lot(conn: db.Conn) -> None:
    add(conn, [0.9] * 1000, "auto_labeled")
    add(conn, [0.9] * 120, "auto_labeled", "dog")
    add(conn, [0.9] * 20, "auto_labeled", "fox")
    asked = add(conn, [0.4] * 5)
    assert audits.draw(conn, 0.0) == 0
    drawn = audits.draw(conn, 0.1)
    by_label = {
        row["label"]: row["n"]
        for row in conn.execute(
            "SELECT label, count(*) AS n FROM reviews WHERE audit AND waiting GROUP BY label"
        )
    }
    assert 60 <= by_label["cat"] <= 140
    assert by_label["dog"] >= 2
    lots = conn.execute(
        "SELECT min(photo_lot(photo_id)) FILTER (WHERE NOT audit) AS out,"
        " max(photo_lot(photo_id)) FILTER (WHERE audit) AS within"
        " FROM reviews WHERE label = 'cat' AND outcome = 'auto_labeled'"
    ).fetchone()
    assert lots is not None
    assert lots["within"] < 0.1 <= lots["out"]
    assert drawn == sum(by_label.values())
    assert audits.draw(conn, 0.1) == 0, "the same lots"
    waiting = conn.execute("SELECT count(*) AS n FROM reviews WHERE waiting").fetchone()
    assert waiting == {"n": drawn + len(asked)}


def test_one_of_fifty_of_each_label_is_audited_however_the_lots_fall(conn: db.Conn) -> None:
    photos = add(conn, [0.9] * 49, "auto_labeled")
    assert audits.draw(conn, 1e-9) == 0
    photos += add(conn, [0.9], "auto_labeled")
    assert audits.draw(conn, 1e-9) == 1
    row = conn.execute(
        "SELECT (SELECT photo_id FROM reviews WHERE audit) = (SELECT photo_id FROM reviews"
        " ORDER BY photo_lot(photo_id) LIMIT 1) AS lowest"
    ).fetchone()
    assert row == {"lowest": True}
    add(conn, [0.9] * 100, "auto_labeled")
    assert audits.draw(conn, 1e-9) == 2


def test_one_of_ten_is_an_audit_while_both_wait(conn: db.Conn, client: httpx.Client) -> None:
    add(conn, [0.4] * 12)
    auto = add(conn, [0.95] * 3, "auto_labeled")
    audits.draw(conn, 1.0)
    stats = client.get("/v1/reviews").json()
    assert (stats["waiting"], stats["audits"]) == (15, 3)
    assert stats["by_outcome"] == {"review": 12, "suggested": 0}
    assert take(conn, 1, lot=0.89)[0] not in auto
    assert take(conn, 1, lot=0.91)[0] in auto
    ten = take(conn, 10, lot=0.0)
    assert len(set(ten) & set(auto)) == 1
    assert set(take(conn, 10)) & set(auto), "none else waits"
    assert take(conn, 10) == []
    free(conn)
    items = client.get("/v1/reviews/next", params={"count": 20}).json()["items"]
    assert {one["photo_id"]: one["audit"] for one in items}[str(auto[0])] is True
    assert sum(one["audit"] for one in items) == 3


def test_an_audit_is_answered_once_undone_and_ends_with_its_outcome(
    conn: db.Conn, client: httpx.Client, seed: Seed
) -> None:
    sure = Look(labels=(("cat", 0.95),))
    photo = seed.analyzed("a.jpg", picture(), sure)
    audits.draw(conn, 1.0)
    place = f"/v1/reviews/{photo.photo_id}"
    assert client.post(place, json={"answer": "confirm", "by": "ada"}).status_code == 200
    assert take(conn, 5) == []
    assert audits.draw(conn, 1.0) == 0
    client.delete(place, params={"by": "ada"})
    assert take(conn, 5) == [UUID(photo.photo_id)], "it is asked again"
    free(conn)
    seed.outcome(photo, Look(labels=(("dog", 0.99),)), revision=2)
    assert take(conn, 5) == []
    assert audits.draw(conn, 1.0) == 1
    client.post(place, json={"answer": "none", "by": "ada"})
    seed.outcome(photo, Look(labels=(("fox", 0.99),)), revision=3)
    assert audits.draw(conn, 1.0) == 0, "somebody has said what it shows"


def test_both_are_done_in_one_turn(conn: db.Conn) -> None:
    add(conn, [0.9] * 3, "auto_labeled")
    add(conn, [0.5] * 3, vectors=around(middles(1)[0], 3, 1))
    Learning(Ranker(HeadFiles(NoStore())), 1.0).turn(conn)
    assert len(rows(conn)) == 3
    assert len(take(conn, 20)) == 6


# Photos of which a person has said something beside reviews


def gives(client: httpx.Client, photo: object, label: str | None, name: str = SET) -> None:
    body = {"photo_id": str(photo), "label": label, "by": "ada"}
    response = client.post(f"/v1/labels/{name}/examples", json=body)
    assert response.status_code == 200, response.text


@pytest.fixture
def made(client: httpx.Client) -> httpx.Client:
    """The door, with two sets."""
    client.put(f"/v1/labels/{SET}", json={"labels": ["cat", "dog"], "by": "ada"})
    client.put("/v1/labels/papers", json={"labels": ["receipt"], "by": "ada"})
    return client


def test_examples_are_not_audited(conn: db.Conn, made: httpx.Client) -> None:
    photos = add(conn, [0.9] * 6, "auto_labeled")
    gives(made, photos[0], "cat")
    gives(made, photos[1], None, "papers")
    gives(made, photos[2], "dog")
    made.delete(f"/v1/labels/{SET}/examples/{photos[2]}")
    assert audits.draw(conn, 1.0) == 4
    drawn = {row["photo_id"] for row in conn.execute("SELECT photo_id FROM reviews WHERE audit")}
    assert drawn == set(photos[2:])
    gives(made, photos[3], "dog")
    assert set(take(conn, 20)) == {photos[2], *photos[4:]}, "one that is an example by now is none"


def test_what_a_person_has_said_is_not_asked(conn: db.Conn, made: httpx.Client, seed: Seed) -> None:
    same, other, none, foreign, later = add(conn, [0.5] * 5)
    gives(made, same, "cat")
    gives(made, other, "dog")
    gives(made, none, None)
    gives(made, foreign, "receipt", "papers")

    def asked() -> set[UUID]:
        free(conn)
        return set(take(conn, 20))

    assert asked() == {other, none, foreign, later}
    gives(made, later, "cat")
    gives(made, same, "dog")
    assert asked() == {other, none, foreign}, "nobody asks what was said otherwise since"
    made.delete(f"/v1/labels/{SET}/examples/{later}")
    assert asked() == {other, none, foreign, later}, "nothing is said of it any more"

    seen = seed.analyzed("a.jpg", picture(), Look(labels=(("fox", 0.5),), outcome="review"))
    gives(made, seen.photo_id, "cat")
    assert UUID(seen.photo_id) in asked()
    seed.outcome(seen, Look(labels=(("cat", 0.6),), outcome="suggested"), revision=2)
    assert UUID(seen.photo_id) not in asked()
    made.post(f"/v1/reviews/{seen.photo_id}", json={"answer": "correct", "label": "dog"})
    seed.outcome(seen, Look(labels=(("cat", 0.7),), outcome="suggested"), revision=3)
    assert UUID(seen.photo_id) in asked(), "the last word is another one"


def test_who_takes_an_answer_back_is_not_asked_what_they_gave(
    conn: db.Conn, made: httpx.Client
) -> None:
    (photo,) = add(conn, [0.5])
    gives(made, photo, "cat")
    made.post(f"/v1/reviews/{photo}", json={"answer": "none", "by": "ada"})
    made.delete(f"/v1/reviews/{photo}", params={"by": "ada"})
    assert take(conn, 5) == []


def test_answers_about_examples_are_no_precision(
    conn: db.Conn, made: httpx.Client, seed: Seed
) -> None:
    stranger, example, since = add(conn, [0.6] * 3, "suggested")
    gives(made, example, None, "papers")
    for photo in (stranger, example, since):
        made.post(f"/v1/reviews/{photo}", json={"answer": "confirm", "by": "ada"})
    gives(made, since, "cat")
    made.delete(f"/v1/labels/papers/examples/{example}")
    (cat,) = made.get("/v1/precision").json()["items"]
    assert cat["asked"]["answers"] == 2, "what was an example when it was answered does not count"

    seen = seed.analyzed("a.jpg", picture(), Look(labels=(("dog", 0.5),), outcome="review"))
    place = f"/v1/reviews/{seen.photo_id}"
    made.post(place, json={"answer": "none", "by": "ada"})
    made.post(place, json={"answer": "confirm", "by": "ada"})
    (dog,) = [one for one in made.get("/v1/precision").json()["items"] if one["label"] == "dog"]
    assert (dog["asked"]["answers"], dog["asked"]["right"]) == (1, 1), "changed their mind"
    seed.outcome(seen, Look(labels=(("cat", 0.7),), outcome="suggested"), revision=2)
    made.post(place, json={"answer": "none", "by": "ada"})
    (cat,) = made.get("/v1/precision").json()["items"]
    assert (cat["label"], cat["asked"]["answers"]) == ("cat", 2), "it was one by its last answer"


def test_what_was_said_before_migrating_is_settled_then(
    database: str, conn: db.Conn, made: httpx.Client
) -> None:
    said, other = add(conn, [0.5] * 2)
    (audited,) = add(conn, [0.9], "auto_labeled")
    assert audits.draw(conn, 1.0) == 1
    migrations.migrate(database, "0012", lose_data=True)
    wishes = [Wish(str(said), "cat"), Wish(str(audited), "dog")]
    labels.give(conn, (OWNER, SET), wishes, "folder", "ada")
    answered(conn, [audited], [False])
    conn.execute(
        "UPDATE reviews SET answer_id = NULL, waiting = true, audit = true WHERE photo_id = %s",
        (audited,),
    )
    assert set(take(conn, 20)) == {said, other, audited}
    free(conn)
    migrations.upgrade(database)
    assert take(conn, 20) == [other]
    taught = conn.execute("SELECT taught FROM review_answers").fetchall()
    assert taught == [{"taught": True}]


# Examples that a machine gave


def test_own_labels_that_nobody_was_asked_about_are_examples_of_the_machine(
    conn: db.Conn, client: httpx.Client, seed: Seed
) -> None:
    client.put(f"/v1/labels/{SET}", json={"labels": ["cat", "dog"], "by": "ada"})
    mine, other = head_name(OWNER, SET), head_name(OWNER, "others")
    number = 0

    def photo(label: str, head: str | None, outcome: str = "auto_labeled") -> str:
        nonlocal number
        number += 1
        own = ((label, 0.9, head),) if head else ()
        look_ = Look(labels=((label, 0.9),), outcome=outcome, own=own)
        return seed.analyzed(f"{number}.jpg", picture(size=(40 + number, 30)), look_).photo_id

    def example(label: str | None) -> str:
        given = photo("tabby", None, "review")
        body = {"photo_id": given, "label": label, "by": "ada"}
        assert client.post(f"/v1/labels/{SET}/examples", json=body).status_code == 200
        return given

    def auto(**options: bool) -> list[str]:
        found = labels.all_examples(conn, OWNER, SET, **options)
        return sorted(one.photo_id for one in found if one.source == "auto")

    people = [example("cat"), example("cat"), example(None)]
    cats = [photo("cat", mine) for _ in range(6)]
    photo("dog", mine), photo("cat", other), photo("cat", None), photo("cat", mine, "suggested")
    chosen = auto()
    assert len(chosen) == 2, "as many as people gave, and none of a label without theirs"
    assert set(chosen) <= set(cats)
    assert auto() == chosen
    assert auto(auto=False) == []
    everything = {one.photo_id: one for one in labels.all_examples(conn, OWNER, SET)}
    assert set(everything) == {*people, *chosen}
    assert (everything[chosen[0]].label, everything[chosen[0]].said_by) == ("cat", "head@1")
    shown = client.get(f"/v1/labels/{SET}").json()
    count = next(one for one in shown["counts"] if one["label"] == "cat")
    assert (count["examples"], count["person"], count["auto"]) == (4, 2, 2)
    assert shown["verdict"]["missing"][0] == {"label": "cat", "needs": 1}, "people's count"

    client.post(f"/v1/reviews/{chosen[0]}", json={"answer": "none", "by": "bob"})
    body = {"photo_id": chosen[1], "label": "dog", "by": "ada"}
    client.post(f"/v1/labels/{SET}/examples", json=body)
    client.delete(f"/v1/labels/{SET}/examples/{chosen[1]}")
    assert not set(auto()) & set(chosen), "a person said otherwise"
    audits.draw(conn, 1.0)
    assert auto() == [], "what is audited is not learned from before it is answered"


# Precision and thresholds


def answered(conn: db.Conn, photos: Sequence[UUID], right: Sequence[bool]) -> None:
    """Answers about photos, audits or not, as the door would have written them down."""
    conn.execute(
        """
        WITH told AS (
          INSERT INTO review_answers (answer_id, owner, photo_id, analysis_id, revision, reviewer,
            answer, label, suggested_label, suggested_confidence, calibrated, audit, answered_at)
          SELECT gen_random_uuid(), r.owner, r.photo_id, r.analysis_id, r.revision, 'ada',
            CASE WHEN given.ok THEN 'confirm' ELSE 'none' END,
            CASE WHEN given.ok THEN r.label END, r.label, 1 - r.doubt, true, r.audit, now()
          FROM unnest(%s::uuid[], %s::bool[]) AS given (photo_id, ok)
          JOIN reviews r USING (photo_id)
          RETURNING photo_id, answer_id)
        UPDATE reviews r SET answer_id = told.answer_id, waiting = false
        FROM told WHERE told.photo_id = r.photo_id
        """,
        (list(photos), list(right)),
    )


def world(conn: db.Conn, photos: int = 20_000) -> None:
    """A label that is right as often as its confidence says; above 0.8 it was given without
    asking. All that were asked about are answered, and half of the others, by lot."""
    draw = np.random.default_rng(3)
    sure = draw.uniform(0.5, 1.0, photos)
    auto = add(conn, sure[sure > 0.8].tolist(), "auto_labeled")
    asked = add(conn, sure[sure <= 0.8].tolist(), "suggested")
    audits.draw(conn, 0.5)
    confidence = dict(zip((*auto, *asked), [*sure[sure > 0.8], *sure[sure <= 0.8]], strict=True))
    chosen = [row["photo_id"] for row in conn.execute("SELECT photo_id FROM reviews WHERE waiting")]
    chosen.sort(key={one: at for at, one in enumerate(confidence)}.__getitem__)
    lots = draw.uniform(size=len(chosen))
    answered(conn, chosen, [lot < confidence[one] for one, lot in zip(chosen, lots, strict=True)])


def test_precision_is_told_by_label_and_confidence(conn: db.Conn, client: httpx.Client) -> None:
    assert client.get("/v1/precision").json()["items"] == []
    auto = add(conn, [0.91] * 8 + [0.99] * 2, "auto_labeled")
    audits.draw(conn, 1.0)
    answered(conn, auto, [True] * 9 + [False])
    unasked = add(conn, [0.9], "auto_labeled")
    client.post(f"/v1/reviews/{unasked[0]}", json={"answer": "none", "by": "ada"})
    answered(conn, add(conn, [0.6] * 4, "suggested"), [True, False, False, False])
    skipped = add(conn, [0.6], "suggested")
    client.post(f"/v1/reviews/{skipped[0]}", json={"answer": "skip", "by": "ada"})
    dogs = add(conn, [0.7], "suggested", "dog")
    client.post(f"/v1/reviews/{dogs[0]}", json={"answer": "correct", "label": "cat", "by": "ada"})

    found = client.get("/v1/precision").json()
    cat, dog = found["items"]
    assert (cat["label"], dog["label"]) == ("cat", "dog")
    assert (cat["audits"]["answers"], cat["audits"]["right"]) == (10, 9)
    assert cat["audits"]["precision"] == 0.9
    assert (round(cat["audits"]["low"], 3), round(cat["audits"]["high"], 3)) == (0.596, 0.982)
    assert found["audits"] == cat["audits"]
    assert (cat["asked"]["answers"], cat["asked"]["right"]) == (4, 1)
    assert (dog["asked"]["answers"], dog["asked"]["right"], dog["audits"]["low"]) == (1, 0, None)
    bands = {
        one["least"]: (one["audits"]["answers"], one["asked"]["answers"]) for one in cat["bands"]
    }
    assert bands == {0.6: (0, 4), 0.9: (8, 0), 0.95: (2, 0)}


def test_the_suggested_threshold_is_near_the_true_one_and_shows_what_it_changes(
    conn: db.Conn, client: httpx.Client, door: str
) -> None:
    world(conn)
    add(conn, [0.7] * 3, "suggested", "dog")
    answered(conn, add(conn, [0.6], "suggested", "dog"), [True])
    found = client.get("/v1/policy/suggestions", params={"target": 0.95}).json()
    cat, dog = found["items"]
    assert (dog["label"], dog["state"], dog["missing"]) == ("dog", "too_few_answers", 19)
    assert (cat["label"], cat["state"], cat["now"]) == ("cat", "suggested", None)
    above = cat["thresholds"]["auto_above"]
    assert 0.88 <= above <= 0.95, "truly 0.9"
    assert cat["low"] >= 0.95
    changes = {(one["now"], one["then"]): one["photos"] for one in cat["changes"]}
    row = conn.execute(
        "SELECT count(*) FILTER (WHERE confidence > %(t)s) AS auto,"
        " count(*) FILTER (WHERE confidence <= %(t)s AND confidence > 0.8) AS fewer,"
        " count(*) FILTER (WHERE confidence <= 0.8) AS same FROM outcomes WHERE label = 'cat'",
        {"t": above},
    ).fetchone()
    assert row is not None
    assert changes == {
        ("auto_labeled", "auto_labeled"): row["auto"],
        ("auto_labeled", "suggested"): row["fewer"],
        ("suggested", "suggested"): row["same"],
    }
    assert all(len(one["samples"]) == 5 for one in cat["changes"])
    lower = client.get("/v1/policy/suggestions", params={"target": 0.8, "label": "cat"}).json()
    assert 0.58 <= lower["items"][0]["thresholds"]["auto_above"] <= 0.66, "truly 0.6"
    assert client.get("/v1/policy/suggestions", params={"target": 1}).status_code == 422

    words = ["policy", "suggest", "--target", "0.95", "--apply", "--url", door, "--by", "ada"]
    refused = CliRunner().invoke(build(), words)
    assert refused.exit_code == 2, "the first policy needs thresholds for all others"
    words += ["--auto-above", "0.8", "--review-below", "0.5"]
    applied = CliRunner().invoke(build(), [*words, "--json"])
    assert applied.exit_code == 0, applied.output
    assert json.loads(applied.stdout)["made"]["revision"] == 2
    policy = client.get("/v1/policy").json()["policy"]
    assert policy["labels"] == {"cat": cat["thresholds"]}
    assert (policy["changed_by"], policy["auto_above"]) == ("ada", 0.8)
    assert "cat" in policy["reason"]
    (entry,) = client.get("/v1/audit", params={"what": "policy"}).json()["items"]
    assert entry["who"] == "ada"
    after = client.get("/v1/policy/suggestions").json()
    assert (after["revision"], after["items"][0]["now"]) == (2, cat["thresholds"])


def test_what_partly_failed_goes_to_a_person_whatever_the_threshold(
    conn: db.Conn, client: httpx.Client
) -> None:
    photos = add(conn, [0.9] * 100, "review")
    conn.execute("UPDATE outcomes SET partial = true WHERE photo_id = ANY(%s)", (photos[:40],))
    answered(conn, photos, [True] * 100)
    (cat,) = client.get("/v1/policy/suggestions").json()["items"]
    changes = {one["then"]: one["photos"] for one in cat["changes"]}
    assert changes == {"review": 40, "auto_labeled": 60}


def test_people_read_it_in_a_terminal(conn: db.Conn, door: str) -> None:
    def said(*words: str) -> Any:
        return CliRunner().invoke(build(), [*words, "--url", door], env={"COLUMNS": "200"})

    assert "Nobody has answered" in said("review", "precision").stdout
    assert "Nobody has answered" in said("policy", "suggest").stdout
    nothing = said("policy", "suggest", "--apply")
    assert nothing.exit_code == 1
    auto = add(conn, [0.91] * 100, "auto_labeled")
    audits.draw(conn, 1.0)
    answered(conn, auto[:95], [True] * 95)
    told = said("review", "precision", "--label", "cat").stdout
    assert "100 % of 95 audits" in told
    assert "0.90 - 0.95" in told
    told = said("policy", "suggest").stdout
    assert "0.9" in told
    assert "at least 96 %" in told
    assert "5 are audits" in said("review", "stats").stdout
    assert "audit" in said("review", "next", "--order", "newest").stdout
    dogs = add(conn, [0.6] * 7, "suggested", "dog")
    answered(conn, dogs, [True] * 7)
    assert "13 more answers are needed" in said("policy", "suggest").stdout


def test_ranks_are_made_while_reviewers_take_and_answer(database: str, conn: db.Conn) -> None:
    """Nobody waits for the other, and nobody gets nothing while photos wait."""
    of = crowds(conn)
    stop = threading.Event()

    def ranks() -> int:
        looks = 0
        with db.connect(database, name="ranker") as own:
            while not stop.is_set():
                found = review_ranks.candidates(own, OWNER)
                seen = review_ranks.seen(own, OWNER, found)
                review_ranks.keep(own, OWNER, review_ranks.in_order(seen) if seen else [])
                looks += 1
        return looks

    with ThreadPoolExecutor(3) as pool:
        looking = pool.submit(ranks)
        shares = list(pool.map(lambda who: rest(database, who), ("ada", "bob")))
        stop.set()
        assert looking.result(timeout=60) > 0
    seen = [one for share in shares for one in share]
    assert sorted(seen) == sorted(of)
