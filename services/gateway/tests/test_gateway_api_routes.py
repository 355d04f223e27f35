"""The routes of the api door against a catalog that the test makes up."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import UUID

import httpx
import psycopg
import pytest
from fastapi import WebSocket

from darkroom_schemas.ids import LOCAL_OWNER
from gateway.api.admission import Admission
from gateway.api.application import application
from gateway.api.bodies import FORM_OVERHEAD, UploadBudget
from gateway.api.catalog import Catalog
from gateway.api.door import Door
from gateway.api.events import events
from gateway.api.feed import Feed
from gateway.api.handing_in import HandingIn
from gateway.api.hub import Hub, Notice, Thing
from gateway.api.limits import class_of
from gateway.api.problems import unavailable
from gateway.api.quotas import Quotas
from gateway.api.shares import Shares
from gateway.api.speakers import Keeper
from gateway.api.system import System
from gateway.api.writes import Recorded, Writes
from gateway.catalog import read, read_batches, search
from gateway.catalog.loads import Standing
from gateway.catalog.outbox import Outbox
from gateway.catalog.shapes import Links, Photo
from gateway.catalog.submissions import HandedIn, Status, Submission, Submitted
from gateway.load import Intake
from gateway.settings import Settings
from streamkit.rate import AsyncTokens

HOST = "http://127.0.0.1:8080"
CAT = UUID("affa6966-7080-5191-9861-4f6c4adc6cbb")
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000020000000208020000"
    "00fdd49a730000000b4944415478da6360400600000e0001a9918c9a0000000049454e44ae426082"
)
LIMIT = 2_000


def cat(status: str = "pending", **changes: Any) -> Photo:
    """A photo in this state."""
    fields: dict[str, Any] = {
        "photo_id": str(CAT),
        "analysis_id": str(UUID(int=5)),
        "revision": 1,
        "file_name": "cat.png",
        "status": status,
        "lane": "high",
        "submitted_at": datetime(2026, 11, 24, tzinfo=UTC),
        "links": Links(self=f"/v1/photos/{CAT}", thumbnail=None, rendition=None, original=None),
    }
    return Photo.model_validate(fields | changes)


class MadeUp(Catalog):
    """A catalog whose answers a test sets, by question."""

    def __init__(self) -> None:
        self.owner = LOCAL_OWNER
        self.answers: dict[Callable[..., Any], Callable[..., Any]] = {
            Admission.look: lambda _lane: None
        }

    async def ask(self, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        known = getattr(question, "__func__", question)
        return self.answers[known](*args, **kwargs)


class Shelf:
    """An object store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, uri: str, *, limit: int) -> bytes:
        return self.kept[uri]

    def open(self, uri: str) -> BinaryIO:
        return io.BytesIO(self.kept[uri])

    def put(self, key: str, data: bytes) -> str:
        self.kept[f"mem://{key}"] = data
        return f"mem://{key}"

    def put_file(self, key: str, file: Path) -> str:
        return self.put(key, file.read_bytes())

    def delete(self, uri: str) -> None:
        del self.kept[uri]

    def list(self, uri: str) -> Iterator[object]:
        return (key for key in self.kept if key.startswith(uri))


def no_tokens(name: str, who: str) -> AsyncTokens:
    raise AssertionError("nothing is limited here")


@pytest.fixture
def catalog() -> MadeUp:
    return MadeUp()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def door(catalog: MadeUp, shelf: Shelf, tmp_path: Path) -> Door:
    settings = Settings(
        photo_max_bytes=LIMIT,
        photo_max_pixels=100,
        import_roots=(tmp_path,),
        allowed_hosts=("photos.home",),
        anonymous="admin",
        _cli_parse_args=[],
    )

    async def nothing(*_: Any) -> Any:
        return {}

    hub = Hub(nothing, bound=10)
    admission = Admission(catalog, cast(Outbox, None), settings.lag_limits)
    writes = Writes(cast(Outbox, None), 10, admission)
    return Door(
        settings=settings,
        catalog=catalog,
        objects=shelf,
        writes=writes,
        handing_in=HandingIn(writes),
        admission=admission,
        hub=hub,
        feed=Feed("redis://127.0.0.1:1", "events", nothing, hub.deliver),
        system=System(settings, catalog),
        uploads=UploadBudget(LIMIT + FORM_OVERHEAD),
        quotas=Quotas({}, no_tokens),
        shares=Shares(catalog),
        keeper=Keeper(catalog, settings.anonymous_role),
    )


