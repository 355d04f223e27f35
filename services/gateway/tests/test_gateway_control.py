"""The control door as a process: its duties, its command line, its records."""

import threading
from uuid import uuid4

import psycopg
import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError

from gateway.catalog.outbox import Waiting
from gateway.command import Command
from gateway.control.control import Control
from gateway.control.duty import Duty
from gateway.control.relay import record_of
from gateway.db import Conn, away


def absent() -> Conn:
    raise psycopg.OperationalError("no server")


def broken() -> Conn:
    raise psycopg.errors.UndefinedTable('relation "outbox" does not exist')


def never(_conn: Conn, _stop: threading.Event) -> None:
    raise AssertionError("there was no connection")


def test_a_defect_in_one_duty_stops_all_and_is_told() -> None:
    waiting = Duty("waiting", 1, absent, never)
    control = Control([waiting, Duty("broken", 2, broken, never)])
    stop = threading.Event()

    with pytest.raises(psycopg.errors.UndefinedTable):
        control.run(stop)
    assert stop.is_set()


def test_readiness_names_the_duties_that_lack_the_catalog() -> None:
    control = Control([Duty("relay", 1, absent, never)])
    assert control.waiting_for() == ["the catalog for relay"]


def test_a_replica_says_from_the_start_that_it_does_not_lead() -> None:
    said = []

    def connect() -> Conn:
        said.append(REGISTRY.get_sample_value("darkroom_leading", {"duty": "unheard of"}))
        return broken()

    with pytest.raises(psycopg.errors.UndefinedTable):
        Duty("unheard of", 1, connect, never).run(threading.Event())
    assert said == [0]


def test_a_record_is_what_was_written_into_the_outbox() -> None:
    event_id = uuid4()
    headers = {"ce_id": str(event_id), "ce_source": "/darkroom/gateway"}
    record = record_of(Waiting(7, "photo.x.v1", "kéy", event_id, b"\0avro", headers))

    assert (record.topic, record.key, record.value) == ("photo.x.v1", "kéy".encode(), b"\0avro")
    sent = dict(record.headers)
    del sent["traceparent"]  # see test_gateway_traces
    assert sent == {name: text.encode() for name, text in headers.items()}


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (psycopg.OperationalError("connection refused"), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.DiskFull(), True),
        (psycopg.errors.DeadlockDetected(), True),
        (psycopg.errors.ProgramLimitExceeded(), False),
        (psycopg.errors.UndefinedTable(), False),
        (psycopg.errors.NotNullViolation(), False),
    ],
)
def test_only_trouble_of_the_database_itself_is_waited_for(
    error: psycopg.Error, waits: bool
) -> None:
    assert away(error) is waits


def test_a_door_and_its_settings_come_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DARKROOM_TOPIC_PREFIX", "test.")
    command = Command.from_command_line("gateway", ["control", "--import-in-flight", "7"])

    assert (command.door, command.import_in_flight, command.topic_prefix) == ("control", 7, "test.")


def test_help_lists_doors_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Command.from_command_line("gateway", ["--help"])

    text = capsys.readouterr().out
    assert ended.value.code == 0
    for word in ("api:", "recorder:", "control:", "migrate:", "--database", "--import-roots-file"):
        assert word in text


def test_settings_can_not_be_changed() -> None:
    command = Command.from_command_line("gateway", ["control"])
    with pytest.raises(ValidationError):
        command.api_port = 1  # type: ignore[misc]
