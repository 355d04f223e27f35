"""What runs in an engine process."""

import ctypes
import gc
import importlib
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import forkserver
from typing import Final

import structlog

from streamkit import tracing
from streamkit.engine.allocation import keep_freed_memory
from streamkit.engine.basket import Basket
from streamkit.engine.desk import Codes
from streamkit.engine.handling import Handling
from streamkit.engine.limit import AlarmLimit
from streamkit.engine.loading import LoadError, loaded
from streamkit.engine.loop import Order, loop
from streamkit.engine.turns import Turns
from streamkit.engine.wire import Frame, Frames, frame, results_frame, works_of
from streamkit.logs import configure_logs, name_keys
from streamkit.messages import Handlers
from streamkit.traffic import Way, tell_by
from streamkit.watchdog import dump_on_signal

_log = structlog.get_logger("streamkit.engine")

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PIECE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Setup:
    """How an engine process shall work; see ProcessEngine. `makers` is the pickled pair of what
    makes the handlers and the codec: unpickled late, so that a failing import can be told."""

    engine: str
    source: str
    makers: bytes
    batching: bool
    soft_s: float
    nice: int
    preload: tuple[str, ...]
    log_level: str
    trace_sample: float
    keys: Mapping[str, str] = field(default_factory=dict)


def main(setup: Setup, wire: socket.socket) -> None:
    """Be an engine process, to its end."""
    _settle_in(setup)
    serve(setup, wire)


def serve(setup: Setup, wire: socket.socket) -> None:
    """Load the handlers, and work until told to close or until the worker is gone."""
    say = _speaker(wire)
    tell_by(partial(_tell_counts, say))
    with suppress(OSError):  # the worker is gone
        say(frame("begun"))
        try:
            handlers, handling = _loaded(setup)
        except LoadError as error:
            say(frame("failed", (str(error), error.fatal, error.trace)))
            return
        try:
            say(frame("ready"))
            _work(handling, wire, say)
        finally:
            _close(handlers)
            tell_by(None)


def _speaker(wire: socket.socket) -> Callable[[bytes], None]:
    """What sends frames; threads may share it."""
    speaking = threading.Lock()

    def say(data: bytes) -> None:
        with speaking:
            wire.sendall(data)

    return say


def _tell_counts(say: Callable[[bytes], None], way: Way, topic: str, records: int) -> None:
    with suppress(OSError):  # the worker is gone
        say(frame("counted", (way, topic, records)))


def _settle_in(setup: Setup) -> None:
    """Be a process that ends with its worker, and by nothing else but being killed."""
    # The collector would go through all that was preloaded, which also means to copy its pages.
    gc.freeze()
    for number in (signal.SIGINT, signal.SIGTERM):
        # The worker drains first. Not SIG_IGN, which processes that a handler starts would inherit.
        signal.signal(number, lambda _number, _frame: None)
    _die_with_worker()
    os.nice(setup.nice)
    keep_freed_memory()
    configure_logs(setup.source, setup.log_level, setup.engine)
    name_keys(setup.keys)
    dump_on_signal()
    tracing.configure(setup.source, sample=setup.trace_sample, engine=setup.engine)


def _die_with_worker() -> None:
    """Have the kernel kill this process once the worker is gone, whatever it does then.

    The kernel watches the parent, which is the fork server. That one ends when the last process
    that holds its `alive` pipe does: so this process must let go of it, and the worker's end ends
    the server, whose end ends this process. Other systems than Linux have no such thing: there it
    ends once it looks for orders and finds nobody.
    """
    alive = getattr(forkserver._forkserver, "_forkserver_alive_fd", None)
    if sys.platform != "linux" or alive is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(alive)
    worker = multiprocessing.parent_process()
    if worker is None or not worker.is_alive():
        os._exit(0)  # it ended before the kernel was told to watch


def _loaded(setup: Setup) -> tuple[Handlers, Handling]:
    """Raises LoadError."""
    limit = AlarmLimit(setup.soft_s)
    handlers, codec = loaded(setup.source, lambda: _make(setup))
    gc.freeze()  # what is loaded stays
    _log.info("loaded", **handlers.about)
    handling = Handling(handlers, codec, source=setup.source, batching=setup.batching, limit=limit)
    return handlers, handling


def _make(setup: Setup) -> tuple[Handlers, Codes]:
    for name in setup.preload:
        # The fork server says nothing of those that it could not import.
        if name not in sys.modules:
            _log.warning("not_preloaded", module=name)
            importlib.import_module(name)
    load, codec = pickle.loads(setup.makers)  # noqa: S301 - from our own worker
    return load(), codec()


def _work(handling: Handling, wire: socket.socket, say: Callable[[bytes], None]) -> None:
    basket = Basket(lambda results: say(results_frame(results)))
    loop(Turns(handling), basket, _Wire(wire))
    basket.close()


def _close(handlers: Handlers) -> None:
    try:
        handlers.close()
    except Exception:  # noqa: BLE001 - the process ends anyway
        _log.exception("close_failed")
    tracing.close()


class _Wire:
    """The inbox of an engine process."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._frames = Frames()

    def take(self, *, wait: bool) -> Sequence[Order]:
        """See Inbox."""
        orders: list[Order] = []
        flags = 0 if wait else socket.MSG_DONTWAIT
        with suppress(BlockingIOError):
            while True:
                piece = self._wire.recv(_PIECE, flags)
                if not piece:  # the worker is gone
                    return [*orders, ("close", ())]
                orders += [_order(one) for one in self._frames.feed(piece)]
                if len(piece) < _PIECE:
                    break
                flags = socket.MSG_DONTWAIT
        return orders


def _order(frame: Frame) -> Order:
    kind, payload = frame
    return kind, works_of(payload) if kind == "work" else ()
