"""What people are told of an import that is over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.catalog.completions import completion_notice, duration

STARTED = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def completed(**counts: int) -> Any:
    names = (
        *("found", "duplicates", "accepted", "auto_labeled", "suggested", "review"),
        *("rejected", "cancelled", "partial"),
    )
    return {
        **{"batch_id": "b", "owner": "o", **dict.fromkeys(names, 0)},
        **{"started_at": STARTED, "completed_at": STARTED + timedelta(seconds=125)},
        **counts,
    }


def batch(**changes: Any) -> dict[str, Any]:
    return {
        **{"state": "completed", "kind": "folder", "location": {}, "roots": ["/photos/trip"]},
        **{"cancelled_by": None, **changes},
    }


def test_a_person_reads_what_it_was_how_long_it_took_and_what_came_of_it() -> None:
    event = completed(found=1200, duplicates=2, accepted=1198, auto_labeled=1190, review=8)
    notice = completion_notice(event, batch(), {})

    assert notice == (
        "info",
        "The import of trip is done",
        "1,200 files in 2 min 5 s: 1,190 labelled, 8 for a person to look at, 2 known already.",
    )


def test_failures_are_in_the_title_and_their_reasons_below() -> None:
    event = completed(found=5, accepted=3, auto_labeled=2, review=1, rejected=2, partial=1)
    reasons = {"The file ends in the middle of the picture.": 1, "The file is empty.": 1}
    severity, title, detail = completion_notice(
        event, batch(state="completed_with_failures"), reasons
    )

    assert severity == "warning"
    assert title == ("The import of trip is done: 2 files rejected, 1 photo analysed in part only")
    assert detail == (
        "5 files in 2 min 5 s: 2 labelled, 1 for a person to look at, 2 rejected."
        " A stage failed on 1 photo; a person has to look."
        " Rejected mostly because: The file ends in the middle of the picture. (1 file)"
        " The file is empty. (1 file)"
    )


def test_a_cancelled_import_says_who_did_it() -> None:
    event = completed(found=3, accepted=3, auto_labeled=1, cancelled=2)
    severity, title, detail = completion_notice(
        event, batch(state="cancelled", cancelled_by="ada"), {}
    )

    assert (severity, title) == ("info", "The import of trip was cancelled")
    assert detail == "3 files in 2 min 5 s: 1 labelled, 2 cancelled. Cancelled by ada."


def test_an_empty_folder_is_no_riddle() -> None:
    assert completion_notice(completed(), batch(), {}).detail == "0 files in 2 min 5 s."


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"roots": ["/a", "/b", "/c", "/d"]}, "The import of a and 3 more is done"),
        (
            {"kind": "archive", "location": {"name": "trip.zip", "uri": "file:///x"}},
            "The import of trip.zip is done",
        ),
        (
            {"kind": "store", "location": {"uri": "s3://bucket/trip"}},
            "The import of s3://bucket/trip is done",
        ),
        ({"kind": "upload", "roots": []}, "The import of files sent by a client is done"),
        (
            {"kind": "reprocess", "roots": [], "location": {"filter": {"failed": True}}},
            "“photos again: failed” is done",
        ),
    ],
)
def test_every_kind_of_import_has_its_words(changes: dict[str, Any], title: str) -> None:
    assert completion_notice(completed(found=1), batch(**changes), {}).title == title


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (12_000, "3 h 20 min")]
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(timedelta(seconds=seconds)) == said
