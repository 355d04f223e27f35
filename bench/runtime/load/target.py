"""What a load needs of a system."""

import importlib
from collections.abc import Sequence
from typing import Final, Protocol, cast

from bench.runtime.workload import Event


class Target(Protocol):
    """A system that is sent requests and gives outcomes. `send` and `arrived` are called from two
    threads."""

    def send(self, request: Event) -> None:
        """Hand a request over, as the system's own users do; its lane says how urgent it is."""

    def flush(self) -> None:
        """Wait until all that was sent is with the broker."""

    def arrived(self, timeout_s: float) -> Sequence[str]:
        """Photo ids of the outcomes that came since, in order; waits up to so long for one."""


TARGETS: Final = {
    "darkroom-fanout": "bench.runtime.darkroom.target:fan_out",
    "darkroom-single": "bench.runtime.darkroom.target:single",
    "celery-fanout": "bench.runtime.peers.celery_target:fan_out",
    "celery-single": "bench.runtime.peers.celery_target:single",
    "dramatiq-fanout": "bench.runtime.peers.dramatiq_target:fan_out",
}
"""System and kind of work → what makes its Target; loaded only when it is asked for."""


def connect(name: str) -> Target:
    """The Target of that name, with addresses from the environment. Raises KeyError."""
    module, _, factory = TARGETS[name].partition(":")
    return cast(Target, getattr(importlib.import_module(module), factory)())
