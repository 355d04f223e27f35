"""Logs: every line says of which service, engine and record it is."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from streamkit.engine.work import Work
from streamkit.logs import configure_logs, log_about
from streamkit.records import Taken

SPAN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    log_about(())
    yield
    log_about(())
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def work(offset: int = 7) -> Work:
    record = Taken("photo.submitted.high.v1", 3, offset, b"k", b"v", [], 0)
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
