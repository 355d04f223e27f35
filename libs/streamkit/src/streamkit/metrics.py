"""The metrics of a worker, with their meaning; names leave the process and are final.

The page of all metrics of Darkroom is generated from here and from the services' own.
"""

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from prometheus_client import Counter, Gauge

from streamkit.histogram import Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

# -- records ------------------------------------------------------------------------------------

PROCESSED: Final = Counter(
    "darkroom_messages_processed_total",
    "Records whose work is over, by outcome: done, retry (now in a retry topic), dead_letter.",
    ["stage", "lane", "outcome"],
)
DURATION: Final = Histogram(
    "darkroom_processing_duration_seconds",
    "What handling a record took; in a micro-batch, its share.",
    ["stage", "lane"],
    buckets=_SECONDS,
)
END_TO_END: Final = Histogram(
    "darkroom_end_to_end_duration_seconds",
    "From the record's own time stamp (of its first coming) to its acknowledgement.",
    ["stage", "lane"],
    buckets=(*_SECONDS, 300, 900, 3600),
)
IN_FLIGHT: Final = Gauge(
    "darkroom_in_flight", "Records that engines have in hand.", ["stage", "lane"]
)
OLDEST: Final = Gauge(
    "darkroom_oldest_record_age_seconds",
    "Age of the oldest record that was taken and is not acknowledged, by its own time stamp; 0"
    " without one.",
    ["stage", "lane"],
)
RETRIES: Final = Counter(
    "darkroom_retries_total",
    "Attempts that are repeated: by which retry tier (5s, …; `lane` where the record waits in its"
    " lane for a dependency), and why (a code, or the dependency).",
    ["stage", "lane", "tier", "error"],
)
DEAD_LETTERS: Final = Counter(
    "darkroom_dead_letters_total",
    "Records given up, by the failure's code.",
    ["stage", "lane", "code"],
)
PUBLISH_RETRIES: Final = Counter(
    "darkroom_publish_retries_total",
    "Publications that the broker did not take at first.",
    ["stage"],
)

# -- topics -------------------------------------------------------------------------------------

CONSUMED: Final = Counter(
    "darkroom_records_consumed_total",
    "Records that this process has read of a topic, as a member of a group or following it.",
    ["topic"],
)
PUBLISHED: Final = Counter(
    "darkroom_records_published_total",
    "Records of this process that the broker has acknowledged, by topic.",
    ["topic"],
)

# -- engines ------------------------------------------------------------------------------------

