"""Telling people: what is signed, what is refused, when it is tried again, what never leaks."""

import asyncio
import base64
import json
import random
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from gateway.catalog.deliveries import Due, Told
from gateway.notifications.mail import message
from gateway.notifications.mail_server import MailServer, mail_server, sender
from gateway.notifications.sending import PAUSES_S, SendError, line, pause_s
from gateway.notifications.targets import (
    TargetError,
    checked_addresses,
    checked_secret,
    checked_url,
    new_secret,
)
from gateway.notifications.ways import log
from gateway.notifications.webhook import Webhook, body, signed
from gateway.settings import Settings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the standard's example
URL = "https://hooks.example.com/services/T0KEN?key=K3Y"
NOW = 1_795_521_600.25

TOLD = Told(
    notice_id=UUID(int=7),
    kind="first_dead_letter",
    service="detector",
    subject="engine_failed",
    severity="warning",
    title="detector gave up a record: engine_failed",
    detail="After 4 attempts: no answer.\nIt is kept.",
    occurred_at=datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC),
)


def due(told: Told = TOLD, **target: Any) -> Due:
    return Due(UUID(int=9), "webhook", {"url": URL, "secret": SECRET, **target}, 0, told)


# --- webhooks ----------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_standard_s_own_example() -> None:
    headers = signed(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_signature_is_that_of_another_program() -> None:
    content = body(TOLD)
    secret = new_secret()
    headers = signed(secret, str(TOLD.notice_id), int(NOW), content)

    key = base64.b64decode(secret.removeprefix("whsec_")).hex()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
    mac = subprocess.run(command, input=text, capture_output=True, check=True).stdout
    assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()


def test_a_webhook_s_body_says_what_happened() -> None:
    told = json.loads(body(TOLD))

    assert (told["type"], told["timestamp"]) == (
        "notice.first_dead_letter",
        "2026-11-24T12:00:00.250Z",
    )
    assert told["data"]["notice_id"] == str(TOLD.notice_id)
    assert told["data"]["detail"] == TOLD.detail


async def post(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.Request:
    """Post a notice to what answers so; gives the request that came."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answer(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        await Webhook(client, lambda: NOW).send(due())
    (request,) = seen
    return request


async def test_what_is_posted_is_what_is_signed() -> None:
    request = await post(lambda _request: httpx.Response(204))

    assert (request.method, str(request.url)) == ("POST", URL)
    again = signed(SECRET, str(TOLD.notice_id), int(NOW), request.content)
    assert request.headers["webhook-signature"] == again["webhook-signature"]
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "final"),
    [
        *((code, False) for code in (500, 503, 429, 408, 425)),
        *((code, True) for code in (410, 400, 401, 404, 301, 307)),
    ],
)
async def test_only_a_refusal_that_may_pass_is_worth_another_try(status: int, final: bool) -> None:
    headers = {"location": "https://elsewhere.example.com/"} if 300 <= status < 400 else {}
    with pytest.raises(SendError, match=str(status)) as caught:
        await post(lambda _request: httpx.Response(status, headers=headers))
    assert caught.value.final is final


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("[Errno 111] Connection refused"),
        httpx.ReadTimeout("timed out"),
        httpx.RemoteProtocolError("broken"),
        httpx.ReadError(""),
    ],
)
async def test_a_receiver_that_is_away_is_named_without_what_is_secret_of_its_address(
    error: httpx.TransportError,
) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(SendError, match=r"hooks\.example\.com") as caught:
        await post(fail)
    assert not caught.value.final
    assert "T0KEN" not in str(caught.value)
    assert "K3Y" not in str(caught.value)


async def test_a_large_answer_is_not_read() -> None:
    class Endless(httpx.AsyncByteStream):
        read = False

        async def __aiter__(self):  # type: ignore[no-untyped-def]
            self.read = True
            while True:
                yield b"x" * 1_000_000

    answer = Endless()
    await asyncio.wait_for(post(lambda _request: httpx.Response(200, stream=answer)), 5)
    assert not answer.read


# --- when ---------------------------------------------------------------------------------------


def test_a_delivery_is_tried_six_times_within_about_an_hour() -> None:
    chance = random.Random(1)
    clock, tries = 0.0, 1
    while (pause := pause_s(tries, chance)) is not None:
        clock, tries = clock + pause, tries + 1

    assert tries == 6 == len(PAUSES_S) + 1
    assert 3000 < clock < 4200


def test_pauses_grow_and_are_not_the_same_for_all() -> None:
    pauses = [[pause_s(tries, random.Random(seed)) for tries in range(1, 6)] for seed in (1, 2)]
    assert pauses[0] != pauses[1]
    for one in pauses:
        assert one == sorted(one, key=lambda pause: pause or 0)


# --- where to -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["https://a.example/x?y=1", "http://127.0.0.1:8080/hook", "http://[::1]:9/x", "https://ä.de/"],
)
def test_addresses_of_webhooks(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "ftp://a.example/", "file:///etc/passwd", "https://", "//a.example", "a.example"),
        *("https://ada:pw@a.example/", "https://a.example:0/", "https://a.example:99999/"),
        *("https://a.example/\r\nX: y", "https://a.example/ x", f"https://a.example/{'x' * 2000}"),
        *("http://[::1", "https://\udcff.example/", "javascript:x"),
    ],
)
def test_what_is_no_address_of_a_webhook_is_refused(url: str) -> None:
    with pytest.raises(TargetError, match="url: "):
        checked_url(url)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "hunter2",
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_" + "A" * 100,
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
        "whsec_ä",
    ],
)
def test_a_secret_that_is_none_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(TargetError, match="secret: ") as caught:
        checked_secret(secret)
    assert not secret.removeprefix("whsec_") or secret.removeprefix("whsec_") not in str(
        caught.value
    )


def test_our_secrets_are_good_and_never_the_same() -> None:
    made = {checked_secret(new_secret()) for _ in range(10)}
    assert len(made) == 10
    assert checked_secret(SECRET) == SECRET


def test_addresses_of_people_are_plain_and_few() -> None:
    assert checked_addresses(["a@b.example", "a@b.example", "x+y@c"]) == ["a@b.example", "x+y@c"]
    refused: list[list[str]] = [
        *([], ["ada"], ["a@b\r\nBcc: x@y"], ["Ada <a@b.example>"], ["a@b, c@d"], ["ä@b.example"]),
        *(["a@b.example\n"], ["a" * 250 + "@b.example"], [f"a{n}@b.example" for n in range(21)]),
    ]
    for addresses in refused:
        with pytest.raises(TargetError, match="to: "):
            checked_addresses(addresses)


# --- email --------------------------------------------------------------------------------------


def mail(told: Told) -> Any:
    """The email as the receiver reads it."""
    sent = message(due(told), "Darkroom <darkroom@example.com>", ["ada@example.com"])
    return message_from_bytes(sent.as_bytes(), policy=default)


def test_an_email_says_what_happened_and_what_to_do() -> None:
    read = mail(TOLD)

    assert read["Subject"] == "[Darkroom] detector gave up a record: engine_failed"
    assert (read["From"], read["To"]) == ("Darkroom <darkroom@example.com>", "ada@example.com")
    assert read["Message-ID"] == f"<{UUID(int=7)}.{UUID(int=9)}@example.com>"
    text = read.get_content().replace("\r\n", "\n")
    assert "After 4 attempts: no answer.\nIt is kept.\n" in text
    assert "warning · first_dead_letter · detector · engine_failed" in text


def test_a_title_adds_no_header_and_moves_no_cursor() -> None:
    evil = "Hi\r\nBcc: eve@example.com\r\n\r\nbody\x1b[2J\u2028\0" + "x" * 500
    read = mail(
        Told(
            notice_id=UUID(int=7),
            kind="k",
            service="s\r\nX-Evil: 1",
            subject="\r\n.\r\nMAIL FROM:<eve@example.com>",
            severity="info",
            title=evil,
            detail="one\r\n.\r\ntwo\x1b]0;x\a",
            occurred_at=TOLD.occurred_at,
        )
    )

    assert read["Bcc"] is None
    assert read["X-Evil"] is None
    assert read["Subject"].startswith("[Darkroom] Hi Bcc: eve@example.com body [2J")
    assert len(read["Subject"]) <= 160
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", read.get_content().replace("\r\n", "\n"))


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("smtp://mail.example.com", MailServer("mail.example.com", 587, False)),
        (
            "smtps://a:p%40ss@mail.example.com",
            MailServer("mail.example.com", 465, True, "a", "p@ss"),
        ),
        ("smtp://127.0.0.1:2525/", MailServer("127.0.0.1", 2525, False)),
    ],
)
def test_mail_servers(url: str, wanted: MailServer) -> None:
    assert mail_server(url) == wanted


@pytest.mark.parametrize(
    "settings",
    [{"smtp_url": url} for url in ("http://u:S3CRET@h", "smtp://", "smtp://u:S3CRET@h:x", "smtp")]
    + [{"smtp_from": text} for text in ("nobody", "a@b\nBcc: c@d", "", "ä@b.example")],
)
def test_mail_settings_that_are_none_are_refused_without_their_password(
    settings: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(**settings, _cli_parse_args=[])
    assert "S3CRET" not in str(caught.value)


def test_nothing_shows_the_password_of_the_mail_server() -> None:
    settings = Settings(
        smtp_url=SecretStr("smtp://ada:S3CRET@mail.example.com"),
        smtp_from="Darkroom <darkroom@example.com>",
        _cli_parse_args=[],
    )
    assert settings.sends_mail
    assert settings.smtp_url is not None
    shown = f"{settings!r}{settings}{settings.model_dump_json()}"
    assert "S3CRET" not in shown + repr(mail_server(settings.smtp_url.get_secret_value()))


def test_a_sender_may_have_a_name() -> None:
    assert sender("Darkroom <d@example.com>") == "Darkroom <d@example.com>"


# --- log, texts ---------------------------------------------------------------------------------


async def test_the_log_s_line_holds_what_was_noticed_at_its_severity() -> None:
    with capture_logs() as logs:
        await log(due())
    (said,) = logs
    assert (said["event"], said["log_level"], said["title"]) == ("notice", "warning", TOLD.title)
    assert (said["kind"], said["said_by"]) == ("first_dead_letter", "detector")


def test_reasons_are_one_short_line() -> None:
    error = SendError("a\r\nb\x1b[31m\0" + "c" * 900)
    assert str(error).startswith("a b [31m c")
    assert len(str(error)) <= 500
    assert line("\u202eabc") == "abc"
