"""An engine without process and thread, for tests and simulations: what it does is determined by
what it is told, and when."""

from collections.abc import Callable, Sequence
from functools import partial

from streamkit.backoff import Later
from streamkit.engine.desk import Codes
from streamkit.engine.handling import Handling
from streamkit.engine.loading import LoadError, loaded
from streamkit.engine.turns import Turns
from streamkit.engine.work import Result, Work
from streamkit.messages import Handlers
from streamkit.ports import EngineGone, EngineReady, EngineResults, Report


class EngineDies(BaseException):
    """To be raised by a handler in a test: its engine ends as by a segmentation fault."""


class EngineHangs(BaseException):
    """To be raised by a handler in a test: it never returns; its engine has to be replaced."""


class DirectEngine:
    """Implements Engine. Works inside `submit`, or in its own time.

    `takes` says how many seconds a piece of work lasts (work in slices: each slice; a micro-batch:
    all of its records together). The handler is called at the beginning, its results are reported
    after that time, by `later`: an engine that dies in between has done what nobody knows of.
    Without `takes` everything is done before `submit` returns. `memory` is what `memory_bytes`
    says.
    """

    def __init__(  # noqa: PLR0913 - as the other engines, and time
        self,
        name: str,
        load: Callable[[], Handlers],
        codec: Codes,
        report: Report,
        *,
        source: str,
        batching: bool = False,
        later: Later | None = None,
        takes: Callable[[Work], float] | None = None,
    ) -> None:
        self.name = name
        self.memory = 0
        self._load = load
        self._codec = codec
        self._report = report
        self._source = source
        self._batching = batching
        self._later = later
        self._takes = takes
        self._handlers: Handlers | None = None
        self._turns: Turns | None = None
        self._life = 0
        """Number of the process that this would be: what an earlier one had begun is void."""
        self._unfinished: dict[int, Work] = {}
        self._sliced_s: dict[int, float] = {}
        self._occupied = False

    def start(self) -> None:
        """See Engine."""
        try:
            self._handlers, _ = loaded(self._source, lambda: (self._load(), self._codec))
        except LoadError as error:
            self._report(EngineGone(self.name, (), str(error), fatal=True))
            return
        handling = Handling(
            self._handlers, self._codec, source=self._source, batching=self._batching
        )
        self._turns = Turns(handling)
        self._report(EngineReady(self.name, 0.0))

    def submit(self, works: Sequence[Work]) -> None:
        """See Engine."""
        if self._turns is None:
            return
        self._turns.put(works)
        self._unfinished.update((work.id, work) for work in works)
        if not self._occupied:
            self._go_on(self._life)

    def recall(self) -> None:
        """See Engine."""
        if self._turns is not None:
            self._finish(self._turns.recall())

    def replace(self, why: str) -> None:
        """See Engine."""
        self._end(why)
        self.start()

    def die(self, why: str = "killed by SIGSEGV") -> None:
        """End by itself, with what is in hand unfinished; another process takes its place."""
        self.replace(why)

    def hang(self) -> None:
        """Never finish what is in hand, until it is replaced."""
        self._life += 1
        self._occupied = True

    def memory_bytes(self) -> int:
        """See Engine."""
        return self.memory

    def close(self, timeout_s: float) -> None:  # noqa: ARG002 - nothing takes time
        """See Engine."""
        self.recall()
        self._life += 1
        handlers, self._handlers, self._turns = self._handlers, None, None
        if handlers is not None:
            handlers.close()

    def _end(self, why: str) -> None:
        unfinished = tuple(self._unfinished)
        self._life += 1
        self._turns = None
        self._occupied = False
        self._sliced_s.clear()
        self._unfinished.clear()
        self._report(EngineGone(self.name, unfinished, why))

    def _go_on(self, life: int) -> None:
        """Work until something takes time, or nothing is left."""
        self._occupied = True
        while life == self._life and self._turns is not None:
            try:
                results = self._turns.step()
            except EngineDies:
                self.die()
                return
            except EngineHangs:
                self.hang()
                return
            if results is None:
                self._occupied = False
                return
            lasted_s, timed = self._timed(self._turns, results)
            if self._later is not None and lasted_s > 0:
                self._later(lasted_s, partial(self._deliver, life, timed))
                return
            self._finish(timed)

    def _deliver(self, life: int, results: Sequence[Result]) -> None:
        if life == self._life:
            self._finish(results)
            self._go_on(life)

    def _timed(self, turns: Turns, results: Sequence[Result]) -> tuple[float, Sequence[Result]]:
        """How long a step lasts, and its results with that time."""
        if self._takes is None:
            return 0.0, [one._replace(ms=0.0) for one in results]
        if not results:
            work = next(one for one in turns.in_hand() if one.id in self._unfinished)
            slice_s = self._takes(work)
            self._sliced_s[work.id] = self._sliced_s.get(work.id, 0.0) + slice_s
            return slice_s, results
        total_s, timed = 0.0, []
        for one in results:
            own_s = 0.0 if one.kind == "returned" else self._takes(self._unfinished[one.id])
            total_s += own_s
            timed.append(one._replace(ms=1000 * (own_s + self._sliced_s.pop(one.id, 0.0))))
        return total_s, timed

    def _finish(self, results: Sequence[Result]) -> None:
        for one in results:
            self._unfinished.pop(one.id, None)
        if results:
            self._report(EngineResults(self.name, results))
