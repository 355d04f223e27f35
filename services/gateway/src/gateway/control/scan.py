"""One import's way through its folders: a file a step, never too many photos under way."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from typing import Final

import psycopg
import structlog
from psycopg.errors import ProgramLimitExceeded

from gateway import metrics
from gateway.catalog import imports
from gateway.catalog.imports import Import, Item, ItemState, Place
from gateway.catalog.outbox import Outbox
from gateway.control.files import (
    Seen,
    UnreadableError,
    outermost,
    read_file,
    shortened,
    shown,
    walk,
)
from gateway.db import Conn
from gateway.originals import Stores, store_original
from streamkit import Busy, Retry, delay_s

_log = structlog.get_logger("gateway.imports")

_COUNT_AT_ONCE: Final = 2_000
"""Files that are counted between two that are recorded; some milliseconds."""

_LOOK_AHEAD: Final = 100
"""Paths that are compared with the catalog at once when an import goes on."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How an import behaves: photos that may wait for their outcome at once, bytes of the largest
    file, and when its totals are announced (files or seconds since the last time)."""

    in_flight: int
    limit: int
    announce_files: int = 100
    announce_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Means:
    """What all scans of a process share."""

    outbox: Outbox
    store: Stores
    pace: Pace
    clock: Callable[[], float] = time.monotonic


class Step(Enum):
    """What a step came to."""

    WORKED = auto()
    """A file was recorded; there may be more."""
    WAITING = auto()
    """Nothing can be done now: too many photos under way, or something is away."""
    SEALED = auto()
    """The last file is recorded; this scan is over."""


class Scan:
    """Walks an import's folders and records each file once, from wherever it stood.

    All state that matters is in the catalog: what is here can be made again by a new Scan.
    """

    def __init__(self, conn: Conn, batch: Import, means: Means) -> None:
        self._conn, self._batch = conn, batch
        self._outbox, self._store = means.outbox, means.store
        self._pace, self._clock = means.pace, means.clock
        self._walk: Iterator[Seen] = walk(batch.roots)
        self._ahead: deque[Seen] = deque()
        self._count: Iterator[Seen] | None = (
            None if batch.expected is not None else walk(outermost(batch.roots))
        )
        self._counted = 0
        self._next_index = imports.next_index(conn, batch.batch_id)
        self._under_way = imports.in_flight(conn, batch.batch_id)
        self._unannounced = self._next_index - batch.found
        self._announced_at = means.clock()
        self._failures = 0
        self._not_before = 0.0

    @property
    def under_way(self) -> int:
        """Photos that, as far as is known, wait for their outcome."""
        return len(self._under_way)

    def step(self) -> Step:
        """Record one file, if that is allowed now. Blocks while it is read and stored.

        Something that is away (object store, registry, network folder) is waited for; raises
        psycopg.Error.
        """
        if self._clock() < self._not_before:
            return Step.WAITING
        try:
            step = self._advance()
        except (Busy, Retry) as error:
            self._failures += 1
            self._not_before = self._clock() + delay_s(self._failures)
            _log.warning("import_waits", batch=self._batch.batch_id, reason=str(error))
            return Step.WAITING
        self._failures = 0
        return step

    def _advance(self) -> Step:
        if self._announcement_is_due():
            self._announce()
        self._count_on()
        seen = self._peek()
        if seen is None:
            imports.seal(self._conn, self._outbox, self._batch)
            return Step.SEALED
        if self._is_full():
            return Step.WAITING
        item = self._record(seen)
        self._ahead.popleft()
        self._took(item)
        return Step.WORKED

    def _count_on(self) -> None:
        """Count a slice of the files ahead of the work, so that people see a total and an ETA."""
        if self._count is None:
            return
        try:
            slice_ = sum(1 for _ in islice(self._count, _COUNT_AT_ONCE))
        except Busy:
            self._count, self._counted = walk(outermost(self._batch.roots)), 0
            raise
        self._counted += slice_
        if slice_ < _COUNT_AT_ONCE:
            imports.expect(self._conn, self._batch, self._counted)
            self._count = None

    def _is_full(self) -> bool:
        if len(self._under_way) >= self._pace.in_flight:
            self._under_way -= imports.ended(self._conn, self._under_way)
        return len(self._under_way) >= self._pace.in_flight

    def _peek(self) -> Seen | None:
        """The next file that is not recorded; None at the end."""
        while not self._ahead:
            try:
                fresh = {shown(seen.path): seen for seen in islice(self._walk, _LOOK_AHEAD)}
            except Busy:
                self._walk = walk(self._batch.roots)
                raise
            if not fresh:
                return None
            known = self._known(fresh)
            self._ahead.extend(seen for path, seen in fresh.items() if path not in known)
        return self._ahead[0]

    def _known(self, paths: Iterable[str]) -> set[str]:
        """Those of `paths` that are recorded, be it by their stand-in."""
        names = {name: path for path in paths for name in (path, shortened(path))}
        recorded = imports.recorded(self._conn, self._batch.batch_id, list(names))
        return {names[name] for name in recorded}

    def _record(self, seen: Seen) -> Item:
        place = Place(self._next_index, shown(seen.path))
        try:
            return self._record_at(place, seen)
        except (psycopg.DataError, psycopg.IntegrityError, ProgramLimitExceeded) as error:
            # The database is there and refuses this one row: no reason to stop the others.
            _log.warning("path_unstorable", batch=self._batch.batch_id, reason=str(error))
            stand_in = Place(place.index, shortened(place.path))
            message = "The catalog can't hold this file under its path."
            return imports.record_refusal(
                self._conn, self._batch, stand_in, "path_unstorable", message
            )

    def _record_at(self, place: Place, seen: Seen) -> Item:
        try:
            if seen.problem is not None:
                raise UnreadableError(seen.problem)
            data = read_file(seen.path, self._pace.limit)
        except UnreadableError as error:
            problem = error.problem
            return imports.record_refusal(
                self._conn, self._batch, place, problem.code, problem.message
            )
        original = store_original(self._store, data)
        return imports.record_photo(self._conn, self._outbox, self._batch, place, original)

    def _took(self, item: Item) -> None:
        self._next_index += 1
        self._unannounced += 1
        metrics.IMPORT_FILES.labels(item.state.value).inc()
        if item.state is ItemState.SUBMITTED and item.analysis_id is not None:
            self._under_way.add(item.analysis_id)

    def _announcement_is_due(self) -> bool:
        if self._unannounced == 0:
            return False
        late = self._clock() - self._announced_at >= self._pace.announce_s
        return late or self._unannounced >= self._pace.announce_files

    def _announce(self) -> None:
        imports.announce(self._conn, self._outbox, self._batch)
        self._unannounced = 0
        self._announced_at = self._clock()
