"""A job, by hand and after a restore: says to brokers what they must know and know no more."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from gateway.catalog import outbox as waiting
from gateway.catalog import republishing
from gateway.catalog.outbox import Outbox
from gateway.catalog.republishing import FIRST, Page
from gateway.catalog.schedules import REPUBLISH
from gateway.control.job_run import Job, JobContext
from gateway.db import Conn

_AT_ONCE: Final = 500
_MOST_WAITING: Final = 2_000
"""Events in the outbox: fewer than have the doors refuse photos, which wait behind these."""

_POLL_S: Final = 0.1
_BEFORE_ALL: Final = -1


def republish_job(outbox: Outbox) -> Job:
    """After the loss of a broker, or a restore. Harmless where nothing was lost: all is known by
    its id; but photos whose analysis is not over are analysed again. It may be run again."""
    return Job(REPUBLISH, "", Republishing(outbox).run, catch_up=True, time_limit_s=6 * 3_600.0)


class Republishing:
    """What the job runs. Analyses and imports that begin meanwhile are said twice, no more."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def run(self, conn: Conn, context: JobContext) -> Mapping[str, Any]:
        """Say everything, first what holds; how much of each. Raises psycopg.Error."""
        with conn.transaction():
            republishing.forget_offsets(conn)
            holds = republishing.what_holds(conn)
            self._outbox.add(conn, holds)
        report = {"settings": len(holds), "imports": 0, "members": 0, "ends": 0}
        for batch_id in republishing.imports(conn):
            with conn.transaction():
                self._outbox.add(conn, republishing.scan_of(conn, batch_id))
            report["imports"] += 1
            for name, read in (("members", republishing.memberships), ("ends", republishing.ends)):
                report[name] += self._say(conn, context, partial(read, conn, batch_id), _BEFORE_ALL)
        report["photos"] = self._say(conn, context, partial(republishing.submissions, conn), FIRST)
        report["answers"] = self._say(conn, context, partial(republishing.answers, conn), FIRST)
        return report

    def _say(
        self, conn: Conn, context: JobContext, read: Callable[[Any, int], Page], after: Any
    ) -> int:
        said = 0
        while after is not None:
            self._wait(conn, context)
            with conn.transaction():
                events, after = read(after, _AT_ONCE)
                self._outbox.add(conn, events)
            said += len(events)
        return said

    def _wait(self, conn: Conn, context: JobContext) -> None:
        """Until the relay has published most of what was said. Raises JobStoppedError."""
        context.check()
        while waiting.backlog(conn).rows > _MOST_WAITING:
            context.stopping.wait(_POLL_S)
            context.check()
