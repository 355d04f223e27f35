"""From a labelled folder of photos that nobody has seen to the first photo that the new version
labels, by the whole system."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

from bench.learning.pictures import Picture, made
from bench.models.system import UNLIMITED

from darkroom_cli import door
from darkroom_cli.client import Gateway
from darkroom_cli.errors import DarkroomError
from darkroom_cli.stack import Stack

_LABELS: Final = 10
_EACH: Final = 10
_SEED: Final = 23
_SET: Final = "bench"
_HEAD: Final = f"head:{_SET}"
_PATIENCE_S: Final = 300.0
_LOOK_S: Final = 0.2

_Found = TypeVar("_Found")


class NotLearnedError(DarkroomError):
    """The system did not come to use what it was shown."""


@dataclass(frozen=True, slots=True)
class Usage:
    """`photos` of `labels`, brought by one command at second 0. `analyzed_s`: the command has
    ended, all are analysed and examples. `trained_s`: the new version holds. `everywhere_s`: every
    replica of the embedder has it. `used_s`: a photo handed in after that was labelled by it.
    `replicas` of the embedder; `right`: whether that label is the right one. `accuracy`: what the
    training says of itself."""

    photos: int
    labels: int
    replicas: int
    analyzed_s: float
    trained_s: float
    everywhere_s: float
    used_s: float
    right: bool
    accuracy: float


def measure(write: Callable[[str], None]) -> Usage:
    """Start a system of its own, and measure. Raises NotLearnedError, DarkroomError, OSError."""
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as place:
        folder = Path(place) / "labelled"
        unseen = _bring(folder)
        write("starting the whole system, about 60 s")
        with Stack(Path(place) / "whole", env=UNLIMITED) as stack:
            gateway = door.gateway(None, stack.data)
            _until("an embedder reports itself", lambda: _replicas(gateway, "embedder"))
            write(f"{_LABELS * _EACH} photos are brought as one labelled folder")
            return _used(stack, gateway, folder, unseen)


def _bring(folder: Path) -> list[Picture]:
    """Make the labelled folder; returns pictures that are not in it."""
    labels = sorted({one.label for one in made(1, _SEED)})[:_LABELS]
    numbers = {label: count() for label in labels}
    unseen: list[Picture] = []
    for picture in made(2 * _EACH + 6, _SEED):
        if picture.label not in labels:
            continue
        number = next(numbers[picture.label])
        if number < _EACH:
            place = folder / picture.label
            place.mkdir(parents=True, exist_ok=True)
            picture.image.save(place / f"{number}.jpg", quality=92)
        elif number >= 2 * _EACH:
            unseen.append(picture)
    return unseen


def _used(stack: Stack, gateway: Gateway, folder: Path, unseen: list[Picture]) -> Usage:
    began = time.monotonic()
    command = (sys.executable, "-m", "darkroom_cli", "labels", "import", str(folder))
    options = ("--set", _SET, "--url", stack.addresses["api"], "--json")
    with subprocess.Popen((*command, *options), stdout=subprocess.PIPE, text=True) as importing:
        marks = _Marks(began)
        training = _until("the training ends", lambda: _ended(gateway, importing, marks))
        marks.trained = marks.passed()
        if training["state"] != "published":
            raise NotLearnedError(f"the training ended as {training['state']}: {training['note']}")
        told = json.loads(importing.communicate()[0])
    if told["refused"]:
        raise NotLearnedError(f"photos were refused: {told['refused'][:3]}")
    _until("every replica has it", lambda: _everywhere(gateway, training["version"]))
    everywhere = marks.passed()
    shown = _until("a photo is labelled by it", _handed_in(gateway, folder, unseen, training))
    used = marks.passed()
    return Usage(
        photos=sum(told["examples"][name] for name in ("changed", "unchanged")),
        labels=_LABELS,
        replicas=len(_replicas(gateway, "embedder")),
        analyzed_s=round(marks.analyzed or marks.trained, 2),
        trained_s=round(marks.trained, 2),
        everywhere_s=round(everywhere, 2),
        used_s=round(used, 2),
        right=shown["label"] == shown["true"],
        accuracy=float(training["accuracy"]),
    )


@dataclass(slots=True)
class _Marks:
    began: float
    analyzed: float = 0.0
    trained: float = 0.0

    def passed(self) -> float:
        """Seconds since the folder was brought."""
        return time.monotonic() - self.began


def _ended(
    gateway: Gateway, importing: subprocess.Popen[str], marks: _Marks
) -> Mapping[str, Any] | None:
    if not marks.analyzed and importing.poll() is not None:
        marks.analyzed = marks.passed()
        if importing.returncode:
            raise NotLearnedError(f"the command ended with {importing.returncode}")
    found = gateway.ask("GET", "/v1/trainings", params={"model": _SET})["items"]
    ended = [one for one in found if one["ended_at"] is not None and one["started_at"] is not None]
    return ended[0] if ended else None


def _replicas(gateway: Gateway, name: str) -> list[Mapping[str, Any]]:
    found = gateway.ask("GET", f"/v1/models/{name}")["replicas"]
    return [one for one in found if one["live"]]


def _everywhere(gateway: Gateway, version: str) -> bool:
    found = gateway.ask("GET", f"/v1/models/{_HEAD}")
    return found["active"] == version and bool(found["everywhere"])


def _handed_in(
    gateway: Gateway, folder: Path, unseen: list[Picture], training: Mapping[str, Any]
) -> Callable[[], dict[str, Any] | None]:
    pictures: Iterator[Picture] = iter(unseen)

    def hand_in() -> dict[str, Any] | None:
        picture = next(pictures, None)
        if picture is None:
            raise NotLearnedError("no photo was labelled by the new version")
        file = folder / "unseen.jpg"
        picture.image.save(file, quality=92)
        photo = gateway.analyze(file)
        own = [one for one in photo["own_labels"] if one["version"] == training["version"]]
        return {"label": own[0]["name"], "true": picture.label} if own else None

    return hand_in


def _until(what: str, found: Callable[[], _Found | None]) -> _Found:
    deadline = time.monotonic() + _PATIENCE_S
    while not (result := found()):
        if time.monotonic() > deadline:
            raise NotLearnedError(f"{what}: not within {_PATIENCE_S:.0f} s")
        time.sleep(_LOOK_S)
    return result
