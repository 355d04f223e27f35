"""The engine in a process: whatever happens to the process, the worker goes on."""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, StrEnum
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil
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
from streamkit import family
from streamkit.engine import basket as baskets
from streamkit.engine import child
from streamkit.engine import life as lives
from streamkit.engine.basket import Basket
from streamkit.engine.channel import Channel
from streamkit.engine.life import described
from streamkit.engine.process import ProcessEngine
from streamkit.engine.wire import Frames, frame, results_frame, results_of, work_frame, works_of
from streamkit.engine.work import Result
from streamkit.family import Family
from streamkit.messages import Failure, Handlers
from streamkit.ports import EngineGone, EngineResults
from streamkit.records import RawRecord

Start = Callable[..., tuple[ProcessEngine, Heard]]


def until(true: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
    """Poll; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    poll = threading.Event()
    while not true():
        assert time.monotonic() < deadline, "it never came about"
        poll.wait(0.01)


@pytest.fixture
def start() -> Iterator[Start]:
    """Makes engines, starts them, and closes them in the end."""
    engines: list[ProcessEngine] = []

    def make(
        load: Callable[[], Handlers] = handlers, *, name: str = "bulk", **options: Any
    ) -> tuple[ProcessEngine, Heard]:
        heard = Heard()
        engine = ProcessEngine(name, load, codec, heard, source="test", **options)
        engines.append(engine)
        engine.start()
        return engine, heard

    yield make
    for engine in engines:
        engine.close(DEADLINE_S)


def said(result: Result) -> dict[str, Any]:
    """The value of a result's only event."""
    [event] = result.events
    return dict(json.loads(event.value or b""))


# -- work -----------------------------------------------------------------------------------------


def test_results_come_in_order_from_another_process(start: Start) -> None:
    engine, heard = start(nice=3)
    assert heard.ready().loading_s > 0
    for first in range(0, 1000, 250):
        engine.submit([work(n) for n in range(first, first + 250)])
    results = heard.results(1000)
    assert [one.id for one in results] == list(range(1000))
    assert {one.kind for one in results} == {"done"}
    value = said(results[0])
    assert value["pid"] != os.getpid()
    assert value["nice"] == os.nice(0) + 3


def test_records_too_large_for_the_wire_to_take_at_once_are_sent_too(start: Start) -> None:
    engine, heard = start()
    heard.ready()
    engine.submit([work(n, {"data": "x" * 1_000_000}) for n in range(5)])
    engine.submit([work(5)])
    results = heard.results(6)
    assert [one.id for one in results] == list(range(6))
    assert len(said(results[4])["data"]) == 1_000_000


def test_every_kind_of_result_comes_through(start: Start) -> None:
    engine, heard = start()
    heard.ready()
    kinds = ["retry", "reject", "busy", "memory", "defect"]
    engine.submit([work(n, {"error": kind}, topic="fail") for n, kind in enumerate(kinds)])
    results = heard.results(5)
    assert [one.kind for one in results] == kinds
    assert (results[0].dependency, results[1].code) == ("store", "bad_photo")
    assert "KeyError: 'nobody knows'" in results[4].message
    engine.submit([work(9, failure=Failure("bad_photo", "It is bad.", 3))])
    assert said(heard.results(1)[0]) == {"code": "bad_photo"}


def test_a_handler_that_exits_is_a_defect(start: Start) -> None:
    engine, heard = start()
    heard.ready()
    engine.submit([work(1, {"how": "sys.exit"}, topic="die"), work(2)])
    assert [one.kind for one in heard.results(2)] == ["defect", "done"]


def test_a_poison_record_delays_none_of_its_micro_batch(start: Start) -> None:
    engine, heard = start(batch_handlers, batching=True)
    heard.ready()
    engine.submit([work(n, {"error": "reject"} if n == 20 else {}) for n in range(32)])
    results = heard.results(32)
    assert [one.id for one in results if one.kind == "reject"] == [20]
    assert sum(one.kind == "done" for one in results) == 31


def test_a_micro_batch_too_large_for_memory_is_reported_as_a_whole(start: Start) -> None:
    engine, heard = start(batch_handlers, batching=True)
    heard.ready()
    engine.submit([work(n, {"error": "memory"} if n == 2 else {}) for n in range(8)])
    assert {one.kind for one in heard.results(8)} == {"memory"}


def test_the_soft_deadline_interrupts_the_record_alone(start: Start) -> None:
    engine, heard = start(soft_s=0.2)
    heard.ready()
    engine.submit([work(1), work(2, topic="hang"), work(3)])
    results = heard.results(3)
    assert [one.kind for one in results] == ["done", "deadline", "done"]
    assert results[1].ms >= 200


def test_a_result_does_not_wait_for_a_long_record_after_it(start: Start) -> None:
    engine, heard = start()
    heard.ready()
    engine.submit([work(1), work(2, topic="hang")])
    assert [one.id for one in heard.results(1)] == [1]
    engine.close(0.1)


# -- recall, urgent work --------------------------------------------------------------------------


def test_a_recall_gives_back_sliced_work_and_what_has_not_begun(start: Start) -> None:
    engine, heard = start()
    heard.ready()
    engine.submit([work(1), work(2, {"key": "never"}, topic="wait"), work(3)])
    assert [one.id for one in heard.results(1)] == [1]
    engine.submit([work(4)])
    engine.recall()
    assert {one.id: one.kind for one in heard.results(3)} == dict.fromkeys((2, 3, 4), "returned")
    engine.submit([work(5)])
    assert heard.results(1)[0].kind == "done"


def test_high_work_goes_before_the_next_slice_of_other_work(start: Start) -> None:
    engine, heard = start()
    heard.ready()
    engine.submit([work(1, {"key": "urgent"}, topic="wait"), work(2)])
    engine.submit([work(3)])
    engine.submit([work(4, key=b"urgent", lane="high")])
    assert [one.id for one in heard.results(4)] == [4, 1, 2, 3]


# -- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("segfault", "killed by SIGSEGV"),
        ("exit", "exited with 3"),
        ("kill", "killed by SIGKILL (out of memory?)"),
    ],
)
def test_a_process_that_dies_is_replaced_and_leaves_its_work(
    start: Start, how: str, why: str
) -> None:
    engine, heard = start()
    heard.ready()
    engine.submit([work(1), work(2)])
    assert [one.id for one in heard.results(2)] == [1, 2]
    engine.submit([work(3, {"how": how}, topic="die"), work(4)])
    assert heard.gone() == EngineGone("bulk", (3, 4), why)
    heard.ready()
    engine.submit([work(5)])
    assert [one.id for one in heard.results(1)] == [5]