@pytest.fixture
async def client(door: Door) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(door), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
        yield client


def accepts(catalog: MadeUp, photo: Photo, status: Status = Status.NEW) -> list[Submission]:
    """Let photos be handed in; returns what was."""
    taken: list[Submission] = []

    def submit(photos: Sequence[HandedIn]) -> list[Recorded]:
        taken.extend(one.submission for one in photos)
        return [Recorded(Submitted(status, str(CAT), str(UUID(int=5))), photo) for _ in photos]

    catalog.answers[Writes.photos] = submit
    catalog.answers[read.photo] = lambda _id: photo
    return taken


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer's problem, after a look at its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert (told["status"], told["code"]) == (status, code)
    assert told["title"]
    assert told["detail"]
    return told


async def test_a_full_lane_takes_nothing_in_and_reads_no_body(
    client: httpx.AsyncClient, catalog: MadeUp, shelf: Shelf
) -> None:
    full = Standing(Intake.CLOSED, 1_200, "detector is not running.", 60)
    catalog.answers[Admission.look] = lambda lane: full if lane == "default" else None
    accepts(catalog, cat())
    sent: list[bool] = []

    async def body() -> AsyncIterator[bytes]:
        sent.append(True)
        yield PNG

    answer = await client.post("/v1/photos?lane=default", content=body())
    told = problem(answer, 503, "lane_full")
    assert answer.headers["retry-after"] == "60"
    assert (told["lane"], told["records"]) == ("default", 1_200)
    assert (sent, shelf.kept) == ([], {})
    assert (await client.post("/v1/photos", content=PNG)).status_code == 202, "high is its own"


async def test_a_photo_is_accepted_and_has_an_address(
    client: httpx.AsyncClient, catalog: MadeUp, shelf: Shelf
) -> None:
    taken = accepts(catalog, cat())
    answer = await client.post("/v1/photos?file_name=a/cat.png", content=PNG)
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/photos/{CAT}"
    assert "preference-applied" not in answer.headers
    assert answer.json()["status"] == "pending"
    assert (taken[0].file_name, taken[0].lane) == ("cat.png", "high")
    assert list(shelf.kept.values()) == [PNG]


async def test_no_request_waits_for_a_thread_to_be_let_in(
    client: httpx.AsyncClient, catalog: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_on: list[object] = []

    async def in_thread(call: Callable[..., Any], **values: Any) -> Any:
        handed_on.append(call)
        return call(**values)

    monkeypatch.setattr("fastapi.dependencies.utils.run_in_threadpool", in_thread)
    accepts(catalog, cat())
    assert (await client.post("/v1/photos", content=PNG)).status_code == 202
    await client.post("/v1/imports/archive", content=b"")
    assert handed_on == []


async def test_a_form_is_as_good_as_a_raw_body(client: httpx.AsyncClient, catalog: MadeUp) -> None:
    taken = accepts(catalog, cat())
    form = {"file": ("cat.png", PNG, "image/png")}
    answer = await client.post("/v1/photos?lane=batch", files=form)
    assert answer.status_code == 202
    assert (taken[0].file_name, taken[0].lane) == ("cat.png", "batch")


async def test_who_waits_gets_the_outcome_as_soon_as_it_is_there(
    client: httpx.AsyncClient, catalog: MadeUp
) -> None:
    accepts(catalog, cat())
    states = iter([cat(), cat("analyzed", outcome="review")])
    catalog.answers[read.photo] = lambda _id: next(states)
    answer = await client.post("/v1/photos", content=PNG, headers={"Prefer": "wait=30"})
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.json()["outcome"] == "review"


async def test_a_wait_in_vain_ends_with_202(client: httpx.AsyncClient, catalog: MadeUp) -> None:
    accepts(catalog, cat())
    answer = await client.post("/v1/photos", content=PNG, headers={"Prefer": "wait=0"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")


async def test_stopping_ends_a_wait_with_202(
    client: httpx.AsyncClient, catalog: MadeUp, door: Door
) -> None:
    accepts(catalog, cat())
    sending = client.post("/v1/photos", content=PNG, headers={"Prefer": "wait=60"})
    waiting = asyncio.create_task(sending)
    while not door.hub._subscriptions:  # noqa: ASYNC110  # until it waits
        await asyncio.sleep(0.005)
    door.hub.close()
    assert (await asyncio.wait_for(waiting, 2)).status_code == 202


async def test_known_bytes_are_answered_with_the_photo_they_are(
    client: httpx.AsyncClient, catalog: MadeUp
) -> None:
    accepts(catalog, cat("analyzed", outcome="suggested"), Status.ANALYZED)
    answer = await client.post("/v1/photos", content=PNG)
    assert answer.status_code == 200
    assert answer.json()["duplicate_of"] == str(CAT)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "empty_file"),
        (b"Dear diary, no picture today.", 415, "not_an_image"),
        (b"%PDF-1.7 whatever", 415, "not_an_image"),
        (b"\xff\x0a jpeg xl", 415, "unsupported_type"),
        (PNG[:20], 422, "image_truncated"),
        (PNG[:16] + (30_000).to_bytes(4) * 2 + PNG[24:], 422, "too_many_pixels"),
        (PNG[:16] + (11).to_bytes(4) * 2 + PNG[24:], 422, "too_many_pixels"),
        (PNG + bytes(LIMIT), 413, "file_too_large"),
    ],
)
async def test_what_is_no_photo_within_the_limits_is_refused_and_not_kept(
    client: httpx.AsyncClient, shelf: Shelf, data: bytes, status: int, code: str
) -> None:
    problem(await client.post("/v1/photos", content=data), status, code)
    form = {"file": ("x", data)}
    problem(await client.post("/v1/photos", files=form), status, code)
    assert shelf.kept == {}


