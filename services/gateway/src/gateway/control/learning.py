"""Looks, in the background, which photos people should be asked about so that answers teach most,
and draws audits."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from gateway.catalog import audits, model_reports, rescoring, review_ranks
from gateway.catalog.review_ranks import Seen
from gateway.control.head_files import HeadFiles
from gateway.db import Conn
from heads.suggesting import uncertainty

_log = structlog.get_logger("gateway.reviews")

_POLL_S: Final = 2.0
_RESTS: Final = 10.0
"""A look is followed by a pause of so many times what it took."""
_FEW: Final = 8
_SHARE: Final = 0.05
"""So many answers and new outcomes, and this share of those that are ranked, are enough for another
look; fewer are after so long:"""
_LATEST_S: Final = 30.0


@dataclass(slots=True)
class _Look:
    """The last look at an owner's photos."""

    said_at: datetime | None = None
    at: float = float("-inf")


class Ranker:
    """Ranks an owner's waiting photos again once enough has changed.

    The owner's heads tell how doubtful they are, if any hold that are made for their vectors; else
    their outcomes do.
    """

    def __init__(self, heads: HeadFiles, clock: Callable[[], float] = monotonic) -> None:
        self._heads = heads
        self._clock = clock
        self._looks: dict[str, _Look] = {}

    def turn(self, conn: Conn) -> int:
        """Look at the photos of those owners of whom enough has changed; of how many owners."""
        owners = review_ranks.owners(conn)
        if gone := set(self._looks).difference(owners):
            review_ranks.forget(conn)
            for owner in gone:
                del self._looks[owner]
        return sum(self._rank(conn, owner) for owner in owners)

    def _rank(self, conn: Conn, owner: str) -> bool:
        look = self._looks.setdefault(owner, _Look())
        found = review_ranks.candidates(conn, owner)
        said, moment = review_ranks.said_since(conn, owner, look.said_at)
        news = said + review_ranks.unranked(conn, owner, found)
        soon = news >= max(_FEW, _SHARE * len(found))
        if not news or not (soon or self._clock() - look.at >= _LATEST_S):
            return False
        seen = review_ranks.seen(conn, owner, found)
        self._looks[owner] = _Look(moment, self._clock())
        if seen is None:
            return False
        ordered = review_ranks.in_order(seen, self._doubts(conn, owner, seen))
        review_ranks.keep(conn, owner, ordered)
        _log.info("reviews_ranked", owner=owner, photos=len(seen.candidates), news=news)
        return True

    def _doubts(self, conn: Conn, owner: str, seen: Seen) -> NDArray[np.float64] | None:
        found = [
            self._heads.of(one.sha256, one.uri)
            for one in rescoring.active_heads(conn, model_reports.LIVE_S)
            if one.owner == owner and one.uri and one.embedding_version == seen.version
        ]
        heads = [one for one in found if one is not None]
        return uncertainty(seen.vectors, *heads) if heads else None


class Learning:
    """What reviews need in the background, in turns."""

    def __init__(self, ranker: Ranker, audit_share: float) -> None:
        self._ranker = ranker
        self._share = audit_share

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Look until `stop`. Raises psycopg.Error; call it again with a new connection."""
        while not stop.is_set():
            began = monotonic()
            self.turn(conn)
            stop.wait(max(_POLL_S, _RESTS * (monotonic() - began)))

    def turn(self, conn: Conn) -> None:
        """Look once."""
        drawn = audits.draw(conn, self._share)
        if drawn:
            _log.info("audits_drawn", photos=drawn)
        self._ranker.turn(conn)
