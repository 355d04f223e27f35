"""What the three parts of the benchmark found, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.runtime.fanout import Round
from bench.runtime.latency import Latency
from bench.runtime.single import Run
from bench.runtime.stats import median, spread


@dataclass(frozen=True, slots=True)
class Trial:
    """A setting that was tried once before the rounds, and what it gave."""

    about: str
    per_s: float


@dataclass(frozen=True, slots=True)
class SystemRounds:
    """All rounds of a system in its best setting."""

    about: str
    rounds: Sequence[Round]
    trials: Sequence[Trial] = ()

    @property
    def photos_per_s(self) -> float:
        """The median of the rounds."""
        return median([one.photos_per_s for one in self.rounds])

    @property
    def spread(self) -> float:
        """See stats.spread."""
        return spread([one.photos_per_s for one in self.rounds])


@dataclass(frozen=True, slots=True)
class WorkerRuns:
    """All rounds of a worker in its best setting."""

    about: str
    rounds: Sequence[Run]
    trials: Sequence[Trial] = ()

    @property
    def records_per_s(self) -> float:
        """The median of the rounds."""
        return median([one.records_per_s for one in self.rounds])

    @property
    def spread(self) -> float:
        """See stats.spread."""
        return spread([one.records_per_s for one in self.rounds])


@dataclass(frozen=True, slots=True)
class Found:
    """Everything; a part is empty where it was not asked for."""

    fanout: Mapping[str, SystemRounds] = field(default_factory=dict)
    stage: Mapping[str, WorkerRuns] = field(default_factory=dict)
    cpu_us_by_part: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[str, Latency] = field(default_factory=dict)
