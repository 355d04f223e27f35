"""The engine in a thread: the same as in a process, but that it can't be ended."""

import json
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from engine_doubles import (
    DEADLINE_S,
    Heard,
    batch_handlers,
    codec,
    handlers,
    handlers_of_the_second_try,
    handlers_that_fail_to_close,
    handlers_that_note_their_end,
    no_handlers,
    work,
)
from streamkit.engine.thread import EXIT_STUCK, ThreadEngine
from streamkit.messages import Emit, Events, Handlers, Message
from streamkit.ports import EngineGone


class Held:
    """A handler that waits until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()

    def handlers(self) -> Handlers:
        return Handlers({"said": handlers().by_topic["said"], "held": self})

    def __call__(self, message: Message) -> Events:
        self.entered.set()
        assert self.released.wait(DEADLINE_S)
        return [Emit("out", message.key, {}, "i")]


def test_results_come_in_the_order_of_the_works() -> None:
    heard = Heard()
    engine = ThreadEngine("all", handlers, codec, heard, source="test")
    engine.start()
    assert heard.ready().engine == "all"
    engine.submit([work(n) for n in range(100)])
    engine.submit([work(n) for n in range(100, 200)])
    results = heard.results(200)
    assert [one.id for one in results] == list(range(200))
    assert {one.kind for one in results} == {"done"}
    assert engine.memory_bytes() == 0
    engine.close(DEADLINE_S)


def test_a_submit_is_a_micro_batch() -> None:
    heard = Heard()
    engine = ThreadEngine("all", batch_handlers, codec, heard, source="test", batching=True)
    engine.start()
    heard.ready()
    engine.submit([work(1), work(2)])
    sizes = [json.loads(one.events[0].value or b"")["size"] for one in heard.results(2)]
    assert sizes == [2, 2]
    engine.close(DEADLINE_S)


def test_a_result_does_not_wait_for_the_next_record() -> None:
    heard, held = Heard(), Held()
    engine = ThreadEngine("all", held.handlers, codec, heard, source="test")
    engine.start()
    heard.ready()
    engine.submit([work(1), work(2, topic="held")])
    assert [one.id for one in heard.results(1)] == [1]
    held.released.set()
    assert [one.id for one in heard.results(1)] == [2]
    engine.close(DEADLINE_S)


def test_a_recall_gives_back_what_has_not_begun() -> None:
    heard, held = Heard(), Held()
    engine = ThreadEngine("all", held.handlers, codec, heard, source="test")
    engine.start()
    heard.ready()
    engine.submit([work(1, topic="held")])
    assert held.entered.wait(DEADLINE_S)
    engine.submit([work(2), work(3)])
    engine.recall()
    held.released.set()
    kinds = {one.id: one.kind for one in heard.results(3)}
    assert kinds == {1: "done", 2: "returned", 3: "returned"}
    engine.close(DEADLINE_S)


def test_closing_lets_the_handlers_close(tmp_path: Path) -> None:
    file = tmp_path / "end"
    heard = Heard()
    load = partial(handlers_that_note_their_end, str(file))
    engine = ThreadEngine("all", load, codec, heard, source="test")
    engine.start()
    heard.ready()
    engine.close(DEADLINE_S)
    assert file.read_text() == "closed"
    assert heard.rest() == []


def test_handlers_that_fail_to_close_do_no_harm() -> None:
    heard = Heard()
    engine = ThreadEngine("all", handlers_that_fail_to_close, codec, heard, source="test")
    engine.start()
    heard.ready()
    engine.close(DEADLINE_S)
    assert heard.rest() == []


def test_closing_what_was_never_started_is_nothing() -> None:
    heard = Heard()
    ThreadEngine("all", handlers, codec, heard, source="test").close(DEADLINE_S)
    assert heard.rest() == []


def test_closing_leaves_a_stuck_handler_behind() -> None:
    heard, held = Heard(), Held()
    engine = ThreadEngine("all", held.handlers, codec, heard, source="test")
    engine.start()
    heard.ready()
    engine.submit([work(1, topic="held")])
    assert held.entered.wait(DEADLINE_S)
    engine.close(0.01)
    assert held.entered.is_set()
    held.released.set()


def test_handlers_that_cannot_be_loaded_are_fatal() -> None:
    heard = Heard()
    engine = ThreadEngine("all", partial(no_handlers, "sys.exit"), codec, heard, source="test")
    engine.start()
    why = "The handlers of test can't be loaded: SystemExit: the weights are missing"
    assert heard.gone() == EngineGone("all", (), why, fatal=True)
    engine.close(DEADLINE_S)


def test_loading_waits_for_what_is_away(tmp_path: Path) -> None:
    heard = Heard()
    load = partial(handlers_of_the_second_try, str(tmp_path / "tried"), "busy")
    engine = ThreadEngine("all", load, codec, heard, source="test")
    engine.start()
    heard.ready()
    engine.close(DEADLINE_S)


def test_what_is_away_for_long_is_one_line_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    enough = threading.Event()

    def delay(tries: int) -> float:
        tried.append(tries)
        if tries == 3:
            enough.set()
        return DEADLINE_S if tries >= 3 else 0.0

    monkeypatch.setattr("streamkit.engine.thread.delay_s", delay)
    monkeypatch.setattr("streamkit.engine.trouble._FIRST_S", 10 * DEADLINE_S)
    engine = ThreadEngine("all", partial(no_handlers, "busy"), codec, Heard(), source="test")
    with capture_logs() as logs:
        engine.start()
        assert enough.wait(DEADLINE_S)
        engine.close(DEADLINE_S)
    told = [one["log_level"] for one in logs if one["event"] == "load_failed"]
    assert tried == [1, 2, 3]
    assert [level for level in told if level != "debug"] == ["warning"]


def test_it_can_be_closed_while_what_it_loads_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.engine.thread.delay_s", lambda _tries: DEADLINE_S)
    heard = Heard()
    engine = ThreadEngine("all", partial(no_handlers, "busy"), codec, heard, source="test")
    engine.start()
    engine.close(DEADLINE_S)
    assert heard.rest() == []


def test_what_ends_the_thread_ends_the_worker() -> None:
    def interrupt(_message: Message) -> Events:
        raise KeyboardInterrupt

    heard = Heard()
    load = partial(Handlers, {"said": interrupt})
    engine = ThreadEngine("all", load, codec, heard, source="test")
    engine.start()
    heard.ready()
    engine.submit([work(1)])
    assert heard.gone() == EngineGone("all", (), "its thread ended: KeyboardInterrupt()", True)


STUCK = """
import threading
from engine_doubles import Heard, codec, handlers, work
from streamkit.engine.thread import ThreadEngine

heard = Heard()
engine = ThreadEngine("all", handlers, codec, heard, source="test")
engine.start()
heard.ready()
engine.submit([work(1, topic="hang")])
engine.replace("deadline")
"""


def test_a_stuck_thread_ends_the_program_with_all_stacks() -> None:
    path = ":".join(sys.path)
    ended = subprocess.run(
        [sys.executable, "-c", STUCK],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == EXIT_STUCK == 70
    assert "engine_stuck" in ended.stdout
    assert "most recent call first" in ended.stderr
