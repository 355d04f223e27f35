"""What makes a decoded record impossible, though its schema allows it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from streamkit import Reject

KEPT_LABELS: Final = 20
"""Labels of a part that are kept, best first; the parts themselves stay in the catalog."""

_LONGEST_UUID: Final = 64
"""Characters; UUID itself takes any number of hyphens."""

LAST_INDEX: Final = 2**40
"""Above any import; keeps a nonsensical index out of the tables."""


def impossible(message: str) -> Reject:
    """The instruction to give a record up."""
    return Reject("impossible_record", message)


def uuid_of(event: Mapping[str, Any], field: str) -> str:
    """The field as a UUID's text; raises Reject if it is none."""
    value = str(event[field])
    try:
        if len(value) > _LONGEST_UUID:
            raise ValueError("too long")
        UUID(value)
    except ValueError:
        raise impossible(f"{field} is not a UUID: {value[:80]!r}.") from None
    return value


def revision_of(event: Mapping[str, Any]) -> int:
    """The revision, from 1; raises Reject for another."""
    revision = int(event["revision"])
    if revision < 1:
        raise impossible(f"The revision is {revision}; revisions count from 1.")
    return revision


def index_of(event: Mapping[str, Any]) -> int:
    """The place in the import, from 0; raises Reject for one that no import has."""
    index = int(event["index"])
    if not 0 <= index < LAST_INDEX:
        raise impossible(f"The index {index} is outside of any import.")
    return index


def ranked(labels: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """The best labels as [name, confidence], best first; raises Reject for no probability."""
    for label in labels:
        confidence = float(label["confidence"])
        if not (math.isfinite(confidence) and 0 <= confidence <= 1):
            raise impossible(f"The confidence {confidence} is not between 0 and 1.")
    best = sorted(labels, key=lambda label: -float(label["confidence"]))
    return [[str(one["name"]), float(one["confidence"])] for one in best[:KEPT_LABELS]]
