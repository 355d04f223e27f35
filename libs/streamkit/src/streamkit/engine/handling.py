"""Has handlers work on records, and says what became of each."""

from collections.abc import Callable, Generator, Mapping, Sequence
from time import perf_counter
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import structlog

from streamkit.engine.desk import Codes, Desk
from streamkit.engine.limit import Limit, NoLimit
from streamkit.engine.outcome import is_memory, result_of
from streamkit.engine.work import Result, Work
from streamkit.errors import Busy, Instruction, Reject
from streamkit.headers import next_span, traceparent_of
from streamkit.logs import log_about
from streamkit.messages import Events, Handlers, Message
from streamkit.tracing import begin

if TYPE_CHECKING:
    from streamkit.spans import Span

_log = structlog.get_logger("streamkit.engine")

Steps = Generator[Sequence[Result], bool | None, None]
"""Results as they come about; an empty sequence after a slice of work that is still under way. At
each, sending True has all that isn't finished given back: the next results say `returned`."""

_Slices = Generator[None, None, Events]


class _Begun(NamedTuple):
    """A record that was read and is in the hands of its handler."""

    work: Work
    message: Message
    span: str
    traced: "Span | None"

    def over(self, result: Result) -> Result:
        """Ends the span, if there is one."""
        if self.traced is not None:
            self.traced.end(result.kind, result.code, result.message)
        return result


