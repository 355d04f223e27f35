"""The files that an import has still to record, and how many there are."""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Final

from gateway.catalog import items
from gateway.db import Conn
from gateway.origins import Origin, Seen
from gateway.origins.files import shortened, shown
from streamkit import Busy

_LOOK_AHEAD: Final = 100
"""Paths that are compared with the catalog at once when an import goes on."""

_COUNT_AT_ONCE: Final = 2_000
"""Files that are counted between two that are recorded; some milliseconds."""

_AT_ONCE_S: Final = 0.1
"""For no longer than that files are looked for at once, be it few that are found."""


class Ahead:
    """The files of a walk, in its order, without those that the batch has recorded.

    `roots` were there before: one that is away is waited for, as a drive that is not mounted. All
    methods raise Busy where the origin is away for now; the next call walks anew.
    """

    def __init__(
        self,
        conn: Conn,
        batch_id: str,
        origin: Origin,
        clock: Callable[[], float],
        roots: Collection[str] = (),
    ) -> None:
        self._conn, self._batch_id, self._origin = conn, batch_id, origin
        self._clock = clock
        self._roots = roots
        self._walk = origin.walk()
        self._over = False
        self._seen: deque[Seen] = deque()

    def look(self, most: int = 1) -> list[Seen]:
        """The next files, none if there are none so far; see `over`. Blocks a moment."""
        if not self._seen and not self._over:
            try:
                some = list(_some(self._walk, _LOOK_AHEAD, self._clock))
                self._check_roots(some)
            except Busy:
                self._walk = self._origin.walk()
                raise
            self._over = not some
            known = self._known(some)
            self._seen.extend(one for one in some if shown(one.path) not in known)
        return list(islice(self._seen, most))

    def _check_roots(self, some: list[Seen]) -> None:
        for one in some:
            if one.path in self._roots and one.problem and one.problem.code == "file_missing":
                raise Busy(f"{shown(one.path)} is not there any more. Is its drive mounted?")

    @property
    def over(self) -> bool:
        """Whether no file is left."""
        return self._over and not self._seen

    def taken(self) -> None:
        """The first file that `look` gave is recorded."""
        self._seen.popleft()

    def _known(self, some: list[Seen]) -> set[str]:
        """Those paths that are recorded, be it by their stand-in."""
        paths = (shown(one.path) for one in some)
        names = {name: path for path in paths for name in (path, shortened(path))}
        recorded = items.recorded(self._conn, self._batch_id, list(names))
        return {names[name] for name in recorded}


class Counting:
    """Counts the files of an origin, a slice at a time, ahead of the work."""

    def __init__(self, origin: Origin, clock: Callable[[], float]) -> None:
        self._origin, self._clock = origin, clock
        self._count = origin.count()
        self._files = 0

    def go_on(self) -> int | None:
        """Count a slice; the number of files once all are counted. Raises Busy."""
        try:
            fresh = sum(1 for _ in _some(self._count, _COUNT_AT_ONCE, self._clock))
        except Busy:
            self._count, self._files = self._origin.count(), 0
            raise
        self._files += fresh
        return None if fresh else self._files


def _some(walk: Iterator[Seen], most: int, clock: Callable[[], float]) -> Iterator[Seen]:
    """The next files, at most `most` of them and for a moment; none only at the end."""
    until = clock() + _AT_ONCE_S
    for one in islice(walk, most):
        yield one
        if clock() > until:
            return
