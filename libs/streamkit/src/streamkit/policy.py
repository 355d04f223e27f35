"""What is decided about a worker beforehand: frozen numbers, no state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streamkit.retry import DEFAULT_TIERS

WEIGHTS: Final = {"high": 10.0, "batch": 5.0, "learning": 3.0, "default": 1.0}
"""Shares of engine time of lanes that have work, by name; any other lane weighs 1."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits and times of a worker; seconds unless the name says otherwise."""

    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    age_limit_s: float = 60.0
    """No lane waits longer than this while others run."""

    lane_records: int = 2000
    lane_bytes: int = 32 * 1024 * 1024
    """A lane fetches no more once so much of it waits."""

    window: int = 10_000
    """Offsets between the oldest record under way and the newest, in one partition."""

    chunk_ms: float = 10.0
    chunk_records: int = 256
    """What an engine is given at once: about so much work, at most so many records."""

    hard_deadline_s: float = 120.0
    """An engine process that works longer on one record is replaced."""

    load_deadline_s: float = 900.0
    """An engine process that loads for longer is replaced."""

    drain_s: float = 8.0
    """Work that is not over by then, after a stop or a rebalance, is left to the next worker."""

    records_per_process: int = 0
    engine_memory: int = 0
    """An engine process is replaced after so many records, or above so many bytes; 0: never."""

    retry_tiers: tuple[str, ...] = DEFAULT_TIERS
    """Waits between the attempts of a record that fails; after the last it is given up."""

    stage_rate: str = ""
    """Records a second, minute or hour that all workers of the stage begin together; "": any."""

    heartbeat_s: float = 5.0
    """How the worker stands is told so often."""

    publish_tries: int = 3
    publish_delay_s: float = 0.5
    """Sends of a record's events before the record itself is tried again, and the longest wait
    between them."""
