"""An engine in a process of its own."""

import atexit
import pickle
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import structlog

from streamkit.backoff import delay_s
from streamkit.engine.child import Setup
from streamkit.engine.desk import Codes
from streamkit.engine.life import Life, described, preload
from streamkit.engine.trouble import Trouble
from streamkit.engine.wire import frame, results_of, work_frame
from streamkit.engine.work import Work
from streamkit.headers import TRACE_SAMPLE
from streamkit.messages import Handlers
from streamkit.ports import EngineGone, EngineReady, EngineResults, Report
from streamkit.traffic import count

_log = structlog.get_logger("streamkit.engine")


class _End(NamedTuple):
    """Why a process ended, for people, and whether another would end likewise. `trace`: the
    traceback of what ended it, if that helps. `event`: what the log calls it."""

    why: str
    fatal: bool = False
    trace: str = ""
    event: str = "engine_gone"


class ProcessEngine:
    """Implements Engine by a child process, which is replaced whenever it ends.

    `load` and `codec` make what the child works with; they are pickled: functions of a module, or
    partials of one. What they raise ends the worker (EngineGone, fatal), but Busy and Retry are
    tried again. Why a process is gone is logged here, where it is known what was said before (see
    Trouble). A handler that takes longer than `soft_s` is interrupted (see AlarmLimit); `nice`
    is how much the child yields the CPU to others. `preload` names modules that are imported once,
    in the fork server, for all children. The main module needs its `if __name__ == "__main__":`,
    as always with multiprocessing. The child logs as the worker does.
    """

    def __init__(  # noqa: PLR0913 - wiring
        self,
        name: str,
        load: Callable[[], Handlers],
        codec: Callable[[], Codes],
        report: Report,
        *,
        source: str,
        nice: int = 0,
        soft_s: float = 60.0,
        preload: tuple[str, ...] = (),
        batching: bool = False,
        log_level: str = "info",
        trace_sample: float = TRACE_SAMPLE,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._makers = (load, codec)
        self._report = report
        self._setup = Setup(
            name,
            source,
            b"",
            batching,
            soft_s,
            nice,
            tuple(preload),
            log_level,
            trace_sample,
            dict(keys or {}),
        )
        self._lock = threading.Lock()
        self._life: Life | None = None
        self._in_hand: dict[int, None] = {}
        self._ready = False
        self._useful = False
        self._why = ""
        self._trouble = Trouble(name)
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)

    def start(self) -> None:
        """See Engine."""
        try:
            makers = pickle.dumps(self._makers)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            why = f"What makes the handlers of {self._setup.source} can't be pickled: {error}"
            self._report(EngineGone(self.name, (), why, fatal=True))
            return
        self._setup = replace(self._setup, makers=makers)
        preload(self._setup.preload)
        # Else multiprocessing would wait for the child for ever if the program ends by an error.
        atexit.register(self._abandon)
        self._keeper.start()

    def submit(self, works: Sequence[Work]) -> None:
        """See Engine."""
        message = work_frame(works)
        with self._lock:
            if self._ready and self._life is not None:
                self._in_hand.update(dict.fromkeys([work[0] for work in works]))
                self._life.channel.send(message)

    def recall(self) -> None:
        """See Engine."""
        with self._lock:
            if self._ready and self._life is not None:
                self._life.channel.send(frame("recall"))

    def replace(self, why: str) -> None:
        """See Engine."""
        with self._lock:
            if self._life is not None:
                self._why = why
                self._life.kill()

    def memory_bytes(self) -> int:
        """See Engine."""
        with self._lock:
            return self._life.resident() if self._life is not None else 0

    def close(self, timeout_s: float) -> None:
        """See Engine. What has not begun is given back."""
        self._closing.set()
        with self._lock:
            ready = self._ready and self._life is not None
            if ready and self._life is not None:
                self._life.channel.send(frame("close"))
        if not ready:
            self._kill()
        if self._keeper.is_alive():
            self._keeper.join(timeout_s)
        if self._keeper.is_alive():
            _log.warning("engine_killed", engine=self.name, reason="it did not end in time")
            self._kill()
            self._keeper.join(1.0)
        atexit.unregister(self._abandon)

    def _kill(self) -> None:
        with self._lock:
            if self._life is not None:
                self._life.kill()

    def _abandon(self) -> None:
        self._closing.set()
        self._kill()

    def _run(self) -> None:
        try:
            self._keep()
        except Exception as error:  # noqa: BLE001 - reported, and ends the worker
            _log.exception("keeper_failed")
            self._report(EngineGone(self.name, (), f"its keeper failed: {error!r}", fatal=True))

    def _keep(self) -> None:
        """Have a process, again and again."""
        deaths = 0
        while not self._closing.is_set():
            self._useful = False
            end = self._lived()
            if self._closing.is_set():
                return
            unfinished, self._in_hand = tuple(self._in_hand), {}
            if self._useful:
                self._trouble.over()
            self._trouble.tell(
                end.event, end.why, trace=end.trace, fatal=end.fatal, records=len(unfinished)
            )
            self._report(EngineGone(self.name, unfinished, end.why, end.fatal))
            if end.fatal:
                return
            deaths = 0 if self._useful else deaths + 1
            if deaths:
                self._closing.wait(delay_s(deaths))

    def _lived(self) -> _End:
        """One process, until its end."""
        started = time.monotonic()
        try:
            life = Life(self._setup)
        except (OSError, EOFError) as error:
            # A module that it was to preload may be at fault: then the child will say so.
            preload(())
            return _End(f"the fork server is gone: {error!r}")
        except (RuntimeError, ValueError) as error:
            return _End(f"an engine process can't be started: {error}", fatal=True)
        with self._lock:
            self._life, self._why = life, ""
            if self._closing.is_set():
                life.kill()
        seen, said = False, None
        for kind, payload in life.frames():
            seen = True
            if kind == "results":
                self._results(payload)
            elif kind == "counted":
                count(*payload)
            elif kind == "ready":
                with self._lock:
                    self._ready = True
                self._trouble.over()
                self._report(EngineReady(self.name, time.monotonic() - started))
            elif kind == "failed":
                said = _End(*payload)._replace(event="load_failed")
        return self._ended(life, seen, said)

    def _results(self, payload: Any) -> None:
        results = results_of(payload)
        in_hand = self._in_hand
        for result in results:
            in_hand.pop(result[0], None)
        self._useful = True
        self._report(EngineResults(self.name, results))

    def _ended(self, life: Life, seen: bool, said: _End | None) -> _End:
        with self._lock:
            self._life, self._ready = None, False
            why = self._why
        code = life.end()
        if why:
            self._useful = True
            return _End(why)
        if said is None and not seen and code == 1:
            return _End(
                "An engine process can't be set up; its standard error says why. (Has the main "
                'module got its `if __name__ == "__main__":`?)',
                fatal=True,
            )
        return said or _End(described(code))
