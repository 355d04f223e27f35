"""Logs: every line says of which service, engine and record it is."""

import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from streamkit import tracing
from streamkit.engine.work import Work
from streamkit.log_line import LogLine
from streamkit.logs import RecordLines, configure_logs, log_about, name_keys, named
from streamkit.records import RawRecord, Taken

PHOTO = "7e4d79c4-9ec8-58c4-9bdb-e2d0b6792d90"
SPAN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    hooks = sys.excepthook, threading.excepthook
    log_about(())
    name_keys({})
    yield
    log_about(())
    name_keys({})
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def work(offset: int = 7) -> Work:
    record = Taken("photo.submitted.high.v1", 3, offset, PHOTO.encode(), b"v", [], 0)
    return Work(1, "high", 2, record)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_is_json_with_its_service(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "info")
    structlog.get_logger("somewhere").info("loaded", weights=3)
    (line,) = lines(capsys)
    assert line["service"] == "ocr"
    assert (line["event"], line["level"], line["logger"]) == ("loaded", "info", "somewhere")
    assert line["weights"] == 3
    assert line["timestamp"].endswith("Z")
    assert not {"engine", "lane", "trace_id"} & set(line)


def test_an_engine_says_which_one_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "info", engine="bulk")
    logging.getLogger("foreign").warning("of the standard %s", "library")
    (line,) = lines(capsys)
    assert (line["service"], line["engine"]) == ("ocr", "bulk")
    assert line["event"] == "of the standard library"


def test_lines_of_every_thread_have_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "info")
    logger = structlog.get_logger("elsewhere")
    thread = threading.Thread(target=logger.info, args=("here",))
    thread.start()
    thread.join()
    assert lines(capsys)[0]["service"] == "ocr"


def test_a_level_keeps_out_what_is_below(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "warning")
    structlog.get_logger("quiet").info("not this")
    assert lines(capsys) == []


def test_what_a_handler_logs_names_its_record(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "info", engine="high")
    log_about([work()], SPAN)
    structlog.get_logger("handler").info("read", words=12)
    (line,) = lines(capsys)
    assert line["lane"] == "high"
    assert (line["topic"], line["partition"], line["offset"]) == ("photo.submitted.high.v1", 3, 7)
    assert line["attempt"] == 2
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_what_a_library_logs_in_a_handler_does_so_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("ocr", "info")
    log_about([work()], SPAN)
    logging.getLogger("some.library").warning("slow")
    assert lines(capsys)[0]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_a_micro_batch_is_named_by_lane_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "info")
    log_about([work(7), work(8)])
    structlog.get_logger("handler").info("read")
    (line,) = lines(capsys)
    assert (line["lane"], line["records"]) == ("high", 2)
    assert not {"offset", "trace_id"} & set(line)


def test_after_the_handler_lines_are_about_no_record(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "info")
    log_about([work()])
    log_about(())
    structlog.get_logger("after").info("idle")
    assert "lane" not in lines(capsys)[0]


def test_what_a_line_says_itself_stands(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "info")
    log_about([work()])
    structlog.get_logger("handler").info("moved", topic="another")
    (line,) = lines(capsys)
    assert line["topic"] == "another"
    assert "trace_id" not in line


KEYS = {
    "photo.submitted.high.v1": "photo_id",
    "batch.photo-ended.v1": "batch_id/chunk",
}


def test_a_record_is_named_by_its_key_where_that_is_an_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("ocr", "info")
    name_keys(KEYS)
    log_about([work()])
    structlog.get_logger("handler").info("read")
    assert lines(capsys)[0]["photo_id"] == PHOTO
    key = f"{PHOTO}/7".encode()
    assert named("batch.photo-ended.v1", key) == {"batch_id": PHOTO, "chunk": "7"}
    assert named("batch.photo-ended.v1", b"Ada") == {"batch_id": "[not an id]"}
    assert named("photo.submitted.high.v1", b"Ada") == {"photo_id": "[not an id]"}
    assert named("ops.worker.v1", b"k") == {}
    assert named("photo.submitted.high.v1", None) == {}


def test_a_line_within_a_request_has_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("gateway-api", "info")
    with tracing.within(SPAN):
        structlog.get_logger("api").info("handed_in")
    structlog.get_logger("api").info("later")
    first, second = lines(capsys)
    assert first["trace_id"] == SPAN[3:35]
    assert "trace_id" not in second


def over(topic: str = "photo.submitted.high.v1", key: bytes = PHOTO.encode()) -> Taken:
    return Taken(topic, 3, 7, key, b"v", [("traceparent", SPAN.encode())], 0)


def write(*records: Taken) -> None:
    found = RecordLines()
    for one in records:
        if found.wants(one.topic):
            found.add("handled", one, ', "lane": "high", "outcome": "done"', 1.25, 2)
    found.flush()


def test_a_record_that_is_over_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "info", engine="high")
    name_keys(KEYS)
    write(over())
    (line,) = lines(capsys)
    timestamp = line.pop("timestamp")
    assert line == {
        **{"service": "ocr", "engine": "high", "level": "info", "logger": "streamkit.records"},
        **{"event": "handled", "topic": "photo.submitted.high.v1", "partition": 3, "offset": 7},
        **{"lane": "high", "attempt": 2, "outcome": "done", "ms": 1.2},
        **{"photo_id": PHOTO, "trace_id": SPAN[3:35]},
    }
    LogLine.model_validate({**line, "timestamp": timestamp})


def test_records_without_an_id_of_their_own_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "info")
    name_keys(KEYS)
    write(over("ops.worker.v1"), over("batch.photo-ended.v1"))
    assert lines(capsys) == []


def test_records_have_no_lines_above_the_level_info(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "warning")
    name_keys(KEYS)
    write(over())
    assert lines(capsys) == []


@pytest.mark.parametrize(
    "key",
    [
        *(b'"}\n{"event": "forged"' + b"\xff" * 1_000, b"ada@example.com", b"Ada's wedding.jpg"),
        *(b"", PHOTO.encode() + b" password=hunter2", PHOTO.encode() + b"\n"),
    ],
)
def test_a_key_that_is_no_id_is_not_said(key: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "info")
    name_keys(KEYS)
    write(over(key=key))
    found = RecordLines()
    found.published([RawRecord("photo.submitted.high.v1", key, b"v", [])])
    first, second = lines(capsys)
    assert (first["event"], first["photo_id"]) == ("handled", "[not an id]")
    assert (second["event"], second["photo_id"]) == ("published", "[not an id]")


def test_whatever_says_it_every_line_has_the_shape(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ocr", "debug", engine="bulk")
    structlog.get_logger("ours").warning("half", words=3, why=None)
    logging.getLogger("theirs").error({"not": "text"})
    logging.getLogger().warning("of %d", 3)
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    try:
        raise ValueError("broken")
    except ValueError as error:
        logging.getLogger("theirs").exception("failed")
        sys.excepthook(ValueError, error, error.__traceback__)
    threading.Thread(target=int, args=("no number",), name="a thread").start()
    for thread in threading.enumerate():
        if thread.name == "a thread":
            thread.join()
    found = [LogLine.model_validate(line) for line in lines(capsys)]
    assert [line.service for line in found] == ["ocr"] * len(found)
    by_logger = {line.logger: line for line in found}
    assert {"ours", "theirs", "root", "py.warnings", "uncaught"} <= set(by_logger)
    assert "DeprecationWarning: old" in by_logger["py.warnings"].event
    uncaught = [line for line in found if line.event == "uncaught"]
    assert [line.level for line in uncaught] == ["critical"] * 2
    assert "ValueError: broken" in (uncaught[0].exception or "")
