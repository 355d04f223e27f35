"""(a) The whole fan-out: producer → three stages → join → outcome, on three systems."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from bench.runtime.cpu import CpuMeter
from bench.runtime.ground import Ground
from bench.runtime.programs import Program, running, start
from bench.runtime.stats import steady

_START_S: Final = 120.0
_SLOWEST: Final = 20.0
"""Photos a second below which a system is not waited for."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: see load.closed.Closed."""

    photos: int
    window: int
    warm_up: int


@dataclass(frozen=True, slots=True)
class Round:
    """One measured run of one system, of so many `photos`.

    `photos_per_s` between 10 % and 90 % of the outcomes, `overall_per_s` from the first photo sent
    to the last outcome. `cpu_ms` of each process tree per photo, and `cores` that all of them used,
    in the steady part.
    """

    photos: int
    photos_per_s: float
    overall_per_s: float
    repeats: int
    cpu_ms: dict[str, float]
    cores: float


class System(Protocol):
    """A system under test."""

    @property
    def name(self) -> str:
        """In results."""

    @property
    def about(self) -> str:
        """Its setting, for people."""

    @property
    def target(self) -> str:
        """See load.target.TARGETS."""

    @property
    def broker(self) -> str:
        """The program of the stack that carries its messages."""

    def programs(self) -> Sequence[Program]:
        """What does the work."""

    def prepare(self, ground: Ground, undo: ExitStack, /) -> dict[str, str]:
        """Make what the programs need; the settings that tell them. `undo` unmakes it."""


def measure(system: System, ground: Ground, load: Load) -> Round:
    """Start the system, warm it up, measure, end it."""
    out = ground.folder / "load.json"
    out.unlink(missing_ok=True)
    with ExitStack() as undo:
        env = {**ground.env, **system.prepare(ground, undo)}
        workers = undo.enter_context(running(system.programs(), env, ground.logs))
        loader = start(_load_program(system, load, out), env, ground.logs)
        undo.callback(loader.stop)
        roots = {one.program.name: one.process.pid for one in (*workers, loader)}
        roots[system.broker] = ground.stack.pid(system.broker)
        with CpuMeter(roots) as meter:
            loader.wait(_START_S + load.photos / _SLOWEST)
        for worker in workers:
            worker.check()
        return _round(json.loads(out.read_text(encoding="utf-8")), meter, load)


def _load_program(system: System, load: Load, out: Path) -> Program:
    sizes = (f"--photos={load.photos}", f"--window={load.window}", f"--warm-up={load.warm_up}")
    timeout = f"--timeout={_START_S + load.photos / _SLOWEST}"
    options = (system.target, f"--out={out}", timeout, "closed", *sizes)
    return Program("load", ("-m", "bench.runtime.load", *options), abrupt=True)


def _round(seen: dict[str, Any], meter: CpuMeter, load: Load) -> Round:
    window = steady(seen["came"])
    used = {name: one.total for name, one in meter.used(window.began, window.ended).items()}
    return Round(
        photos=load.photos,
        photos_per_s=window.rate,
        overall_per_s=load.photos / (seen["came"][-1] - seen["began"]),
        repeats=seen["repeats"],
        cpu_ms={name: 1000 * seconds / window.count for name, seconds in used.items()},
        cores=sum(used.values()) / (window.ended - window.began),
    )