@pytest.mark.parametrize("in_c", [False, True])
def test_a_hanging_process_is_replaced(start: Start, tmp_path: Path, in_c: bool) -> None:
    engine, heard = start()
    heard.ready()
    file = tmp_path / "hangs"
    engine.submit([work(1, {"file": str(file), "in_c": in_c}, topic="hang"), work(2)])
    engine.submit([work(3)])
    until(file.exists)
    engine.replace("deadline")
    assert heard.gone() == EngineGone("bulk", (1, 2, 3), "deadline")
    heard.ready()
    engine.submit([work(4)])
    assert [one.id for one in heard.results(1)] == [4]


def test_a_stopped_process_is_replaced_though_the_wire_is_full(start: Start) -> None:
    engine, heard = start()
    heard.ready()
    engine.submit([work(1)])
    pid = said(heard.results(1)[0])["pid"]
    os.kill(pid, signal.SIGSTOP)
    for number in range(2, 5):
        engine.submit([work(number, {"data": "x" * 1_000_000})])
    engine.replace("deadline")
    assert heard.gone() == EngineGone("bulk", (2, 3, 4), "deadline")
    heard.ready()


def test_a_process_that_leaves_a_copy_of_itself_behind_is_gone(
    start: Start, tmp_path: Path
) -> None:
    engine, heard = start()
    heard.ready()
    file = tmp_path / "copy"
    engine.submit([work(1, {"file": str(file)}, topic="leave")])
    assert heard.gone() == EngineGone("bulk", (1,), "exited with 3")
    os.kill(int(file.read_text()), signal.SIGKILL)


