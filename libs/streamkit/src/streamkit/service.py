"""The frame of a service: logs, signals, health; a clean end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from streamkit import tracing
from streamkit.backoff import Stopped
from streamkit.health import Trouble, WaitingFor, health_server, no_trouble
from streamkit.logs import configure_logs, told
from streamkit.settings import ServiceSettings
from streamkit.watchdog import dump_on_signal

_log = structlog.get_logger("streamkit.service")


@contextmanager
def service_frame(
    service: str,
    settings: ServiceSettings,
    waiting_for: WaitingFor,
    trouble: Trouble = no_trouble,
) -> Iterator[threading.Event]:
    """Gives the event that SIGTERM and SIGINT set; serves health until the context ends.

    SIGUSR1 writes all stacks to standard error. Stopped is a clean end of what runs inside; any
    other exception is logged in one line and goes on.

    To be entered in the main thread (signals).
    """
    configure_logs(service, settings.log_level)
    tracing.configure(service, sample=settings.trace_sample)
    dump_on_signal()
    stop = threading.Event()

    def ask_to_stop(number: int, _frame: object) -> None:
        _log.info("stopping", signal=signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    with health_server(settings.health_host, settings.health_port, waiting_for, trouble):
        try:
            yield stop
        except Stopped:
            _log.info("stopped_while_waiting")
        except Exception as error:
            about = {"error": type(error).__name__, "reason": str(error)}
            _log.critical("failed", exc_info=error, **about)
            told(error)
            raise
    tracing.close()
    _log.info("stopped")


class Readiness:
    """What a service still waits for, while its parts come up one after another."""

    def __init__(self, *parts: str) -> None:
        self._lacking: WaitingFor = lambda: parts
        self._trouble: Trouble = no_trouble

    def follow(self, waiting_for: WaitingFor, trouble: Trouble = no_trouble) -> None:
        """From now on ask these."""
        self._lacking = waiting_for
        self._trouble = trouble

    def __call__(self) -> list[str]:
        """As health_server asks."""
        return list(self._lacking())

    def trouble(self) -> str:
        """As health_server asks."""
        return self._trouble()
