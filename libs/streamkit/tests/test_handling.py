"""Handling: what becomes of records in the hands of handlers."""

import json
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import pytest

from engine_doubles import JsonCodec, batch_handlers, fail, handlers, work
from streamkit import tracing
from streamkit.engine.handling import Handling
from streamkit.engine.limit import AlarmLimit, Limit
from streamkit.engine.turns import Turns
from streamkit.engine.work import Result, Work
from streamkit.errors import (
    Busy,
    DeadlineExceeded,
    Instruction,
    OutOfMemory,
    Reject,
    Retry,
)
from streamkit.messages import BatchHandler, Emit, Events, Failure, Handler, Handlers, Message

CAUSE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
GIVEN_UP = Failure("bad_photo", "The photo is bad.", 3)


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def handling(
    handler: Handler | BatchHandler | Handlers = handlers(),  # noqa: B008 - read only
    *,
    batching: bool = False,
    limit: Limit | None = None,
) -> Handling:
    """Of one handler for the topic `said`, or of several."""
    several = handler if isinstance(handler, Handlers) else Handlers({"said": handler})
    return Handling(several, JsonCodec(), source="test", batching=batching, limit=limit)


def run(handling: Handling, *works: Work) -> list[Result]:
    return [result for results in handling.run(works) for result in results]


def told(*results: Result) -> list[tuple[int, str]]:
    return [(result.id, result.kind) for result in results]


def raising(error: BaseException) -> Handler:
    def handler(_message: Message) -> Events:
        raise error

    return handler


# -- single records -------------------------------------------------------------------------------


def test_a_handler_sees_the_decoded_record_and_its_events_are_encoded() -> None:
    seen: list[Message] = []

    def handler(message: Message) -> Events:
        seen.append(message)
        return [Emit("heard", "k2", {"n": 2}, "id-2")]

    given = work(7, {"n": 1}, key=b"k1", headers=[("traceparent", CAUSE.encode())], lane="high")
    [result] = run(handling(handler), given)
    assert seen == [
        Message("said", "high", "k1", {"n": 1}, {"traceparent": CAUSE}, 0, 7, 1_700_000_000_000, 1)
    ]
    assert (result.id, result.kind) == (7, "done")
    assert result.ms > 0
    [event] = result.events
    assert (event.topic, event.key, event.value) == ("heard", b"k2", b'{"n": 2}')
    headers = dict(event.headers)
    assert headers["ce_id"] == b"id-2"
    assert headers["ce_source"].endswith(b"/test")
    assert headers["traceparent"][3:35] == CAUSE[3:35].encode()
    assert headers["traceparent"] != CAUSE.encode()


def test_results_come_one_by_one_in_the_order_of_the_works() -> None:
    steps = handling().run([work(1), work(2), work(3)])
    assert [told(*results) for results in steps] == [[(1, "done")], [(2, "done")], [(3, "done")]]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            Retry("later", dependency="store"),
            Result(1, "retry", 0, message="later", dependency="store"),
        ),
        (
            Reject("bad_photo", "It is bad."),
            Result(1, "reject", 0, code="bad_photo", message="It is bad."),
        ),
        (
            Busy("full", dependency="store"),
            Result(1, "busy", 0, message="full", dependency="store"),
        ),
        (OutOfMemory("too large"), Result(1, "memory", 0, message="too large")),
        (MemoryError(), Result(1, "memory", 0, message="Out of memory.")),
        (OutOfMemoryError("CUDA"), Result(1, "memory", 0, message="CUDA")),
        (DeadlineExceeded("too long"), Result(1, "deadline", 0, message="too long")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_instructions_become_results(error: Exception, expected: Result) -> None:
    [result] = run(handling(raising(error)), work(1))
    assert result._replace(ms=0) == expected


@pytest.mark.parametrize("error", [KeyError("what"), SystemExit(1), Instruction("which?")])
def test_what_is_no_instruction_is_a_defect_with_its_traceback(error: BaseException) -> None:
    [result, after] = run(handling(raising(error)), work(1), work(2))
    assert result.kind == "defect"
    assert "in handler" in result.message
    assert type(error).__name__ in result.message
    assert after.kind == "defect"


def test_a_long_traceback_is_cut_at_its_beginning() -> None:
    [result] = run(handling(raising(ValueError("x" * 50_000 + "the end"))), work(1))
    assert len(result.message) == 20_000
    assert result.message.endswith("the end\n")


def test_an_interrupt_is_not_taken_for_a_result() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(handling(raising(KeyboardInterrupt())), work(1))


@pytest.mark.parametrize(
    ("given", "kind", "code"),
    [
        (work(1, b"\xff"), "reject", "undecodable"),
        (work(1, b"busy"), "busy", ""),
        (work(1, key=b"\xff"), "reject", "bad_key"),
    ],
)
def test_a_record_that_cannot_be_read_is_not_handled(given: Work, kind: str, code: str) -> None:
    [result, after] = run(handling(), given, work(2))
    assert (result.kind, result.code) == (kind, code)
    assert after.kind == "done"


def test_a_record_without_key_has_an_empty_one() -> None:
    keys: list[str] = []

    def handler(message: Message) -> Events:
        keys.append(message.key)
        return ()

    nobody = work(1)._replace(record=work(1).record._replace(key=None))
    assert told(*run(handling(handler), nobody)) == [(1, "done")]
    assert keys == [""]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ([Emit("out", "k", {"n": object()}, "i")], "defect"),
        ([Emit("out", "k", {"busy": 1}, "i")], "busy"),
        (None, "defect"),
    ],
)
def test_events_that_cannot_be_encoded_are_the_programs_fault(said: Any, kind: str) -> None:
    [result] = run(handling(lambda _message: said), work(1))
    assert result.kind == kind


