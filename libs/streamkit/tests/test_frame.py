"""Headers, health, the frame of a service, settings, engines."""

import faulthandler
import importlib
import json
import logging
import os
import signal
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from streamkit import (
    Emit,
    EngineLoadError,
    Readiness,
    ServiceSettings,
    Stopped,
    UnknownEngineError,
    WorkerSettings,
    load_engine,
    service_frame,
)
from streamkit.engines import factory_of, needing
from streamkit.headers import event_headers, next_span, readable
from streamkit.health import health_server

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_an_event_carries_cloudevents_headers() -> None:
    raw = event_headers(Emit("photo.rejected.v1", "k", {}, "id-1"), source="intake")
    headers = readable(raw)
    assert headers["ce_id"] == "id-1"
    assert headers["ce_type"] == "darkroom.photo.rejected.v1"
    assert headers["ce_source"] == "/darkroom/intake"
    assert headers["ce_specversion"] == "1.0"
    assert headers["content-type"] == "application/avro"


def test_a_trace_goes_on_with_a_new_span() -> None:
    after = next_span(TRACE)
    assert after[:36] == TRACE[:36]
    assert after[36:52] != TRACE[36:52]
    assert after.endswith("-01")


@pytest.mark.parametrize(
    "rubbish", [None, "", "00-xyz", TRACE + "-more", TRACE.replace("0a", "0A")]
)
def test_an_invalid_trace_is_replaced(rubbish: str | None) -> None:
    after = next_span(rubbish)
    assert len(after) == len(TRACE)
    assert TRACE[3:35] not in after


def test_foreign_headers_are_bounded() -> None:
    many = [(f"h{n}" + "x" * 1000, b"\xff" * 10_000) for n in range(1000)]
    found = readable(many)
    assert len(found) == 64
    assert all(len(name) <= 256 and len(value) <= 4096 for name, value in found.items())


def test_an_engine_whose_package_is_missing_says_which_and_how_to_get_it() -> None:
    with (
        pytest.raises(EngineLoadError, match=r"no_such_package.*darkroom-ocr\[torch\]"),
        needing("darkroom-ocr[torch]"),
    ):
        importlib.import_module("no_such_package")


def test_readiness_says_what_is_lacking() -> None:
    readiness = Readiness("engine")
    with health_server("127.0.0.1", 0, readiness) as port:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5)
        assert caught.value.code == 503
        assert json.loads(caught.value.read())["waiting_for"] == ["engine"]
        readiness.follow(lambda: [])
        for page in ("livez", "readyz", "metrics"):
            answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5)
            assert answer.status == 200


def test_who_asks_and_does_not_wait_leaves_no_stack_on_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with health_server("127.0.0.1", 0, Readiness()) as port:
        with socket.create_connection(("127.0.0.1", port)) as hasty:
            hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            hasty.sendall(b"GET /met")  # the server reads on, and is cut off
        for _ in range(2):
            assert ask(port, "readyz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def ask(port: int, page: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def test_a_worker_in_trouble_is_not_alive() -> None:
    readiness = Readiness("engine")
    with health_server("127.0.0.1", 0, readiness, readiness.trouble) as port:
        assert ask(port, "livez") == (200, {"alive": True, "trouble": None})
        wrong = ["The worker's loop has stood still for 63 s."]
        readiness.follow(lambda: [], lambda: "".join(wrong))
        assert ask(port, "livez") == (503, {"alive": False, "trouble": wrong[0]})
        assert ask(port, "readyz")[0] == 200
        wrong.clear()
        assert ask(port, "livez")[0] == 200


def test_there_are_no_other_pages() -> None:
    with health_server("127.0.0.1", 0, Readiness()) as port:
        assert ask(port, "admin")[0] == 404


@pytest.fixture
def _process_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    signals = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    yield
    root.handlers, root.level = handlers, level
    for one, handler in signals.items():
        signal.signal(one, handler)
    faulthandler.unregister(signal.SIGUSR1)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_process_as_before")
def test_a_service_is_asked_to_stop_by_sigterm() -> None:
    with service_frame("x", ServiceSettings(), Readiness()) as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)


@pytest.mark.usefixtures("_process_as_before")
def test_a_service_serves_its_health_while_it_runs() -> None:
    before = threading.active_count()
    with service_frame("x", ServiceSettings(), Readiness()):
        assert "health" in [thread.name for thread in threading.enumerate()]
    assert threading.active_count() == before


@pytest.mark.usefixtures("_process_as_before")
def test_being_stopped_while_it_waits_is_a_clean_end() -> None:
    with service_frame("x", ServiceSettings(), Readiness()) as stop:
        stop.set()
        raise Stopped


@pytest.mark.usefixtures("_process_as_before")
def test_what_ends_a_service_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), service_frame("x", ServiceSettings(), Readiness()):
        raise ZeroDivisionError("by nothing\nat all")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["health_server", "failed"]
    assert (lines[-1]["level"], lines[-1]["error"]) == ("critical", "ZeroDivisionError")
    assert lines[-1]["reason"] == "by nothing\nat all"


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_KAFKA", "env:1")
    monkeypatch.setenv("DARKROOM_REGISTRY", "http://env")
    settings = WorkerSettings.from_command_line("x", ["--kafka", "flag:2"])
    assert (settings.kafka, settings.registry) == ("flag:2", "http://env")


def test_help_lists_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        WorkerSettings.from_command_line("detector", ["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: detector" in shown
    assert "--group-protocol" in shown


def test_an_engine_is_found_by_name_or_by_module() -> None:
    assert factory_of("plain", {"plain": dict}) is dict
    assert factory_of("collections:OrderedDict", {"plain": dict}).__name__ == "OrderedDict"


class Plain:
    name = "plain"
    model_version = "1"

    def __init__(self, settings: str) -> None:
        self.settings = settings


def test_auto_is_the_default_engine_made_with_the_settings() -> None:
    engine = load_engine("auto", {"plain": Plain}, "settings", default=("plain", "it is there"))
    assert (engine.name, engine.settings) == ("plain", "settings")


@pytest.mark.parametrize("name", ["unknown", "no_such_module:x", "collections:NoSuch"])
def test_an_unknown_engine_is_named(name: str) -> None:
    with pytest.raises(UnknownEngineError, match=name):
        factory_of(name, {"plain": dict})
