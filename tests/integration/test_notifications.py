"""Notices from what happened to whoever wants to know, on real PostgreSQL, Redis, HTTP and SMTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from darkroom_cli.infra.ports import any_port
from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog import channels, deliveries
from gateway.catalog.changes import changes
from gateway.catalog.channels import ChannelWish
from gateway.catalog.deliveries import NoticeFilter
from gateway.catalog.notice_shapes import ChannelKind, Notice
from gateway.catalog.notices import add_notice, forget_notices, record_notice, tell_away
from gateway.control import notices as duty_of_notices
from gateway.notifications import sending
from gateway.notifications.mail import Mailer
from gateway.notifications.mail_server import MailServer
from gateway.notifications.targets import new_secret
from gateway.notifications.webhook import signed
from infrastructure import Infrastructure
from notice_door import notice_door as door
from notice_door import poll
from receivers import Hooks, hooks, mailbox

Example = Callable[..., dict[str, Any]]
OWNER = ids.LOCAL_OWNER
SECRET = new_secret()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries that follow at once; how long the pauses are is a unit test's."""
    monkeypatch.setattr(sending, "PAUSES_S", (0.05,) * 5)
    monkeypatch.setattr(duty_of_notices, "_POLL_S", 0.1)
    monkeypatch.setattr(duty_of_notices, "_LOOK_S", 0.05)


@pytest.fixture
def web() -> Iterator[Hooks]:
    with hooks() as server:
        yield server


def channel(
    conn: db.Conn, name: str, kind: ChannelKind, target: Mapping[str, Any], **wish: Any
) -> str:
    """Add a channel; gives its id."""
    wanted = {"kinds": (), "least_severity": "info", "enabled": True, **wish}
    return channels.make_channel(
        conn, OWNER, ChannelWish(name, kind, target, **wanted), "ada"
    ).channel_id


def webhook(conn: db.Conn, web: Hooks, path: str, **wish: Any) -> str:
    target = {"url": web.url(path), "secret": SECRET}
    return channel(conn, path.strip("/"), "webhook", target, **wish)


def tell(conn: db.Conn, title: str = "Something happened", **fields: Any) -> str:
    """A notice; gives its id."""
    notice_id = str(uuid4())
    told: dict[str, Any] = {"kind": "batch_completed", "service": "gateway", "subject": "b"}
    told |= {"severity": "info", "detail": "Look at it.", "notice_id": notice_id, **fields}
    with conn.transaction():
        add_notice(conn, title=title, **told)
    return str(told["notice_id"])


def read(conn: db.Conn, notice_id: str) -> Notice:
    found = deliveries.notice(conn, OWNER, UUID(notice_id))
    assert found is not None
    return found


def states(conn: db.Conn, notice_id: str) -> dict[str, str]:
    """State by channel, without the page's, which every notice has."""
    deliveries = read(conn, notice_id).deliveries
    return {one.channel: one.state for one in deliveries if one.channel != "page"}


# --- what is told, and to whom ------------------------------------------------------------------


def test_whoever_wants_it_is_told_and_nobody_else(conn: db.Conn, web: Hooks) -> None:
    wishes: dict[str, dict[str, Any]] = {
        "/all": {},
        "/batches": {"kinds": ["batch_completed"]},
        "/letters": {"kinds": ["first_dead_letter"]},
        "/bad": {"least_severity": "warning"},
        "/off": {"enabled": False},
    }
    for path, wish in wishes.items():
        webhook(conn, web, path, **wish)

    fine = tell(conn)
    bad = tell(conn, severity="critical", kind="overload")
    private = tell(conn, owner=str(uuid4()))

    assert set(states(conn, fine)) == {"log", "all", "batches"}
    assert set(states(conn, bad)) == {"log", "all", "bad"}
    assert deliveries.notice(conn, OWNER, UUID(private)) is None


