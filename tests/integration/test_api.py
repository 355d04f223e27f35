"""The api door on real PostgreSQL and Redis: what is recorded can be read, searched, followed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import websockets.exceptions
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from api_door import api_door, door_settings
from catalog_seed import Look, Seed, Seeded, picture
from darkroom_cli.contracts import Subjects
from darkroom_cli.demo import API_DESCRIPTION
from darkroom_cli.infra.ports import any_port
from darkroom_schemas import catalogue
from gateway import db
from gateway.catalog.produced import PRODUCED
from gateway.recorder.news import News, batch_news, photo_news
from gateway.settings import Settings
from infrastructure import Infrastructure


@pytest.fixture
def settings(infrastructure: Infrastructure, database: str, tmp_path: Path) -> Settings:
    return door_settings(
        infrastructure, database, tmp_path, import_roots=(tmp_path,), outbox_limit=5
    )


def events(door: str, query: str = "") -> ClientConnection:
    """The WebSocket of this door."""
    return connect(f"{door.replace('http', 'ws')}/v1/events{query}")


def told(socket: ClientConnection) -> dict[str, Any]:
    """The next event."""
    event: dict[str, Any] = json.loads(socket.recv(timeout=10))
    return event


def ready(client: httpx.Client) -> None:
    """Wait until news come by Redis."""
    poll(lambda: client.get("/readyz").json()["without"] == [])


def poll(condition: Callable[[], bool]) -> None:
    """Wait until something is so, at most a minute: processes start slowly on a busy machine."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it does not become so"


