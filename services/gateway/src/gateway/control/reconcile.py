"""The reconciler: finds what was missed, says it again, and tells.

Nothing here decides what an analysis came to or what an import's totals are: events are said
again, with their ids, to those who do. The only new ones are deadlines of stages that will not
answer. A run is bounded and may be interrupted or repeated at any point.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

import structlog

from darkroom_schemas.stages import STAGES
from gateway.catalog import reconcile
from gateway.catalog.outbox import Outbox
from gateway.catalog.reconcile import BEGINNING, Place, Waiting
from gateway.control import metrics, paths
from gateway.control.first_ends import KafkaEnds
from gateway.control.job_run import Job
from gateway.control.lag import Hop, KafkaOffsets, Look, settled
from gateway.control.paths import OUTBOX, Path
from gateway.control.repairing import Ends, Limits, Repairs, tell
from gateway.control.suspects import Finding, Suspects, What
from gateway.db import Conn
from gateway.settings import Settings
from streamkit import Busy, Codec

_log = structlog.get_logger("gateway.reconcile")

_LOOKS: Final = 30
"""That are kept: who is half an hour behind is found to have settled once it has caught up."""

_RECENT_S: Final = 3_600.0
"""Analyses that are looked at first after a start; all older ones follow slowly, again and again,
since other producers' may turn up at any age."""

_COMPLETED_DAYS: Final = 7
"""Completed imports whose totals are compared with their files; for longer than that the events
may be gone (topics keep 14 days)."""


_NAMED: Final = 20
"""Subjects of repairs that a line of the log names."""


class Looks(Protocol):
    """What looks at the broker (`lag.KafkaOffsets`)."""

    def look(self, hops: Collection[Hop], optional: Collection[str] = ()) -> Look:
        """See `KafkaOffsets.look`."""
        ...


class Context(Protocol):
    """The part of a job's context that is needed here."""

    def check(self) -> None:
        """Raises where the run shall end."""
        ...


def reconcile_job(settings: Settings, codec: Codec, outbox: Outbox) -> Job:
    """The job that runs the reconciler every minute. One that was missed is not made up for."""
    kafka, prefix = settings.kafka, settings.topic_prefix
    reconciler = Reconciler(
        outbox,
        KafkaOffsets(kafka, prefix=prefix, options=settings.kafka_options),
        KafkaEnds(kafka, codec.decode, prefix=prefix, options=settings.kafka_options),
        Limits(deadline_s=settings.analysis_deadline_s),
    )
    return Job("reconcile", "* * * * *", reconciler.run, catch_up=False)