def test_a_topic_without_handler_is_a_defect_that_names_it() -> None:
    [result] = run(handling(), work(1, topic="unknown"))
    assert result.kind == "defect"
    assert "there is no handler for unknown" in result.message


# -- giving up ------------------------------------------------------------------------------------


def test_the_cause_is_found_among_other_headers() -> None:
    headers = [("ce_id", b"x"), ("traceparent", CAUSE.encode()), ("other", b"y")]
    [result] = run(handling(), work(1, headers=headers))
    assert dict(result.events[0].headers)["traceparent"][3:35] == CAUSE[3:35].encode()


def test_what_is_given_up_is_said_by_the_job() -> None:
    [result] = run(handling(), work(1, failure=GIVEN_UP))
    assert result.kind == "done"
    assert [(one.topic, one.value) for one in result.events] == [
        ("gave-up", b'{"code": "bad_photo"}')
    ]


@pytest.mark.parametrize("given", [work(1, b"\xff"), work(1, key=b"\xff")])
def test_nothing_is_said_of_a_record_that_cannot_be_read(given: Work) -> None:
    [result] = run(handling(), given._replace(failure=GIVEN_UP))
    assert (result.kind, result.events) == ("done", ())


def test_giving_up_waits_for_the_registry_too() -> None:
    [result] = run(handling(), work(1, b"busy", failure=GIVEN_UP))
    assert result.kind == "busy"


def test_an_exception_while_giving_up_is_a_defect() -> None:
    def give_up(_message: Message, _failure: Failure) -> Events:
        raise ZeroDivisionError

    broken = Handlers({"said": fail}, give_up=give_up)
    assert told(*run(handling(broken), work(1, failure=GIVEN_UP))) == [(1, "defect")]


def test_with_micro_batches_a_record_is_given_up_by_itself() -> None:
    [result] = run(handling(batch_handlers(), batching=True), work(1, failure=GIVEN_UP))
    assert [one.topic for one in result.events] == ["gave-up"]


# -- slices ---------------------------------------------------------------------------------------


def three_slices(message: Message) -> Generator[None, None, Events]:
    yield
    yield
    return [Emit("out", message.key, {}, "i")]


def test_sliced_work_pauses_at_each_slice() -> None:
    steps = list(handling(three_slices).run([work(1)]))
    assert [told(*results) for results in steps] == [[], [], [(1, "done")]]
    assert [event.topic for event in steps[-1][0].events] == ["out"]


def test_sliced_work_that_is_recalled_is_closed_and_given_back_with_the_rest() -> None:
    closed: list[str] = []

    def endless(message: Message) -> Generator[None, None, Events]:
        try:
            while True:
                yield
        finally:
            closed.append(message.key)

    steps = handling(endless).run([work(1), work(2), work(3)])
    assert next(steps) == ()
    assert steps.send(False) == ()
    assert told(*steps.send(True)) == [(1, "returned")]
    assert closed == ["1"]
    assert told(*next(steps)) == [(2, "returned"), (3, "returned")]
    assert list(steps) == []


def test_what_has_not_begun_is_given_back_between_records() -> None:
    steps = handling().run([work(1), work(2), work(3)])
    assert told(*next(steps)) == [(1, "done")]
    assert told(*steps.send(True)) == [(2, "returned"), (3, "returned")]
    assert list(steps) == []