def test_work_for_a_process_that_is_gone_is_not_given_to_its_successor(start: Start) -> None:
    engine, heard = start()
    heard.ready()
    engine.replace("recycled")
    heard.gone()
    engine.submit([work(1)])
    engine.recall()
    heard.ready()
    engine.submit([work(2)])
    assert [one.id for one in heard.results(1)] == [2]


def test_an_interrupt_or_a_request_to_end_does_not_reach_the_process(start: Start) -> None:
    engine, heard = start()
    heard.ready()
    engine.submit([work(1)])
    pid = said(heard.results(1)[0])["pid"]
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    engine.submit([work(2)])
    assert said(heard.results(1)[0])["pid"] == pid


def test_replacing_leaves_no_zombies_and_no_open_files(start: Start) -> None:
    engine, heard = start()
    heard.ready()

    def replace() -> None:
        engine.replace("recycled")
        heard.gone()
        heard.ready()

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    replace()
    open_before, threads_before = descriptors(), threading.active_count()
    for _ in range(20):
        replace()
    assert descriptors() <= open_before
    assert threading.active_count() <= threads_before
    family = psutil.Process().children(recursive=True)
    assert [one for one in family if one.status() == psutil.STATUS_ZOMBIE] == []


# -- loading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "FileNotFoundError: no weights at /models/lite0"),
        ("sys.exit", "SystemExit: the weights are missing"),
    ],
)
def test_handlers_that_cannot_be_loaded_are_fatal(start: Start, how: str, reason: str) -> None:
    _, heard = start(partial(no_handlers, how))
    why = f"The handlers of test can't be loaded: {reason}"
    assert heard.gone() == EngineGone("bulk", (), why, fatal=True)


def load_failures(start: Start, how: str) -> list[Any]:
    """What the log says once a process could not be loaded three times."""
    with capture_logs() as logs:
        _, heard = start(partial(no_handlers, how))
        for _ in range(3 if how == "busy" else 1):
            heard.gone()
    return [one for one in logs if one["event"] in ("load_failed", "engine_gone")]


def test_a_trouble_that_lasts_is_one_line_without_a_traceback(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.engine.process.delay_s", lambda _deaths: 0.0)
    monkeypatch.setattr("streamkit.engine.trouble._FIRST_S", 10 * DEADLINE_S)
    (line,) = load_failures(start, "busy")
    assert (line["event"], line["log_level"]) == ("load_failed", "warning")
    assert line["reason"] == "The handlers of test can't be loaded: the store sleeps"
    assert "exception" not in line


def test_the_traceback_of_what_nobody_foresaw_comes_from_the_process(start: Start) -> None:
    (line,) = load_failures(start, "missing")
    assert (line["event"], line["log_level"]) == ("load_failed", "error")
    assert "in no_handlers\n" in line["exception"]


def test_handlers_that_cannot_be_sent_to_a_process_are_fatal(start: Start) -> None:
    _, heard = start(lambda: handlers())  # noqa: PLW0108 - it is what can't be sent
    gone = heard.gone()
    assert gone.fatal
    assert gone.why.startswith("What makes the handlers of test can't be pickled: ")


def test_a_module_that_cannot_be_preloaded_is_fatal_and_not_silent(start: Start) -> None:
    _, heard = start(preload=("json", "no_such_module"))
    assert heard.gone().why == (
        "The handlers of test can't be loaded: ModuleNotFoundError: "
        "No module named 'no_such_module'"
    )


def test_loading_waits_for_what_is_away(start: Start, tmp_path: Path) -> None:
    _, heard = start(partial(handlers_of_the_second_try, str(tmp_path / "tried"), "busy"))
    why = "The handlers of test can't be loaded: the store sleeps"
    assert heard.gone() == EngineGone("bulk", (), why)
    heard.ready()


def test_a_process_that_cannot_be_started_is_tried_again_unless_it_is_hopeless(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [OSError("refused"), EOFError("gone"), RuntimeError("bootstrapping")]

    def fails(_setup: child.Setup) -> None:
        raise errors.pop(0)

    monkeypatch.setattr("streamkit.engine.process.Life", fails)
    _, heard = start()
    assert [heard.gone() for _ in range(3)] == [
        EngineGone("bulk", (), "the fork server is gone: OSError('refused')"),
        EngineGone("bulk", (), "the fork server is gone: EOFError('gone')"),
        EngineGone("bulk", (), "an engine process can't be started: bootstrapping", fatal=True),
    ]


def test_a_keeper_that_fails_ends_the_worker(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_setup: child.Setup) -> None:
        raise LookupError("how?")

    monkeypatch.setattr("streamkit.engine.process.Life", fails)
    _, heard = start()
    assert heard.gone() == EngineGone(
        "bulk", (), "its keeper failed: LookupError('how?')", fatal=True
    )


def setup_of(load: Callable[[], Handlers], preload: tuple[str, ...] = ()) -> child.Setup:
    makers = pickle.dumps((load, codec))
    return child.Setup("bulk", "test", makers, False, 60.0, 0, preload, "info", 0.0)


def test_a_start_that_fails_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_process: object) -> None:
        raise OSError("refused")

    monkeypatch.setattr("multiprocessing.context.ForkServerProcess.start", refuse)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="refused"):
        lives.Life(setup_of(handlers))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_process_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    life = lives.Life(setup_of(handlers))
    with monkeypatch.context() as patch:
        patch.setattr(lives, "_LAST_S", 0.0)
        patch.setattr(life._process, "kill", lambda: None)
        assert life.end() is None
    life.kill()
    until(lambda: not life._process.is_alive())
    life.kill()
    assert life.end() == -signal.SIGKILL