class Reconciler:
    """What the job `reconcile` runs. Keeps what it saw from run to run: after a restart, and at a
    new leader, it takes two runs before anything is repaired. One run at a time."""

    def __init__(self, outbox: Outbox, looks: Looks, ends: Ends, limits: Limits) -> None:
        self._looks = looks
        self._limits = limits
        self._repairs = Repairs(outbox, ends, limits)
        self._suspects = Suspects()
        self._seen: deque[Look] = deque(maxlen=_LOOKS)
        self._last_look = 0
        self._waiting: set[str] = set()
        self._recent = reconcile.place_of(_RECENT_S)
        self._all = BEGINNING
        self._compared: set[str] = set()
        self._doubtful: set[str] = set()

    def run(self, conn: Conn, context: Context) -> Mapping[str, Any]:
        """Look once at everything; returns what was repaired, by what it was, and what waits.

        Raises psycopg.Error. Without a broker nothing is repaired: who is behind can't be told.
        """
        try:
            self._look(conn)
        except Busy as error:
            _log.warning("reconciler_waits", reason=str(error))
            return {"waits_for": "kafka"}
        context.check()
        findings = list(self._find(conn, context))
        self._suspects.found(findings, self._last_look + 1)
        missed = list(self._suspects.missed(self._last_look, self._settled()))
        repaired = self._repair(conn, missed, context)
        return {"waiting": len(findings), **{str(what): n for what, n in repaired.items()}}

    def _look(self, conn: Conn) -> None:
        """Look at the groups that the suspects' paths lead through, if there are suspects."""
        hops = self._suspects.hops()
        if not hops:
            return
        relayed = _relayed(conn)
        look = self._looks.look([hop for hop in hops if hop.group != OUTBOX], _OPTIONAL)
        written = _written(conn)
        self._seen.append(
            replace(
                look,
                committed={**look.committed, OUTBOX: {_OUTBOX_PLACE: relayed}},
                ends={**look.ends, _OUTBOX_PLACE: written},
            )
        )
        self._last_look += 1

    def _settled(self) -> Callable[[Path], int]:
        """Number of the newest look that is settled by a path."""
        looks, first = list(self._seen), self._last_look - len(self._seen) + 1
        known: dict[Path, int] = {}

        def number(path: Path) -> int:
            if path not in known:
                index = settled(looks, path)
                known[path] = 0 if index is None else first + index
            return known[path]

        return number

    def _find(self, conn: Conn, context: Context) -> Iterator[Finding]:
        self._look_through(conn)
        context.check()
        waiting = reconcile.standings(conn, self._waiting)
        self._waiting = {one.analysis_id for one in waiting}
        for one in waiting:
            yield from lacking(one, self._limits)
        ends = reconcile.open_ends(conn, self._limits.grace_s, self._limits.files)
        for end in ends:
            yield Finding("ends", end.batch_id, paths.END, str(end.index))
        context.check()
        for batch_id in reconcile.silent_batches(conn, self._limits.batches):
            yield Finding("totals", batch_id, paths.TOTALS)
        unequal = self._compare(conn, context) - {end.batch_id for end in ends}
        for batch_id in sorted(unequal):
            yield Finding("items", batch_id, paths.ITEMS)

    def _look_through(self, conn: Conn) -> None:
        """Look at a slice of the newest analyses, and at one of all."""
        if len(self._waiting) < self._limits.waiting:
            self._recent = self._slice(conn, self._recent) or self._recent
        if len(self._waiting) < self._limits.waiting:
            self._all = self._slice(conn, self._all) or BEGINNING

    def _slice(self, conn: Conn, after: Place) -> Place | None:
        limits = self._limits
        found, place = reconcile.waiting_among(conn, after, limits.grace_s, limits.slice)
        self._waiting.update(found)
        return place

    def _compare(self, conn: Conn, context: Context) -> set[str]:
        """Completed imports whose files have other ends than their totals say."""
        fresh = reconcile.completed_batches(
            conn, self._compared, _COMPLETED_DAYS, self._limits.batches
        )
        for batch_id in {*fresh, *self._doubtful}:
            context.check()
            self._compared.add(batch_id)
            if reconcile.totals_differ(conn, batch_id):
                self._doubtful.add(batch_id)
            else:
                self._doubtful.discard(batch_id)
        return set(self._doubtful)

    def _repair(
        self, conn: Conn, missed: Collection[Finding], context: Context
    ) -> Mapping[What, int]:
        by_what: dict[What, list[Finding]] = defaultdict(list)
        for finding in missed:
            by_what[finding.what].append(finding)
        done: dict[What, list[Finding]] = {}
        with conn.transaction():
            for what, findings in by_what.items():
                if said := self._repairs.say(conn, what, findings, self._suspects.tries):
                    done[what] = said
                context.check()
            repaired = {what: len(findings) for what, findings in done.items()}
            if repaired:
                tell(conn, repaired)
        for what, findings in done.items():
            metrics.RECONCILED.labels(what).inc(len(findings))
            subjects = sorted({finding.subject for finding in findings})
            _log.warning("reconciled", what=what, number=len(findings), subjects=subjects[:_NAMED])
            for finding in findings:
                self._suspects.repaired(finding, self._last_look + 1)
        return repaired


def lacking(one: Waiting, limits: Limits) -> Iterator[Finding]:
    """What an analysis waits for."""
    ended = one.parts | one.failed
    quiet_s = one.quiet_s if one.quiet_s is not None else 0.0
    if one.mended or ended >= set(STAGES):
        late = quiet_s > limits.grace_s
        yield Finding("outcomes", one.analysis_id, paths.OUTCOME, late=late)
    elif one.requested_s is None and not ended:
        late = one.submitted_s > limits.deadline_s
        yield Finding("submissions", one.analysis_id, paths.submission(one.lane), late=late)
    else:
        since = one.requested_s if one.requested_s is not None else quiet_s
        for stage in sorted(set(STAGES) - ended):
            path = paths.stage(stage, one.lane)
            late = since > limits.deadline_s
            yield Finding("deadlines", one.analysis_id, path, stage, late)


_OPTIONAL: Final = paths.optional_topics()
_OUTBOX_PLACE: Final = (OUTBOX, 0)
_NOTHING_WAITS: Final = 2**63


def _relayed(conn: Conn) -> int:
    """Below this id nothing waits in the outbox."""
    row = conn.execute("SELECT min(id) AS id FROM outbox").fetchone()
    return row["id"] if row and row["id"] is not None else _NOTHING_WAITS


def _written(conn: Conn) -> int:
    """The id behind the last that waits in the outbox."""
    row = conn.execute("SELECT coalesce(max(id) + 1, 0) AS id FROM outbox").fetchone()
    return int(row["id"]) if row else 0
