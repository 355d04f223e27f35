"""A system of its own whose stages take 20 ms a photo, without rate limits."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.imports import catalog
from bench.models.system import UNLIMITED
from bench.overload import engines

from darkroom_cli import door
from darkroom_cli.errors import DarkroomError
from darkroom_cli.stack import Stack

Write = Callable[[str], None]

_LOOK_S: Final = 0.5
_ENDED: Final = (
    "SELECT count(*) AS n FROM analyses a WHERE a.photo_id = ANY(%s::uuid[]) AND ("
    " EXISTS (SELECT FROM outcomes o WHERE o.analysis_id = a.analysis_id)"
    " OR EXISTS (SELECT FROM rejections r WHERE r.analysis_id = a.analysis_id))"
)


class StuckError(DarkroomError):
    """Something did not come about: what is measured then is nothing."""


@dataclass(frozen=True, slots=True)
class System:
    """The stack and the ways to it."""

    stack: Stack
    conn: catalog.Conn

    @property
    def url(self) -> str:
        """Its API."""
        return self.stack.addresses["api"]

    def lane(self, lane: str) -> dict[str, Any]:
        """The load of a lane, as the API tells it."""
        lanes = door.gateway(None, self.stack.data).load()["lanes"]
        return next((one for one in lanes if one["lane"] == lane), {"state": "open", "records": 0})

    def ended(self, photos: Collection[str]) -> int:
        """How many of these photos have their end."""
        row = self.conn.execute(_ENDED, (list(photos),)).fetchone()
        return int(row["n"]) if row else 0

    def drain(self, photos: Collection[str], patience_s: float) -> int:
        """Wait until these photos have their ends; how many have none after `patience_s` without
        any new one."""
        ended, deadline = self.ended(photos), time.monotonic() + patience_s
        while ended < len(photos) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
            now = self.ended(photos)
            if now > ended:
                ended, deadline = now, time.monotonic() + patience_s
        return len(photos) - ended


def until(what: str, true: Callable[[], bool], patience_s: float) -> float:
    """Wait for something; the monotonic second at which it was so. Raises StuckError."""
    deadline = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > deadline:
            raise StuckError(f"{what}: not within {patience_s:.0f} s")
        time.sleep(_LOOK_S)
    return time.monotonic()


@contextmanager
def running(folder: Path, write: Write) -> Iterator[System]:
    """A system with its data below `folder`, until the context ends. Raises DarkroomError."""
    stack = Stack(folder, env=UNLIMITED, process_env=engines.settings())
    write("starting the whole system, about 60 s")
    stack.start()
    try:
        with catalog.connect(stack.addresses["database"]) as conn:
            yield System(stack, conn)
    finally:
        stack.stop()
