"""A system of its own, with the packaged engines and default settings but for rate limits."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.imports import catalog
from bench.imports.progress import Progress

from darkroom_cli import door
from darkroom_cli.client import Gateway
from darkroom_cli.stack import Stack

Write = Callable[[str], None]

UNLIMITED: Final = {"DARKROOM_RATE_SINGLE": "none", "DARKROOM_RATE_IMPORTS": "none"}
"""Waiting to be let in is not what is measured."""

_STAGE_TIMES: Final = (
    "SELECT p.stage, avg(p.ms) AS ms, max(p.finished_at) AS last"
    " FROM parts p JOIN batch_items i USING (analysis_id) WHERE i.batch_id = %s GROUP BY p.stage"
)
_OCR_OF: Final = (
    "SELECT p.ms, p.finished_at FROM parts p JOIN batch_items i USING (analysis_id)"
    " WHERE i.batch_id = %s AND i.path = %s AND p.stage = 'ocr'"
)


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Of one stage in one import: mean milliseconds of a part, and when the last one ended."""

    ms: float
    last: datetime


@dataclass(frozen=True, slots=True)
class System:
    """The stack and the ways to it."""

    stack: Stack
    conn: catalog.Conn
    patience_s: float
    write: Write

    @property
    def gateway(self) -> Gateway:
        """Its REST door."""
        return door.gateway(None, self.stack.data)

    def begin(self, folder: Path) -> str:
        """Start the import of a folder; its id."""
        door.allow([folder], self.stack.data)
        return str(self.gateway.start_import([folder], "batch")["batch_id"])

    def follow(self, batch_id: str, files: int) -> Mapping[str, Any]:
        """Wait until an import is over; its row. Raises StandsStillError."""
        return catalog.follow(
            self.conn, batch_id, Progress("photos", files, self.write), self.patience_s
        )

    def wait_for(self, batch_id: str, ended: int) -> None:
        """Wait until so many files of an import have their end. Raises StandsStillError."""
        deadline = time.monotonic() + self.patience_s
        while self.ended(batch_id) < ended:
            if time.monotonic() > deadline:
                raise catalog.StandsStillError(f"not {ended} photos within {self.patience_s:.0f} s")
            time.sleep(0.2)

    def ended(self, batch_id: str) -> int:
        """Files of an import that have their end."""
        query = "SELECT count(*) AS n FROM batch_items WHERE batch_id = %s AND ended IS NOT NULL"
        row = self.conn.execute(query, (batch_id,)).fetchone()
        return int(row["n"]) if row else 0

    def stages(self, batch_id: str) -> dict[str, StageTimes]:
        """What each stage did for an import."""
        rows = self.conn.execute(_STAGE_TIMES, (batch_id,)).fetchall()
        return {row.pop("stage"): StageTimes(**row) for row in rows}

    def text_of(self, batch_id: str, path: Path) -> tuple[float, float] | None:
        """When the ocr began and ended with a file of an import, as seconds since 1970."""
        row = self.conn.execute(_OCR_OF, (batch_id, str(path))).fetchone()
        if row is None:
            return None
        end = row["finished_at"].timestamp()
        return end - row["ms"] / 1000, end


@contextmanager
def running(
    folder: Path,
    patience_s: float,
    write: Write,
) -> Iterator[System]:
    """A system with its data below `folder`, until the context ends. Raises DarkroomError."""
    stack = Stack(folder, env=UNLIMITED)
    write("starting the whole system, about 60 s")
    stack.start()
    try:
        with catalog.connect(stack.addresses["database"]) as conn:
            yield System(stack, conn, patience_s, write)
    finally:
        stack.stop()
