"""What is done about things that were missed: their events are said again."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import uuid4

import structlog

from darkroom_schemas.stages import now
from gateway.catalog import notices, reconcile, repairs
from gateway.catalog.outbox import Outbox
from gateway.control.suspects import Finding, What
from gateway.db import Conn
from streamkit import Busy, Emit

_log = structlog.get_logger("gateway.reconcile")


class Ends(Protocol):
    """What reads the first ends of files (`first_ends.KafkaEnds`)."""

    def others(
        self, batch_id: str, since: datetime, known: Mapping[int, str]
    ) -> list[Mapping[str, Any]]:
        """See `KafkaEnds.others`."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """When something is late (seconds), and how much a run reads and says at most."""

    grace_s: float = 120.0
    deadline_s: float = 900.0
    slice: int = 10_000
    waiting: int = 50_000
    analyses: int = 500
    files: int = 20_000
    batches: int = 20


class Repairs:
    """Says events again, through the outbox. Each call is a part of the caller's transaction."""

    def __init__(self, outbox: Outbox, ends: Ends, limits: Limits) -> None:
        self._outbox = outbox
        self._ends = ends
        self._limits = limits
        self._said_up_to: dict[str, int] = {}

    def say(
        self,
        conn: Conn,
        what: What,
        findings: Sequence[Finding],
        tries: Callable[[Finding], int],
    ) -> list[Finding]:
        """Do what can be done about findings of one kind; gives those that this settles.

        `tries` says how often one was repaired before. Raises psycopg.Error.
        """
        match what:
            case "submissions":
                return self._ask_again(conn, findings)
            case "deadlines":
                return self._end_stages(conn, findings)
            case "outcomes":
                return self._join_again(conn, findings)
            case "ends":
                return self._end_again(conn, findings)
            case "totals":
                return list(self._count_again(conn, findings, tries))
            case "items":
                return self._follow(conn, findings)

    def _ask_again(self, conn: Conn, findings: Sequence[Finding]) -> list[Finding]:
        these = list(findings[: self._limits.analyses])
        self._outbox.add(conn, repairs.submission_events(conn, [one.subject for one in these]))
        return these

    def _join_again(self, conn: Conn, findings: Sequence[Finding]) -> list[Finding]:
        these = list(findings[: self._limits.analyses])
        self._outbox.add(conn, repairs.stage_events(conn, [one.subject for one in these]))
        return these

    def _end_stages(self, conn: Conn, findings: Sequence[Finding]) -> list[Finding]:
        these = findings[: self._limits.analyses]
        stages: dict[str, list[str]] = defaultdict(list)
        for finding in these:
            stages[finding.subject].append(finding.detail)
        events: list[Emit] = [
            repairs.deadline_event(about, stages[about["analysis_id"]], now())
            for about in repairs.identities(conn, stages)
        ]
        self._outbox.add(conn, events)
        return list(these)

    def _end_again(self, conn: Conn, findings: Sequence[Finding]) -> list[Finding]:
        these = list(findings[: self._limits.files])
        indices: dict[str, list[int]] = defaultdict(list)
        for finding in these:
            indices[finding.subject].append(int(finding.detail))
        for batch_id, some in indices.items():
            self._outbox.add(conn, repairs.end_events(conn, batch_id, some))
        return these

    def _count_again(
        self, conn: Conn, findings: Sequence[Finding], tries: Callable[[Finding], int]
    ) -> Iterator[Finding]:
        """First have every chunk say its counts; where that was not enough, say every end."""
        for finding in findings:
            batch_id = finding.subject
            self._outbox.add(conn, repairs.last_intake(conn, batch_id))
            if tries(finding) == 0:
                self._outbox.add(conn, repairs.one_end_a_chunk(conn, batch_id))
                yield finding
                continue
            after = self._said_up_to.pop(batch_id, -1)
            events, last = repairs.ended_after(conn, batch_id, after, self._limits.files)
            self._outbox.add(conn, events)
            if last is None:
                yield finding
            else:
                self._said_up_to[batch_id] = last

    def _follow(self, conn: Conn, findings: Sequence[Finding]) -> list[Finding]:
        """The topic is right: what stands in it first is what the totals count. One import a run:
        it reads the topic."""
        finding = findings[0]
        since = reconcile.started_at(conn, finding.subject)
        known = reconcile.ends_of(conn, finding.subject)
        try:
            others = self._ends.others(finding.subject, since, known)
        except Busy as error:
            _log.warning("reconciler_waits", reason=str(error))
            return []
        reconcile.follow_ends(conn, others)
        return [finding]


_SENTENCES: Final[Mapping[What, str]] = {
    "submissions": "{} without an answer of intake {} handed in again",
    "deadlines": "{} of stages that did not answer {} given up",
    "outcomes": "{} without an outcome {} joined again",
    "ends": "{} of imports without an end {} told again",
    "totals": "{} that did not complete {} counted again",
    "items": "{} whose files had other ends than its totals {} put right",
}
_NOUNS: Final[Mapping[What, str]] = {
    "submissions": "photo",
    "deadlines": "part",
    "outcomes": "photo",
    "ends": "file",
    "totals": "import",
    "items": "import",
}


def tell(conn: Conn, repaired: Mapping[What, int]) -> None:
    """Add a notice of what was repaired, and how often."""
    told = [
        _SENTENCES[what].format(
            f"{number} {_NOUNS[what]}{'' if number == 1 else 's'}", "was" if number == 1 else "were"
        )
        for what, number in repaired.items()
    ]
    notices.add_notice(
        conn,
        kind="reconciler_repairs",
        service="gateway",
        subject="reconciler",
        severity="warning",
        title=f"Repaired: {_things(sum(repaired.values()))}",
        detail=f"{'; '.join(told)}. The log of the control door names them. This follows a crash"
        " or a defect; if it goes on, look into the dead letters and the log of the aggregator.",
        notice_id=str(uuid4()),
    )


def _things(count: int) -> str:
    return "1 thing that was missed" if count == 1 else f"{count} things that were missed"
