"""Whether all that tells of an import says the same, by id. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COUNTS = (
    *("found", "duplicates", "accepted", "auto_labeled", "suggested", "review"),
    *("rejected", "cancelled", "partial"),
)
"""As events and the catalog name them."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file of an import as the catalog has it; `outcome` is that of its analysis."""

    index: int
    path: str
    state: str
    photo_id: str | None
    ended: str | None
    outcome: str | None


def expected_of(items: Iterable[Item]) -> dict[str, int]:
    """The totals that follow from the files."""
    ends = Counter(item.ended for item in items if item.state == "submitted")
    states = Counter(item.state for item in items)
    counts = {name: ends[name] for name in ("auto_labeled", "suggested", "review", "cancelled")}
    return {
        "found": sum(states.values()),
        "duplicates": states["duplicate"],
        "accepted": sum(counts.values()),
        **counts,
        "rejected": ends["rejected"] + states["refused"],
        "partial": 0,
    }


def differences(
    wanted: Mapping[str, str],
    items: Sequence[Item],
    told: Mapping[str, Mapping[str, Any]],
    *,
    state: str,
) -> list[str]:
    """What is not as it must be; empty if all is exact.

    `wanted` has the photo's id of every file by its path, `told` the totals by who tells them.
    Every file must be in the import once, as `state`, with the photo that its bytes are; every
    submitted one with the end that its outcome is; and all totals must be what the files sum up to.
    """
    found = [
        *_about_files(wanted, items, state),
        *_about_ends(items),
    ]
    sums = expected_of(items)
    return found + [
        f"{who} says {name} {totals.get(name)}, the files {sums[name]}"
        for who, totals in told.items()
        for name in COUNTS
        if totals.get(name) != sums[name]
    ]


def _about_files(wanted: Mapping[str, str], items: Sequence[Item], state: str) -> list[str]:
    photos = {item.path: item.photo_id for item in items}
    found = []
    if len(items) != len(wanted) or photos.keys() != wanted.keys():
        missing, more = len(wanted.keys() - photos.keys()), len(photos.keys() - wanted.keys())
        found.append(f"{len(items)} files are recorded: {missing} are missing, {more} are no file")
    if sorted(item.index for item in items) != list(range(len(items))):
        found.append("the indices of the files have gaps or repeat")
    other = sum(1 for path, photo in photos.items() if path in wanted and photo != wanted[path])
    if other:
        found.append(f"{other} files have another photo than their bytes")
    not_so = sum(1 for item in items if item.state != state)
    if not_so:
        found.append(f"{not_so} files are not {state}")
    return found


def _about_ends(items: Sequence[Item]) -> list[str]:
    found = []
    submitted = [item for item in items if item.state == "submitted"]
    endless = sum(1 for item in submitted if item.ended is None)
    if endless:
        found.append(f"{endless} submitted files have no end")
    other = sum(1 for item in submitted if item.ended != (item.outcome or "rejected"))
    if other:
        found.append(f"{other} files ended otherwise than their analysis")
    return found
