"""Celery and Dramatiq as systems under test, and the settings that are tried for each."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from bench.runtime.ground import Ground
from bench.runtime.programs import Program

_QUIET: Final = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")


@dataclass(frozen=True, slots=True)
class Celery:
    """One Celery worker with a pool of `workers` processes (prefork) or threads."""

    pool: str
    workers: int
    prefetch: int
    kind: str = "fanout"
    burn_ms: float = 0.0

    name: str = "celery"
    broker: str = "redis"

    @property
    def about(self) -> str:
        """The setting, for people."""
        unit = "processes" if self.pool == "prefork" else "threads"
        return f"{self.workers} {unit}, prefetch {self.prefetch}"

    @property
    def target(self) -> str:
        """See System."""
        return f"celery-{self.kind}"

    def programs(self) -> Sequence[Program]:
        """See System."""
        pool = ("-P", self.pool, "-c", str(self.workers))
        prefetch = ("--prefetch-multiplier", str(self.prefetch))
        command = ("-m", "celery", "-A", "bench.runtime.peers.celery_tasks", "worker")
        arguments = (*command, *pool, *prefetch, *_QUIET)
        env = {"BENCH_BURN_MS": str(self.burn_ms)}
        return [Program("celery", arguments, env, abrupt=self.burn_ms > 0)]

    def prepare(self, ground: Ground, _undo: ExitStack) -> dict[str, str]:
        """See System."""
        ground.empty_redis()
        return {}


@dataclass(frozen=True, slots=True)
class Dramatiq:
    """Dramatiq's worker: `processes`, each of `threads`. Its prefetch is twice the threads."""

    processes: int
    threads: int

    name: str = "dramatiq"
    broker: str = "redis"
    target: str = "dramatiq-fanout"

    @property
    def about(self) -> str:
        """The setting, for people."""
        return f"{self.processes} processes of {self.threads} threads"

    def programs(self) -> Sequence[Program]:
        """See System."""
        pool = ("--processes", str(self.processes), "--threads", str(self.threads))
        arguments = ("-m", "dramatiq", "bench.runtime.peers.dramatiq_actors", *pool)
        return [Program("dramatiq", arguments)]

    def prepare(self, ground: Ground, _undo: ExitStack) -> dict[str, str]:
        """See System."""
        ground.empty_redis()
        return {}


CELERY: Final = tuple(
    Celery(pool, workers, prefetch)
    for pool, workers in (("prefork", 2), ("threads", 8))
    for prefetch in (1, 4, 16)
)
DRAMATIQ: Final = tuple(Dramatiq(2, threads) for threads in (1, 4, 8, 16))
