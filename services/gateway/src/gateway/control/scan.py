"""One import's way through its files: a few a step, never too many photos under way."""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from gateway.catalog import imports, items
from gateway.catalog.imports import Import, NotScanningError
from gateway.catalog.items import Item, ItemState
from gateway.control import metrics
from gateway.control.ahead import Ahead, Counting
from gateway.control.work import Means, Step
from gateway.db import Conn
from gateway.origins import Origin, Problem, Seen
from streamkit import Busy, Retry, delay_s

_log = structlog.get_logger("gateway.imports")

_LOOK_S: Final = 0.5
"""How often ends are looked for while more photos may be taken."""


_SHRINKING: Final = ("folder", "store")
"""Kinds of imports whose files may go while they are not looked at."""

_GONE: Final = "(gone)"
"""Stands in a report for files that were counted and had gone before they were looked at."""


class Scan:
    """Walks an import's files and records each once, from wherever it stood.

    `record` makes items of the first of some files, at least of one, whose indices are that given
    and those behind it (`Recording.record`).
    """

    def __init__(
        self,
        conn: Conn,
        batch: Import,
        means: Means,
        origin: Origin,
        record: Callable[[int, Sequence[Seen]], Sequence[Item]],
    ) -> None:
        self.batch = batch
        self._conn, self._outbox = conn, means.outbox
        self._pace, self._clock = means.pace, means.clock
        self._origin, self._record = origin, record
        self._next_index = items.next_index(conn, batch.batch_id)
        begun = self._next_index > 0 or batch.expected is not None
        roots = batch.roots if begun and batch.kind == "folder" else ()
        self._ahead = Ahead(conn, batch.batch_id, origin, means.clock, roots)
        self._counting = None if batch.expected is not None else Counting(origin, means.clock)
        self._open = items.open_indices(conn, batch.batch_id)
        now = means.clock()
        self._pacer = means.pace.pacer(now, len(self._open))
        self._looked_at = now
        self._unannounced = self._next_index - batch.found
        self._announced_at = now
        self._failures = 0
        self._not_before = 0.0
        self._waited = True  # perhaps: the process before this one may have said so

    @property
    def under_way(self) -> int:
        """Photos that, as far as is known, wait for their end."""
        return len(self._open)

    @property
    def next_end_s(self) -> float:
        """As its photos have ended lately."""
        return self._pacer.next_end_s

    def step(self, most: int) -> Step:
        """Record a few files, if that is allowed now. Blocks while they are read and stored.

        Something that is away (object store, registry, network folder) is waited for; raises
        psycopg.Error.
        """
        if self._clock() < self._not_before:
            return Step.WAITING
        try:
            step = self._advance(most)
        except (Busy, Retry) as error:
            self._failures += 1
            self._not_before = self._clock() + delay_s(self._failures)
            _log.warning("import_waits", batch_id=self.batch.batch_id, reason=str(error))
            imports.wait_for(self._conn, self.batch.batch_id, str(error))
            self._waited = True
            return Step.WAITING
        except NotScanningError:
            return Step.STOPPED
        self._failures = 0
        if self._waited:
            imports.wait_for(self._conn, self.batch.batch_id, None)
            self._waited = False
        return step

    def close(self) -> None:
        """Let go of the origin."""
        self._origin.close()

    def _advance(self, most: int) -> Step:
        if self._announcement_is_due():
            self._announce()
        self._count_on()
        some = self._ahead.look(self._pace.at_once)
        if self._ahead.over and self._some_are_gone():
            return Step.WORKED
        if self._ahead.over:
            imports.seal(self._conn, self._outbox, self.batch)
            return Step.SEALED
        if not some:
            return Step.WORKED
        room = self._room(most)
        if room <= 0:
            return Step.WAITING
        for item in self._record(self._next_index, some[:room]):
            self._took(item)
        return Step.WORKED

    def _some_are_gone(self) -> bool:
        """Whether files were counted before that this walk did not meet; it is recorded once.

        The names of what had not been recorded are not known when an import is taken up again.
        """
        expected = self.batch.expected if self.batch.kind in _SHRINKING else None
        gone = (expected or 0) - self._next_index
        if gone <= 0 or items.recorded(self._conn, self.batch.batch_id, [_GONE]):
            return False
        words = "1 file" if gone == 1 else f"{gone} files"
        message = f"{words} had gone before this import, which was interrupted, came to them."
        for item in self._record(self._next_index, [Seen(_GONE, Problem("files_gone", message))]):
            self._next_index += 1
            self._unannounced += 1
            metrics.IMPORT_FILES.labels(item.state.value).inc()
        return True

    def _count_on(self) -> None:
        """Count a slice of the files ahead of the work, so that people see a total and an ETA."""
        files = self._counting.go_on() if self._counting else None
        if files is not None:
            imports.expect(self._conn, self.batch.batch_id, files)
            self._counting = None

    def _room(self, most: int) -> int:
        """How many photos more may be under way."""
        window = min(most, self._pacer.window)
        if len(self._open) >= window or self._clock() - self._looked_at >= _LOOK_S:
            self._look()
        return min(most, self._pacer.window) - len(self._open)

    def _look(self) -> None:
        """See which photos have their end."""
        left = items.still_open(self._conn, self.batch.batch_id, self._open)
        self._looked_at = self._clock()
        self._pacer.saw(self._looked_at, len(self._open) - len(left), len(left))
        self._open = left

    def _took(self, item: Item) -> None:
        self._ahead.taken()
        if item.state is ItemState.SUBMITTED:
            self._open.add(self._next_index)
        self._next_index += 1
        self._unannounced += 1
        metrics.IMPORT_FILES.labels(item.state.value).inc()

    def _announcement_is_due(self) -> bool:
        if self._unannounced == 0:
            return False
        late = self._clock() - self._announced_at >= self._pace.announce_s
        return late or self._unannounced >= self._pace.announce_files

    def _announce(self) -> None:
        imports.announce(self._conn, self._outbox, self.batch)
        self._unannounced = 0
        self._announced_at = self._clock()