def test_nothing_is_given_back_after_the_last_record() -> None:
    steps = handling().run([work(1)])
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(True)


def test_an_exception_in_a_slice_is_a_result_as_any_other() -> None:
    def fails(_message: Message) -> Generator[None, None, Events]:
        yield
        raise Reject("bad_photo", "It is bad.")

    assert told(*run(handling(fails), work(1), work(2))) == [(1, "reject"), (2, "reject")]


def test_sliced_work_that_refuses_to_end_is_a_defect() -> None:
    def stubborn(_message: Message) -> Generator[None, None, Events]:
        try:
            yield
        except GeneratorExit:
            yield
        return ()

    steps = handling(stubborn).run([work(1)])
    next(steps)
    assert told(*steps.send(True)) == [(1, "defect")]


def test_the_time_between_slices_is_not_the_records_time() -> None:
    limits: list[float] = []

    class Noted:
        def begin(self, spent_s: float = 0.0) -> None:
            limits.append(spent_s)

        def end(self) -> None:
            pass

    steps = handling(three_slices, limit=Noted()).run([work(1)])
    next(steps)
    until = time.perf_counter() + 0.05
    while time.perf_counter() < until:
        pass
    next(steps)
    [result] = next(steps)
    assert result.ms < 50
    assert limits == sorted(limits)
    assert limits[-1] < 0.05


# -- micro-batches --------------------------------------------------------------------------------


def sizes(results: Sequence[Result]) -> list[int]:
    return [json.loads(one.events[0].value or b"")["size"] for one in results]


def together(handler: BatchHandler | Handlers | None = None) -> Handling:
    return handling(batch_handlers() if handler is None else handler, batching=True)


def test_records_of_a_run_are_one_micro_batch() -> None:
    [results] = together().run([work(1), work(2, topic="also"), work(3)])
    assert told(*results) == [(1, "done"), (2, "done"), (3, "done")]
    assert sizes(results) == [3, 3, 3]
    assert len({one.ms for one in results}) == 1


def test_records_of_different_handlers_are_different_micro_batches() -> None:
    def quiet(messages: Sequence[Message]) -> Sequence[Events]:
        return [() for _ in messages]

    def calm(messages: Sequence[Message]) -> Sequence[Events]:
        return quiet(messages)

    several = Handlers({"said": quiet, "also": calm})
    steps = together(several).run([work(1), work(2, topic="also"), work(3)])
    assert [told(*results) for results in steps] == [[(1, "done"), (3, "done")], [(2, "done")]]


def test_one_poison_record_among_32_is_found_and_the_others_are_done() -> None:
    calls: list[int] = []

    def handler(messages: Sequence[Message]) -> Sequence[Events]:
        calls.append(len(messages))
        if any(message.value.get("poison") for message in messages):
            raise ValueError("poison")
        return [() for _ in messages]

    works = [work(n, {"poison": n == 20}) for n in range(32)]
    results = run(together(handler), *works)
    assert [one.id for one in results] == list(range(32))
    assert [one.id for one in results if one.kind != "done"] == [20]
    assert results[20].kind == "defect"
    assert len(calls) == 11


def test_the_good_half_is_reported_before_the_other_is_tried() -> None:
    steps = together().run([work(1), work(2), work(3, {"error": "reject"}), work(4)])
    assert told(*next(steps)) == [(1, "done"), (2, "done")]
    assert told(*next(steps)) == [(3, "reject")]
    assert told(*next(steps)) == [(4, "done")]


def test_a_batch_handler_may_fail_for_single_records() -> None:
    def handler(messages: Sequence[Message]) -> Sequence[Events | Instruction]:
        return [(), Retry("later"), [Emit("out", "k", {"n": object()}, "i")]]

    [results] = together(handler).run([work(1), work(2), work(3)])
    assert told(*results) == [(1, "done"), (2, "retry"), (3, "defect")]


@pytest.mark.parametrize("kind", ["memory", "busy"])
def test_what_is_about_no_single_record_is_not_searched_for(kind: str) -> None:
    [results] = together().run([work(1), work(2, {"error": kind}), work(3)])
    assert told(*results) == [(1, kind), (2, kind), (3, kind)]


def test_too_few_answers_are_a_defect_since_nobody_knows_whose_they_are() -> None:
    [results] = together(lambda messages: [()]).run([work(1), work(2)])
    assert told(*results) == [(1, "defect"), (2, "defect")]
    assert results[0].message == "The batch handler of said answered for 1 of 2 records."


