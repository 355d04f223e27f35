"""A report as CSV (RFC 4180, UTF-8): a line for every file of an import."""

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Final

from gateway.catalog.reports import Line

COLUMNS: Final = tuple(one.name for one in fields(Line) if one.name != "thumbnail")

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell must not begin with, or a spreadsheet reckons it (OWASP, CSV injection): also the
full-width forms of = + - @, which some programs take for the plain ones."""


def head() -> bytes:
    """The line with the names of the columns."""
    return _written([COLUMNS])


def rows(lines: Sequence[Line]) -> bytes:
    """Lines of files."""
    return _written([[cell(getattr(line, name)) for name in COLUMNS] for line in lines])


def cell(value: object) -> str:
    """A value as text. A text that a spreadsheet would take for a formula gets an apostrophe in
    front, as people write it to say that they mean text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _written(rows_of_text: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows_of_text)
    return out.getvalue().encode()
