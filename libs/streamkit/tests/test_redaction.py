"""Redaction: no log line holds a secret or what is personal, whatever it is made of."""

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from streamkit.logs import configure_logs
from streamkit.redaction import PERSONAL, SECRET, redact, redacted


def said(**fields: Any) -> dict[str, Any]:
    return dict(redact(None, "info", dict(fields)))


SECRETS = [
    ("postgresql://darkroom:hunter2@db:5432/darkroom", "hunter2"),
    ("no answer from redis://:s3cr3t@127.0.0.1:6379/0 (refused)", "s3cr3t"),
    ("smtps://ada:p@ss/w0rd@mail.example.com:465", "p@ss"),
    ("smtps://ada:two@ats@mail:465", "two@ats"),
    ("Authorization: Bearer dk_abcdefghijklmnop", "abcdefghijklmnop"),
    ("got the header 'basic YWRhOmh1bnRlcjI='", "YWRhOmh1bnRlcjI"),
    ("a key dk_live0123456789 was refused", "live0123456789"),
    ("password=hunter2 host=db", "hunter2"),
    ("password = 'two words' host=db", "two words"),
    ('{"password": "hunter2"}', "hunter2"),
    ("{'api_key': 'abc123', 'user': 'ada'}", "abc123"),
    ("sasl.password=hunter2,sasl.username=ada", "hunter2"),
    ('sasl.jaas.config=... username="ada" password="hunter2";', "hunter2"),
    ("GET https://bucket/x?X-Amz-Signature=deadbeefcafe&X-Amz-Date=1", "deadbeefcafe"),
    ("AKIAIOSFODNN7EXAMPLE was denied", "IOSFODNN7"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpA\n-----END RSA PRIVATE KEY-----", "MIIEpA"),
    ("-----BEGIN PRIVATE KEY-----\ncut off: MIIEpA", "MIIEpA"),
    ("cookie: session=abc123def", "abc123def"),
    ("Authorization: Token abcdef0123", "abcdef0123"),
    ("got {'Authorization': 'Token abcdef0123', 'Host': 'x'}", "abcdef0123"),
    ("(b'authorization', b'ApiKey abcdef0123')", "abcdef0123"),
    ('Proxy-Authorization: Digest username="ada", response="deadbeef"', "deadbeef"),
    ("Set-Cookie: a=b; other=hunter2; Path=/", "hunter2"),
    ("cookies={'a': 'b', 'other': 'hunter2'}", "hunter2"),
    (r"""{"password": "hun\"ter2", "x": 1}""", "ter2"),
    (r"""'{\"password\": \"hunter2\"}'""", "hunter2"),
    ("token: dk_live0123456789!and-more", "and-more"),
    ("POST https://hooks.slack.com/services/T00/B00/XXXsecretXXX: 404", "XXXsecretXXX"),
    ("POST https://discord.com/api/webhooks/123/abcdef failed", "abcdef"),
    ("https://house.webhook.office.com/webhookb2/1@2/IncomingWebhook/3/4", "IncomingWebhook"),
]

PERSONALS = [
    ("taken at 52.520008, 13.404954", "52.520008"),
    ("GPSLatitude: 52.52, GPSLongitude: 13.4", "52.52"),
    ("at lat 52.5200 lon 13.4050", "52"),
    ("at lat 52.5200 lon 13.4050", "13"),
    ('{"lat": 52.52, "lng": 13.4}', "13.4"),
    ("52°31'12\" N 13°24'18\" E", "31"),
    ("52°31'12\" N 13°24'18\" E", "24"),
    ("52 deg 31' 12.00\" N, 13 deg 24' 18.00\" E", "24"),
    ("at 52.52000° N, 13.40500° E", "13.4"),
    ("GPSLatitude: (52.0, 31.0, 12.0)", "31.0"),
    ("GPSLatitude: ((52, 1), (31, 1), (12, 1))", "31"),
    ("GPSInfo: {1: 'N', 2: (52.0, 31.0, 12.0)}", "31.0"),
    ("[52.520008123456789012, 13.404954123456789]", "13.404"),
    ("Artist=Ada", "Ada"),
    ("Artist: Ada Lovelace", "Lovelace"),
    ("owner_name: 'Ada Lovelace'", "Lovelace"),
    ("serial number: 4711081500", "4711081500"),
    ("mail to ada@example.com failed", "ada@example.com"),
    ("can't read /srv/photos/Ada's wedding.jpg", "wedding"),
    ("/home/ada/pictures/2024 is no folder", "ada"),
    ("no such file: '/mnt/our holiday/beach day.JPG'", "beach"),
    (r"C:\Users\ada\Desktop\cat.png", "ada"),
    ("file:///home/ada/darkroom/objects", "ada"),
]


@pytest.mark.parametrize(("text", "hidden"), SECRETS + PERSONALS)
def test_a_text_does_not_say_it(text: str, hidden: str) -> None:
    assert hidden not in redacted(text)
    assert hidden not in json.dumps(said(reason=text))


@pytest.mark.parametrize(("text", "hidden"), SECRETS + PERSONALS)
def test_nor_does_it_within_other_values(text: str, hidden: str) -> None:
    assert hidden not in json.dumps(said(many=[{"reason": (text, 1)}], error=ValueError(text)))


@pytest.mark.parametrize(
    "name",
    [
        *("password", "database_password", "smtp-password", "SASL.password", "sasl_username"),
        *("authorization", "api_key", "apiKey", "secret", "cookie", "session_token", "token"),
    ],
)
def test_a_field_of_that_name_is_a_secret(name: str) -> None:
    assert said(**{name: "abc"}) == {name: SECRET}
    assert said(settings={name: ["abc"]}) == {"settings": {name: SECRET}}


@pytest.mark.parametrize(
    "name",
    ["latitude", "gps", "GPSInfo", "exif", "file_name", "artist", "email", "camera_serial_number"],
)
def test_a_field_of_that_name_is_personal(name: str) -> None:
    assert said(**{name: "abc"}) == {name: PERSONAL}


@pytest.mark.parametrize(
    "text",
    [
        "the catalog is away: connection to 10.0.0.3:5432 refused",
        "photo.analysis-requested.high.v1[3]@42",
        "After 1 attempt: the value is not Avro in the Confluent wire format.",
        "3 of 4 photos, 0.75 of them in 1.25 s, 12.5, 13.5",
        "see darkroom trainings show 7e4d79c4-9ec8-58c4-9bdb-e2d0b6792d90",
        "librdkafka 2.15.0, kafka 4.4.0",
        "GET /v1/photos/7e4d79c4-9ec8-58c4-9bdb-e2d0b6792d90/thumbnail 404",
        "https://darkroom.example.com:8080/v1/imports?limit=3",
        "heads/labels.json, model.safetensors",
        "turned by 90° and by 180 degrees",
        "https://example.com/webhook answers 404",
        "the latency is 5 ms: flat, longer than before",
    ],
)
def test_what_is_neither_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_ids_places_and_numbers_stay() -> None:
    line = {
        **{"photo_id": "7e4d79c4-9ec8-58c4-9bdb-e2d0b6792d90", "topic": "photo.text-read.v1"},
        **{"worker": "ocr@box.example.com:12", "token": 7, "partition": 3, "ms": 1.5},
        **{"by": "ada", "owner": "723b3ef1-c51a-5816-b746-5af17467f4bb", "paused": True},
    }
    assert said(**line) == line


@pytest.mark.parametrize("name", ["photo_id", "batch_id", "trace_id"])
@pytest.mark.parametrize(
    "text", ["ada@example.com", "7e4d79c4 password=hunter2", ["dk_0123456789"]]
)
def test_an_id_that_is_none_is_looked_at(name: str, text: Any) -> None:
    found = str(said(**{name: text})[name])
    assert PERSONAL in found or SECRET in found


def test_what_is_hidden_already_stays_so() -> None:
    for once in (redacted(text) for text, _ in SECRETS + PERSONALS):
        assert "[file]" in once or redacted(once) == once


def test_the_rest_of_a_text_is_kept() -> None:
    assert redacted("token=abc, lane high") == f"token={SECRET}, lane high"
    assert redacted("token: dk_0123456789 of ada") == f"token: {SECRET} of ada"
    assert redacted("lat 52.52 of 3 photos") == f"lat {PERSONAL} of 3 photos"


def test_the_kind_of_a_file_is_kept() -> None:
    assert redacted("can't decode /srv/in/Mum.HEIC: cut off") == "can't decode [file].HEIC: cut off"


def test_the_host_of_a_url_is_kept() -> None:
    assert redacted("postgresql://a:b@db:5432/x") == f"postgresql://{SECRET}@db:5432/x"


HOSTILE = [
    *("a" * 1_000_000, "/" * 1_000_000, "@" * 1_000_000, "password=" * 100_000),
    *("." * 1_000_000, "1.111," * 100_000, "eyJ" * 300_000, "a://" * 200_000),
    *("'" * 100_000 + ".jpg", "x." * 400_000, "-----BEGIN PRIVATE KEY-----" * 30_000),
    *("http://hook" * 90_000, "1.1 deg 1.1'" * 90_000, "lat 1." * 100_000, "gps:(" * 100_000),
    *("cookie:" * 100_000, 'token:"\\' * 100_000, "token:[secret]" * 50_000, "52°" * 200_000),
    *("a@a." * 200_000, "/home/" * 200_000, " \t" * 400_000 + "=", "\\" * 500_000),
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_is_cut_and_costs_little(text: str) -> None:
    began = time.process_time()
    line = said(reason=text, exception=text, deep=[[[[[[[text]]]]]]], many=[text[:100]] * 10_000)
    assert time.process_time() - began < 1.0  # measured: up to 0.05 s
    assert len(json.dumps(line)) < 100_000


def test_values_that_are_no_json_become_text() -> None:
    line = said(a=float("nan"), b=float("inf"), c=b"\xff\xd8", d={1, 2}, e=object, f=None)
    assert json.loads(json.dumps(line))
    assert (line["a"], line["c"], line["f"]) == ("nan", "[2 bytes]", None)


def test_what_holds_itself_ends() -> None:
    around: list[Any] = []
    around.append(around)
    assert json.dumps(said(around=around))


@pytest.fixture
def _logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logs_as_before")
def test_every_way_into_the_log_is_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "info")
    secret = "postgresql://a:hunter2@db/x"  # noqa: S105 - nobody's
    structlog.get_logger("ours").warning("away", reason=secret)
    logging.getLogger("theirs").warning("can't connect to %s", secret)
    try:
        raise ConnectionError(secret)
    except ConnectionError:
        structlog.get_logger("ours").exception("failed")
        logging.getLogger("theirs").exception("failed")
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 4
    assert "hunter2" not in out
    assert out.count(SECRET) == 4