def test_an_engine_that_keeps_dying_backs_off(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths: list[int] = []
    enough = threading.Event()

    def delay(count: int) -> float:
        deaths.append(count)
        if count == 3:
            enough.set()
        return DEADLINE_S if count >= 3 else 0.0

    monkeypatch.setattr("streamkit.engine.process.delay_s", delay)
    engine, heard = start(partial(no_handlers, "exit"))
    assert [heard.gone().why for _ in range(3)] == ["exited with 9"] * 3
    assert enough.wait(DEADLINE_S)
    assert deaths == [1, 2, 3]
    before = time.monotonic()
    engine.close(DEADLINE_S)
    assert time.monotonic() - before < DEADLINE_S / 2


def test_an_engine_that_did_some_work_or_was_replaced_comes_back_at_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths: list[int] = []

    def delay(count: int) -> float:
        deaths.append(count)
        return 0.0

    monkeypatch.setattr("streamkit.engine.process.delay_s", delay)
    engine, heard = start()
    for number in (1, 3):
        heard.ready()
        engine.submit([work(number)])
        heard.results(1)
        engine.submit([work(number + 1, {"how": "exit"}, topic="die")])
        heard.gone()
    heard.ready()
    engine.replace("recycled")
    heard.gone()
    heard.ready()
    assert deaths == []


# -- closing --------------------------------------------------------------------------------------


def test_closing_lets_the_handlers_close(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "end"
    engine, heard = start(partial(handlers_that_note_their_end, str(file)))
    heard.ready()
    engine.submit([work(1, {"key": "never"}, topic="wait")])
    engine.close(DEADLINE_S)
    assert file.read_text() == "closed"
    [event] = heard.rest()
    assert isinstance(event, EngineResults)
    assert [(one.id, one.kind) for one in event.results] == [(1, "returned")]


def test_handlers_that_fail_to_close_do_no_harm(start: Start) -> None:
    engine, heard = start(handlers_that_fail_to_close)
    heard.ready()
    engine.close(DEADLINE_S)
    assert heard.rest() == []


def test_a_process_that_does_not_end_in_time_is_killed(start: Start, tmp_path: Path) -> None:
    engine, heard = start()
    heard.ready()
    file = tmp_path / "hangs"
    engine.submit([work(1, {"file": str(file), "in_c": True}, topic="hang")])
    until(lambda: file.exists() and file.read_text())
    before = time.monotonic()
    engine.close(0.1)
    assert time.monotonic() - before < 5.0
    until(lambda: not alive(int(file.read_text())))
    assert heard.rest() == []
    assert engine.memory_bytes() == 0


def test_a_process_that_is_still_loading_is_killed_at_once(start: Start) -> None:
    engine, heard = start()
    engine.close(DEADLINE_S)
    assert not [one for one in heard.rest() if isinstance(one, EngineGone)]


def test_closing_what_was_never_started_is_nothing() -> None:
    heard = Heard()
    ProcessEngine("bulk", handlers, codec, heard, source="test").close(1.0)
    assert heard.rest() == []


# -- memory ---------------------------------------------------------------------------------------


def test_the_memory_of_the_process_is_known(start: Start) -> None:
    engine, heard = start()
    heard.ready()
    assert 5_000_000 < engine.memory_bytes() < 2_000_000_000


def test_memory_counts_what_the_process_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "_LOOK_S", 0.0)
    known = Family(os.getpid())
    alone = psutil.Process().memory_info().rss
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as started:
        own = psutil.Process(started.pid)
        until(lambda: own.memory_info().rss > 5_000_000)
        assert known.resident() > alone + 1_000_000
        ended = Family(started.pid)
        started.kill()
        started.wait()
        assert ended.resident() == 0
        assert Family(started.pid).resident() == 0


# -- together with the worker ---------------------------------------------------------------------

WORKER = """
import json, sys, threading
from functools import partial
from pathlib import Path
from engine_doubles import Heard, codec, handlers, work
from streamkit.engine.process import ProcessEngine

if __name__ == "__main__":
    heard = Heard()
    engine = ProcessEngine("bulk", handlers, codec, heard, source="test")
    engine.start()
    heard.ready()
    engine.submit([work(n, json.loads(value), topic=topic)
                   for n, (topic, value) in enumerate(json.loads(sys.argv[1]))])
    heard.results(int(sys.argv[2]))
    if sys.argv[3] == "raise":
        raise ValueError("the worker fails")
    threading.Event().wait()
"""


@contextmanager
def worker(
    tmp_path: Path, works: list[tuple[str, str]], results: int, then: str
) -> Iterator[subprocess.Popen[str]]:
    """A worker in a process of its own, killed in the end."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    with subprocess.Popen(
        [sys.executable, str(script), json.dumps(works), str(results), then],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("in_c", [False, True])
def test_the_worker_takes_its_process_with_it_even_by_kill_9(tmp_path: Path, in_c: bool) -> None:
    file = tmp_path / "hangs"
    value = json.dumps({"file": str(file), "in_c": in_c})
    with worker(tmp_path, [("hang", value)], 0, "wait") as one:
        until(lambda: file.exists() and file.read_text())
        pid = int(file.read_text())
        family = [pid, *(child.pid for child in psutil.Process(one.pid).children(recursive=True))]
        assert alive(pid)
        one.kill()
        one.wait()
        until(lambda: not any(map(alive, family)))


def test_a_worker_that_fails_ends_though_its_engine_was_not_closed(tmp_path: Path) -> None:
    with worker(tmp_path, [("said", "{}")], 1, "raise") as one:
        _, errors = one.communicate(timeout=DEADLINE_S)
        assert "ValueError: the worker fails" in errors
        assert one.returncode == 1


def test_the_process_logs_lines_that_name_the_engine_and_the_record(tmp_path: Path) -> None:
    value = json.dumps({"how": "segfault"})
    with worker(tmp_path, [("note", "{}"), ("die", value)], 0, "wait") as one:
        assert one.stdout is not None
        assert one.stderr is not None
        loaded, noted = [json.loads(one.stdout.readline()) for _ in range(2)]
        assert (loaded["event"], loaded["model"]) == ("loaded", "stub@1")
        assert (noted["event"], noted["topic"], noted["offset"]) == ("noted", "note", 0)
        assert (noted["service"], noted["engine"], noted["lane"]) == ("test", "bulk", "batch")
        assert len(noted["trace_id"]) == 32
        seen = iter(one.stderr)
        assert any("Segmentation fault" in text for text in seen)
        assert any(" in die" in text for text in seen)


UNGUARDED = """
from engine_doubles import Heard, codec, handlers
from streamkit.engine.process import ProcessEngine

heard = Heard()
engine = ProcessEngine("bulk", handlers, codec, heard, source="test")
engine.start()
print(heard.gone().why)
raise SystemExit(1)
"""


def test_a_main_module_without_guard_is_explained(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(UNGUARDED)
    ended = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert 'got its `if __name__ == "__main__":`' in ended.stdout


PRELOADS = """
import sys
from engine_doubles import Heard, codec, handlers
from streamkit.engine.process import ProcessEngine

if __name__ == "__main__":
    heard = Heard()
    engine = ProcessEngine("bulk", handlers, codec, heard, source="test", preload=(sys.argv[1],))
    engine.start()
    gone = heard.gone()
    while not gone.fatal:
        gone = heard.gone()
    print(gone.why)
    engine.close(5)
"""


def test_a_module_that_breaks_the_fork_server_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken_module.py").write_text("raise ValueError('broken on purpose')")
    script = tmp_path / "preloads.py"
    script.write_text(PRELOADS)
    ended = subprocess.run(
        [sys.executable, str(script), "broken_module"],
        env={**os.environ, "PYTHONPATH": ":".join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert "can't be loaded: ValueError: broken on purpose" in ended.stdout


# -- parts ----------------------------------------------------------------------------------------


class Topic(StrEnum):
    SAID = "said"


class Code(str, Enum):  # noqa: UP042 - such are about, too
    BAD = "bad_photo"


def test_works_and_results_are_the_same_after_the_wire() -> None:
    works = [work(1), work(2, failure=Failure("c", "m", 3), headers=[("a", b"b")])]
    results = [
        Result(1, "done", 1.5, (RawRecord("out", b"k", b"v", [("a", b"b")]),)),
        Result(2, "retry", 0.0, (), "c", "m", "d"),
    ]
    frames = Frames()
    sent = work_frame(works) + results_frame(results) + frame("close")
    pieces = [sent[at : at + 7] for at in range(0, len(sent), 7)]
    found = [one for piece in pieces for one in frames.feed(piece)]
    assert [kind for kind, _ in found] == ["work", "results", "close"]
    assert works_of(found[0][1]) == works
    assert results_of(found[1][1]) == results


def test_names_may_be_members_of_enums() -> None:
    numbers: list[Any] = [True, type("Count", (int,), {})(3), type("Ratio", (float,), {})(0.5)]
    event = RawRecord(Topic.SAID, type("Key", (bytes,), {})(b"k"), None, [("n", b"v")])
    result = Result(1, "reject", 0.0, (event,), Code.BAD, "m")
    [(_, payload)] = Frames().feed(results_frame([result]))
    assert results_of(payload) == [result]
    assert type(results_of(payload)[0].code) is str
    [(_, plain)] = Frames().feed(frame("failed", (Topic.SAID, *numbers)))
    assert plain == ("said", True, 3, 0.5)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "exited with 0"),
        (-signal.SIGSEGV, "killed by SIGSEGV"),
        (-250, "killed by signal 250"),
        (None, "does not end"),
    ],
)
def test_an_end_is_described(code: int | None, text: str) -> None:
    assert described(code) == text


def test_a_channel_takes_any_amount_and_drops_what_nobody_can_read_any_more() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    frames = [bytes([n]) * 300_000 for n in range(4)]
    for one in frames:
        channel.send(one)
    theirs.settimeout(DEADLINE_S)
    received = b""
    while len(received) < 1_200_000:
        received += theirs.recv(65536)
    assert received == b"".join(frames)
    for one in frames:
        channel.send(one)
    theirs.close()
    until(lambda: not channel.open)
    channel.send(b"nobody is there")
    channel.close()
    channel.send(b"too late")


def test_a_channel_to_nobody_is_no_error() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    channel = Channel(ours)
    channel.send(b"x")
    channel.close()


def test_a_basket_sends_what_waits_by_itself() -> None:
    sent: SimpleQueue[list[int]] = SimpleQueue()
    one = Basket(lambda results: sent.put([result.id for result in results]))
    for number in range(3):
        one.put([Result(number, "done", 0.0)], time.perf_counter())
        assert sent.get(timeout=DEADLINE_S) == [number]
    one.close()


def test_a_parked_basket_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baskets, "_PARKED_AFTER", 0)
    sent: SimpleQueue[int] = SimpleQueue()
    one = Basket(lambda results: sent.put(len(results)))
    for _ in range(20):
        one.put([Result(1, "done", 0.0)], time.perf_counter())
        assert sent.get(timeout=DEADLINE_S) == 1
    one.close()


def test_a_basket_sends_together_what_comes_within_5_ms() -> None:
    sent: list[int] = []
    one = Basket(lambda results: sent.append(len(results)))
    one.put([Result(1, "done", 0.0)], 0.0)
    one.put([Result(2, "done", 0.0)], 0.005)
    assert sum(sent) == 2
    one.flush()
    one.close()
    assert sum(sent) == 2


def test_a_basket_that_nobody_takes_says_so() -> None:
    tried = threading.Event()

    def broken(_results: object) -> None:
        tried.set()
        raise BrokenPipeError

    one = Basket(broken)
    one.put([Result(1, "done", 0.0)], time.perf_counter())
    assert tried.wait(DEADLINE_S)

    def fails() -> bool:
        try:
            one.flush()
        except BrokenPipeError:
            return True
        return False

    until(fails)
    one.close()


@pytest.fixture
def own_alarm() -> Iterator[None]:
    """Gives the alarm back to whoever had it (pytest's own time limit)."""
    before = signal.getsignal(signal.SIGALRM)
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, left, interval)


def served(
    load: Callable[[], Handlers], *sent: bytes, preload: tuple[str, ...] = ()
) -> list[tuple[str, Any]]:
    """What the child's side answers, run in this process."""
    ours, theirs = socket.socketpair()
    setup = setup_of(load, preload)
    ours.sendall(b"".join(sent))
    ours.shutdown(socket.SHUT_WR)
    child.serve(setup, theirs)
    theirs.close()
    frames = Frames()
    found: list[tuple[str, Any]] = []
    while piece := ours.recv(65536):
        found += frames.feed(piece)
    ours.close()
    return found


@pytest.mark.usefixtures("own_alarm")
def test_the_child_says_that_it_is_there_then_ready_then_its_results() -> None:
    works = [work(n, {"data": "x" * 1000}) for n in range(100)]
    found = served(handlers, work_frame(works[:99]), work_frame(works[99:]))
    assert [kind for kind, _ in found[:2]] == ["begun", "ready"]
    results = [one for kind, payload in found[2:] for one in results_of(payload)]
    assert {one.id for one in results} == set(range(100))
    assert {one.kind for one in results} <= {"done", "returned"}


@pytest.mark.usefixtures("own_alarm")
def test_the_child_looks_for_orders_between_slices_and_records() -> None:
    found = served(
        handlers,
        work_frame([work(1, {"key": "4"}, topic="wait"), work(2)]),
        work_frame([work(4, lane="high")]),
    )
    results = [one for kind, payload in found[2:] for one in results_of(payload)]
    assert {one.id for one in results} == {1, 2, 4}


@pytest.mark.usefixtures("own_alarm")
@pytest.mark.parametrize(("how", "fatal"), [("missing", True), ("busy", False)])
def test_the_child_says_why_it_cannot_load(how: str, fatal: bool) -> None:
    (_, (kind, payload)) = served(partial(no_handlers, how))
    assert (kind, payload[1]) == ("failed", fatal)


@pytest.mark.usefixtures("own_alarm")
def test_the_child_imports_what_was_not_preloaded() -> None:
    (_, (kind, payload)) = served(handlers, preload=("json", "no_such_module"))
    assert (kind, payload[1]) == ("failed", True)
    assert "no_such_module" in payload[0]


@pytest.mark.usefixtures("own_alarm")
def test_the_child_closes_its_handlers_when_the_worker_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "end"
    served(partial(handlers_that_note_their_end, str(file)))
    assert file.read_text() == "closed"
    served(handlers_that_fail_to_close)