class Handling:
    """Works on records with `handlers`, encoding their events in the name of `source`.

    With `batching` the records of one `run` are a micro-batch. `limit` is told of each call of a
    handler. A `run` may be begun while another stands at a step. Not thread-safe.
    """

    def __init__(
        self,
        handlers: Handlers,
        codec: Codes,
        *,
        source: str,
        batching: bool,
        limit: Limit | None = None,
    ) -> None:
        self._handlers = handlers
        self._by_topic = cast("Mapping[str, Callable[[Any], Any]]", handlers.by_topic)
        self._desk = Desk(codec, source)
        self._limit = limit or NoLimit()
        self._batching = batching

    def run(self, works: Sequence[Work]) -> Steps:
        """Work on these, in their order; works to be given up are not among others.

        What a handler raises becomes a result, but for what is no Exception (KeyboardInterrupt).
        """
        together = self._batching and works[0].failure is None
        return self._together(works) if together else self._one_by_one(works)

    # -- single records -------------------------------------------------------------------------

    def _one_by_one(self, works: Sequence[Work]) -> Steps:
        for index, work in enumerate(works):
            started = perf_counter()
            result: Result | _Slices
            begun = self._read(work, started)
            if isinstance(begun, Result):
                result = begun
            else:
                result = self._whole(begun, started)
                if not isinstance(result, Result):
                    result = yield from self._sliced(begun, result, perf_counter() - started)
            if (yield (result,)) or result.kind == "returned":
                if index + 1 < len(works):
                    yield _returned(works[index + 1 :])
                return

    def _whole(self, begun: _Begun, started: float) -> Result | _Slices:
        """Call the handler: what came of it, or the slices that it wants to work in."""
        work, message, span, traced = begun
        try:
            said = self._called(self._handler(work), message, traced)
            if isinstance(said, GeneratorType):
                return said
            events = self._desk.records(said, span)
            result = Result(work.id, "done", 1000 * (perf_counter() - started), events)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the result says what it was
            result = result_of(work.id, 1000 * (perf_counter() - started), error)
        return begun.over(result)

    def _sliced(
        self, begun: _Begun, slices: _Slices, spent_s: float
    ) -> Generator[Sequence[Result], bool | None, Result]:
        """Work slice by slice; what is done between them is not this record's time."""
        work, span, number = begun.work, begun.span, begun.work.id
        started = perf_counter()
        try:
            while True:
                log_about((work,), span)
                try:
                    self._called(slices.send, None, begun.traced, spent_s)
                except StopIteration as stop:
                    events = self._desk.records(stop.value, span)
                    ms = 1000 * (spent_s + perf_counter() - started)
                    return begun.over(Result(number, "done", ms, events))
                spent_s += perf_counter() - started
                give_back = yield ()
                started = perf_counter()
                if give_back:
                    slices.close()
                    return begun.over(Result(number, "returned", 1000 * spent_s))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the result says what it was
            ms = 1000 * (spent_s + perf_counter() - started)
            return begun.over(result_of(number, ms, error))

    # -- micro-batches --------------------------------------------------------------------------

    def _together(self, works: Sequence[Work]) -> Steps:
        started = perf_counter()
        results: list[Result] = []
        parts: dict[object, list[_Begun]] = {}
        for work in works:
            begun = self._read(work, started)
            if isinstance(begun, Result):
                results.append(begun)
            else:
                parts.setdefault(self._by_topic.get(work.record.topic), []).append(begun)
        waiting = list(reversed(parts.values()))
        if not results or not (yield results):
            yield from self._bisected(waiting, started)
        elif waiting:
            yield _given_back(waiting)

    def _bisected(self, waiting: list[list[_Begun]], started: float) -> Steps:
        """Work on the last of these; one that fails as a whole is replaced by its halves."""
        while waiting:
            part = waiting.pop()
            results = self._attempted(part)
            if results is None:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
                continue
            share = 1000 * (perf_counter() - started) / len(part)
            back = yield [
                begun.over(one._replace(ms=share)) for begun, one in zip(part, results, strict=True)
            ]
            if back:
                if waiting:
                    yield _given_back(waiting)
                return
            started = perf_counter()

    def _attempted(self, part: Sequence[_Begun]) -> Sequence[Result] | None:
        """Call the batch handler; None if it failed for a reason that one record may be."""
        log_about([begun.work for begun in part])
        try:
            handler = self._handler(part[0].work)
            answers = list(self._called(handler, [begun.message for begun in part], None))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the results say what it was
            if len(part) > 1 and not is_memory(error) and not isinstance(error, Busy):
                _log.warning("micro_batch_bisected", size=len(part), reason=repr(error)[:300])
                return None
            return [result_of(begun.work.id, 0.0, error) for begun in part]
        if len(answers) != len(part):
            said = f"The batch handler of {part[0].message.topic} answered for {len(answers)} of "
            text = f"{said}{len(part)} records."
            return [Result(begun.work.id, "defect", 0.0, message=text) for begun in part]
        return [self._answered(*pair) for pair in zip(part, answers, strict=True)]

    def _answered(self, begun: _Begun, answer: Events | Instruction) -> Result:
        try:
            if isinstance(answer, Instruction):
                raise answer
            events = self._desk.records(answer, begun.span)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the result says what it was
            return result_of(begun.work.id, 0.0, error)
        return Result(begun.work.id, "done", 0.0, events)

    # -- both -----------------------------------------------------------------------------------

    def _read(self, work: Work, started: float) -> Result | _Begun:
        """Decode a record; or what is to become of one that can't be."""
        traced: Span | None = None
        try:
            cause = traceparent_of(work.record.headers)
            span = next_span(cause)
            log_about((work,), span)
            traced = begin(work, span, cause)
            return _Begun(work, self._desk.message(work, span), span, traced)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the result says what it was
            ms = 1000 * (perf_counter() - started)
            result = result_of(work.id, ms, error)
            if work.failure is not None and isinstance(error, Reject):
                result = Result(
                    work.id, "done", ms
                )  # there is nothing to say of what can't be read
            if traced is not None:
                traced.end(result.kind, result.code, result.message)
            return result

    def _handler(self, work: Work) -> Callable[[Any], Any]:
        failure = work.failure
        if failure is not None:
            return lambda message: self._handlers.give_up(message, failure)
        handler = self._by_topic.get(work.record.topic)
        if handler is None:
            raise LookupError(f"there is no handler for {work.record.topic}")
        return handler

    def _called(
        self,
        call: Callable[[Any], Any],
        given: object,
        traced: "Span | None",
        spent_s: float = 0.0,
    ) -> Any:
        """Call a handler under the limit, within its span if it has one."""
        if traced is not None:
            with traced.active():
                return self._called(call, given, None, spent_s)
        limit = self._limit
        limit.begin(spent_s)
        try:
            return call(given)
        finally:
            limit.end()


def _returned(works: Sequence[Work]) -> Sequence[Result]:
    return [Result(work.id, "returned", 0.0) for work in works]


def _given_back(waiting: Sequence[Sequence[_Begun]]) -> Sequence[Result]:
    """For parts of micro-batches, the last of them first."""
    return [
        begun.over(Result(begun.work.id, "returned", 0.0))
        for part in reversed(waiting)
        for begun in part
    ]
