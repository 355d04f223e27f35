"""Photos that a person shall look at, on a real catalog and a real api door."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from websockets.sync.client import connect

from api_door import api_door, door_settings
from catalog_seed import OWNER, Look, Seed, Seeded, picture
from darkroom_schemas import avro, names
from gateway import db, migrations
from gateway.catalog import changes, keys, reviews
from gateway.catalog.keys import KeyRequest
from gateway.catalog.outbox import Outbox
from gateway.catalog.review_shapes import Order, ReviewItem
from infrastructure import Infrastructure
from streamkit import Codec

DOUBTFUL = Look(labels=(("cat", 0.4),), outcome="review")


def photos(seed: Seed, *confidences: float, outcome: str = "review") -> list[Seeded]:
    """Photos that wait for a person, the surest of them as these say."""
    return [
        seed.analyzed(
            f"{number}.jpg",
            picture(size=(40 + number, 30 + int(sure * 90))),
            Look(labels=(("cat", sure), ("dog", 0.01)), outcome=outcome),
        )
        for number, sure in enumerate(confidences)
    ]


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [one["photo_id"] for one in items]


@pytest.fixture
def get_next(client: httpx.Client) -> Callable[..., list[dict[str, Any]]]:
    """Photos that somebody is given."""

    def ask(by: str = "ada", **query: Any) -> list[dict[str, Any]]:
        answer = client.get("/v1/reviews/next", params={"by": by, **query})
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    return ask


Next = Callable[..., list[dict[str, Any]]]


class Told:
    """The schema of answers, whatever id a door without a registry gave it."""

    def id_of(self, _subject: str, _schema: Mapping[str, Any]) -> int:
        raise AssertionError("nothing is encoded here")

    def schema(self, _number: int) -> Mapping[str, Any]:
        return avro.schema_of(names.REVIEW_ANSWERED)


@pytest.fixture
def events(conn: db.Conn) -> Callable[[], list[dict[str, Any]]]:
    """Answers that wait in the outbox, as their schema reads them."""
    codec = Codec(Told(), avro.schema_of)

    def read() -> list[dict[str, Any]]:
        rows = conn.execute(
            "SELECT topic, key, event_id, value FROM outbox WHERE topic = %s ORDER BY id",
            (names.REVIEW_ANSWERED,),
        )
        found = []
        for row in rows:
            value = dict(codec.decode(row["topic"], row["value"]))
            assert (row["key"], str(row["event_id"])) == (value["photo_id"], value["answer_id"])
            found.append(value)
        return found

    return read


Events = Callable[[], list[dict[str, Any]]]


def post(client: httpx.Client, photo_id: str, answer: str, **more: Any) -> httpx.Response:
    return client.post(f"/v1/reviews/{photo_id}", json={"answer": answer, "by": "ada", **more})


def said(client: httpx.Client, photo_id: str, answer: str, **more: Any) -> dict[str, Any]:
    response = post(client, photo_id, answer, **more)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def undo(client: httpx.Client, photo_id: str, by: str = "ada", **query: Any) -> httpx.Response:
    return client.delete(f"/v1/reviews/{photo_id}", params={"by": by, **query})


def reviewed(client: httpx.Client, photo_id: str) -> Any:
    return client.get(f"/v1/photos/{photo_id}").json()["reviewed"]


@pytest.mark.parametrize("order", ["uncertain", "newest", "oldest"])
def test_photos_come_in_the_order_that_is_asked_for(seed: Seed, get_next: Next, order: str) -> None:
    sure, unsure, between = photos(seed, 0.45, 0.1, 0.3)
    photos(seed, 0.95, outcome="auto_labeled")
    seed.requested("pending.jpg", picture("#ffffff"))
    by_order = {
        "uncertain": [unsure, between, sure],
        "newest": [between, unsure, sure],
        "oldest": [sure, unsure, between],
    }
    expected = [one.photo_id for one in by_order[order]]
    first = get_next(count=2, order=order)
    assert ids(first) + ids(get_next(count=20, order=order)) == expected
    assert get_next(order=order) == []


def test_a_reviewer_gets_what_they_need(client: httpx.Client, seed: Seed, get_next: Next) -> None:
    (photo,) = photos(seed, 0.4)
    (item,) = get_next()
    assert (item["photo_id"], item["analysis_id"]) == (photo.photo_id, photo.analysis_id)
    assert (item["revision"], item["label"], item["confidence"]) == (1, "cat", 0.4)
    assert item["labels"] == [
        {"name": "cat", "confidence": 0.4},
        {"name": "dog", "confidence": 0.01},
    ]
    assert (item["outcome"], item["reason"], item["doubt"]) == ("review", "cat as it is", 0.6)
    assert client.get(item["links"]["thumbnail"]).status_code == 200
    left = datetime.fromisoformat(item["leased_until"]) - datetime.now(UTC)
    assert timedelta(seconds=60) < left <= timedelta(seconds=120)


@pytest.mark.parametrize("order", ["uncertain", "oldest"])
def test_reviewers_at_once_never_get_the_same_photo_and_miss_none(
    database: str, seed: Seed, outbox: Outbox, order: Order
) -> None:
    waiting = photos(seed, *[0.01 * number for number in range(40)])
    people = 4
    together = threading.Barrier(people)

    def works(number: int) -> list[ReviewItem]:
        got: list[ReviewItem] = []
        with db.connect(database, name="reviewer") as own:
            together.wait(timeout=30)
            while some := reviews.lease(own, OWNER, f"reviewer {number}", 3, order, 60.0):
                got += some
        return got

    with ThreadPoolExecutor(people) as pool:
        shares = list(pool.map(works, range(people)))

    seen = [item.photo_id for share in shares for item in share]
    assert sorted(seen) == sorted(photo.photo_id for photo in waiting)
    assert len({item.lease for share in shares for item in share}) == 40


def test_a_photo_is_free_again_once_its_lease_ends_or_is_given_back(
    client: httpx.Client, conn: db.Conn, seed: Seed, get_next: Next
) -> None:
    (photo,) = photos(seed, 0.4)
    (item,) = get_next("ada")
    assert get_next("bob") == get_next("ada") == [], "nor does a second page of ada's get it"
    assert client.get("/v1/reviews").json()["leased"] == 1

    place = f"/v1/reviews/{photo.photo_id}/release"
    assert client.post(place, json={"by": "bob"}).json() == {"released": False}
    assert client.post(place, json={"lease": str(uuid4()), "by": "ada"}).json() == {
        "released": False
    }
    assert client.post(place, json={"lease": item["lease"]}).json() == {"released": True}
    assert ids(get_next("bob")) == [photo.photo_id]

    conn.execute("UPDATE reviews SET leased_until = now() - interval '1 s'")
    assert ids(get_next("ada")) == [photo.photo_id]


def test_an_answer_is_recorded_published_and_shown(
    client: httpx.Client, seed: Seed, get_next: Next, events: Events
) -> None:
    photo, other = photos(seed, 0.4, 0.3)
    (item, _) = get_next(count=2, order="oldest")
    answer = said(client, photo.photo_id, "correct", label="lynx", lease=item["lease"])
    (event,) = events()
    assert {name: event[name] for name in answer if name not in ("undone_at", "answered_at")} == {
        name: value for name, value in answer.items() if name not in ("undone_at", "answered_at")
    }
    assert event["answered_at"] == datetime.fromisoformat(answer["answered_at"])
    assert (event["owner"], event["reviewer"]) == (OWNER, "ada")
    assert (event["label"], event["suggested_label"]) == ("lynx", "cat")
    assert (event["suggested_confidence"], event["model_version"]) == (0.4, "stub@1")

    shown = client.get(f"/v1/photos/{photo.photo_id}").json()
    assert shown["reviewed"] == {
        name: answer[name] for name in ("answer_id", "answer", "label", "reviewer", "answered_at")
    }
    assert (shown["outcome"], shown["label"]) == ("review", "cat"), "the machine said so"
    assert reviewed(client, other.photo_id) is None
    seen = client.get("/v1/reviews").json()
    assert (seen["waiting"], seen["answered_today"]) == (1, 1)
    assert seen["today"][0] == {
        **{"reviewer": "ada", "answers": 1, "confirm": 0, "correct": 1, "none": 0, "skip": 0}
    }
    assert seen["by_outcome"] == {"review": 1, "suggested": 0}
    assert seen["by_label"] == [{"outcome": "review", "label": "cat", "waiting": 1}]


def test_an_answer_that_is_sent_again_is_recorded_once(
    client: httpx.Client, seed: Seed, get_next: Next, events: Events
) -> None:
    photo, other = photos(seed, 0.4, 0.3)
    leases = {item["photo_id"]: item["lease"] for item in get_next(count=2)}
    mine = {"answer_id": str(uuid4()), "lease": leases[photo.photo_id]}
    first = said(client, photo.photo_id, "confirm", **mine)
    assert said(client, photo.photo_id, "confirm", **mine) == first
    assert said(client, photo.photo_id, "confirm", label="cat", **mine) == first
    assert first["label"] == "cat"
    assert len(events()) == 1
    taken = (409, "answer_id_taken")
    assert code_of(post(client, photo.photo_id, "none", **mine)) == taken
    assert code_of(post(client, photo.photo_id, "confirm", **{**mine, "by": "bob"})) == taken
    assert code_of(post(client, other.photo_id, "confirm", answer_id=mine["answer_id"])) == taken
    assert len(events()) == 1


def test_many_who_send_one_answer_at_once_record_it_once(
    client: httpx.Client, seed: Seed, events: Events
) -> None:
    several = photos(seed, 0.4, 0.3, 0.2)
    answer_id = str(uuid4())

    def send(number: int) -> int:
        photo = several[number % 3].photo_id
        return post(client, photo, "none", answer_id=answer_id).status_code

    with ThreadPoolExecutor(9) as pool:
        codes = list(pool.map(send, range(9)))
    assert sorted(codes) == [200] * 3 + [409] * 6
    assert len(events()) == 1


@pytest.mark.parametrize(
    ("answer", "more", "code"),
    [
        ("correct", {}, "label_missing"),
        ("correct", {"label": "cat"}, "same_label"),
        ("confirm", {"label": "dog"}, "label_not_meant"),
        ("none", {"label": "cat"}, "label_not_meant"),
        ("skip", {"label": "cat"}, "label_not_meant"),
        ("correct", {"label": ""}, "invalid_request"),
        ("correct", {"label": "zero \0"}, "invalid_request"),
        ("withdrawn", {}, "invalid_request"),
        ("confirm", {"lable": "cat"}, "invalid_request"),
        ("confirm", {"answer_id": "mine"}, "invalid_request"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(
    client: httpx.Client, seed: Seed, events: Events, answer: str, more: Any, code: str
) -> None:
    (photo,) = photos(seed, 0.4)
    assert code_of(post(client, photo.photo_id, answer, **more)) == (422, code)
    assert events() == []


def test_only_photos_with_an_outcome_can_be_answered(client: httpx.Client, seed: Seed) -> None:
    pending = seed.requested("pending.jpg", picture())
    assert code_of(post(client, pending.photo_id, "none")) == (409, "no_outcome")
    assert post(client, str(uuid4()), "none").status_code == 404
    (sure,) = photos(seed, 0.95, outcome="auto_labeled")
    assert said(client, sure.photo_id, "confirm")["label"] == "cat"
    assert client.get("/v1/reviews").json()["waiting"] == 0


def test_who_comes_too_late_is_told_why(
    client: httpx.Client, conn: db.Conn, seed: Seed, get_next: Next, events: Events
) -> None:
    (photo,) = photos(seed, 0.4)
    (item,) = get_next("ada")
    late = post(client, photo.photo_id, "none", by="bob")
    assert code_of(late) == (409, "leased")
    assert late.json()["leased_to"] == "ada"
    foreign = post(client, photo.photo_id, "none", lease=str(uuid4()))
    assert code_of(foreign) == (409, "leased"), "another page of the same person"

    conn.execute("UPDATE reviews SET leased_until = now() - interval '1 s'")
    (again,) = get_next("bob")
    mine = {"lease": item["lease"]}
    assert code_of(post(client, photo.photo_id, "none", **mine)) == (409, "leased")
    said(client, photo.photo_id, "none", by="bob", lease=again["lease"])
    assert code_of(post(client, photo.photo_id, "confirm", **mine)) == (409, "lease_over")
    assert [event["reviewer"] for event in events()] == ["bob"]


def test_a_lease_that_has_ended_holds_as_long_as_nobody_else_was_given_the_photo(
    client: httpx.Client, conn: db.Conn, seed: Seed, get_next: Next
) -> None:
    (photo,) = photos(seed, 0.4)
    (item,) = get_next("ada")
    conn.execute("UPDATE reviews SET leased_until = now() - interval '1 s'")
    said(client, photo.photo_id, "confirm", lease=item["lease"])


def test_an_answer_to_an_outcome_that_is_none_any_more_is_refused(
    client: httpx.Client, seed: Seed, get_next: Next, events: Events
) -> None:
    (photo,) = photos(seed, 0.4)
    (item,) = get_next("ada")
    seed.outcome(photo, Look(labels=(("dog", 0.6),), outcome="suggested"), revision=2)
    for mine in ({"lease": item["lease"]}, {}, {"revision": 1}):
        refused = post(client, photo.photo_id, "confirm", **mine)
        assert code_of(refused) == (409, "outcome_changed")
        assert refused.json()["revision"] == 2
        assert refused.json()["analysis_id"] == photo.analysis_id
    assert events() == []
    client.post(f"/v1/reviews/{photo.photo_id}/release", json={"by": "ada"})
    assert code_of(post(client, photo.photo_id, "confirm", revision=1)) == (409, "outcome_changed")
    (item,) = get_next("ada")
    assert (item["revision"], item["label"]) == (2, "dog")
    assert said(client, photo.photo_id, "confirm", lease=item["lease"])["label"] == "dog"


def test_a_new_outcome_is_asked_about_unless_it_says_what_the_person_said(
    client: httpx.Client, seed: Seed, get_next: Next
) -> None:
    agreed, differs, sure = photos(seed, 0.4, 0.3, 0.2)
    for photo in (agreed, differs, sure):
        said(client, photo.photo_id, "correct", label="lynx")
    assert get_next() == []
    seed.outcome(agreed, Look(labels=(("lynx", 0.6),), outcome="suggested"), revision=2)
    seed.outcome(differs, Look(labels=(("dog", 0.6),), outcome="suggested"), revision=2)
    seed.outcome(sure, Look(labels=(("dog", 0.9),)), revision=2)
    assert ids(get_next(count=20)) == [differs.photo_id]
    assert reviewed(client, differs.photo_id)["label"] == "lynx", "that still stands"


def test_an_older_outcome_that_comes_late_asks_nothing(
    conn: db.Conn, seed: Seed, get_next: Next
) -> None:
    photo = seed.requested("late.jpg", picture())
    seed.parts(photo, Look())
    seed.outcome(photo, Look(), revision=2)
    conn.execute("UPDATE outcomes SET decided_at = now() + interval '1 h'")
    conn.execute("UPDATE reviews SET decided_at = now() + interval '1 h'")
    seed.outcome(photo, DOUBTFUL, revision=1)
    assert get_next() == []


def test_what_somebody_skips_comes_to_them_behind_all_others_and_says_nothing(
    client: httpx.Client, seed: Seed, get_next: Next, events: Events
) -> None:
    several = [photo.photo_id for photo in photos(seed, 0.1, 0.2, 0.3)]
    for photo in several[:2]:
        (item,) = get_next("ada")
        assert item["photo_id"] == photo
        said(client, photo, "skip", lease=item["lease"])
    assert [event["answer"] for event in events()] == ["skip", "skip"]
    assert reviewed(client, several[0]) is None
    assert ids(get_next("ada", count=20)) == [several[2], several[0], several[1]]
    for photo in several:
        client.post(f"/v1/reviews/{photo}/release", json={"by": "ada"})
    assert ids(get_next("bob", count=20)) == several, "bob has skipped none"


def test_undoing_takes_back_ones_last_answer_and_tells_what_holds_then(
    client: httpx.Client, seed: Seed, events: Events, get_next: Next
) -> None:
    (photo,) = photos(seed, 0.4)
    where = photo.photo_id
    first = said(client, where, "confirm", by="bob")
    second = said(client, where, "correct", label="lynx")
    said(client, where, "skip", by="eve")
    assert code_of(undo(client, where, "mia")) == (409, "nothing_to_undo")

    done = undo(client, where).json()
    assert (done["undone"]["answer_id"], done["holds"]) == (second["answer_id"], first)
    assert done["undone"]["undone_at"] is not None
    event = events()[-1]
    assert (event["answer"], event["label"], event["reviewer"]) == ("confirm", "cat", "bob")
    assert event["answer_id"] not in (first["answer_id"], second["answer_id"])
    assert event["answered_at"] > datetime.fromisoformat(second["answered_at"])
    assert reviewed(client, where)["answer_id"] == first["answer_id"]
    assert get_next() == [], "bob's answer holds"

    again = undo(client, where, answer_id=second["answer_id"]).json()
    assert again == done, "undone already"
    assert len(events()) == 4

    done = undo(client, where, "bob").json()
    assert done["holds"] is None
    last = events()[-1]
    assert (last["answer"], last["label"], last["reviewer"]) == ("withdrawn", None, "bob")
    assert reviewed(client, where) is None
    assert ids(get_next()) == [where], "it waits again"
    assert code_of(undo(client, where)) == (409, "nothing_to_undo")
    times = [event["answered_at"] for event in events()]
    assert times == sorted(set(times)), "each is later than those before it"


def test_undoing_what_does_not_hold_tells_nothing(
    client: httpx.Client, seed: Seed, events: Events
) -> None:
    (photo,) = photos(seed, 0.4)
    said(client, photo.photo_id, "none")
    holds = said(client, photo.photo_id, "confirm", by="bob")
    said(client, photo.photo_id, "skip", by="bob")
    for who in ("ada", "bob"):
        assert undo(client, photo.photo_id, who).json()["holds"] == holds
    assert len(events()) == 3
    assert client.get("/v1/reviews").json()["waiting"] == 0


def test_a_person_may_change_their_mind(client: httpx.Client, seed: Seed, events: Events) -> None:
    (photo,) = photos(seed, 0.4)
    for answer in ("confirm", "none"):
        said(client, photo.photo_id, answer)
    assert reviewed(client, photo.photo_id)["answer"] == "none"
    one, other = events()
    assert one["answered_at"] < other["answered_at"]


def test_answers_are_listed_newest_first_page_by_page(client: httpx.Client, seed: Seed) -> None:
    several = photos(seed, 0.1, 0.2, 0.3)
    for number, photo in enumerate(several):
        said(client, photo.photo_id, "none", by=("ada", "bob")[number % 2])
    undo(client, several[0].photo_id)
    seen, query = [], {"limit": "2"}
    while True:
        page = client.get("/v1/reviews/answers", params=query).json()
        seen += page["items"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert ids(seen) == [photo.photo_id for photo in reversed(several)]
    assert [one["undone_at"] is None for one in seen] == [True, True, False]
    for chosen in ({"reviewer": "bob"}, {"photo": several[1].photo_id}):
        found = client.get("/v1/reviews/answers", params=chosen).json()["items"]
        assert ids(found) == [several[1].photo_id]
    assert client.get("/v1/reviews/answers", params={"cursor": "x"}).status_code == 422


def test_who_follows_a_photo_is_told_that_it_was_answered(
    conn: db.Conn, seed: Seed, client: httpx.Client, door: str
) -> None:
    (photo,) = photos(seed, 0.4)
    before = {one.id: one.state for one in changes.changes(conn, OWNER)}
    socket = f"ws{door.removeprefix('http')}/v1/events?photo={photo.photo_id}"
    with connect(socket, open_timeout=20) as following:
        assert '"reviewed":null' in str(following.recv(timeout=20))
        said(client, photo.photo_id, "none")
        assert '"answer":"none"' in str(following.recv(timeout=5)), "sooner than a look tells it"
    after = {one.id: one.state for one in changes.changes(conn, OWNER)}
    assert before != after, "and without Redis a look"
    undo(client, photo.photo_id)
    assert {one.id: one.state for one in changes.changes(conn, OWNER)} == before


def test_roles_and_owners(
    infrastructure: Infrastructure, database: str, tmp_path: Path, conn: db.Conn, seed: Seed
) -> None:
    def key(role: Any, owner: str = "local") -> dict[str, str]:
        wish = KeyRequest(name=f"{role} {owner}", role=role, owner=owner)
        made = keys.make_key(conn, "", wish, "test")
        return {"Authorization": f"Bearer {made.token}"}

    (photo,) = photos(seed, 0.4)
    viewer, uploader, reviewer = key("viewer"), key("uploader"), key("reviewer")
    stranger = key("reviewer", "others")
    place = f"/v1/reviews/{photo.photo_id}"
    settings = door_settings(infrastructure, database, tmp_path, anonymous="none")
    with api_door(settings) as url, httpx.Client(base_url=url, timeout=20) as client:
        for path in ("/v1/reviews", "/v1/reviews/answers"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers=viewer).status_code == 200
        assert client.get("/v1/reviews/next", headers=uploader).status_code == 403
        for method, path in (("POST", place), ("DELETE", place), ("POST", f"{place}/release")):
            asked = client.request(method, path, headers=uploader, json={"answer": "none"})
            assert asked.status_code == 403, (method, path)
        assert client.get("/v1/reviews/next", headers=stranger).json() == {"items": []}
        assert client.get("/v1/reviews", headers=stranger).json()["waiting"] == 0
        assert client.post(place, headers=stranger, json={"answer": "none"}).status_code == 404
        assert client.delete(place, headers=stranger).status_code == 404
        (item,) = client.get("/v1/reviews/next", headers=reviewer).json()["items"]
        body = {"answer": "confirm", "lease": item["lease"], "by": "somebody"}
        answer = client.post(place, headers=reviewer, json=body)
        assert answer.json()["reviewer"] == "key:reviewer local"
        assert client.get("/v1/reviews/answers", headers=stranger).json()["items"] == []


def test_outcomes_of_before_are_asked_about_after_migrating(
    database: str, conn: db.Conn, seed: Seed
) -> None:
    (photo,) = photos(seed, 0.4)
    photos(seed, 0.95, outcome="auto_labeled")
    seed.outcome(photo, Look(labels=(("dog", 0.6),), outcome="suggested"), revision=2)
    migrations.migrate(database, "0008", lose_data=True)
    assert conn.execute("SELECT to_regclass('reviews') AS gone").fetchone() == {"gone": None}
    seed.outcome(photo, Look(labels=(("fox", 0.3),), outcome="review"), revision=3)
    migrations.upgrade(database)
    (item,) = reviews.lease(conn, OWNER, "ada", 20, "uncertain", 60.0)
    assert (item.photo_id, item.revision, item.label) == (photo.photo_id, 3, "fox")
    assert UUID(item.lease)
