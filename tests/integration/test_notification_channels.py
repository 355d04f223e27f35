"""Channels as people set them up: by REST, by the command, and what they see of notices."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result
from websockets.sync.client import ClientConnection, connect

from api_door import api_door, door_settings
from darkroom_cli import app
from darkroom_cli.infra.ports import any_port
from gateway import db
from gateway.catalog.notices import add_notice
from gateway.settings import Settings
from infrastructure import Infrastructure
from notice_door import notice_door, poll
from receivers import Hooks, hooks

CHANNELS = "/v1/notifications/channels"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the example of the standard


@pytest.fixture
def settings(infrastructure: Infrastructure, database: str, tmp_path: Path) -> Settings:
    return door_settings(infrastructure, database, tmp_path)


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with api_door(settings) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture
def sending(settings: Settings, url: str) -> Iterator[None]:
    """A control door that sends."""
    prefix = settings.topic_prefix
    with notice_door(settings.database, settings.redis, prefix=prefix):
        yield


@pytest.fixture
def web() -> Iterator[Hooks]:
    with hooks() as server:
        yield server


def tell(conn: db.Conn, title: str, **fields: Any) -> str:
    notice_id = str(uuid4())
    told: dict[str, Any] = {"kind": "batch_completed", "service": "gateway", "subject": "b"}
    told |= {"severity": "info", "detail": "Look at it.", "notice_id": notice_id, **fields}
    with conn.transaction():
        add_notice(conn, title=title, **told)
    return notice_id


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# --- REST ---------------------------------------------------------------------------------------


def test_a_secret_is_shown_once_if_it_is_ours_and_never_else(client: httpx.Client) -> None:
    hook = "https://hooks.example.com/services/T0KEN?key=K3Y"
    ours = client.post(CHANNELS, json={"name": "ours", "kind": "webhook", "url": hook})
    theirs = client.post(
        CHANNELS, json={"name": "theirs", "kind": "webhook", "url": hook, "secret": SECRET}
    )

    assert (ours.status_code, theirs.status_code) == (201, 201)
    made = ours.json()["secret"]
    assert made.startswith("whsec_")
    assert theirs.json()["secret"] is None
    one = f"{CHANNELS}/{ours.json()['channel_id']}"
    shown = [client.get(CHANNELS).text, client.get(one).text]
    shown.append(client.patch(one, json={"enabled": False}).text)
    shown.append(client.post(f"{one}/test").text)
    for text in (*shown, theirs.text):
        assert made not in text
        assert SECRET not in text
        assert "T0KEN" not in text
        assert "K3Y" not in text
    assert ours.json()["target"] == "https://hooks.example.com/…"


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"kind": "webhook"}, "url: "),
        ({"kind": "webhook", "url": "ftp://x/"}, "url: "),
        ({"kind": "webhook", "url": "https://x/", "secret": "hunter2"}, "secret: whsec_"),
        ({"kind": "webhook", "url": "https://x/", "to": ["a@b"]}, "to: a channel of kind webhook"),
        ({"kind": "email", "to": []}, "to: give 1"),
        ({"kind": "email", "to": ["a@b\r\nBcc: c@d"]}, "to: "),
        ({"kind": "log", "url": "https://x/"}, "url: a channel of kind log has none"),
        ({"kind": "email", "to": ["ada@example.com"]}, "Set DARKROOM_SMTP_URL"),
        ({"kind": "pigeon"}, "kind"),
        ({"kind": "log", "kinds": ["Robert'); --"]}, "kinds"),
        ({"kind": "log", "name": "a\nb"}, "control characters"),
        ({"kind": "log", "name": ""}, "name"),
    ],
)
def test_a_channel_that_could_not_work_is_refused_with_the_cure(
    client: httpx.Client, wish: dict[str, Any], told: str
) -> None:
    answer = client.post(CHANNELS, json={"name": "new", **wish})

    assert answer.status_code == 422
    assert told in answer.json()["detail"]
    assert "hunter2" not in answer.text
    assert [one["name"] for one in client.get(CHANNELS).json()["items"]] == ["log", "page"]


def test_with_a_mail_server_addresses_are_taken(settings: Settings) -> None:
    mail = settings.model_copy(
        update={"smtp_url": SecretStr("smtp://h"), "smtp_from": "d@e", "api_port": any_port()}
    )
    with api_door(mail) as url:
        wish = {"name": "us", "kind": "email", "to": ["ada@example.com", "bob@example.com"]}
        made = httpx.post(url + CHANNELS, json=wish, timeout=20)
    assert (made.status_code, made.json()["target"]) == (201, "ada@example.com, bob@example.com")


def test_preferences_are_changed_one_by_one_and_channels_removed(client: httpx.Client) -> None:
    made = client.post(CHANNELS, json={"name": "screen", "kind": "websocket"}).json()
    one = f"{CHANNELS}/{made['channel_id']}"

    changed = client.patch(one, json={"kinds": ["overload"], "least_severity": "critical"}).json()
    assert (changed["kinds"], changed["least_severity"], changed["enabled"]) == (
        ["overload"],
        "critical",
        True,
    )
    assert client.patch(one, json={"kinds": []}).json()["kinds"] == []
    again = client.post(CHANNELS, json={"name": "screen", "kind": "log"})
    assert problem(again) == (409, "channel_exists")
    assert client.delete(one).status_code == 204
    for gone in (client.delete(one), client.get(one), client.patch(one, json={})):
        assert problem(gone) == (404, "not_found")
    assert problem(client.post(f"{one}/test")) == (404, "not_found")
    for ours in client.get(CHANNELS).json()["items"]:
        told = problem(client.delete(f"{CHANNELS}/{ours['channel_id']}"))
        assert told == (409, "default_channel")
    entries = client.get("/v1/audit?what=channel").json()["items"][::-1]
    assert [(one["what"], one["subject"], one["detail"]) for one in entries] == [
        (
            "channel.added",
            "screen",
            {"kind": "websocket", "target": "/v1/events", "enabled": True},
        ),
        ("channel.changed", "screen", {"kinds": ["overload"], "least_severity": "critical"}),
        ("channel.changed", "screen", {"kinds": []}),
        ("channel.removed", "screen", {"kind": "websocket", "target": "/v1/events"}),
    ]


def test_notices_are_paged_newest_first_and_filtered(client: httpx.Client, conn: db.Conn) -> None:
    told = [tell(conn, f"number {number}") for number in range(5)]
    other = tell(conn, "other", kind="overload")
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2, "kind": "batch_completed"}
    while True:
        page = client.get("/v1/notifications", params=query).json()
        seen += [one["notice_id"] for one in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]

    assert seen == told[::-1]
    assert client.get(f"/v1/notifications/{other}").json()["title"] == "other"
    assert problem(client.get(f"/v1/notifications/{uuid4()}")) == (404, "not_found")
    assert problem(client.get("/v1/notifications?cursor=x")) == (422, "invalid_cursor")
    assert client.get("/v1/notifications?undelivered=true").json()["items"] == []


# --- /v1/events ---------------------------------------------------------------------------------


def events(url: str, query: str = "") -> ClientConnection:
    return connect(f"{url.replace('http', 'ws')}/v1/events{query}")


def notices_by(socket: ClientConnection, last: str) -> list[str]:
    """Ids of the notices that come, up to this one."""
    seen: list[str] = []
    while not seen or seen[-1] != last:
        event = json.loads(socket.recv(timeout=20))
        assert event["type"] == "notice"
        seen.append(event["notice"]["notice_id"])
    return seen


@pytest.mark.usefixtures("sending")
def test_who_follows_everything_hears_what_the_websocket_s_channel_wants_once(
    client: httpx.Client, url: str, conn: db.Conn
) -> None:
    (page,) = (one for one in client.get(CHANNELS).json()["items"] if one["name"] == "page")
    wish = {"least_severity": "warning"}
    assert client.patch(f"{CHANNELS}/{page['channel_id']}", json=wish).status_code == 200
    poll(lambda: client.get("/readyz").json()["without"] == [])
    with events(url) as all_of_it, events(url, f"?batch={uuid4()}") as one_import:
        first = tell(conn, "bad", severity="critical")
        tell(conn, "fine", severity="info")
        last = tell(conn, "bad again", severity="warning")
        assert notices_by(all_of_it, last) == [first, last]
        # By now a look into the catalog may have come between: it repeats none.
        after = tell(conn, "after", severity="warning")
        assert notices_by(all_of_it, after) == [after]
        with pytest.raises(TimeoutError):
            one_import.recv(timeout=0.2)


def test_without_redis_the_websocket_is_told_from_the_catalog(
    settings: Settings, conn: db.Conn
) -> None:
    lone = settings.model_copy(update={"redis": "redis://127.0.0.1:1", "api_port": any_port()})
    with api_door(lone) as url, notice_door(lone.database, lone.redis):
        wish = {"name": "screen", "kind": "websocket"}
        assert httpx.post(url + CHANNELS, json=wish, timeout=20).status_code == 201
        with events(url) as socket:
            notice = tell(conn, "hello")
            assert notices_by(socket, notice) == [notice]


# --- the command --------------------------------------------------------------------------------


def run(url: str, *words: str) -> Result:
    runner = CliRunner(env={"COLUMNS": "100", "DARKROOM_URL": url})
    return runner.invoke(app.build(), ["notify", *words])


@pytest.mark.usefixtures("sending")
def test_the_command_adds_tries_disables_and_removes(url: str, web: Hooks) -> None:
    added = run(url, "add", "ops", "--webhook", web.url("/hook"), "--least", "warning")
    assert added.exit_code == 0, added.output
    assert "Its secret, shown this once: whsec_" in added.stdout

    tried = run(url, "test", "ops")
    assert (tried.exit_code, tried.stdout.strip()) == (0, "ops was told.")
    assert json.loads(web.posts[0].body)["data"]["title"] == "Darkroom can reach you by ops"
    web.answers["/hook"] = [500]
    failed = run(url, "test", "ops")
    assert failed.exit_code == 1
    assert "answered 500 Internal Server Error" in failed.stderr

    assert run(url, "disable", "ops").stdout.strip() == "ops is disabled."
    shown = json.loads(run(url, "channels", "--json").stdout)
    enabled = {"log": True, "ops": False, "page": True}
    assert {one["name"]: one["enabled"] for one in shown} == enabled
    table = run(url, "channels").stdout
    assert "whsec_" not in table
    assert "/hook" not in table
    assert json.loads(run(url, "enable", "ops", "--json").stdout)["enabled"] is True

    listed = run(url, "list", "--undelivered")
    assert "ops (failed)" in listed.stdout
    whole = run(url, "list", "--whole").stdout
    assert "ops failed: 127.0.0.1" in whole
    assert len(json.loads(run(url, "list", "--json").stdout)) == 2

    assert run(url, "remove", "ops").stdout.strip() == "ops is removed."
    assert "there is no channel ops; there are: log" in run(url, "test", "ops").stderr
    assert "Disable it instead" in run(url, "remove", "log").stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "x"), "say one of --webhook"),
        (("add", "x", "--log", "--websocket"), "say one of --webhook"),
        (("add", "x", "--log", "--least", "bad"), "choose info, warning, critical"),
    ],
)
def test_a_slip_of_the_command_is_explained(words: tuple[str, ...], told: str) -> None:
    result = run("http://127.0.0.1:1", *words)
    assert result.exit_code == 2
    assert told in " ".join(result.output.replace("│", " ").split())


def test_what_a_notice_holds_moves_no_cursor(url: str, conn: db.Conn) -> None:
    tell(conn, "\x1b[31m[bold]red[/]", detail="\x1b]0;title\a [link=x]\nsecond line")
    for words in (("list",), ("list", "--whole")):
        shown = run(url, *words)
        assert shown.exit_code == 0, shown.output
        assert "\x1b[31m" not in shown.stdout
        assert "[bold]red[/]" in shown.stdout