def test_the_same_fact_is_one_notice_and_goes_with_its_transaction(conn: db.Conn) -> None:
    fact = str(uuid4())
    with conn.transaction(force_rollback=True):
        tell(conn, notice_id=fact)
    assert deliveries.notice(conn, OWNER, UUID(fact)) is None
    tell(conn, notice_id=fact)
    tell(conn, "another title", notice_id=fact)
    assert read(conn, fact).title == "Something happened"
    assert states(conn, fact) == {"log": "waiting"}


def test_what_workers_say_again_within_the_hour_is_one_notice(
    conn: db.Conn, example: Example
) -> None:
    now = datetime.now(UTC)

    def say(minute: int, **changes: Any) -> None:
        fields = {"notice_id": str(uuid4()), "occurred_at": now + timedelta(minutes=minute)}
        record_notice(conn, example(names.OPS_NOTIFIED, **{**fields, **changes}))  # type: ignore[arg-type]

    say(0)
    say(59)  # the clock's hour is another one by then, hence the id too
    say(20, service="ocr")  # waits for the same
    say(61)
    say(1, subject="kafka")
    for service in ("ocr", "detector", "ocr"):
        say(2, kind="first_dead_letter", subject="gone", service=service)
    say(600, kind="first_dead_letter", subject="gone", service="ocr")  # the digest tells
    say(1500, kind="first_dead_letter", subject="gone", service="ocr")

    found, _ = deliveries.notices(conn, OWNER, NoticeFilter(), None, 50)
    told = sorted(
        ((one.occurred_at - now) / timedelta(minutes=1), one.service, one.subject) for one in found
    )
    assert [(round(minute), service, subject) for minute, service, subject in told] == [
        (0, "detector", "objects"),
        (1, "detector", "kafka"),
        (2, "detector", "gone"),
        (2, "ocr", "gone"),
        (61, "detector", "objects"),
        (1500, "ocr", "gone"),
    ]


def test_two_that_find_out_at_once_are_one_notice(
    conn: db.Conn, database: str, example: Example
) -> None:
    event = example(names.OPS_NOTIFIED, kind="dependency_away", subject="object store")
    waits = (
        "SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted"
    )

    def other() -> None:
        with db.connect(database, name="other") as door, door.transaction():
            tell_away(door, "object store", "It is gone.")

    with conn.transaction():
        event["occurred_at"] = datetime.now(UTC)
        record_notice(conn, event)  # type: ignore[arg-type]
        telling = Thread(target=other)
        telling.start()
        with db.connect(database, name="look") as look:
            poll(lambda: bool(look.execute(waits).fetchall()))
    telling.join(10)
    found, _ = deliveries.notices(conn, OWNER, NoticeFilter(), None, 50)
    assert [one.service for one in found] == [event["service"]]


def test_odd_characters_in_a_notice_stop_nothing(conn: db.Conn, example: Example) -> None:
    odd = tell(conn, "a\0b\r\nc\udcff", detail="\0\udcff", subject="\udcff")
    assert read(conn, odd).title == "ab c?"
    event = example(names.OPS_NOTIFIED, severity="apocalyptic")
    record_notice(conn, event)  # type: ignore[arg-type]
    assert read(conn, event["notice_id"]).severity == "warning"


# --- how it is sent -----------------------------------------------------------------------------


def test_a_webhook_that_fails_twice_is_told_the_third_time_with_the_same_id(
    conn: db.Conn, database: str, web: Hooks
) -> None:
    web.answers["/hook"] = [500, 503]
    webhook(conn, web, "/hook")
    with door(database):
        notice = tell(conn, "12 photos are in", detail="All of them.")
        poll(lambda: states(conn, notice) == {"hook": "delivered", "log": "delivered"})

    assert web.ids("/hook") == [notice] * 3
    (delivery,) = [one for one in read(conn, notice).deliveries if one.channel == "hook"]
    assert (delivery.attempts, delivery.error, delivery.next_at) == (3, None, None)
    last = web.posts[-1]
    again = signed(SECRET, notice, int(last.headers["webhook-timestamp"]), last.body)
    assert last.headers["webhook-signature"] == again["webhook-signature"]
    assert json.loads(last.body)["data"]["title"] == "12 photos are in"


