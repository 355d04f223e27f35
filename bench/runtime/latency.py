"""(c) How long an urgent record takes, idle and beside a backlog, with an engine that uses CPU."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.runtime.fanout import System
from bench.runtime.ground import Ground
from bench.runtime.programs import Program, running, start
from bench.runtime.stats import percentile

_TIMEOUT_S: Final = 240.0


class BacklogGoneError(RuntimeError):
    """The backlog was worked off before the urgent records beside it were through."""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of urgent records; how late the latest of them was sent."""

    records: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    latest_send_ms: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Idle, and beside a backlog, of which so many records were left at the end."""

    idle: Times
    loaded: Times
    backlog_left: int

    @property
    def p95_ratio(self) -> float:
        """Loaded over idle."""
        return self.loaded.p95_ms / self.idle.p95_ms


def measure(system: System, ground: Ground, records: int, backlog: int) -> Latency:
    """Start the system, send urgent records, a backlog, urgent records again; end it.

    Raises BacklogGoneError.
    """
    out = ground.folder / "load.json"
    out.unlink(missing_ok=True)
    with ExitStack() as undo:
        env = {**ground.env, **system.prepare(ground, undo)}
        workers = undo.enter_context(running(system.programs(), env, ground.logs))
        loader = start(_load_program(system, records, backlog, out), env, ground.logs)
        undo.callback(loader.stop)
        loader.wait(_TIMEOUT_S)
        for worker in workers:
            worker.check()
    seen = json.loads(out.read_text(encoding="utf-8"))
    if seen["backlog_left"] <= 0:
        raise BacklogGoneError(f"{system.name} had no backlog left at the end")
    return Latency(_times(seen["idle"]), _times(seen["loaded"]), seen["backlog_left"])


def _load_program(system: System, records: int, backlog: int, out: Path) -> Program:
    sizes = (f"--records={records}", f"--backlog={backlog}")
    options = (system.target, f"--out={out}", "paced", *sizes)
    return Program("load", ("-m", "bench.runtime.load", *options), abrupt=True)


def _times(seen: dict[str, Any]) -> Times:
    took = seen["ms"]
    return Times(
        records=len(took),
        p50_ms=percentile(took, 50),
        p95_ms=percentile(took, 95),
        p99_ms=percentile(took, 99),
        latest_send_ms=seen["latest_send_ms"],
    )
