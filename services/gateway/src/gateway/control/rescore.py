"""Has photos that were seen before labelled by the heads of now, in the background."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
import structlog

from gateway.catalog import model_reports, rescoring
from gateway.catalog.outbox import Outbox
from gateway.catalog.rescoring import ActiveHead, Changed, Place, Seen
from gateway.control.head_files import Files, HeadFiles
from gateway.db import Conn
from heads import Head, labels_of
from streamkit import Emit

_log = structlog.get_logger("gateway.models")

_POLL_S: Final = 2.0
_BEHIND_S: Final = 0.2

_AT_ONCE: Final = 100
"""Photos of a page, whose vectors are read in one query."""

_PAGES: Final = 2
"""Pages whose outcomes are waited for: so many photos may be on their way through the outbox, the
aggregator and the recorder."""

_LOST_S: Final = 60.0
"""So long an outcome is waited for; a later round finds it missing."""


class Turn(NamedTuple):
    """What a turn came to: photos that were looked at, and seconds until the next turn."""

    looked: int
    wait_s: float


class Rescorer:
    """Goes through the photos of each owner whose heads are others than before.

    A head counts as soon as every replica of the embedder labels by it, and from then on, whoever
    restarts. Labels of heads that can't be applied, since they wait for that or are made for other
    embeddings, stay as they are. Where it stands is kept in the catalog. No more than `per_s`
    photos a second are told of, and none while the outcomes of those before are not there.
    """

    def __init__(
        self,
        outbox: Outbox,
        files: Files,
        per_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._heads = HeadFiles(files, clock)
        self._per_s = per_s
        self._clock = clock
        self._under_way: deque[tuple[Emit, float]] = deque()
        self._last = ""

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Rescore until `stop`. Raises psycopg.Error; call it again with a new connection."""
        while not stop.is_set():
            stop.wait(self.turn(conn).wait_s)

    def turn(self, conn: Conn) -> Turn:
        """Look at some photos of one owner; owners take turns."""
        if self._is_behind(conn):
            return Turn(0, _BEHIND_S)
        active = rescoring.active_heads(conn, model_reports.LIVE_S)
        embeds = model_reports.embedding_version(conn) if active else None
        if embeds is None:
            return Turn(0, _POLL_S)
        before = rescoring.versions(conn)
        # Those first who did not have the last turn.
        active.sort(key=lambda one: (one.owner <= self._last, one.owner, one.name))
        for owner, heads in groupby(active, attrgetter("owner")):
            turn = self._looked(conn, embeds, list(heads), before.get(owner, {}))
            if turn is not None:
                self._last = owner
                return turn
        return Turn(0, _POLL_S)

    def _is_behind(self, conn: Conn) -> bool:
        while self._under_way:
            emit, since = self._under_way[0]
            if self._clock() - since < _LOST_S and not rescoring.is_shown(conn, emit):
                break
            self._under_way.popleft()
        return len(self._under_way) >= _PAGES

    def _looked(
        self, conn: Conn, embeds: str, heads: Sequence[ActiveHead], before: Mapping[str, str]
    ) -> Turn | None:
        """A page of the photos of an owner with these heads; None if there is nothing to do."""
        applied = {
            one: head
            for one in heads
            if one.embedding_version == embeds
            and (one.held or before.get(one.name) == one.version)
            and (head := self._head(one)) is not None
        }
        if not applied:
            return None
        versions = {one.name: one.version for one in applied}
        place = rescoring.begin(conn, heads[0].owner, embeds, versions)
        if place is None:
            return None
        stay = {one.name for one in heads} - versions.keys()
        return self._page(conn, place, applied, stay)

    def _head(self, active: ActiveHead) -> Head | None:
        """None while it can't be had, or if it is none for these embeddings."""
        head = self._heads.of(active.sha256, active.uri) if active.uri is not None else None
        return head if head and head.model_version == active.embedding_version else None

    def _page(
        self, conn: Conn, place: Place, applied: Mapping[ActiveHead, Head], stay: set[str]
    ) -> Turn:
        looked = rescoring.seen(conn, place, _AT_ONCE)
        known = [one for one in looked if one.said is not None]
        changed = []
        for one, own in zip(known, _labels(applied, known), strict=True):
            said = one.said or ()
            if own is None:
                continue
            kept = [label for label in said if label["head"] in stay]
            labels = sorted([*own, *kept], key=lambda label: -label["confidence"])
            if rescoring.differ(labels, said):
                changed.append(Changed(one, labels))
        more = len(looked) == _AT_ONCE
        emits = rescoring.go_on(conn, self._outbox, place, looked, changed, more=more)
        if emits:
            self._under_way.append((emits[-1], self._clock()))
            _log.info("rescored", photos=len(emits), owner=place.owner)
        return Turn(len(looked), len(emits) / self._per_s)


def _labels(
    applied: Mapping[ActiveHead, Head], photos: Sequence[Seen]
) -> list[list[dict[str, Any]] | None]:
    """What the heads say of each photo; None where its vector is none that they could take."""
    try:
        return list(_together(applied, photos))
    except ValueError:
        if len(photos) > 1:
            return [_labels(applied, [one])[0] for one in photos]
        _log.error("embedding_unusable", photo_id=photos[0].photo_id, exc_info=True)
        return [None]


def _together(
    applied: Mapping[ActiveHead, Head], photos: Sequence[Seen]
) -> Iterator[list[dict[str, Any]]]:
    """The same of all; raises ValueError if one of the vectors can't be taken."""
    if not photos:
        return
    vectors = np.array([rescoring.vector_of(one) for one in photos], np.float32)
    said = [(one, labels_of(head, vectors)) for one, head in applied.items()]
    for place in range(len(photos)):
        yield [
            {"name": name, "confidence": sure, "head": one.name, "head_version": one.version}
            for one, labels in said
            for name, sure in labels[place]
        ]
