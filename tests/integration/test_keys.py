"""Keys, roles, sessions and owners, at a door on real PostgreSQL and Redis."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import websockets.exceptions
from pydantic import ValidationError
from websockets.sync.client import ClientConnection, connect

from api_door import api_door, door_settings
from catalog_seed import Seed, picture
from gateway import db
from gateway.api.permissions import NEEDED
from gateway.catalog import keys
from gateway.catalog.keys import Key, KeyRequest, NewKey
from gateway.recorder.news import News, photo_news
from gateway.roles import ROLES, Role
from gateway.settings import Settings
from infrastructure import Infrastructure


def make(conn: db.Conn, role: Role = "admin", name: str = "", **changes: Any) -> NewKey:
    wanted = KeyRequest(name=name or f"{role}-{uuid4().hex[:6]}", role=role, **changes)
    return keys.make_key(conn, "", wanted, "test")


@pytest.fixture
def asking(door: str) -> Iterator[Any]:
    """Clients of the door by the key that they send."""
    with ExitStack() as stack:

        def client(key: NewKey | None = None, **headers: str) -> httpx.Client:
            given = {} if key is None else {"Authorization": f"Bearer {key.token}"}
            made = httpx.Client(base_url=door, timeout=20, headers={**given, **headers})
            return stack.enter_context(made)

        yield client


@contextmanager
def listening(door: str, key: NewKey, query: str = "") -> Iterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {key.token}"}
    address = f"{door.replace('http', 'ws')}/v1/events{query}"
    with connect(address, additional_headers=headers) as socket:
        yield socket


def audited(conn: db.Conn, what: str) -> list[dict[str, Any]]:
    query = "SELECT who, what, subject, detail FROM audit WHERE what = %s ORDER BY id"
    return conn.execute(query, (what,)).fetchall()


def expire(conn: db.Conn, key: Key) -> None:
    conn.execute(
        "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE key_id = %s",
        (key.key_id,),
    )


@pytest.mark.parametrize("role", ROLES)
def test_the_border_of_each_role(role: Role, conn: db.Conn, asking: Any) -> None:
    below = None if role == "viewer" else ROLES[ROLES.index(role) - 1]
    client, lower = asking(make(conn, role)), asking(make(conn, below)) if below else None
    some = str(uuid4())
    routes = [name for name, needed in NEEDED.items() if needed == role]
    assert routes
    for name in routes:
        method, path = name.split()
        if method == "WS":
            continue
        for part in ("photo_id", "batch_id", "source_id", "channel_id", "notice_id", "replay_id"):
            path = path.replace(f"{{{part}}}", some)
        path = path.replace("{name}", "detector").replace("{sha256}", "ab" * 32)
        path = path.replace("{key}", "nothing")
        body = {} if method in ("GET", "DELETE") else {"content": b"{}"}
        answer = client.request(method, path, **body)
        assert answer.status_code < 500, name
        assert answer.status_code not in (401, 405), name
        assert answer.headers.get("content-type") == "text/html; charset=utf-8" or (
            answer.status_code != 403 or answer.json()["code"] != "forbidden"
        ), name
        if lower is not None:
            refused = lower.request(method, path, **body)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), name
            assert (refused.json()["needed"], refused.json()["held"]) == (role, below), name


def test_a_token_is_told_once_and_kept_as_a_hash(conn: db.Conn, asking: Any) -> None:
    admin = asking(make(conn, "admin", name="root"))
    made = admin.post("/v1/keys", json={"name": "nas", "role": "uploader"})
    assert made.status_code == 201
    token = made.json()["token"]
    assert token.startswith(f"{made.json()['prefix']}_")
    secret = token.split("_", 2)[2]
    assert len(secret) == 43, "256 bits"
    row = conn.execute("SELECT * FROM api_keys WHERE name = 'nas'").fetchone()
    assert row is not None
    assert row["secret_sha256"] == hashlib.sha256(secret.encode()).digest()
    listed = admin.get("/v1/keys").text
    assert secret not in listed
    assert "nas" in listed
    assert [(each["who"], each["subject"]) for each in audited(conn, "key.created")] == [
        ("test", "root"),
        ("key:root", "nas"),
    ]
    assert secret not in json.dumps(audited(conn, "key.created"))
    again = admin.post("/v1/keys", json={"name": "nas", "role": "viewer"})
    assert (again.status_code, again.json()["code"]) == (409, "key_exists")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "", "role": "viewer"},
        {"name": "key:ada", "role": "viewer"},
        {"name": "ada", "role": "boss"},
        {"name": "ada", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"},
    ],
)
def test_what_is_no_key(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        KeyRequest.model_validate(wrong)


def test_a_revoked_key_opens_nothing_from_then_on(conn: db.Conn, door: str, asking: Any) -> None:
    admin, key = asking(make(conn, "admin", name="root")), make(conn, "viewer", name="gone")
    client, page = asking(key), asking()
    assert client.get("/v1/photos").status_code == 200
    assert page.post("/v1/session", json={"key": key.token}).status_code == 201
    with listening(door, key) as socket:
        assert admin.delete("/v1/keys/gone").json()["revoked_at"] is not None
        answer = client.get("/v1/photos")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        over = page.get("/v1/session")
        assert over.status_code == 401, "who was a viewer is not anybody, who may do more"
        assert not page.cookies
        assert page.get("/v1/session").json()["anonymous"]
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            socket.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
    assert [(each["who"], each["subject"]) for each in audited(conn, "key.revoked")] == [
        ("key:root", "gone")
    ]
    (refused,) = audited(conn, "key.refused")
    assert refused["subject"] == key.key_id
    assert refused["detail"] == {"reason": "revoked", "address": "127.0.0.1"}
    assert admin.delete("/v1/keys/gone").status_code == 200
    assert len(audited(conn, "key.revoked")) == 1
    assert admin.delete("/v1/keys/nobody").status_code == 404


def test_an_expired_key_opens_nothing(conn: db.Conn, asking: Any) -> None:
    key = make(conn, "admin", expires_at=datetime.now(UTC) + timedelta(hours=1))
    client = asking(key)
    begun = client.post("/v1/session", json={"key": key.token}).json()
    ends_at = datetime.fromisoformat(begun["ends_at"])
    assert ends_at == key.expires_at, "a session lives no longer than its key"
    assert client.get("/v1/session").json()["name"] == f"key:{key.name}"
    expire(conn, key)
    assert client.get("/v1/photos").status_code == 401


def test_when_a_key_was_used_is_known_to_a_minute(conn: db.Conn, asking: Any) -> None:
    key = make(conn, "viewer")
    client = asking(key)

    def used() -> datetime | None:
        return next(each.last_used_at for each in keys.keys(conn, "") if each.name == key.name)

    assert used() is None
    client.get("/v1/photos")
    first = used()
    assert first is not None
    client.get("/v1/photos")
    assert used() == first
    conn.execute("UPDATE api_keys SET last_used_at = now() - interval '61 seconds'")
    client.get("/v1/photos")
    again = used()
    assert again is not None
    assert again > first - timedelta(seconds=30)


@pytest.mark.parametrize(
    "token",
    ["dk_000000000000_" + "x" * 43, "dk_", "dk__", "dk_a_b_c", "x", "dk_é_é", "dk_'_--"],
)
def test_what_is_no_key_opens_nothing(token: str, asking: Any) -> None:
    answer = asking().get("/v1/photos", headers={"Authorization": f"Bearer {token}".encode()})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert asking().post("/v1/session", json={"key": token}).status_code in (401, 422)


def test_another_keys_secret_does_not_fit(conn: db.Conn, asking: Any) -> None:
    one, two = make(conn), make(conn)
    mixed = f"dk_{one.key_id}_{two.token.split('_', 2)[2]}"
    assert asking(Authorization=f"Bearer {mixed}").get("/v1/photos").status_code == 401


def test_a_sessions_cookie_is_the_browsers_alone(conn: db.Conn, asking: Any) -> None:
    key, page = make(conn, "uploader", name="ada"), asking()
    wrong = page.post("/v1/session", json={"key": key.token + "x"})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    signed = page.post("/v1/session", json={"key": key.token})
    assert signed.json()["name"] == "key:ada"
    cookie = SimpleCookie(signed.headers["set-cookie"])["darkroom_session"]
    flags = (cookie["httponly"], cookie["samesite"].lower(), cookie["path"], cookie["secure"])
    assert flags == (True, "strict", "/", "")
    assert key.token.split("_", 2)[2] != cookie.value
    rows = conn.execute("SELECT session_sha256, expires_at FROM sessions").fetchall()
    assert [row["session_sha256"] for row in rows] == [
        hashlib.sha256(cookie.value.encode()).digest()
    ]
    assert timedelta(hours=11) < rows[0]["expires_at"] - datetime.now(UTC) < timedelta(hours=13)
    assert page.get("/v1/session").json()["role"] == "uploader"
    assert page.get("/v1/audit").json()["code"] == "forbidden"
    copied = asking(Cookie=f"darkroom_session={cookie.value}")
    assert copied.get("/v1/session").json()["name"] == "key:ada"
    assert page.delete("/v1/session").status_code == 204
    assert not page.cookies
    assert copied.get("/v1/session").status_code == 401, "it ended for the copy, too"
    (begun,) = conn.execute("SELECT who, subject FROM audit WHERE what = 'session.begun'")
    assert (begun["who"], begun["subject"]) == ("key:ada", key.token.split("_")[1])


def test_over_tls_the_cookie_stays_there(conn: db.Conn, asking: Any) -> None:
    proxied = asking(**{"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.7"})
    signed = proxied.post("/v1/session", json={"key": make(conn).token})
    assert "; Secure" in signed.headers["set-cookie"]


def test_a_session_that_is_over_opens_nothing(conn: db.Conn, asking: Any) -> None:
    page = asking()
    page.post("/v1/session", json={"key": make(conn).token})
    conn.execute("UPDATE sessions SET expires_at = now()")
    over = page.get("/v1/session")
    assert (over.status_code, over.json()["code"]) == (401, "unauthenticated")
    assert "sign in again" in over.json()["detail"]
    assert keys.forget_sessions(conn) == 1


def test_another_sites_page_can_not_use_a_session(conn: db.Conn, asking: Any) -> None:
    page = asking()
    page.post("/v1/session", json={"key": make(conn).token})
    for header in ({"Origin": "http://localhost:3000"}, {"Sec-Fetch-Site": "same-site"}):
        refused = page.post("/v1/keys", json={"name": "evil", "role": "admin"}, headers=header)
        assert refused.json()["code"] == "foreign_origin"


def test_by_whom_can_not_be_forged(conn: db.Conn, asking: Any) -> None:
    policy = {"auto_above": 0.9, "review_below": 0.4, "reason": "a test", "by": "ada"}
    asking(make(conn, "admin", name="ben")).post("/v1/policy", json=policy).raise_for_status()
    asking().post("/v1/policy", json=policy | {"by": "key:ben"}).raise_for_status()
    asking().post("/v1/policy", json=policy).raise_for_status()
    by = [each["who"] for each in audited(conn, "policy.changed")]
    assert by == ["key:ben", "local", "ada"]
    told = asking().get("/v1/policy/history").json()["items"]
    assert [each["changed_by"] for each in told] == by[::-1]


@pytest.mark.parametrize("wanted", ["none", "viewer"])
def test_who_has_no_key_may_do_what_the_setting_says(
    wanted: str, infrastructure: Infrastructure, database: str, tmp_path: Path
) -> None:
    settings = door_settings(infrastructure, database, tmp_path, anonymous=wanted)
    with api_door(settings) as url, httpx.Client(base_url=url, timeout=20) as client:
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 200
        assert client.get("/metrics").status_code == 200
        assert client.get("/static/base.css").status_code == 200
        seen = client.get("/v1/photos")
        changed = client.post("/v1/policy", content=b"x" * 2_000_000)
        hidden = client.get("/nothing/here")
        described = client.get("/v1/openapi.json")
        if wanted == "viewer":
            assert (seen.status_code, hidden.status_code) == (200, 404)
            assert changed.status_code == 413, "who is known is told what is wrong"
            refused = client.post("/v1/policy", json={})
            assert refused.json()["held"] == "viewer"
            return
        moved = client.get("/openapi.json")
        for answer in (seen, changed, hidden, described, moved):
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="darkroom"'
        with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
            connect(f"{url.replace('http', 'ws')}/v1/events")
        assert caught.value.response.status_code == 401


def test_what_a_proxy_passed_on_needs_a_key(conn: db.Conn, asking: Any) -> None:
    assert asking().get("/v1/photos").status_code == 200
    forwarded = {"X-Forwarded-For": "10.0.0.7"}
    assert asking(**forwarded).get("/v1/photos").status_code == 401
    assert asking(make(conn, "viewer"), **forwarded).get("/v1/photos").status_code == 200


def test_a_door_to_the_world_says_why_it_does_not_start(settings: Settings) -> None:
    env = {**os.environ, "DARKROOM_API_HOST": "0.0.0.0", "DARKROOM_ANONYMOUS": "viewer"}  # noqa: S104
    command = [sys.executable, "-m", "gateway", "api"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "DARKROOM_ANONYMOUS=viewer would give everybody who reaches 0.0.0.0" in ended.stderr


def test_each_owner_sees_their_own_photos_alone(
    conn: db.Conn, door: str, asking: Any, seed: Seed, news: News
) -> None:
    ada, ben = make(conn, "admin", owner="ada"), make(conn, "admin", owner="ben")
    hers, his, local = asking(ada), asking(ben), asking()
    data = picture("red")
    photo = hers.post("/v1/photos", content=data).json()
    photo_id = photo["photo_id"]
    assert hers.get(f"/v1/photos/{photo_id}").status_code == 200
    for other in (his, local):
        assert other.get(f"/v1/photos/{photo_id}").status_code == 404
        assert other.get(f"/v1/photos/{photo_id}/original").status_code == 404
        assert other.get("/v1/photos").json()["items"] == []
        assert other.get("/v1/system").json()["counts"]["pending"] == 0
    assert hers.get("/v1/system").json()["counts"]["pending"] == 1
    same = his.post("/v1/photos", content=data)
    assert same.status_code == 202, "the same bytes are another photo, since it is his"
    assert same.json()["photo_id"] != photo_id
    batch = hers.post("/v1/imports", json={"kind": "upload", "name": "hers"}).json()["batch_id"]
    assert hers.get(f"/v1/imports/{batch}").status_code == 200
    for path in ("", "/photos", "/report.csv", "/failures"):
        assert his.get(f"/v1/imports/{batch}{path}").status_code == 404
    assert his.post(f"/v1/imports/{batch}/cancel").status_code == 404

    owned = conn.execute("SELECT DISTINCT owner::text FROM photos").fetchall()
    assert len(owned) == 2
    with listening(door, ada) as mine, listening(door, ben) as not_his:
        news.tell([photo_news(photo_id, photo["analysis_id"], [])])
        his_own = same.json()
        news.tell([photo_news(his_own["photo_id"], his_own["analysis_id"], [])])
        assert json.loads(mine.recv(timeout=20))["photo"]["photo_id"] == photo_id
        assert json.loads(not_his.recv(timeout=20))["photo"]["photo_id"] == his_own["photo_id"]
    with listening(door, ben, f"?photo={photo_id}") as watching:
        news.tell([photo_news(photo_id, photo["analysis_id"], [])])
        with pytest.raises(TimeoutError):
            watching.recv(timeout=1)


def test_who_guesses_keys_is_held_up_and_others_are_not(conn: db.Conn, asking: Any) -> None:
    key = make(conn, "viewer")
    known = asking(key)
    assert known.get("/v1/photos").status_code == 200
    answers = [
        asking().post("/v1/session", json={"key": f"dk_{number}_guess"}) for number in range(14)
    ]
    assert [each.status_code for each in answers][:10] == [401] * 10
    assert answers[-1].status_code == 429
    assert answers[-1].json()["code"] == "too_many_attempts"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 6
    assert known.get("/v1/photos").status_code == 200
    assert asking().get("/v1/photos").status_code == 200
    assert len(audited(conn, "key.refused")) <= 11


def test_each_key_has_its_own_rate_limits(
    infrastructure: Infrastructure, database: str, tmp_path: Path, conn: db.Conn
) -> None:
    settings = door_settings(infrastructure, database, tmp_path, rate_single="2/h")
    headers = [{"Authorization": f"Bearer {make(conn, 'uploader').token}"} for _ in range(2)]
    with api_door(settings) as url, httpx.Client(base_url=url, timeout=20) as client:
        for given in (*headers, {}):
            told = [
                client.post("/v1/photos", content=b"no photo", headers=given).status_code
                for _ in range(3)
            ]
            assert told == [415, 415, 429]


def command(database: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "darkroom_cli", "keys", *words),
        env={**os.environ, "DARKROOM_DATABASE": database},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_makes_the_first_key(database: str, conn: db.Conn, asking: Any) -> None:
    made = command(database, "create", "first", "--role", "admin", "--expires", "90d")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token not in made.stderr
    assert asking(Authorization=f"Bearer {token}").get("/v1/keys").status_code == 200
    (key,) = keys.keys(conn, "")
    assert key.expires_at is not None
    assert timedelta(days=89) < key.expires_at - datetime.now(UTC) <= timedelta(days=90)
    again = command(database, "create", "first", "--role", "admin")
    assert (again.returncode, again.stdout) == (1, "")
    assert "there is, or was, a key named first" in again.stderr
    listed = command(database, "list")
    assert "first" in listed.stdout
    assert token not in listed.stdout
    assert command(database, "revoke", "first").returncode == 0
    assert asking(Authorization=f"Bearer {token}").get("/v1/keys").status_code == 401
    assert command(database, "revoke", "second").returncode == 1