async def test_a_form_without_a_file_says_so(client: httpx.AsyncClient) -> None:
    form = {"picture": ("x", PNG)}
    problem(await client.post("/v1/photos", files=form), 422, "file_missing")


async def test_a_declared_length_is_refused_before_a_byte_is_read(
    client: httpx.AsyncClient,
) -> None:
    read_on: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read_on.append(b"")
        yield bytes(10)

    headers = {"Content-Length": "5000000000"}
    answer = await client.post("/v1/photos", content=body(), headers=headers)
    problem(answer, 413, "file_too_large")
    assert answer.headers["connection"] == "close"
    assert read_on == []


async def test_an_endless_body_is_ended_at_the_limit(client: httpx.AsyncClient) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 500
            yield bytes(500)

    problem(await client.post("/v1/photos", content=body()), 413, "file_too_large")
    assert sent <= LIMIT + 1_000


@pytest.mark.parametrize(
    ("path", "kind", "begin"),
    [
        ("/v1/photos", "image/png", PNG[:30]),
        (
            "/v1/photos",
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + PNG[:30],
        ),
        ("/v1/imports", "application/json", b'{"paths":'),
    ],
    ids=["raw", "form", "JSON"],
)
async def test_a_body_that_does_not_come_on_is_given_up(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str, kind: str, begin: bytes
) -> None:
    monkeypatch.setattr("gateway.api.bodies.IDLE_S", 0.05)

    async def body() -> AsyncIterator[bytes]:
        yield begin
        await asyncio.Event().wait()

    sending = client.post(path, content=body(), headers={"Content-Type": kind})
    problem(await asyncio.wait_for(sending, 5), 408, "upload_stalled")


class Stale(MadeUp):
    """A catalog from which an old state comes after news of a newer one."""

    hub: Hub

    async def load(self, things: Sequence[Thing]) -> Mapping[Thing, str]:
        await self.hub.deliver([Notice(*thing) for thing in things])
        return dict.fromkeys(things, "old")


