"""The engine of tests and simulations: determined by what it is told, and when."""

from collections.abc import Callable, Generator

import pytest

from engine_doubles import JsonCodec, handlers, no_handlers, work
from streamkit.engine.direct import DirectEngine, EngineDies, EngineHangs
from streamkit.engine.work import Result, Work
from streamkit.messages import Emit, Events, Handlers, Message
from streamkit.ports import EngineEvent, EngineGone, EngineReady, EngineResults


class Agenda:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        self.due.append((self.now + seconds, then))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [one for one in self.due if one[0] <= end]:
            first = min(due, key=lambda one: one[0])
            self.due.remove(first)
            self.now = first[0]
            first[1]()
        self.now = end


def sliced(message: Message) -> Generator[None, None, Events]:
    yield
    yield
    return [Emit("out", message.key, {}, "i")]


def dying(message: Message) -> Events:
    if message.value.get("how") == "hang":
        raise EngineHangs
    raise EngineDies


class Bench:
    """An engine, and what it has reported."""

    def __init__(
        self,
        load: Callable[[], Handlers] | None = None,
        takes: Callable[[Work], float] | None = None,
    ) -> None:
        self.events: list[EngineEvent] = []
        self.agenda = Agenda()
        self.closed = 0
        self.engine = DirectEngine(
            "all",
            load or self._load,
            JsonCodec(),
            self.events.append,
            source="test",
            later=self.agenda.later,
            takes=takes,
        )
        self.engine.start()

    def _load(self) -> Handlers:
        by_topic = {**handlers().by_topic, "slices": sliced, "dies": dying}
        return Handlers(by_topic, close=self._close)

    def _close(self) -> None:
        self.closed += 1

    def heard(self) -> list[EngineEvent]:
        """What was reported since the last call."""
        found = list(self.events)
        self.events.clear()
        return found

    def results(self) -> list[tuple[int, str, float]]:
        """The same, if it is results only."""
        found: list[Result] = []
        for event in self.heard():
            assert isinstance(event, EngineResults)
            found += event.results
        return [(one.id, one.kind, one.ms) for one in found]


READY = EngineReady("all", 0.0)


def a_second(_work: Work) -> float:
    return 1.0


def test_it_is_ready_as_soon_as_it_is_started() -> None:
    assert Bench().heard() == [READY]


def test_handlers_that_cannot_be_loaded_are_fatal() -> None:
    [event] = Bench(lambda: no_handlers("missing")).heard()
    assert event == EngineGone(
        "all",
        (),
        "The handlers of test can't be loaded: FileNotFoundError: no weights at /models/lite0",
        fatal=True,
    )


def test_it_does_nothing_without_handlers() -> None:
    bench = Bench(lambda: no_handlers("missing"))
    bench.heard()
    bench.engine.submit([work(1)])
    bench.engine.recall()
    bench.engine.close(1.0)
    assert bench.heard() == []


def test_works_are_done_within_submit() -> None:
    bench = Bench()
    bench.heard()
    bench.engine.submit([work(1), work(2, {"error": "retry"}, topic="fail")])
    assert bench.results() == [(1, "done", 0.0), (2, "retry", 0.0)]
    assert bench.agenda.due == []


def test_works_last_as_long_as_it_is_said() -> None:
    bench = Bench(takes=lambda one: float(one.id))
    bench.heard()
    bench.engine.submit([work(1), work(2)])
    bench.engine.submit([work(3)])
    bench.agenda.advance(0.9)
    assert bench.results() == []
    bench.agenda.advance(0.1)
    assert bench.results() == [(1, "done", 1000.0)]
    bench.agenda.advance(5.0)
    assert bench.results() == [(2, "done", 2000.0), (3, "done", 3000.0)]


def test_each_slice_lasts_so_long_and_high_work_goes_between() -> None:
    bench = Bench(takes=a_second)
    bench.heard()
    bench.engine.submit([work(1, topic="slices")])
    bench.agenda.advance(0.5)
    bench.engine.submit([work(2, lane="high")])
    bench.agenda.advance(1.5)
    assert bench.results() == [(2, "done", 1000.0)]
    bench.agenda.advance(2.0)
    assert bench.results() == [(1, "done", 3000.0)]


def test_a_recall_gives_back_what_waits_at_once_and_sliced_work_at_its_next_slice() -> None:
    bench = Bench(takes=a_second)
    bench.heard()
    bench.engine.submit([work(1, topic="slices"), work(2)])
    bench.engine.submit([work(3)])
    bench.engine.recall()
    assert bench.results() == [(3, "returned", 0.0)]
    bench.agenda.advance(1.0)
    assert bench.results() == [(1, "returned", 1000.0), (2, "returned", 0.0)]


def test_a_replaced_engine_leaves_its_work_unfinished_in_order_and_reports_nothing_late() -> None:
    bench = Bench(takes=a_second)
    bench.heard()
    bench.engine.submit([work(1), work(2)])
    bench.agenda.advance(1.0)
    bench.engine.submit([work(3)])
    bench.engine.replace("deadline")
    bench.agenda.advance(10.0)
    assert bench.heard()[1:] == [EngineGone("all", (2, 3), "deadline"), READY]
    bench.engine.submit([work(4)])
    bench.agenda.advance(1.0)
    assert bench.results() == [(4, "done", 1000.0)]
    assert bench.closed == 0


def test_it_dies_where_a_handler_says_so() -> None:
    bench = Bench()
    bench.heard()
    bench.engine.submit([work(1), work(2, topic="dies"), work(3)])
    [results, gone, ready] = bench.heard()
    assert isinstance(results, EngineResults)
    assert gone == EngineGone("all", (2, 3), "killed by SIGSEGV")
    assert ready == READY
    bench.engine.submit([work(4)])
    assert bench.results() == [(4, "done", 0.0)]


def test_it_hangs_where_a_handler_says_so_until_it_is_replaced() -> None:
    bench = Bench()
    bench.heard()
    bench.engine.submit([work(1, {"how": "hang"}, topic="dies")])
    bench.engine.submit([work(2)])
    assert bench.heard() == []
    bench.engine.replace("deadline")
    assert bench.heard() == [EngineGone("all", (1, 2), "deadline"), READY]


def test_an_engine_that_hangs_finishes_nothing_that_it_has_begun() -> None:
    bench = Bench(takes=a_second)
    bench.heard()
    bench.engine.submit([work(1)])
    bench.engine.hang()
    bench.agenda.advance(10.0)
    assert bench.heard() == []


def test_it_closes_its_handlers_and_works_no_more() -> None:
    bench = Bench(takes=a_second)
    bench.heard()
    bench.engine.submit([work(1), work(2)])
    bench.engine.submit([work(3)])
    bench.engine.close(1.0)
    bench.engine.submit([work(4)])
    bench.agenda.advance(10.0)
    assert bench.results() == [(3, "returned", 0.0)]
    assert bench.closed == 1


def test_who_is_told_may_replace_it_at_once() -> None:
    told: list[EngineEvent] = []

    def report(event: EngineEvent) -> None:
        told.append(event)
        if isinstance(event, EngineResults):
            engine.replace("recycled")

    engine = DirectEngine("all", handlers, JsonCodec(), report, source="test")
    engine.start()
    engine.submit([work(1), work(2)])
    assert told[2:] == [EngineGone("all", (2,), "recycled"), READY]


@pytest.mark.parametrize("used", [0, 5_000])
def test_its_memory_is_what_the_test_says(used: int) -> None:
    bench = Bench()
    bench.engine.memory = used
    assert bench.engine.memory_bytes() == used