def test_no_answer_at_all_is_a_defect() -> None:
    nothing: Any = lambda _messages: None  # noqa: E731
    assert told(*run(together(nothing), work(1), work(2))) == [(1, "defect"), (2, "defect")]


def test_records_that_cannot_be_read_do_not_keep_the_others_back() -> None:
    steps = together().run([work(1), work(2, b"\xff"), work(3), work(4, b"busy")])
    assert told(*next(steps)) == [(2, "reject"), (4, "busy")]
    assert told(*next(steps)) == [(1, "done"), (3, "done")]


def test_a_micro_batch_of_unreadable_records_calls_no_handler() -> None:
    assert told(*run(together(), work(1, b"\xff"))) == [(1, "reject")]


def test_a_micro_batch_is_given_back_before_it_begins() -> None:
    steps = together().run([work(1), work(2, b"\xff"), work(3)])
    next(steps)
    assert told(*steps.send(True)) == [(1, "returned"), (3, "returned")]
    assert list(steps) == []


def test_nothing_of_an_unreadable_micro_batch_is_given_back() -> None:
    steps = together().run([work(2, b"\xff")])
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(True)


def test_halves_that_have_not_begun_are_given_back() -> None:
    steps = together().run([work(n, {"error": "reject"} if n == 3 else {}) for n in range(1, 5)])
    assert told(*next(steps)) == [(1, "done"), (2, "done")]
    assert told(*steps.send(True)) == [(3, "returned"), (4, "returned")]
    assert list(steps) == []


def test_after_the_last_half_nothing_is_left_to_give_back() -> None:
    steps = together().run([work(1), work(2)])
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(True)


def test_a_topic_without_batch_handler_is_a_defect() -> None:
    assert told(*run(together(), work(1, topic="unknown"))) == [(1, "defect")]


# -- traces ---------------------------------------------------------------------------------------


class Span:
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.entered = 0
        self.ended: list[tuple[str, str, str]] = []

    def active(self) -> "Span":
        return self

    def __enter__(self) -> None:
        self.entered += 1

    def __exit__(self, *_: object) -> None:
        pass

    def end(self, kind: str, code: str = "", message: str = "") -> None:
        self.ended.append((kind, code, message))


class Recorder:
    """Makes such spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def begin(self, _work: Work, _span: str, _cause: str | None) -> Span:
        self.spans.append(Span())
        return self.spans[-1]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    tracing.use(made)  # type: ignore[arg-type]
    yield made
    tracing.use(None)


def traced(number: int, value: dict[str, Any] | None = None, **fields: Any) -> Work:
    return work(number, value, headers=[("traceparent", CAUSE.encode())], **fields)


def test_a_handler_runs_in_its_records_span(recorder: Recorder) -> None:
    run(handling(), traced(1), traced(2, {"error": "reject"}, topic="fail"), work(3))
    assert [span.entered for span in recorder.spans] == [1, 1]
    assert [span.ended for span in recorder.spans] == [
        [("done", "", "")],
        [("reject", "bad_photo", "The photo is bad.")],
    ]


def test_a_record_that_can_t_be_read_has_a_span_that_says_so(recorder: Recorder) -> None:
    headers = [("traceparent", CAUSE.encode())]
    run(handling(), work(1, b"\xff", headers=headers))
    [span] = recorder.spans
    assert span.ended == [("reject", "undecodable", "It is no JSON.")]


def test_each_slice_runs_in_its_records_span(recorder: Recorder) -> None:
    run(handling(three_slices), traced(1))
    [span] = recorder.spans
    assert span.entered == 4  # the call, and three slices
    assert span.ended == [("done", "", "")]


def test_every_record_of_a_micro_batch_has_its_span(recorder: Recorder) -> None:
    run(together(), traced(1), traced(2))
    assert [span.ended for span in recorder.spans] == [[("done", "", "")], [("done", "", "")]]


# -- turns ----------------------------------------------------------------------------------------


def all_steps(turns: Turns) -> list[list[tuple[int, str]]]:
    found = []
    while (results := turns.step()) is not None:
        found.append(told(*results))
    return found


def test_works_are_done_in_the_order_of_submission() -> None:
    turns = Turns(handling())
    for number in (1, 2):
        turns.put([work(number)])
    turns.put([])
    assert all_steps(turns) == [[(1, "done")], [(2, "done")]]
    assert turns.in_hand() == ()


def test_high_work_goes_first_at_the_next_slice() -> None:
    turns = Turns(handling(three_slices))
    turns.put([work(1)])
    turns.put([work(2)])
    assert turns.step() == ()
    assert turns.in_hand() == [work(1)]
    turns.put([work(3, lane="high"), work(4, lane="high")])
    assert turns.step() == ()
    assert turns.in_hand() == [work(3, lane="high"), work(4, lane="high")]
    rest = [step for step in all_steps(turns) if step]
    assert rest == [[(3, "done")], [(4, "done")], [(1, "done")], [(2, "done")]]


def test_high_work_does_not_interrupt_high_work() -> None:
    turns = Turns(handling(three_slices))
    turns.put([work(1, lane="high")])
    turns.step()
    turns.put([work(2, lane="high")])
    assert [step for step in all_steps(turns) if step] == [[(1, "done")], [(2, "done")]]


def test_a_recall_gives_back_the_waiting_at_once_and_the_begun_at_its_next_step() -> None:
    turns = Turns(handling(three_slices))
    turns.put([work(1), work(2)])
    turns.put([work(3)])
    turns.step()
    turns.put([work(4, lane="high")])
    turns.step()
    turns.put([work(5)])
    assert told(*turns.recall()) == [(3, "returned"), (5, "returned")]
    assert all_steps(turns) == [[(4, "returned")], [(1, "returned")], [(2, "returned")]]
    turns.put([work(6)])
    assert all_steps(turns)[-1] == [(6, "done")]


# -- soft deadlines -------------------------------------------------------------------------------


@pytest.fixture
def alarms() -> Iterator[Callable[[float], AlarmLimit]]:
    """Gives the alarm back to whoever had it (pytest's own time limit)."""
    before = signal.getsignal(signal.SIGALRM)
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    yield AlarmLimit
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, left, interval)


