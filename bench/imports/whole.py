"""A folder through the whole system: twice, the second time as duplicates."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.imports import catalog, photos
from bench.imports.measuring import cpu_seconds, log_bytes
from bench.imports.plan import IMPORTS_PER_S, MAKES_PER_S, REIMPORTS_PER_S, STARTS_S, Plan, said
from bench.imports.progress import Progress
from bench.imports.topics import events
from bench.imports.totals import COUNTS, differences

from darkroom_cli import door
from darkroom_cli.stack import Stack
from darkroom_cli.supervision.memory import MemoryPeaks
from darkroom_schemas import ids
from darkroom_schemas.names import BATCH_COMPLETED

_MEMORY_EVERY_S: Final = 2.0

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Import:
    """One import. `cpu_ms` is milliseconds of CPU for each file, by process."""

    files: int
    took_s: float
    cpu_ms: Mapping[str, float]
    wrong: list[str] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        """Files a second, from asking for the import to the last end in the catalog."""
        return self.files / self.took_s


@dataclass(frozen=True, slots=True)
class Whole:
    """Both imports; the changelog is of the first of them, the memory the peak of both."""

    first: Import
    again: Import
    changelog_bytes: int
    aggregator_mb: float
    photo_bytes: float


def measure(plan: Plan, folder: Path, write: Write) -> Whole:
    """Make the photos, start the system, import, import again, stop it.

    Raises DarkroomError, GatewayError, StandsStillError, TimeoutError.
    """
    source = folder / "photos"
    write(f"making {plan.photos:,} photos, {said(plan.photos / MAKES_PER_S)}")
    made = photos.make(source, plan.photos)
    photo_bytes = sum(Path(path).stat().st_size for path in made) / max(1, len(made))
    with ExitStack() as undo:
        stack = Stack(folder / "whole", process_env=empty_engines())
        write(f"starting the whole system, {said(STARTS_S)}")
        stack.start()
        undo.callback(stack.stop)
        conn = undo.enter_context(catalog.connect(stack.addresses["database"]))
        aggregator = {"aggregator": stack.pid("aggregator")}
        memory = undo.enter_context(MemoryPeaks(lambda: aggregator, _MEMORY_EVERY_S))
        wanted = {path: ids.photo_id(ids.LOCAL_OWNER, sha256) for path, sha256 in made.items()}
        importing = Importing(stack, conn, source, wanted, plan.patience_s, write)
        write(f"importing them, {said(plan.photos / IMPORTS_PER_S)}")
        first = importing.run("submitted")
        changelog = log_bytes(stack.data.kafka)
        write(f"importing them again, {said(plan.photos / REIMPORTS_PER_S)}")
        again = importing.run("duplicate")
        memory.sample()
    return Whole(first, again, changelog, memory.peaks["aggregator"], photo_bytes)


def empty_engines() -> dict[str, dict[str, str]]:
    """Settings of the stages, by process."""
    return {
        stage: {f"DARKROOM_{stage.upper()}_ENGINE": f"bench.imports.engines:{stage}"}
        for stage in ("detector", "ocr", "embedder")
    }


@dataclass(frozen=True, slots=True)
class Importing:
    """What imports of the same folder share. `wanted` has each file's photo id."""

    stack: Stack
    conn: catalog.Conn
    folder: Path
    wanted: Mapping[str, str]
    patience_s: float
    write: Write

    def run(self, state: str) -> Import:
        """Import the folder and check what is said of it; every file shall end up in `state`."""
        roots = {name: pid for name, pid in self.stack.pids().items() if name != "supervisor"}
        door.allow([self.folder], self.stack.data)
        gateway = door.gateway(None, self.stack.data)
        before, began = cpu_seconds(roots), time.monotonic()
        batch_id = gateway.start_import([self.folder], "batch")["batch_id"]
        files = len(self.wanted)
        progress = Progress("files", files, self.write)
        row = catalog.follow(self.conn, batch_id, progress, self.patience_s)
        took, after = time.monotonic() - began, cpu_seconds(roots)
        cpu_ms = {name: 1000 * (after[name] - before[name]) / max(1, files) for name in roots}
        return Import(files, took, cpu_ms, self._wrong(row, state))

    def _wrong(self, row: Mapping[str, Any], state: str) -> list[str]:
        batch_id = str(row["batch_id"])
        completed = {
            tuple(event[name] for name in COUNTS): event
            for event in events(self.stack.environment, BATCH_COMPLETED)
            if event["batch_id"] == batch_id
        }
        told = {"the catalog": row["totals"]}
        told |= {f"completion {n}": event for n, event in enumerate(completed.values(), 1)}
        wrong = differences(self.wanted, catalog.items(self.conn, batch_id), told, state=state)
        if len(completed) != 1:
            wrong.append(f"{len(completed)} different completions were told")
        return wrong
