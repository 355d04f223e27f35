"""The control door's duties, a thread each."""

import contextvars
import threading
import time
from collections.abc import Sequence
from typing import Final

import structlog

from gateway.control.duty import Duty

_log = structlog.get_logger("gateway.control")

_DRAIN_S: Final = 8.0
"""How long duties may take to stop. A relay that waits for an absent broker takes longer and is
left: what it had not forgotten is published again after the next start."""


class Control:
    """Runs duties side by side until they shall stop or one of them breaks."""

    def __init__(self, duties: Sequence[Duty]) -> None:
        self._duties = duties
        self._broken: list[BaseException] = []

    def waiting_for(self) -> Sequence[str]:
        """What readiness lacks. A replica that stands by for the leader is ready."""
        return [f"the catalog for {duty.name}" for duty in self._duties if not duty.connected]

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; raises what broke a duty, after stopping the others."""
        threads = [
            threading.Thread(
                # The log's context (which service speaks) does not follow into threads by itself.
                target=contextvars.copy_context().run,
                args=(self._guarded, duty, stop),
                name=duty.name,
                daemon=True,
            )
            for duty in self._duties
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        until = time.monotonic() + _DRAIN_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                _log.warning("left_running", duty=thread.name)
        if self._broken:
            raise self._broken[0]

    def _guarded(self, duty: Duty, stop: threading.Event) -> None:
        try:
            duty.run(stop)
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            self._broken.append(error)
            stop.set()
