"""How a person is told that an import is over. Pure."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple

from darkroom_schemas.events import BatchCompleted
from gateway.catalog.titles import title_of


class Telling(NamedTuple):
    """A notice's words and weight."""

    severity: Literal["info", "warning"]
    title: str
    detail: str


def completion_notice(
    event: BatchCompleted, batch: Mapping[str, Any], reasons: Mapping[str, int]
) -> Telling:
    """What to tell of a completed import.

    `batch` is its row (state, kind, location, roots, cancelled_by); `reasons` are sentences about
    rejected files, the most frequent first, with how many files they are about.
    """
    failed = batch["state"] == "completed_with_failures"
    title = f"{_subject(batch)} {'was cancelled' if batch['state'] == 'cancelled' else 'is done'}"
    if failed:
        title += f": {_failures(event)}"
    return Telling("warning" if failed else "info", title, _detail(event, batch, reasons))


def _subject(batch: Mapping[str, Any]) -> str:
    what = title_of(batch["kind"], batch["roots"] or [], batch["location"] or {})
    return f"“{what}”" if batch["kind"] == "reprocess" else f"The import of {what}"


def _failures(event: BatchCompleted) -> str:
    told = []
    if event["rejected"]:
        told.append(f"{_photos(event['rejected'], 'file')} rejected")
    if event["partial"]:
        told.append(f"{_photos(event['partial'], 'photo')} analysed in part only")
    return ", ".join(told)


def _detail(event: BatchCompleted, batch: Mapping[str, Any], reasons: Mapping[str, int]) -> str:
    lasted = event["completed_at"] - event["started_at"]
    sentences = [f"{_photos(event['found'], 'file')} in {duration(lasted)}{_ends(event)}."]
    if batch["state"] == "cancelled" and batch["cancelled_by"]:
        sentences.append(f"Cancelled by {batch['cancelled_by']}.")
    if event["partial"]:
        sentences.append(
            f"A stage failed on {_photos(event['partial'], 'photo')}; a person has to look."
        )
    if reasons:
        why = " ".join(f"{reason} ({_photos(files, 'file')})" for reason, files in reasons.items())
        sentences.append(f"Rejected mostly because: {why}")
    return " ".join(sentences)


_ENDS: Final = {
    "auto_labeled": "labelled",
    "suggested": "unsure",
    "review": "for a person to look at",
    "duplicates": "known already",
    "rejected": "rejected",
    "cancelled": "cancelled",
}


def _ends(event: BatchCompleted) -> str:
    counts: Mapping[str, Any] = event
    told = [f"{counts[name]:,} {words}" for name, words in _ENDS.items() if counts[name]]
    return f": {', '.join(told)}" if told else ""


def _photos(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(lasted: timedelta) -> str:
    """As people say it: 4 s, 2 min 5 s, 3 h 20 min."""
    seconds = max(0, round(lasted.total_seconds()))
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
