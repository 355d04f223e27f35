"""What is free on the disks that a door writes to, asked whenever Prometheus asks."""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from prometheus_client import Gauge

_log = structlog.get_logger("gateway.disks")

DISK_FREE: Final = Gauge(
    "darkroom_disk_free_bytes",
    "Free on the file system of a folder that the door writes to: objects (if they are files),"
    " spool; 0 if that can't be asked.",
    ["place"],
)
DISK_SIZE: Final = Gauge(
    "darkroom_disk_size_bytes", "Size of that file system; 1 if that can't be asked.", ["place"]
)


def watch_disks(folders: Mapping[str, Path | None]) -> None:
    """Tell of these folders, by their places' names, from now on; None is none."""
    for place, folder in folders.items():
        if folder is not None:
            DISK_FREE.labels(place).set_function(partial(_free, folder))
            DISK_SIZE.labels(place).set_function(partial(_size, folder))


class _Usage(NamedTuple):
    size: float
    free: float


_UNKNOWN: Final = _Usage(1.0, 0.0)
"""Where nothing can be asked nothing can be written: to alerts the disk is full."""


def _free(folder: Path) -> float:
    return _usage(folder).free


def _size(folder: Path) -> float:
    return _usage(folder).size


def _usage(folder: Path) -> _Usage:
    """Of the file system on which the folder lies, or will lie as soon as it is made."""
    try:
        usage = shutil.disk_usage(_there(folder))
    except OSError as error:
        _log.warning("disk_unknown", folder=str(folder), reason=str(error))
        return _UNKNOWN
    return _Usage(float(usage.total), float(usage.free))


def _there(folder: Path) -> Path:
    """Raises OSError."""
    return next(place for place in (folder, *folder.parents) if place.exists())
