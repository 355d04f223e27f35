"""A report as one HTML page that needs nothing else: to look at, to keep, to print.

It is written while it is read, a page of the catalog at a time. Names and texts come from files of
any origin; the template escapes them all.
"""

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import jinja2

from gateway.api.report_pictures import Pictures
from gateway.catalog.report_shapes import Statistics
from gateway.catalog.reports import Line
from gateway.catalog.shapes import Batch, Failure

LISTED: Final = 10_000
"""Files that the page lists; a browser shows so long a table without trouble, the CSV has all."""

PICTURED: Final = 500
"""Of these, the first ones with a picture."""

_LABELS: Final = 20
_CHUNK: Final = 64_000

_TEMPLATES: Final = Path(str(files("gateway"))) / "templates"
_STYLE: Final = (_TEMPLATES / "report.css").read_text(encoding="utf-8")

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "sandbox",
    )
)
"""Content-Security-Policy of the page: its own style and pictures, nothing from anywhere."""

WORDS: Final[Mapping[str, str]] = {
    "auto_labeled": "auto-labelled",
    "suggested": "suggested",
    "review": "to review",
    "rejected": "rejected",
    "refused": "could not be read",
    "duplicate": "duplicate",
    "cancelled": "cancelled",
    "pending": "on its way",
}
_STATES: Final[Mapping[str, str]] = {
    "scanning": "Still looking through the files",
    "paused": "Paused",
    "running": "All files found, photos still being analysed",
    "cancelling": "Being cancelled",
    "completed": "Completed",
    "completed_with_failures": "Completed, with failures",
    "cancelled": "Cancelled",
}
UNCALIBRATED: Final = (
    "the model's own estimate, not fitted on 200 labelled photos or more, so 90 % need not mean"
    " right nine times out of ten. To calibrate it: python -m detector.calibrate FOLDER"
)
"""What is said of a confidence with "≈"."""

_TOTAL: Final = "from import to outcome"


@dataclass(frozen=True, slots=True)
class Told:
    """All of a report but its lines."""

    batch: Batch
    statistics: Statistics
    reasons: Sequence[Failure]


@dataclass(frozen=True, slots=True)
class Row:
    """A file as the page shows it; texts are not yet escaped."""

    folder: str
    name: str
    tone: str
    words: str
    label: str | None
    sure: str | None
    unsure: bool
    category: str | None
    note: str | None
    code: str | None
    picture: str | None


async def page(
    told: Told, pages: AsyncIterator[Sequence[Line]], pictures: Pictures
) -> AsyncIterator[bytes]:
    """The page in pieces. `pages` are the files by index; of more than LISTED the rest is not
    asked for."""
    template = _ENVIRONMENT.get_template("report.html")
    waiting: list[str] = []
    size = 0
    async for text in template.generate_async(
        **_context(told, datetime.now(UTC)), rows=_rows(pages, pictures)
    ):
        waiting.append(text)
        size += len(text)
        if size >= _CHUNK:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    yield "".join(waiting).encode()


async def _rows(pages: AsyncIterator[Sequence[Line]], pictures: Pictures) -> AsyncIterator[Row]:
    listed = 0
    async for lines in pages:
        here = lines[: LISTED - listed]
        listed += len(here)
        for line, picture in zip(here, await pictures.of(here), strict=True):
            yield row_of(line, picture)
        if listed >= LISTED:
            return


def row_of(line: Line, picture: str | None) -> Row:
    """A file in words."""
    folder, slash, name = line.path.rpartition("/")
    return Row(
        folder=folder + slash,
        name=name,
        tone=line.end,
        words=WORDS[line.end] + (", in part" if line.partial and not line.repaired else ""),
        label=line.label,
        sure=_sure(line),
        unsure=line.calibrated is False and line.confidence is not None,
        category=line.category,
        note=_note(line),
        code=line.code,
        picture=picture,
    )


def _sure(line: Line) -> str | None:
    if line.confidence is None:
        return None
    return f"{'' if line.calibrated else '≈ '}{line.confidence:.0%}".replace("%", " %")


def _note(line: Line) -> str | None:
    if line.end == "duplicate":
        return f"same bytes as {line.duplicate_of_path or line.duplicate_of}"
    if line.repaired:
        changed = line.outcome is not None and line.outcome != line.end
        return "repaired later" + (f", now {WORDS[line.outcome or '']}" if changed else "")
    return line.reason


def _context(told: Told, made_at: datetime) -> dict[str, Any]:
    batch, statistics = told.batch, told.statistics
    sums = [
        {"tone": tone, "count": count, "words": WORDS[tone] + _plural(tone, count)}
        for tone, count in _sums(batch)
    ]
    durations = sorted(statistics.durations.items(), key=lambda each: _order(each[0]))
    hidden = len(statistics.labels[_LABELS:]) + statistics.labels_left_out
    return {
        "style": _STYLE,
        "batch": batch,
        "statistics": statistics,
        "reasons": told.reasons,
        "made_at": made_at,
        "sums": sums,
        "segments": _segments(_sums(batch)),
        "notes": _notes(batch),
        "state_words": _STATES,
        "most_labels": _LABELS,
        "more_labels": hidden,
        "durations": [(_TOTAL if name == "total" else name, one) for name, one in durations],
        "listed": LISTED,
        "uncalibrated": UNCALIBRATED,
        "pictured": PICTURED,
        "left_out": max(0, batch.found - LISTED),
    }


def _sums(batch: Batch) -> list[tuple[str, int]]:
    counts = {
        **{name: getattr(batch, name) for name in ("auto_labeled", "suggested", "review")},
        **{"rejected": batch.rejected, "duplicate": batch.duplicates},
        **{"cancelled": batch.cancelled, "pending": batch.pending},
    }
    return [(tone, count) for tone, count in counts.items() if count]


def _plural(tone: str, count: int) -> str:
    return "s" if tone == "duplicate" and count > 1 else ""


def _segments(sums: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Of a bar that is 1,000 wide."""
    total = sum(count for _, count in sums)
    at, segments = 0.0, []
    for tone, count in sums:
        width = 1000 * count / total
        segments.append({"tone": tone, "x": round(at, 2), "width": round(width, 2)})
        at += width
    return segments


def _notes(batch: Batch) -> list[str]:
    notes = []
    if batch.partial:
        which = "outcome is" if batch.partial == 1 else "of the outcomes are"
        notes.append(f"{batch.partial:,} {which} partial: a stage failed, and a person decides.")
    if batch.repaired:
        was = "was" if batch.repaired == 1 else "were"
        notes.append(f"{batch.repaired:,} of these {was} made whole later.")
    return notes


def _order(name: str) -> tuple[int, str]:
    order = ("total", "intake", "detector", "ocr", "embedder")
    return (order.index(name) if name in order else len(order), name)


def duration(seconds: float) -> str:
    """In the unit that fits."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _milliseconds(ms: float) -> str:
    if ms < 1000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if ms < 90_000 else duration(ms / 1000)


def _pace(rate: float) -> str:
    return f"{rate:,.1f} files a second" if rate >= 1 else f"{rate * 60:,.1f} files a minute"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        enable_async=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "duration": duration,
        "milliseconds": _milliseconds,
        "moment": _moment,
        "number": lambda value: f"{value:,}",
        "pace": _pace,
    }
    return environment


_ENVIRONMENT: Final = _environment()
