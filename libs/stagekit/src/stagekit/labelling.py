"""Labels of the photo's owner: what heads say of a stage's findings."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from stagekit.adding import Added
from stagekit.beside import Comparison, Said, Seen, looks
from stagekit.loaded import Found
from stagekit.reasons import reason
from stagekit.versions import Version
from streamkit import Instruction, Message

Label = tuple[str, float]
"""A name, and how sure it is (0 to 1)."""


class Labeller(Protocol):
    """What a head's version is once it is loaded. It never changes; from any thread."""

    @property
    def model_version(self) -> str:
        """Of the stage's model whose findings it can label."""

    def labels(self, seen: Any) -> Sequence[Label]:
        """Those that fit what `Labelling.seen` made of the findings, best first."""


@dataclass(frozen=True, slots=True)
class Labelling:
    """How a stage's findings get labels of the photo's owner, by heads: models of the registry
    beside the stage's own, each of which belongs to somebody.

    `owner_of`: whose head a model is, by its name; None: it is no head. `load` makes a labeller of
    a version and the folder with its files; raises VersionError for what is none. `seen` says what
    of the findings heads look at. `most`: so many heads are held in memory.
    """

    owner_of: Callable[[str], str | None]
    load: Callable[[Version, Path | None], Labeller]
    seen: Callable[[Found], Any]
    most: int


@dataclass(frozen=True, slots=True)
class HeadVersion:
    """A version of a head, loaded."""

    version: str
    labeller: Labeller


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A head that labels, by the activation of this generation.

    `shadow` labels `share` (0 to 1) of the photos beside it.
    """

    name: str
    generation: int
    active: HeadVersion
    shadow: HeadVersion | None = None
    share: float = 0.0


Trouble = Callable[[Head, str], None]
"""Told of a head that could not look at what is its to label, and why."""


@dataclass(frozen=True, slots=True)
class OwnLabels:
    """What an owner's heads add to a part; an `Add`."""

    heads: Sequence[Head]
    seen: Callable[[Found], Any]
    trouble: Trouble

    def __call__(self, message: Message, found: Found, version: str) -> Added:
        """The labels of all heads together, best first.

        Whatever is wrong with a head costs the photo that head's labels, and nothing else.
        """
        started, compared = time.perf_counter(), list[Comparison]()
        seen, labels = self.seen(found), list[tuple[Head, Label]]()
        elsewhere_ms = 0.0
        for head in self.heads:
            active = self._active(head, seen, version)
            labels += ((head, one) for one in active.said)
            if head.shadow is not None and looks(head.share, message):
                shadow = _said(head.shadow, seen, version)
                elsewhere_ms += shadow.ms
                compared.append(_comparison(head, head.shadow, active, shadow))
        labels.sort(key=lambda one: -one[1][1])
        fields = {"labels": [_field(head, label) for head, label in labels]}
        return Added(fields, 1000 * (time.perf_counter() - started) - elsewhere_ms, compared)

    def _active(self, head: Head, seen: Any, version: str) -> "_Answer":
        if head.active.labeller.model_version != version:
            return _NOT_ITS_OWN
        answer = _said(head.active, seen, version)
        if answer.error is not None:
            self.trouble(head, answer.error)
        return answer


@dataclass(frozen=True, slots=True)
class _Answer:
    said: Sequence[Label] = ()
    ms: float = 0.0
    error: str | None = None


_NOT_ITS_OWN: Final = _Answer()


def _said(head: HeadVersion, seen: Any, version: str) -> _Answer:
    if (wanted := head.labeller.model_version) != version:
        return _Answer(error=f"It labels what {wanted} finds, and not {version}.")
    started = time.perf_counter()
    try:
        said = head.labeller.labels(seen)
    except (Instruction, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a file that came from elsewhere
        return _Answer(error=reason(error))
    return _Answer(said, 1000 * (time.perf_counter() - started))


def _comparison(
    head: Head, shadow: HeadVersion, active_says: _Answer, shadow_says: _Answer
) -> Comparison:
    seen = None if shadow_says.error is not None else {"labels": shadow_says.said}
    return Comparison(
        model=head.name,
        active=head.active.version,
        shadow=shadow.version,
        found={"labels": active_says.said},
        ms=active_says.ms,
        seen=Seen(seen, shadow_says.error, shadow_says.ms),
        says=_says,
    )


def _says(found: Found) -> Said:
    labels: Sequence[Label] = found["labels"]
    text, confidence = labels[0] if labels else ("", None)
    return Said(text, confidence, dict(labels))


def _field(head: Head, label: Label) -> Mapping[str, Any]:
    name, confidence = label
    return {
        "name": name,
        "confidence": confidence,
        "head": head.name,
        "head_version": head.active.version,
    }