def test_a_receiver_that_does_not_want_it_is_not_asked_again_and_one_that_is_broken_six_times(
    conn: db.Conn, database: str, web: Hooks
) -> None:
    web.answers["/gone"] = [410] * 9
    web.answers["/broken"] = [500] * 9
    webhook(conn, web, "/gone")
    webhook(conn, web, "/broken")
    with door(database):
        notice = tell(conn)
        poll(lambda: set(states(conn, notice).values()) == {"failed", "delivered"})

    assert (len(web.ids("/gone")), len(web.ids("/broken"))) == (1, 6)
    failed, _ = deliveries.notices(conn, OWNER, NoticeFilter(undelivered=True), None, 9)
    errors = {one.channel: one.error for one in failed[0].deliveries if one.state == "failed"}
    assert "answered 410 Gone" in (errors["gone"] or "")
    assert "answered 500 Internal Server Error" in (errors["broken"] or "")


def test_receivers_that_hang_delay_no_other(
    conn: db.Conn, database: str, web: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.notifications.webhook._ANSWER_S", 1.0)
    for path in ("/hang", "/drip", "/quick"):
        webhook(conn, web, path)
    with door(database):
        told = [tell(conn, subject=str(number)) for number in range(20)]
        began = time.monotonic()
        poll(lambda: set(web.ids("/quick")) == set(told))
        assert time.monotonic() - began < 10
        poll(lambda: read(conn, told[0]).deliveries[0].attempts > 0)
        poll(lambda: read(conn, told[0]).deliveries[1].attempts > 0)

    drip, hang = read(conn, told[0]).deliveries[:2]
    assert "did not answer within 1 s" in (drip.error or "")
    assert "did not answer within 1 s" in (hang.error or "")


def test_an_email_comes_and_who_was_refused_is_told(conn: db.Conn, database: str) -> None:
    port = any_port()
    mailer = Mailer(MailServer("127.0.0.1", port, tls=False), "Darkroom <darkroom@example.com>")
    channel(conn, "us", "email", {"to": ["ada@example.com", "nobody@example.com"]})
    channel(conn, "them", "email", {"to": ["nobody@example.com"]})
    with mailbox(port) as box, door(database, mail=mailer):
        notice = tell(
            conn, "Import of Färöer\r\nBcc: eve@example.com", detail="12 photos.\n.\nAll."
        )
        poll(lambda: "waiting" not in states(conn, notice).values())

    ((to, content),) = box.mails
    assert to == ["ada@example.com"]
    mail = message_from_bytes(content, policy=default)
    assert mail["Subject"] == "[Darkroom] Import of Färöer Bcc: eve@example.com"
    assert mail["Bcc"] is None
    text = mail.get_content().replace("\r\n", "\n")
    assert "12 photos.\n.\nAll.\n" in text
    by_channel = {one.channel: one for one in read(conn, notice).deliveries}
    assert by_channel["us"].state == "delivered"
    assert by_channel["us"].error == ("not taken for nobody@example.com: 550 no such user [2J here")
    assert by_channel["them"].state == "failed"


def test_a_mail_server_that_hangs_or_is_not_set_is_told_and_holds_up_nothing(
    conn: db.Conn, database: str, web: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.notifications.mail._STEP_S", 0.5)
    channel(conn, "mail", "email", {"to": ["ada@example.com"]})
    webhook(conn, web, "/hook")
    with door(database):
        unset = tell(conn)
        poll(lambda: states(conn, unset).get("mail") == "failed")
    assert "Set DARKROOM_SMTP_URL" in (read(conn, unset).deliveries[2].error or "")
    silent = MailServer("127.0.0.1", int(web.url("").rpartition(":")[2]), tls=False)
    with door(database, mail=Mailer(silent, "d@example.com")):
        notice = tell(conn)
        poll(
            lambda: (
                states(conn, notice) == {"hook": "delivered", "log": "delivered", "mail": "failed"}
            )
        )
    assert "no email by 127.0.0.1" in (read(conn, notice).deliveries[2].error or "")


def test_a_channel_is_tried_out_once_even_if_it_is_disabled(
    conn: db.Conn, database: str, web: Hooks
) -> None:
    web.answers["/hook"] = [500]
    hook = UUID(webhook(conn, web, "/hook", enabled=False))
    with door(database):
        first = channels.try_channel(conn, OWNER, hook)
        poll(lambda: states(conn, str(first)) == {"hook": "failed"})
        second = channels.try_channel(conn, OWNER, hook)
        poll(lambda: states(conn, str(second)) == {"hook": "delivered"})
    assert web.ids("/hook") == [str(first), str(second)]


def test_a_disabled_channel_waits_and_goes_on_when_it_is_enabled(
    conn: db.Conn, database: str, web: Hooks
) -> None:
    hook = UUID(webhook(conn, web, "/hook"))
    notice = tell(conn)
    preferences: dict[str, Any] = {"kinds": None, "least_severity": None}
    channels.change_channel(conn, OWNER, hook, enabled=False, by="ada", **preferences)
    with door(database):
        poll(lambda: states(conn, notice) == {"hook": "waiting", "log": "delivered"})
        assert web.posts == []
        channels.change_channel(conn, OWNER, hook, enabled=True, by="ada", **preferences)
        poll(lambda: states(conn, notice)["hook"] == "delivered")


def test_redis_away_fails_the_websocket_and_the_doors_look_into_the_catalog(
    conn: db.Conn, database: str
) -> None:
    channel(conn, "screen", "websocket", {})
    with door(database):
        notice = tell(conn)
        assert [one.kind for one in changes(conn, OWNER)] == []
        poll(lambda: states(conn, notice)["screen"] == "failed")
    assert [(one.kind, str(one.id)) for one in changes(conn, OWNER)] == [("notice", notice)]


# --- crashes ------------------------------------------------------------------------------------


def test_what_was_under_way_when_the_leader_ended_is_sent_by_the_next(
    conn: db.Conn, database: str, web: Hooks
) -> None:
    webhook(conn, web, "/hang")
    webhook(conn, web, "/hook")
    told = [tell(conn, subject=str(number)) for number in range(3)]
    with door(database) as first:
        poll(lambda: len(web.ids("/hang")) == 1 and set(web.ids("/hook")) == set(told))
        with door(database):
            first.end()
            poll(lambda: web.ids("/hang") == [told[0]] * 2)
    assert sorted(web.ids("/hook")) == sorted(told), "what was delivered is not sent again"
    assert read(conn, told[0]).deliveries[0].attempts == 0, "being stopped is no failure"


def test_a_connection_that_is_cut_loses_nothing(conn: db.Conn, database: str, web: Hooks) -> None:
    web.answers["/hook"] = [500] * 3
    webhook(conn, web, "/hook")
    with door(database) as replica:
        told = [tell(conn, subject=str(number)) for number in range(5)]
        for _ in range(3):
            poll(lambda: replica.duty.connected)
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = %s AND datname = current_database()",
                (replica.name,),
            )
        told += [tell(conn, subject=f"late {number}") for number in range(5)]
        poll(lambda: all(states(conn, one)["hook"] == "delivered" for one in told), 40)
    assert set(web.ids("/hook")) == set(told)


_PROGRAM = """
import sys, threading
from functools import partial
from gateway import db, locks
from gateway.control.duty import Duty
from gateway.control.notices import Notifier
from gateway.notifications.ways import WayMeans, open_ways
connect = partial(db.connect, sys.argv[1], name="killed")
notifier = Notifier(partial(open_ways, WayMeans("redis://127.0.0.1:1", "", None)))
Duty("notices", locks.NOTICES, connect, notifier.work).run(threading.Event())
"""


def test_a_kill_in_the_middle_loses_nothing(
    conn: db.Conn, database: str, web: Hooks, tmp_path: Path
) -> None:
    webhook(conn, web, "/hang")
    webhook(conn, web, "/hook")
    told = [tell(conn, subject=str(number)) for number in range(50)]
    command = [sys.executable, "-c", _PROGRAM, database]
    with (tmp_path / "log").open("w") as log:
        program = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
        poll(lambda: len(web.ids("/hook")) >= 3, 60)
        program.send_signal(signal.SIGKILL)
        program.wait()
    assert len(set(web.ids("/hook"))) < 50
    with door(database):
        poll(lambda: set(web.ids("/hook")) == set(told), 40)
        poll(lambda: all(states(conn, one)["hook"] == "delivered" for one in told), 40)
    assert len(web.ids("/hook")) <= 51, "at most the one that was under way comes twice"
    assert "whsec_" not in (tmp_path / "log").read_text()
    assert "/hang" not in (tmp_path / "log").read_text()


def test_a_defect_in_a_way_is_a_failed_try_and_ends_no_door(
    conn: db.Conn, database: str, web: Hooks
) -> None:
    broken = webhook(conn, web, "/broken")
    conn.execute("UPDATE channels SET target = '{}' WHERE channel_id = %s", (broken,))
    webhook(conn, web, "/hook")
    with door(database) as replica:
        notice = tell(conn)
        poll(
            lambda: (
                states(conn, notice)
                == {"broken": "failed", "hook": "delivered", "log": "delivered"}
            )
        )
        assert replica.thread.is_alive()
    assert "a defect of Darkroom: KeyError" in (read(conn, notice).deliveries[0].error or "")


# --- upkeep -------------------------------------------------------------------------------------


def test_old_notices_are_forgotten_with_their_deliveries(conn: db.Conn) -> None:
    old, young = tell(conn), tell(conn)
    conn.execute(
        "UPDATE notices SET recorded_at = now() - interval '40 days' WHERE notice_id = %s", (old,)
    )
    assert forget_notices(conn, 30) == 1
    assert states(conn, young) == {"log": "waiting"}
    row = conn.execute("SELECT count(*) AS rows FROM deliveries").fetchone()
    assert row == {"rows": 2}, "of the log and the page"


def test_a_channel_s_name_is_its_owner_s_and_their_number_is_bounded(
    conn: db.Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel(conn, "screen", "websocket", {})
    with pytest.raises(channels.NameTakenError):
        channel(conn, "screen", "log", {})
    monkeypatch.setattr(channels, "MOST_CHANNELS", 4)
    channel(conn, "fourth", "log", {})
    with pytest.raises(channels.TooManyChannelsError):
        channel(conn, "fifth", "log", {})


def test_there_are_a_log_and_a_page_from_the_start_and_once(conn: db.Conn, database: str) -> None:
    with db.connect(database, name="other") as other:
        for one in (conn, other, conn):
            assert [each.name for each in channels.channels(one, OWNER)] == ["log", "page"]
    with pytest.raises(psycopg.errors.UniqueViolation):
        conn.execute("INSERT INTO channels SELECT * FROM channels")


def test_the_websocket_s_news_go_by_redis(
    conn: db.Conn, database: str, infrastructure: Infrastructure
) -> None:
    channel(conn, "screen", "websocket", {})
    with door(database, redis=infrastructure.redis, prefix=f"t{uuid4().hex[:8]}."):
        notice = tell(conn)
        poll(lambda: states(conn, notice) == {"log": "delivered", "screen": "delivered"})