class Socket:
    """A client that leaves after the first text."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.left = asyncio.Event()

    async def accept(self) -> None: ...

    async def send_text(self, text: str) -> None:
        self.told.put_nowait(text)
        self.left.set()

    async def receive(self) -> dict[str, str]:
        await self.left.wait()
        return {"type": "websocket.disconnect"}


async def test_who_connects_is_not_told_an_old_state_after_a_newer_one(door: Door) -> None:
    async def newest(_owner: str, things: Sequence[Thing]) -> Mapping[Thing, str]:
        return dict.fromkeys(things, "new")

    stale = Stale()
    stale.hub = Hub(newest, bound=10)
    wired, socket = replace(door, hub=stale.hub, catalog=stale), Socket()
    await asyncio.wait_for(events(cast(WebSocket, socket), wired, photo=CAT), 5)
    assert socket.told.get_nowait() == "new"


async def test_a_large_body_is_refused_everywhere_else(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/imports", content=b" " * 1_000_001)
    problem(answer, 413, "file_too_large")


async def test_a_full_outbox_says_when_to_come_back(
    client: httpx.AsyncClient, catalog: MadeUp
) -> None:
    def full(_photos: Sequence[HandedIn]) -> list[Recorded]:
        raise unavailable("outbox_full", "full", retry_after_s=30)

    catalog.answers[Writes.photos] = full
    answer = await client.post("/v1/photos", content=PNG)
    problem(answer, 503, "outbox_full")
    assert answer.headers["retry-after"] == "30"


async def test_a_database_that_is_away_is_a_503(client: httpx.AsyncClient, catalog: MadeUp) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise psycopg.OperationalError("connection to 10.0.0.7 refused: secret")

    for question in (read.photos, read.photo, search.by_words, read_batches.batches):
        catalog.answers[question] = away
    for path in ("/v1/photos", f"/v1/photos/{CAT}", "/v1/search?q=x", "/v1/imports"):
        told = problem(await client.get(path), 503, "database_unavailable")
        assert "secret" not in str(told)


async def test_a_defect_is_a_500_without_a_stack_trace(
    client: httpx.AsyncClient, catalog: MadeUp
) -> None:
    catalog.answers[read.photo] = lambda _id: 1 // 0
    told = problem(await client.get(f"/v1/photos/{CAT}"), 500, "internal_error")
    assert "ZeroDivision" not in str(told)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/static/../settings.py", 404, "not_found"),
        ("GET", "/static/no-such.js", 404, "not_found"),
        ("DELETE", "/v1/photos", 405, "method_not_allowed"),
        ("GET", "/v1/photos/not-an-id", 422, "invalid_request"),
        ("GET", "/v1/photos?limit=0", 422, "invalid_request"),
        ("GET", "/v1/photos?outcome=great", 422, "invalid_request"),
        ("GET", "/v1/photos?cursor=zzz", 422, "invalid_cursor"),
        ("GET", "/v1/search", 422, "invalid_request"),
        ("GET", "/v1/search?q=%20", 422, "invalid_request"),
        ("GET", "/v1/search?q=a%00b", 422, "invalid_request"),
        ("GET", f"/v1/search?q=x&like={CAT}", 422, "invalid_request"),
        ("GET", "/v1/search?q=x&limit=201", 422, "invalid_request"),
        ("POST", "/v1/imports", 422, "invalid_request"),
    ],
)
async def test_every_error_is_a_problem(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    problem(await client.request(method, path), status, code)


async def test_an_unknown_photo_is_a_404(client: httpx.AsyncClient, catalog: MadeUp) -> None:
    catalog.answers[read.photo] = catalog.answers[read.stored] = lambda _id: None
    problem(await client.get(f"/v1/photos/{CAT}"), 404, "not_found")
    problem(await client.get(f"/v1/photos/{CAT}/original"), 404, "not_found")


async def test_an_import_outside_the_roots_is_refused(client: httpx.AsyncClient) -> None:
    told = problem(
        await client.post("/v1/imports", json={"paths": ["/etc"]}), 403, "outside_import_roots"
    )
    assert "darkroom import" in told["detail"]


async def test_a_path_that_is_no_text_is_refused(client: httpx.AsyncClient) -> None:
    for body in (b'{"paths": ["/\\ud800"]}', b'{"paths": ["/caf\\udce9"]}'):
        answer = await client.post("/v1/imports", content=body)
        assert answer.status_code == 422, answer.text


async def test_a_foreign_page_can_neither_write_nor_rebind(client: httpx.AsyncClient) -> None:
    foreign = {"Origin": "https://evil.example"}
    problem(await client.post("/v1/photos", content=PNG, headers=foreign), 403, "foreign_origin")
    simple = {**foreign, "Content-Type": "text/plain"}
    body = '{"paths": ["/"]}'
    problem(await client.post("/v1/imports", content=body, headers=simple), 403, "foreign_origin")
    fetched = {"Sec-Fetch-Site": "cross-site"}
    problem(await client.post("/v1/photos", content=PNG, headers=fetched), 403, "foreign_origin")
    rebound = {"Host": "evil.example:8080"}
    problem(await client.get("/", headers=rebound), 421, "host_not_allowed")


async def test_the_page_may_run_its_own_files_and_nothing_else(client: httpx.AsyncClient) -> None:
    page = await client.get("/", headers={"Host": "photos.home"})
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    for source in ("http://", "https://", "//cdn", " style=", "onclick="):
        assert source not in page.text
    for answer in (page, await client.get("/static/app.js"), await client.get("/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in answer.headers


async def test_a_refused_file_is_never_shown_as_a_picture(
    client: httpx.AsyncClient, catalog: MadeUp, shelf: Shelf
) -> None:
    shelf.kept["mem://o"] = b"<script>alert(1)</script>"
    stored = read.Stored(CAT, "ab" * 32, None, "x.html", "rejected", "mem://o", None, None)
    catalog.answers[read.stored] = lambda _id: stored
    answer = await client.get(f"/v1/photos/{CAT}/original")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    problem(await client.get(f"/v1/photos/{CAT}/thumbnail"), 404, "not_ready")


async def test_pictures_may_be_kept_and_are_asked_for_by_their_tag(
    client: httpx.AsyncClient, catalog: MadeUp, shelf: Shelf
) -> None:
    shelf.kept["mem://t"] = b"\xff\xd8\xff"
    stored = read.Stored(
        CAT, "ab" * 32, "image/png", "x.png", "analyzed", "mem://o", None, "mem://t"
    )
    catalog.answers[read.stored] = lambda _id: stored
    answer = await client.get(f"/v1/photos/{CAT}/thumbnail")
    assert answer.headers["content-type"] == "image/jpeg"
    assert "max-age" in answer.headers["cache-control"]
    again = await client.get(answer.url.path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_readiness_names_what_is_missing(
    client: httpx.AsyncClient, catalog: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lacking(_self: System) -> list[str]:
        return ["PostgreSQL does not answer"]

    monkeypatch.setattr(System, "lacking", lacking)
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["waiting_for"] == ["PostgreSQL does not answer"]
    assert answer.json()["without"] == ["redis"]
    assert (await client.get("/livez")).json() == {"alive": True}


async def test_requests_are_counted_by_route_and_status(client: httpx.AsyncClient) -> None:
    await client.get("/v1/photos?limit=0")
    text = (await client.get("/metrics")).text
    wanted = 'darkroom_api_requests_total{method="GET",route="/v1/photos",status="422"}'
    assert wanted in text
    assert str(CAT) not in text


async def test_the_description_names_every_route_and_its_problems(
    client: httpx.AsyncClient,
) -> None:
    moved = await client.get("/openapi.json")
    assert (moved.status_code, moved.headers["location"]) == (307, "/v1/openapi.json")
    assert (await client.get("/docs")).status_code == 404, "it would load scripts of others"
    told = (await client.get(moved.headers["location"])).json()
    assert {
        "/v1/photos",
        "/v1/photos/{photo_id}",
        "/v1/photos/{photo_id}/original",
        "/v1/search",
        "/v1/imports",
        "/v1/imports/{batch_id}/photos",
        "/v1/system",
    } <= set(told["paths"])
    limited = {
        (method.upper(), path)
        for path, methods in told["paths"].items()
        for method, operation in methods.items()
        if "429" in operation["responses"] and path != "/v1/session"
    }
    assert limited == {
        (method.upper(), path)
        for path, methods in told["paths"].items()
        for method in methods
        if class_of(method.upper(), path.replace("{name}", "sync:nas")) is not None
    }
    refusals = told["paths"]["/v1/photos"]["post"]["responses"]
    assert {"200", "202", "413", "415", "422", "503"} <= set(refusals)
    assert "application/problem+json" in refusals["413"]["content"]


async def test_too_many_large_uploads_at_once_are_told_to_come_back(
    client: httpx.AsyncClient, catalog: MadeUp
) -> None:
    accepts(catalog, cat())
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield PNG[:30]
        begun.set()
        await go_on.wait()
        yield PNG[30:]

    first = asyncio.create_task(client.post("/v1/photos", content=slow()))
    await begun.wait()
    answer = await client.post("/v1/photos", content=PNG)
    problem(answer, 503, "too_many_uploads")
    go_on.set()
    assert (await first).status_code == 202
