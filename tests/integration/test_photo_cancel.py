"""A photo whose analysis is called off: its card, who waits for it, and imports that do."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from websockets.sync.client import connect

from api_door import api_door, door_settings
from catalog_seed import Seed, picture
from darkroom_cli.infra.ports import any_port
from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog import cancelling, read
from gateway.catalog.cancelling import NothingToCancelError
from gateway.catalog.keys import KeyRequest, make_key
from gateway.catalog.outbox import Outbox
from gateway.catalog.submissions import Status, Submission, submit_photo
from gateway.catalog.tasks import TaskFilter, tasks
from gateway.recorder.news import News, photo_news
from import_kit import batch_row, events, until
from reconcile_world import World
from streamkit import Codec

OWNER = ids.LOCAL_OWNER


@pytest.fixture
def world(
    database: str,
    conn: db.Conn,
    outbox: Outbox,
    codec: Codec,
    example: Callable[..., dict[str, Any]],
) -> Iterator[World]:
    world = World.of(database, conn, outbox, codec, example)
    yield world
    world.session.close()


def cancel(world: World, photo: Submission, reason: str | None = None) -> bool:
    photo_id = UUID(photo.photo_id)
    return cancelling.cancel_photo(world.conn, world.outbox, OWNER, photo_id, "ada", reason)


def status(world: World, photo: Submission) -> str:
    shown = read.photo(world.conn, OWNER, UUID(photo.photo_id))
    assert shown is not None
    return shown.status


def test_a_cancelled_photo_says_so_and_is_told_and_written_down(world: World, codec: Codec) -> None:
    photo = world.photo()
    world.flow()
    assert cancel(world, photo, "the wrong one")

    assert status(world, photo) == "cancelled"
    (event,) = events(world.conn, codec, names.PHOTO_ANALYSIS_CANCELLED)
    assert (event["analysis_id"], event["photo_id"]) == (photo.analysis_id, photo.photo_id)
    (entry,) = world.rows("SELECT * FROM audit")
    assert (entry["who"], entry["what"], entry["subject"]) == (
        *("ada", "photo.cancelled"),
        photo.photo_id,
    )
    assert entry["detail"] == {"analyses": [photo.analysis_id], "reason": "the wrong one"}
    found, _ = tasks(world.conn, OWNER, TaskFilter(), None, 10)
    assert {task.state for task in found} == {"cancelled"}
    with pytest.raises(NothingToCancelError):
        cancel(world, photo)
    assert len(world.rows("SELECT FROM audit")) == 1


def test_imports_that_wait_for_it_end_it_as_cancelled_and_complete(world: World) -> None:
    batch, (one, other) = world.batch(2)
    world.flow()
    world.analysed(one)
    cancel(world, other)
    world.flow()

    assert world.file_ends(batch) == ["auto_labeled", "cancelled"]
    row = batch_row(world.conn, batch.batch_id)
    assert row["state"] == "completed"
    assert (row["totals"]["accepted"], row["totals"]["cancelled"]) == (2, 1)
    assert row["totals"]["found"] == 2


def test_what_is_found_after_the_cancellation_changes_nothing(world: World) -> None:
    batch, (photo,) = world.batch(1)
    world.flow()
    world.requested(photo)
    cancel(world, photo)
    world.flow()
    for topic in (names.PHOTO_OBJECTS_DETECTED, names.PHOTO_TEXT_READ, names.PHOTO_EMBEDDED):
        world.part(photo, topic)
    assert (world.outcomes(photo), status(world, photo)) == ([], "cancelled")
    assert world.file_ends(batch) == ["cancelled"]


def test_a_photo_that_is_decided_in_this_very_moment_keeps_its_outcome(world: World) -> None:
    batch, (photo,) = world.batch(1)
    world.flow()
    # Decided, and not recorded yet.
    world.requested(photo)
    for topic in (names.PHOTO_OBJECTS_DETECTED, names.PHOTO_TEXT_READ, names.PHOTO_EMBEDDED):
        world.part(photo, topic, lambda who, said, _: who == "recorder" and said in LATE)
    assert cancel(world, photo)
    world.flow()
    world.run(2)
    world.flow()
    assert world.file_ends(batch) == ["auto_labeled"]


LATE = (
    *(names.PHOTO_AUTO_LABELED, names.PHOTO_SUGGESTED, names.PHOTO_REVIEW_REQUESTED),
    names.BATCH_PHOTO_ENDED,
)


def test_a_file_whose_end_was_lost_is_ended_by_the_reconciler(world: World) -> None:
    batch, (photo,) = world.batch(1)
    world.flow()
    cancel(world, photo)
    world.flow(lambda who, said, _: said == names.PHOTO_ANALYSIS_CANCELLED and who != "recorder")
    assert world.file_ends(batch) == [None]
    world.run(2)
    world.flow()
    assert world.file_ends(batch) == ["cancelled"]


def test_the_photo_can_be_handed_in_again(world: World) -> None:
    photo = world.photo()
    cancel(world, photo)
    again = Submission(**{**_fields(photo), "submission_id": str(uuid4())})
    assert submit_photo(world.conn, world.outbox, again).status is Status.NEW
    assert status(world, photo) == "pending"
    assert cancel(world, again)


def _fields(photo: Submission) -> dict[str, Any]:
    return {name: getattr(photo, name) for name in Submission.__dataclass_fields__}


# -- by the door --------------------------------------------------------------------------------


def test_whoever_waits_for_the_photo_gets_its_answer(
    client: httpx.Client, conn: db.Conn, news: News
) -> None:
    with ThreadPoolExecutor(1) as people:
        waiting = people.submit(
            httpx.post,
            f"{client.base_url}/v1/photos",
            content=picture("red"),
            headers={"Prefer": "wait=50"},
            timeout=60,
        )
        until(lambda: conn.execute("SELECT 1 FROM analyses").fetchone(), "it is handed in")
        (row,) = conn.execute("SELECT photo_id, analysis_id FROM analyses").fetchall()
        photo, analysis = str(row["photo_id"]), str(row["analysis_id"])
        cancelled = client.post(f"/v1/photos/{photo}/cancel", json={"reason": "no", "by": "mia"})
        news.tell([photo_news(photo, analysis, ())])
        answer = waiting.result(60)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert client.get(f"/v1/photos/{photo}").json()["status"] == "cancelled"
    listed = client.get("/v1/photos?status=cancelled").json()["items"]
    assert [one["photo_id"] for one in listed] == [photo]
    again = client.post(f"/v1/photos/{photo}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "nothing_in_progress")


def test_what_can_not_be_cancelled(client: httpx.Client, conn: db.Conn, seed: Seed) -> None:
    done = seed.analyzed("done.jpg", picture("red"))
    refused = seed.rejected("refused.jpg", "not_an_image", "It is a text.")
    waiting = seed.requested("waiting.jpg", picture("blue"))
    for photo in (done, refused):
        answer = client.post(f"/v1/photos/{photo.photo_id}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "nothing_in_progress")
    assert client.post(f"/v1/photos/{uuid4()}/cancel").status_code == 404
    wrong = client.post(f"/v1/photos/{waiting.photo_id}/cancel", json={"reason": ""})
    assert wrong.status_code == 422

    made = {
        name: make_key(conn, "", KeyRequest(name=name, role=role, owner=owner), "test").token
        for name, role, owner in (
            ("viewer", "viewer", "local"),
            ("other", "admin", "ada"),
            ("mine", "uploader", "local"),
        )
    }

    def as_(name: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {made[name]}"}
        return client.post(f"/v1/photos/{waiting.photo_id}/cancel", headers=headers)

    assert as_("viewer").status_code == 403
    assert as_("other").status_code == 404
    assert as_("mine").json()["status"] == "cancelled"
    (entry,) = conn.execute("SELECT who FROM audit WHERE what = 'photo.cancelled'").fetchall()
    assert entry["who"] == "key:mine"


def test_pages_hear_of_it_without_redis(
    infrastructure: Any, database: str, seed: Seed, tmp_path: Any
) -> None:
    waiting = seed.requested("waiting.jpg", picture("blue"))
    nowhere = f"redis://127.0.0.1:{any_port()}/0"
    settings = door_settings(infrastructure, database, tmp_path, redis=nowhere)
    with (
        api_door(settings) as url,
        connect(f"{url.replace('http', 'ws')}/v1/events?photo={waiting.photo_id}") as socket,
    ):
        assert json.loads(socket.recv(timeout=20))["photo"]["status"] == "pending"
        httpx.post(f"{url}/v1/photos/{waiting.photo_id}/cancel", timeout=20).raise_for_status()
        assert json.loads(socket.recv(timeout=20))["photo"]["status"] == "cancelled"