BATCH_SIZE: Final = Histogram(
    "darkroom_batch_size",
    "Records that an engine was given at once.",
    ["stage", "engine"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
BATCH_FILL: Final = Histogram(
    "darkroom_batch_fill",
    "That number as a fraction of what the engine would have taken.",
    ["stage", "engine"],
    buckets=(0.1, 0.25, 0.5, 0.75, 0.9, 1),
)
ENGINE_SECONDS: Final = Counter(
    "darkroom_engine_seconds_total",
    "Time that engines spent in handlers: what the lanes' weights divide.",
    ["stage", "engine", "lane"],
)
ENGINE_RESTARTS: Final = Counter(
    "darkroom_engine_restarts_total",
    "Engine processes that were replaced, and why: died, load_failed (it ended before it was"
    " ready), loading (not ready in time), deadline, memory, recycled.",
    ["stage", "engine", "why"],
)
ENGINE_READY: Final = Gauge(
    "darkroom_engine_ready", "1 while an engine takes work, else 0.", ["stage", "engine"]
)
ENGINE_MEMORY: Final = Gauge(
    "darkroom_engine_memory_bytes", "Resident memory of an engine process.", ["stage", "engine"]
)

# -- what holds work up -------------------------------------------------------------------------

REBALANCES: Final = Counter(
    "darkroom_rebalances_total",
    "Changes of a lane's partitions: assigned, revoked, lost.",
    ["stage", "lane", "kind"],
)
DRAIN_OVERRUNS: Final = Counter(
    "darkroom_drain_overruns_total",
    "Partitions that went with work unfinished after the drain's deadline.",
    ["stage", "lane"],
)
BREAKER_OPEN: Final = Gauge(
    "darkroom_breaker_open",
    "1 while lanes wait for this dependency, else 0.",
    ["stage", "dependency"],
)
PAUSED: Final = Gauge(
    "darkroom_paused", "1 while somebody has paused the lane, else 0.", ["stage", "lane"]
)
RATE: Final = Gauge(
    "darkroom_rate_limit",
    "Records a second that somebody allows this lane over all workers; 0: no limit.",
    ["stage", "lane"],
)
RATE_LOCAL: Final = Gauge(
    "darkroom_rate_local",
    "1 while Redis is away and the worker keeps to its share of the rate by itself, else 0.",
    ["stage"],
)
CONCURRENCY: Final = Gauge(
    "darkroom_concurrency_limit",
    "Records of this lane that engines may hold at a time; 0: no limit of its own.",
    ["stage", "lane"],
)
STALLS: Final = Counter(
    "darkroom_stalls_total", "Times that the worker's loop stood still for too long.", ["stage"]
)
NOTICES: Final = Counter(
    "darkroom_notices_total", "Notices published on ops.notified.v1.", ["stage", "kind"]
)

Metric = Counter | Gauge | Histogram

CATALOGUE: Final[tuple[Metric, ...]] = (
    PROCESSED,
    DURATION,
    END_TO_END,
    IN_FLIGHT,
    OLDEST,
    RETRIES,
    DEAD_LETTERS,
    PUBLISH_RETRIES,
    CONSUMED,
    PUBLISHED,
    BATCH_SIZE,
    BATCH_FILL,
    ENGINE_SECONDS,
    ENGINE_RESTARTS,
    ENGINE_READY,
    ENGINE_MEMORY,
    REBALANCES,
    DRAIN_OVERRUNS,
    BREAKER_OPEN,
    PAUSED,
    RATE,
    RATE_LOCAL,
    CONCURRENCY,
    STALLS,
    NOTICES,
)

OTHER: Final = "other"
"""The label value for all that came after a label had its fill of values."""

_WHYS: Final = ("died", "load_failed", "loading", "deadline", "memory", "recycled")
"""Why engines are replaced."""

_MOST_VALUES: Final = 50
"""Of a label whose values are not ours to choose (codes, errors, dependencies)."""

_Child = TypeVar("_Child")


class _Children(dict[tuple[str, ...], _Child], Generic[_Child]):
    """Makes and remembers what a metric's labels give; 0.06 µs where `labels` takes 1.1 µs."""

    def __init__(self, labels: Callable[..., _Child], *fixed: str) -> None:
        super().__init__()
        self._labels = labels
        self._fixed = fixed

    def __missing__(self, key: tuple[str, ...]) -> _Child:
        child = self[key] = self._labels(*self._fixed, *key)
        return child


class Bounded:
    """Keeps a label's values few: those seen first, then OTHER; cut to 100 characters."""

    def __init__(self, most: int = _MOST_VALUES) -> None:
        self._most = most
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """The value to use as label."""
        # What can't be written would make the whole page unreadable.
        value = value[:100].encode("utf-8", "replace").decode()
        if value in self._seen:
            return value
        if len(self._seen) >= self._most:
            return OTHER
        self._seen.add(value)
        return value


class Meter:
    """Counts what one worker does. Methods are cheap and may be called from any thread.

    The series of `lanes` are there from the start, at 0, so that the first failure is a rise and
    not a new series.
    """

    def __init__(self, stage: str, lanes: Sequence[str] = ()) -> None:
        self._processed = _Children(PROCESSED.labels, stage)
        self._duration = _Children(DURATION.labels, stage)
        self._end_to_end = _Children(END_TO_END.labels, stage)
        self._in_flight = _Children(IN_FLIGHT.labels, stage)
        self._oldest = _Children(OLDEST.labels, stage)
        self._retries = _Children(RETRIES.labels, stage)
        self._dead_letters = _Children(DEAD_LETTERS.labels, stage)
        self._batch_size = _Children(BATCH_SIZE.labels, stage)
        self._batch_fill = _Children(BATCH_FILL.labels, stage)
        self._engine_seconds = _Children(ENGINE_SECONDS.labels, stage)
        self._restarts = _Children(ENGINE_RESTARTS.labels, stage)
        self._engine_ready = _Children(ENGINE_READY.labels, stage)
        self._memory = _Children(ENGINE_MEMORY.labels, stage)
        self._rebalances = _Children(REBALANCES.labels, stage)
        self._overruns = _Children(DRAIN_OVERRUNS.labels, stage)
        self._breakers = _Children(BREAKER_OPEN.labels, stage)
        self._paused = _Children(PAUSED.labels, stage)
        self._rate = _Children(RATE.labels, stage)
        self._concurrency = _Children(CONCURRENCY.labels, stage)
        self._notices = _Children(NOTICES.labels, stage)
        self._publish_retries = PUBLISH_RETRIES.labels(stage)
        self._rate_local = RATE_LOCAL.labels(stage)
        self._stalls = STALLS.labels(stage)
        self._errors, self._codes = Bounded(), Bounded()
        self._dependencies, self._reasons = Bounded(), Bounded()
        for lane in lanes:
            self._begin(lane)

    def _begin(self, lane: str) -> None:
        for outcome in ("done", "retry", "dead_letter"):
            self._processed[lane, outcome].inc(0)
        self.finished(lane, "done", (), ())
        self.in_flight(lane, 0)
        self.oldest(lane, 0)
        self.paused(lane, False)
        self.rate(lane, 0)
        self.concurrency(lane, 0)
        self._overruns[lane,].inc(0)

    def finished(
        self, lane: str, outcome: str, durations_s: Sequence[float], ages_s: Sequence[float]
    ) -> None:
        """As many records as there are durations are over: how long the handling of each took,
        and how old it is. Ages below 0 (clocks differ) count as 0.

        Costs 0.3 µs a record in calls for a hundred, 2 µs in calls for one.
        """
        self._processed[lane, outcome].inc(len(durations_s))
        self._duration[lane,].observe_all(durations_s)
        if ages_s and min(ages_s) < 0:
            ages_s = [max(0.0, age) for age in ages_s]
        self._end_to_end[lane,].observe_all(ages_s)

    def in_flight(self, lane: str, records: int) -> None:
        """Engines have so many of the lane's records in hand now."""
        self._in_flight[lane,].set(records)

    def oldest(self, lane: str, age_s: float) -> None:
        """The lane's oldest record under way is that old; 0 if there is none."""
        self._oldest[lane,].set(age_s)

    def retried(self, lane: str, tier: str, error: str, records: int = 1) -> None:
        """So many records are to be tried again, by way of `tier`."""
        self._retries[lane, tier, self._errors(error)].inc(records)

    def dead_letter(self, lane: str, code: str) -> None:
        """A record was given up."""
        self._dead_letters[lane, self._codes(code)].inc()

    def publish_retried(self, times: int = 1) -> None:
        """A publication is tried again."""
        self._publish_retries.inc(times)

    def batch(self, engine: str, size: int, largest: int) -> None:
        """An engine was given `size` records, where it would have taken `largest`."""
        self._batch_size[engine,].observe(size)
        self._batch_fill[engine,].observe(size / largest)

    def worked(self, engine: str, lane: str, seconds: float) -> None:
        """Handlers took so long for records of this lane."""
        self._engine_seconds[engine, lane].inc(seconds)

    def engine_ready(self, engine: str, is_ready: bool) -> None:
        """An engine takes work, or does not; its series begin with this."""
        for why in _WHYS:
            self._restarts[engine, why].inc(0)
        self._engine_ready[engine,].set(is_ready)

    def engine_restarted(self, engine: str, why: str) -> None:
        """An engine's process was replaced."""
        self._restarts[engine, self._reasons(why)].inc()

    def engine_memory(self, engine: str, size: int) -> None:
        """Bytes that an engine holds."""
        self._memory[engine,].set(size)

    def rebalance(self, lane: str, kind: str) -> None:
        """A lane was told of partitions: assigned, revoked, lost."""
        self._rebalances[lane, kind].inc()

    def drain_overrun(self, lane: str) -> None:
        """Work was unfinished when its drain had to end."""
        self._overruns[lane,].inc()

    def breaker(self, dependency: str, is_open: bool) -> None:
        """A breaker has opened or closed."""
        self._breakers[self._dependencies(dependency),].set(is_open)

    def paused(self, lane: str, is_paused: bool) -> None:
        """Somebody has paused the lane, or its pause is over."""
        self._paused[lane,].set(is_paused)

    def rate(self, lane: str, per_s: float) -> None:
        """The lane's rate was set; 0: none."""
        self._rate[lane,].set(per_s)

    def rate_local(self, is_local: bool) -> None:
        """Whether rates are kept without Redis."""
        self._rate_local.set(is_local)

    def concurrency(self, lane: str, records: int) -> None:
        """The lane's concurrency was set; 0: none."""
        self._concurrency[lane,].set(records)

    def stalled(self) -> None:
        """The loop stands still."""
        self._stalls.inc()

    def noticed(self, kind: str) -> None:
        """A notice was published."""
        self._notices[kind,].inc()
