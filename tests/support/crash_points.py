"""Places of the services' own code at which tests kill them: between each step and the next.

See crashing/sitecustomize.py, which the services load through PYTHONPATH.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_CRASHING: Final = Path(__file__).with_name("crashing")

POINTS: Final[Mapping[str, tuple[str, str, str]]] = {
    # aggregator: table, changelog, events, commit
    "table-written": ("streamkit.faust.tables", "FoldTable.write", "after"),
    "changelog-unsent": ("streamkit.faust.delivery", "Delivery.deliver", "before"),
    "changelog-sent": ("streamkit.faust.delivery", "Delivery._places", "before"),
    "events-placed": ("streamkit.faust.delivery", "Delivery._places", "after"),
    "events-sent": ("streamkit.faust.delivery", "Delivery.deliver", "after"),
    "fold-finished": ("streamkit.faust.consuming", "Consumer.finished", "after"),
    # workers: event, acknowledgement, offset
    "events-produced": ("streamkit.kafka.producer", "KafkaProducer.send", "after"),
    "offset-unstored": ("streamkit.kafka.consumer", "KafkaConsumer.store", "before"),
    "offset-stored": ("streamkit.kafka.consumer", "KafkaConsumer.store", "after"),
    # gateway: file, transaction, outbox
    "file-stored": ("gateway.originals", "store_original", "after"),
    "outbox-written": ("gateway.catalog.outbox", "Outbox.add", "after"),
    "outbox-read": ("gateway.catalog.outbox", "oldest", "after"),
    "outbox-published": ("gateway.catalog.outbox", "published", "before"),
    "outbox-forgotten": ("gateway.catalog.outbox", "published", "after"),
    "recorded": ("gateway.recorder.session", "Session.transact", "after"),
    "sealing": ("gateway.catalog.imports", "seal", "before"),
}
"""Name → module, qualified name, and on which side of its call a process ends."""


class CrashPoints:
    """The points of one stack; `folder` is its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "points.json").write_text(json.dumps(POINTS), encoding="utf-8")

    def env(self, *paths: Path) -> dict[str, str]:
        """What the services' environment needs; `paths` go on PYTHONPATH too."""
        return {
            "DARKROOM_CRASH_POINTS": str(self._folder),
            "PYTHONPATH": ":".join(map(str, (_CRASHING, *paths))),
        }

    def arm(self, point: str) -> None:
        """The next process that passes the point ends there."""
        if point not in POINTS:
            raise LookupError(point)
        (self._folder / f"{point}.armed").touch()

    def fired(self, point: str) -> bool:
        """Whether one has."""
        return (self._folder / f"{point}.fired").exists()
