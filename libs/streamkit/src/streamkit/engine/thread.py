"""An engine in a thread of the worker's process."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

import structlog

from streamkit.backoff import delay_s
from streamkit.engine.basket import Basket
from streamkit.engine.desk import Codes
from streamkit.engine.handling import Handling
from streamkit.engine.loading import LoadError, loaded
from streamkit.engine.loop import Order, loop
from streamkit.engine.trouble import Trouble
from streamkit.engine.turns import Turns
from streamkit.engine.work import Result, Work
from streamkit.messages import Handlers
from streamkit.ports import EngineGone, EngineReady, EngineResults, Report
from streamkit.watchdog import dump_stacks

_log = structlog.get_logger("streamkit.engine")

EXIT_STUCK: Final = 70
"""Exit code of a program that was ended because a handler in a thread did not return; EX_SOFTWARE
of sysexits.h."""


class _Orders:
    """The inbox of an engine in a thread."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Order] = SimpleQueue()
        self.put = self._queue.put

    def take(self, *, wait: bool) -> Sequence[Order]:
        """See Inbox."""
        orders: list[Order] = []
        with suppress(Empty):
            orders.append(self._queue.get(block=wait))
            while True:
                orders.append(self._queue.get_nowait())
        return orders


class ThreadEngine:
    """Implements Engine by a thread, for handlers that need little of the CPU and never hang.

    A thread can neither be interrupted nor ended: there are no soft deadlines, and `replace` writes
    all stacks to the log and ends the whole program with EXIT_STUCK. `load` and `codec` are called
    in the thread; what they raise ends the worker (EngineGone, fatal), but Busy and Retry are tried
    again.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Handlers],
        codec: Callable[[], Codes],
        report: Report,
        *,
        source: str,
        batching: bool = False,
    ) -> None:
        self.name = name
        self._load = load
        self._codec = codec
        self._report = report
        self._source = source
        self._batching = batching
        self._orders = _Orders()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)

    def start(self) -> None:
        """See Engine."""
        self._thread.start()

    def submit(self, works: Sequence[Work]) -> None:
        """See Engine."""
        self._orders.put(("work", works))

    def recall(self) -> None:
        """See Engine."""
        self._orders.put(("recall", ()))

    def replace(self, why: str) -> None:
        """See Engine."""
        dump_stacks("engine_stuck", engine=self.name, reason=why)
        os._exit(EXIT_STUCK)

    def memory_bytes(self) -> int:
        """See Engine."""
        return 0

    def close(self, timeout_s: float) -> None:
        """See Engine. A handler that does not end in time is left behind."""
        self._closing.set()
        self._orders.put(("close", ()))
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            _log.warning("engine_left_behind", engine=self.name)

    def _run(self) -> None:
        started = time.monotonic()
        try:
            handlers, codec = self._loaded()
        except LoadError as error:
            if error.fatal:
                self._report(EngineGone(self.name, (), str(error), fatal=True))
            return
        _log.info("loaded", **handlers.about)
        self._report(EngineReady(self.name, time.monotonic() - started))
        try:
            self._work(Handling(handlers, codec, source=self._source, batching=self._batching))
        except BaseException as error:  # noqa: BLE001 - reported, and ends the worker
            _log.exception("engine_failed")
            self._report(EngineGone(self.name, (), f"its thread ended: {error!r}", fatal=True))
        try:
            handlers.close()
        except Exception:  # noqa: BLE001 - the engine ends anyway
            _log.exception("close_failed")

    def _loaded(self) -> tuple[Handlers, Codes]:
        """Raises LoadError, also for what is not fatal once the engine is closed."""
        trouble, tries = Trouble(self.name), 0
        while True:
            try:
                return loaded(self._source, lambda: (self._load(), self._codec()))
            except LoadError as error:
                trouble.tell("load_failed", str(error), trace=error.trace, fatal=error.fatal)
                tries += 1
                if error.fatal or self._closing.wait(delay_s(tries)):
                    raise

    def _work(self, handling: Handling) -> None:
        basket = Basket(self._send)
        try:
            loop(Turns(handling), basket, self._orders)
        finally:
            basket.close()

    def _send(self, results: Sequence[Result]) -> None:
        self._report(EngineResults(self.name, results))
