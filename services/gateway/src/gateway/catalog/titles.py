"""What an import is of, in a few words for a person. Paths and names are shown as they are."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

_NAMED: Final = 2
"""Roots that are named; of more only the first one."""


def title_of(kind: str, roots: Sequence[str], location: Mapping[str, Any]) -> str:
    """Such as `Pictures and Scans`, `trip.zip`, `s3://bucket/prefix`, `photos again: without ocr`.

    `location` is that of the kind, as gateway.origins and catalog.reprocess have it.
    """
    if kind == "archive":
        return str(location.get("name") or "an archive")
    if kind == "store":
        return str(location.get("uri") or "a store")
    if kind == "reprocess":
        return _again(location.get("filter") or {})
    if kind == "upload":
        return ", ".join(roots) or "files sent by a client"
    names = [root.rstrip("/").rpartition("/")[2] or root for root in roots]
    if len(names) > _NAMED:
        return f"{names[0]} and {len(names) - 1} more"
    return " and ".join(names) or "nothing"


def _again(chosen: Mapping[str, Any]) -> str:
    """Photos that are analysed again, by what they were chosen for."""
    told = [words.format(chosen[name]) for name, words in _CHOSEN.items() if chosen.get(name)]
    if chosen.get("other_than"):
        told.append("{stage} not by {model}".format_map(chosen["other_than"]))
    if chosen.get("photos"):
        told.append(f"{len(chosen['photos'])} chosen ones")
    return f"photos again: {', '.join(told)}" if told else "photos again"


_CHOSEN: Final = {
    "all": "all",
    "failed": "failed",
    "missing": "without {}",
    "outcome": "{}",
    "label": "“{}”",
    "batch": "of an import",
    "after": "since {}",
    "before": "before {}",
}
"""Fields of a reprocess filter, as words."""
