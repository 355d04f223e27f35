"""Which measurement follows which."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.models import accuracy, lettering, people, pipeline, shots, speed, system, versus
from bench.models.accuracy import Accuracy
from bench.models.people import People
from bench.models.pipeline import Imported
from bench.models.plan import CORES, SEED, Plan
from bench.models.script import Ran
from bench.models.speed import Speeds
from bench.models.versus import Versus

PARTS: Final = ("speed", "accuracy", "text", "pipeline", "people")

_DOCUMENT_AT: Final = 12
"""Place of the document among the photos of an import: soon after its beginning."""

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """All that was measured; None where it was not asked for."""

    speeds: Speeds | None = None
    accuracy: Accuracy | None = None
    versus: Versus | None = None
    scripts: tuple[Ran, ...] = ()
    imported: Imported | None = None
    people: People | None = None


def run(plan: Plan, parts: Collection[str], folder: Path, write: Write) -> Found:
    """Measure the parts; files go below `folder`.

    Raises ChildError, DarkroomError, GatewayError, TimeoutError.
    """
    speeds = speed.measure(plan, write) if "speed" in parts else None
    right = accuracy.measure(plan, CORES, write) if "accuracy" in parts else None
    beside = versus.measure(plan, CORES, write) if "text" in parts else None
    scripts: list[Ran] = []
    imported, singles = None, None
    if "pipeline" in parts:
        warm, photos = (folder / name for name in ("warm", "photos"))
        files = shots.make(photos, plan.photos, (SEED, 5))
        scripts = pipeline.scripts(files, shots.make(warm, plan.warm, (SEED, 6)), write)
    if {"pipeline", "people"} & set(parts):
        with system.running(folder / "whole", plan.patience_s, write) as whole:
            if "pipeline" in parts:
                imported = pipeline.through(whole, photos, warm, write)
            if "people" in parts:
                singles = _people(plan, whole, folder, write)
    return Found(speeds, right, beside, tuple(scripts), imported, singles)


def _people(plan: Plan, whole: system.System, folder: Path, write: Write) -> People:
    write("making photos for people")
    warm = shots.make(folder / "first", plan.warm, (SEED, 7))
    idle, loaded = (
        shots.make(folder / name, plan.singles, (SEED, 8), edition)
        for edition, name in enumerate(("idle", "loaded"))
    )
    imported = folder / "imported"
    shots.make(imported, plan.imported, (SEED, 9))
    document = imported / f"{_DOCUMENT_AT:05}-document.jpg"
    sheet = lettering.document(plan.document_lines, (SEED, 10))
    document.write_bytes(shots.encoded(sheet.image, 0))
    return people.measure(whole, warm, (idle, loaded), imported, document, write)
