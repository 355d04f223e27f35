"""(b) One stage's records/s against a bare loop's: how fast a backlog is worked off.

Nobody counts while it runs: each record that comes out bears the time at which the broker appended
it, and those times are read afterwards.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Protocol

from bench.runtime import workload
from bench.runtime.broker import BrokerView
from bench.runtime.cpu import CpuMeter, Used
from bench.runtime.ground import Ground, declared
from bench.runtime.programs import Program, ProgramError, Running, running
from bench.runtime.stats import steady

_TIMEOUT_S: Final = 180.0
_LOOK_S: Final = 0.2
_OUT: Final = workload.PART_TOPICS["detector"]


@dataclass(frozen=True, slots=True)
class Run:
    """`records_per_s` between 10 % and 90 % of the records that came out; in that time microseconds
    of CPU per record of the worker's own process, of its children and of the broker."""

    records_per_s: float
    repeats: int
    cpu_us: dict[str, float]
    cores: float


class Worker(Protocol):
    """What works off the lane `batch`: photo.analysis-requested in, the detector's parts out."""

    @property
    def name(self) -> str:
        """In results."""

    @property
    def about(self) -> str:
        """Its setting, for people."""

    @property
    def source(self) -> str:
        """The topic that it reads."""

    @property
    def group(self) -> str:
        """Its consumer group there."""

    def topics(self) -> Sequence[str]:
        """What it needs to exist."""

    def programs(self) -> Sequence[Program]:
        """What does the work."""


def measure(worker: Worker, ground: Ground, records: int, prefix: str) -> Run:
    """Fill the topic, start the worker, wait until all is worked off and committed."""
    env = {**ground.env, "DARKROOM_TOPIC_PREFIX": prefix}
    view = BrokerView(env, prefix)
    with ExitStack() as undo:
        undo.enter_context(ground.topics(declared(worker.topics()), prefix))
        view.fill(records, "batch")
        offset = time.time() - time.monotonic()
        with running(worker.programs(), env, ground.logs) as programs:
            roots = {one.program.name: one.process.pid for one in programs}
            with CpuMeter({**roots, "kafka": ground.stack.pid("kafka")}) as meter:
                _wait(view, programs, records)
        committed = view.committed(worker.group, worker.source)
        if committed != records:
            raise ProgramError(f"{worker.name} committed {committed} of {records} records")
        times, repeats = view.appended(_OUT, records)
    window = steady(times)
    began, ended = window.began - offset, window.ended - offset
    used = _by_process(meter.used(began, ended))
    return Run(
        records_per_s=window.rate,
        repeats=repeats,
        cpu_us={name: 1e6 * seconds / window.count for name, seconds in used.items()},
        cores=sum(used.values()) / (ended - began),
    )


def _by_process(trees: Mapping[str, Used]) -> dict[str, float]:
    """Seconds of each, the engines apart from their worker."""
    used: dict[str, float] = {}
    for name, one in trees.items():
        used[name] = one.own
        if one.children:
            used[f"{name}'s engines"] = one.children
    return used


def _wait(view: BrokerView, programs: Sequence[Running], records: int) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while (done := view.count(_OUT)) < records:
        for program in programs:
            program.check()
        if time.monotonic() > deadline:
            raise ProgramError(f"{done} of {records} records were done in {_TIMEOUT_S:.0f} s")
        time.sleep(_LOOK_S)