Alarms = Callable[[float], AlarmLimit]


def wait(message: Message) -> Events:
    if message.value.get("wait"):
        threading.Event().wait(30)
    return ()


def test_a_handler_is_interrupted_at_its_soft_deadline(alarms: Alarms) -> None:
    one = handling(wait, limit=alarms(0.05))
    results = run(one, work(1), work(2, {"wait": True}), work(3))
    assert told(*results) == [(1, "done"), (2, "deadline"), (3, "done")]
    assert results[1].message == "It took longer than 0.05 s."
    assert 50 <= results[1].ms < 5_000


def test_every_handler_has_the_whole_time(alarms: Alarms) -> None:
    def burn(_message: Message) -> Events:
        until = time.perf_counter() + 0.15
        while time.perf_counter() < until:
            pass
        return ()

    results = run(handling(burn, limit=alarms(0.5)), *[work(n) for n in range(5)])
    assert {one.kind for one in results} == {"done"}


def test_slices_share_the_time_of_their_record(alarms: Alarms) -> None:
    def endless(_message: Message) -> Generator[None, None, Events]:
        while True:
            until = time.perf_counter() + 0.01
            while time.perf_counter() < until:
                pass
            yield

    [result] = run(handling(endless, limit=alarms(0.05)), work(1))
    assert result.kind == "deadline"
    assert 50 <= result.ms < 5_000


def test_a_micro_batch_has_its_time_as_a_whole(alarms: Alarms) -> None:
    def handler(messages: Sequence[Message]) -> Sequence[Events]:
        for message in messages:
            wait(message)
        return [() for _ in messages]

    one = handling(handler, batching=True, limit=alarms(0.05))
    results = run(one, work(1), work(2, {"wait": True}), work(3))
    assert told(*results) == [(1, "done"), (2, "deadline"), (3, "done")]


def test_a_late_alarm_hits_nothing_but_a_handler(alarms: Alarms) -> None:
    limit = alarms(0.01)
    limit.begin()
    limit.end()
    until = time.monotonic() + 0.03
    while time.monotonic() < until:  # the alarm comes here, and is ignored
        pass
    signal.raise_signal(signal.SIGALRM)
    limit.begin()
    signal.raise_signal(signal.SIGALRM)  # meant for an earlier handler
    with pytest.raises(DeadlineExceeded):
        threading.Event().wait(30)


def test_an_alarm_hits_once(alarms: Alarms) -> None:
    limit = alarms(0.01)
    limit.begin()
    with pytest.raises(DeadlineExceeded):
        threading.Event().wait(30)
    signal.raise_signal(signal.SIGALRM)
