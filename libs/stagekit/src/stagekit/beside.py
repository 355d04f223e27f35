"""What two versions of a model say of the same photo."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import fsum
from typing import Any, Final
from uuid import UUID

from stagekit.loaded import Found
from streamkit import Message
from streamkit.job import HIGH

_LONGEST: Final = 500
"""Characters of a text that are kept to be shown."""

_PARTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Said:
    """A finding in short: what is shown of it, how sure it is (0 to 1), and what it consists of.

    `weights`: labels with their confidences, words with their numbers.
    """

    text: str
    confidence: float | None
    weights: Mapping[str, float]


Says = Callable[[Found], Said]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a shadow found, in so many milliseconds; or why it could not look."""

    found: Found | None
    error: str | None
    ms: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the active version of a model found in a photo, and what its shadow saw there."""

    model: str
    active: str
    shadow: str
    found: Found
    ms: float
    seen: Seen
    says: Says

    def fields(self) -> dict[str, Any]:
        """Those of photo.model-compared that do not tell whose photo it is."""
        return {
            "active_version": self.active,
            "shadow_version": self.shadow,
            "active_ms": round(self.ms, 3),
            "shadow_ms": round(self.seen.ms, 3),
            **compared(self.says, self.found, self.seen),
        }


def looks(share: float, message: Message) -> bool:
    """Whether a shadow looks at a photo: always the same ones, and none that a person waits for."""
    place = UUID(message.value["analysis_id"]).int % _PARTS
    return message.lane != HIGH and place < share * _PARTS


def compared(says: Says, found: Found, seen: Seen) -> dict[str, Any]:
    """The fields of photo.model-compared that say so. A shadow that could not look disagrees."""
    active = says(found)
    shadow = Said("", None, {}) if seen.found is None else says(seen.found)
    return {
        "agrees": seen.error is None and active.text == shadow.text,
        "difference": 1.0 if seen.error else difference(active.weights, shadow.weights),
        "active_says": active.text[:_LONGEST],
        "shadow_says": shadow.text[:_LONGEST],
        "active_confidence": active.confidence,
        "shadow_confidence": shadow.confidence,
        "error": seen.error,
    }


def difference(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """How little two weighted sets have in common, 0 to 1: 1 - Σ min / Σ max.

    The weighted Jaccard distance (Ružička, 1958); of two empty sets 0.
    """
    names = a.keys() | b.keys()
    # Exact sums: in whatever order the names come, a repetition says the same.
    either = fsum(max(a.get(name, 0.0), b.get(name, 0.0)) for name in names)
    both = fsum(min(a.get(name, 0.0), b.get(name, 0.0)) for name in names)
    return 0.0 if either == 0.0 else 1.0 - both / either
