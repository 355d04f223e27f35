"""The bare loop as a worker under test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.runtime import workload
from bench.runtime.programs import Program

from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED


@dataclass(frozen=True, slots=True)
class Bare:
    """The loop, committing as `way` says (see bare_loop)."""

    way: str

    name: str = "bare"
    source: str = PHOTO_ANALYSIS_REQUESTED["batch"]
    group: str = "bare"

    @property
    def about(self) -> str:
        """The setting, for people."""
        return f"1 process, {self.way} commits"

    def topics(self) -> Sequence[str]:
        """See Worker."""
        return (self.source, workload.PART_TOPICS["detector"])

    def programs(self) -> Sequence[Program]:
        """See Worker."""
        return [Program("bare", ("-m", "bench.runtime.peers.bare_loop", self.way))]


WAYS: Final = (Bare("flush"), Bare("pipelined"))