@pytest.mark.parametrize("path", ["", API_DESCRIPTION])
def test_every_address_that_the_demo_shows_answers(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_photo_handed_in_is_stored_once_and_waits_in_the_outbox(
    client: httpx.Client, conn: db.Conn, objects: Path
) -> None:
    data = picture("red")
    first = client.post("/v1/photos?file_name=red.jpg", content=data)
    again = client.post("/v1/photos", files={"file": ("other.jpg", data)})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["analysis_id"] == again.json()["analysis_id"]
    assert client.get(first.headers["location"]).json()["status"] == "pending"
    rows = conn.execute("SELECT topic, key FROM outbox").fetchall()
    assert rows == [{"topic": "photo.submitted.high.v1", "key": first.json()["photo_id"]}]
    assert client.get(first.json()["links"]["original"]).content == data
    assert len([each for each in (objects / "originals").rglob("*") if each.is_file()]) == 1


def test_kafka_away_for_long_means_503_and_no_more_rows(
    client: httpx.Client, conn: db.Conn
) -> None:
    answers = [client.post("/v1/photos", content=picture(f"#{n}{n}{n}")) for n in range(7)]
    assert [each.status_code for each in answers] == [202] * 5 + [503] * 2
    assert answers[-1].json()["code"] == "outbox_full"
    assert int(answers[-1].headers["retry-after"]) > 0
    row = conn.execute("SELECT count(*) AS waiting FROM outbox").fetchone()
    assert row == {"waiting": 5}
    told = conn.execute("SELECT kind, severity FROM notices").fetchall()
    assert told == [{"kind": "overload", "severity": "critical"}], "told once"


def test_a_store_that_is_away_is_told_once_though_no_photo_gets_further_than_the_door(
    settings: Settings, conn: db.Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{any_port()}")
    for name, value in {
        "ALLOW_HTTP": "true",
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    away = settings.model_copy(update={"objects": "s3://bucket"})

    def notices() -> list[dict[str, Any]]:
        return conn.execute("SELECT kind, service, subject, detail FROM notices").fetchall()

    with api_door(away) as address, httpx.Client(base_url=address, timeout=60) as client:
        for tries in range(7):
            answer = client.post("/v1/photos", content=picture("red"))
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert len(notices()) == (tries >= 2), "one that fails is no notice"
    said = notices()[0]
    assert (said["kind"], said["service"]) == ("dependency_away", "gateway")
    assert said["subject"] == "object store"
    assert "nothing is lost" in said["detail"]


def test_a_photo_is_analyzed_only_with_all_parts_that_its_outcome_used(
    client: httpx.Client, seed: Seed
) -> None:
    look = Look(text="HELLO WORLD", outcome="suggested")
    photo = seed.requested("a.jpg", picture())
    seed.outcome(photo, look)
    early = client.get(f"/v1/photos/{photo.photo_id}").json()
    assert (early["status"], early["text"], early["labels"]) == ("pending", None, [])
    seed.parts(photo, look)
    whole = client.get(f"/v1/photos/{photo.photo_id}").json()
    assert (whole["status"], whole["outcome"]) == ("analyzed", "suggested")
    assert (whole["text"], whole["embedding_dim"]) == ("HELLO WORLD", 3)
    assert whole["lines"][0]["words"][0]["polygon"] == [0.25, 0.5, 0.75, 0.5, 0.75, 0.7, 0.25, 0.7]
    assert whole["stages"]["ocr"] == {"ms": 4.0, "engine": "stub", "model_version": "stub@1"}


def test_the_list_is_paged_newest_first_and_filtered(client: httpx.Client, seed: Seed) -> None:
    outcomes = ["auto_labeled", "review", "auto_labeled", "suggested", "auto_labeled"]
    photos = [
        seed.analyzed(f"{n}.jpg", picture(f"#0{n}{n}"), Look(outcome=outcome))
        for n, outcome in enumerate(outcomes)
    ]
    seed.rejected("torn.jpg", "image_truncated", "It is torn.")
    seen: list[str] = []
    cursor = None
    while True:
        page = client.get(
            "/v1/photos", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
        )
        seen += [each["file_name"] for each in page.json()["items"]]
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert seen == ["torn.jpg", "4.jpg", "3.jpg", "2.jpg", "1.jpg", "0.jpg"]
    review = client.get("/v1/photos?outcome=review").json()["items"]
    assert [each["photo_id"] for each in review] == [photos[1].photo_id]
    refused = client.get("/v1/photos?status=rejected").json()["items"]
    assert [each["error"]["message"] for each in refused] == ["It is torn."]
    batch = seed.batch(photos[:2], {})
    members = client.get(f"/v1/photos?batch={batch}").json()["items"]
    assert {each["photo_id"] for each in members} == {each.photo_id for each in photos[:2]}


def test_words_find_photos_by_label_and_text_best_first(client: httpx.Client, seed: Seed) -> None:
    sure = seed.analyzed("sure.jpg", picture("red"), Look(labels=[("espresso", 0.9)]))
    unsure = seed.analyzed(
        "unsure.jpg", picture("blue"), Look(labels=[("plate", 0.5), ("espresso", 0.1)])
    )
    sign = seed.analyzed(
        "sign.jpg", picture("green"), Look(labels=[("street sign", 0.7)], text="Espresso bar open")
    )
    seed.requested("waiting.jpg", picture("gray"))
    found = search(client, q="ESPRESSOS")
    assert set(found[:2]) == {sure.photo_id, sign.photo_id}
    assert found[2:] == [unsure.photo_id]
    assert search(client, q="espresso sign") == [sign.photo_id], "words of label and text together"
    assert search(client, q='"bar open" -plate') == [sign.photo_id]
    assert search(client, q="espresso -sign -plate") == [sure.photo_id]
    assert search(client, q="espr") == found, "the last word may be a beginning"
    assert search(client, q="street ope") == [sign.photo_id]
    assert search(client, q="nothing") == []
    for odd in ("'", '"', "a & | ! <->", "%", "-", "\\", "the", "():*"):
        search(client, q=odd)


def search(client: httpx.Client, **query: str) -> list[str]:
    """Ids of what is found, after a look at the scores."""
    answer = client.get("/v1/search", params=query)
    assert answer.status_code == 200, answer.text
    scores = [each["score"] for each in answer.json()["items"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    return [each["photo"]["photo_id"] for each in answer.json()["items"]]


def test_likeness_is_the_cosine_and_leaves_the_photo_itself_out(
    client: httpx.Client, seed: Seed, conn: db.Conn
) -> None:
    one = seed.analyzed("one.jpg", picture("red"), Look(vector=[1, 0, 0]))
    near = seed.analyzed("near.jpg", picture("blue"), Look(vector=[0.8, 0.6, 0]))
    far = seed.analyzed("far.jpg", picture("green"), Look(vector=[-1, 0, 0]))
    other = seed.analyzed("other.jpg", picture("gray"), Look(vector=[1, 0, 0]))
    conn.execute(
        "UPDATE embeddings SET model_version = 'new@2' WHERE photo_id = %s", (other.photo_id,)
    )
    assert search(client, like=one.photo_id) == [near.photo_id, far.photo_id]
    items = client.get("/v1/search", params={"like": one.photo_id}).json()["items"]
    assert [each["score"] for each in items] == [pytest.approx(0.8, abs=1e-4), 0]
    bare = seed.requested("bare.jpg", picture("black"))
    assert client.get("/v1/search", params={"like": bare.photo_id}).json()["code"] == "not_embedded"
    assert client.get("/v1/search", params={"like": str(uuid4())}).status_code == 404


def test_an_import_is_asked_for_and_its_files_are_told_apart(
    client: httpx.Client, seed: Seed, conn: db.Conn, tmp_path: Path
) -> None:
    asked = client.post("/v1/imports", json={"paths": [str(tmp_path), str(tmp_path)]})
    assert asked.status_code == 202
    assert (asked.json()["state"], asked.json()["roots"]) == ("scanning", [str(tmp_path)])
    assert client.post("/v1/imports", json={"paths": ["/etc"]}).status_code == 403
    good = seed.analyzed("good.jpg", picture())
    torn = seed.rejected("torn.jpg", "image_truncated", "It is torn.")
    batch = seed.batch([good, torn], {"found": 3, "rejected": 1, "accepted": 1, "auto_labeled": 1})
    seed.duplicate(batch, 2, "copy.jpg", of=good)
    items = client.get(f"/v1/imports/{batch}/photos").json()["items"]
    assert [each["status"] for each in items] == ["analyzed", "rejected", "duplicate"]
    assert items[0]["photo"]["photo_id"] == good.photo_id
    assert (items[1]["error"]["code"], items[1]["photo"]) == ("image_truncated", None)
    assert (items[2]["duplicate_of"], items[2]["photo"]) == (good.photo_id, None)
    assert items[2]["duplicate_of_path"] == "/photos/trip/good.jpg"
    page = client.get(f"/v1/imports/{batch}/photos?limit=2").json()
    rest = client.get(f"/v1/imports/{batch}/photos", params={"cursor": page["next"]}).json()
    assert [each["index"] for each in page["items"] + rest["items"]] == [0, 1, 2]
    shown = client.get(f"/v1/imports/{batch}").json()
    assert (shown["found"], shown["rejected"], shown["accepted"], shown["pending"]) == (3, 1, 1, 1)
    assert client.get("/v1/imports").json()["items"][0]["batch_id"] == batch


def test_who_listens_hears_of_a_photo_once_it_is_recorded(
    client: httpx.Client, door: str, seed: Seed, news: News
) -> None:
    ready(client)
    photo, other = seed.requested("a.jpg", picture()), seed.requested("b.jpg", picture("red"))
    batch = seed.batch([photo], {})
    with (
        events(door) as everything,
        events(door, f"?photo={photo.photo_id}") as one,
        events(door, f"?batch={batch}") as whole,
    ):
        assert told(one)["photo"]["status"] == "pending", "the present state comes first"
        assert told(whole)["batch"]["batch_id"] == batch
        record(seed, news, other, [])
        record(seed, news, photo, [batch])
        news.tell([batch_news(batch)])
        assert told(one)["photo"]["outcome"] == "auto_labeled"
        assert {told(whole)["type"], told(whole)["type"]} == {"photo", "batch"}
        heard = [told(everything) for _ in range(3)]
        assert {each["photo"]["photo_id"] for each in heard if each["type"] == "photo"} == {
            photo.photo_id,
            other.photo_id,
        }


def record(seed: Seed, news: News, photo: Seeded, batches: list[str]) -> None:
    """Finish a photo, as the recorder does."""
    seed.parts(photo, Look())
    seed.outcome(photo, Look())
    news.tell([photo_news(photo.photo_id, photo.analysis_id, batches)])


def test_without_redis_photos_are_still_told(
    settings: Settings, seed: Seed, tmp_path: Path
) -> None:
    deaf = settings.model_copy(update={"redis": f"redis://127.0.0.1:{any_port()}/0"})
    with api_door(deaf) as door, events(door) as everything:
        assert httpx.get(f"{door}/readyz").json() == {
            **{"ready": True, "waiting_for": []},
            "without": ["redis"],
        }
        photo = seed.analyzed("a.jpg", picture())
        assert told(everything)["photo"]["photo_id"] == photo.photo_id


def test_a_waiting_upload_is_answered_when_the_outcome_is_recorded(
    client: httpx.Client, seed: Seed, news: News
) -> None:
    ready(client)
    data = picture("purple")
    photo = seed.requested("p.jpg", data)
    joined = 'darkroom_api_photos_submitted_total{status="joined"}'
    before = value(client, joined)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            client.post, "/v1/photos", content=data, headers={"Prefer": "wait=30"}
        )
        poll(lambda: value(client, joined) > before)
        record(seed, news, photo, [])
        answer = waiting.result(10)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "auto_labeled")
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.elapsed.total_seconds() < 10
    again = client.post("/v1/photos", content=data)
    assert (again.status_code, again.json()["duplicate_of"]) == (200, photo.photo_id)


def value(client: httpx.Client, metric: str) -> float:
    """A metric's value, 0 while it is not there."""
    lines = client.get("/metrics").text.splitlines()
    return next((float(each.split()[-1]) for each in lines if each.startswith(metric)), 0.0)


def test_stopping_closes_websockets_with_1012_within_seconds(settings: Settings) -> None:
    with ExitStack() as sockets:
        with api_door(settings) as door:
            opened = [sockets.enter_context(events(door)) for _ in range(5)]
            began = time.monotonic()
        assert time.monotonic() - began < 4
        for socket in opened:
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                socket.recv(timeout=5)
            assert socket.close_code == 1012


def test_a_stopped_process_ends_cleanly_while_clients_wait(settings: Settings) -> None:
    names = (
        "database",
        "redis",
        "registry",
        "objects",
        "cache",
        "api_port",
        "anonymous",
        "topic_prefix",
    )
    env = {f"DARKROOM_{name.upper()}": str(getattr(settings, name)) for name in names}
    command = [sys.executable, "-m", "gateway", "api"]
    door = f"http://127.0.0.1:{settings.api_port}"
    with subprocess.Popen(command, env=os.environ | env) as process, ExitStack() as sockets:
        try:
            poll(lambda: answers(door))
            socket = sockets.enter_context(events(door))
            process.terminate()
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                socket.recv(timeout=5)
            assert socket.close_code == 1012
            assert process.wait(5) == 0
        finally:
            process.kill()


def answers(door: str) -> bool:
    """Whether somebody is there."""
    try:
        return httpx.get(f"{door}/livez").is_success
    except httpx.TransportError:
        return False


def test_a_foreign_page_gets_no_websocket(door: str) -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        connect(f"{door.replace('http', 'ws')}/v1/events", origin=Origin("https://evil.example"))
    assert caught.value.response.status_code == 403


def test_the_database_away_is_a_503_and_the_door_lives_on(settings: Settings) -> None:
    away = settings.model_copy(update={"database": f"postgresql://127.0.0.1:{any_port()}/no"})
    with api_door(away) as door, httpx.Client(base_url=door, timeout=20) as client:
        assert client.get("/livez").status_code == 200
        unready = client.get("/readyz")
        assert (unready.status_code, unready.json()["waiting_for"]) == (
            503,
            ["PostgreSQL does not answer"],
        )
        assert client.get("/v1/photos").json()["code"] == "database_unavailable"
        assert client.get("/v1/system").json()["components"]["postgres"] is None


def test_the_parts_of_the_system_tell_their_versions(client: httpx.Client, seed: Seed) -> None:
    seed.analyzed("a.jpg", picture())
    seed.rejected("torn.jpg", "image_truncated", "It is torn.")
    state = client.get("/v1/system").json()
    assert state["components"]["kafka"].startswith("4.")
    assert state["components"]["postgres"].startswith("18")
    assert state["components"]["redis"]
    assert state["components"]["registry"] is None
    assert (state["counts"]["photos"], state["counts"]["auto_labeled"]) == (2, 1)
    assert state["counts"]["rejected"] == 1


def test_a_door_that_opens_learns_the_ids_of_all_that_it_may_write(
    infrastructure: Infrastructure, database: str, tmp_path: Path
) -> None:
    """Else a photo is refused where its lane must be warned of while the registry is away."""
    prefix, cache = f"t{uuid4().hex[:8]}.", tmp_path / "fresh"
    all_topics = catalogue.load()
    written = replace(all_topics, topics={name: all_topics[name] for name in PRODUCED})
    assert all(one.good for one in Subjects(infrastructure.registry, written, prefix).apply())
    settings = door_settings(
        infrastructure,
        database,
        tmp_path,
        registry=infrastructure.registry,
        cache=cache,
        topic_prefix=prefix,
    )
    with api_door(settings):
        deadline = time.monotonic() + 20
        wanted = {f"{prefix}{topic}-value.json" for topic in PRODUCED}
        while not wanted <= {path.name for path in cache.rglob("*.json")}:
            assert time.monotonic() < deadline
            time.sleep(0.02)
