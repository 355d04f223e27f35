"""Totals are exact only if files, ends, outcomes, catalog and completion agree by id."""

from dataclasses import replace
from typing import Any

import pytest
from bench.imports.totals import Item, differences, expected_of

WANTED = {f"/photos/{n}.jpg": f"photo-{n}" for n in range(4)}
OUTCOMES = ("auto_labeled", "suggested", "review", None)
ITEMS = [
    Item(n, path, "submitted", photo, OUTCOMES[n] or "rejected", OUTCOMES[n])
    for n, (path, photo) in enumerate(WANTED.items())
]
SUMS = {
    **{"found": 4, "duplicates": 0, "accepted": 3, "auto_labeled": 1, "suggested": 1, "review": 1},
    **{"rejected": 1, "cancelled": 0, "partial": 0},
}


def wrong(items: list[Item] = ITEMS, state: str = "submitted", **told: Any) -> list[str]:
    return differences(WANTED, items, {"catalog": SUMS, **told}, state=state)


def test_an_import_that_all_agree_about_is_exact() -> None:
    assert expected_of(ITEMS) == SUMS
    assert wrong() == []


def test_duplicates_are_exact_too() -> None:
    items = [replace(one, state="duplicate", ended=None, outcome=None) for one in ITEMS]
    sums = {**dict.fromkeys(SUMS, 0), "found": 4, "duplicates": 4}
    assert differences(WANTED, items, {"catalog": sums}, state="duplicate") == []
    assert "4 files are not submitted" in wrong(items)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (ITEMS[:3], "3 files are recorded: 1 are missing, 0 are no file"),
        ([*ITEMS, replace(ITEMS[0], index=4)], "5 files are recorded"),
        ([*ITEMS[:3], replace(ITEMS[3], index=5)], "gaps"),
        ([*ITEMS[:3], replace(ITEMS[3], photo_id="photo-0")], "another photo"),
        ([replace(ITEMS[0], ended=None), *ITEMS[1:]], "1 submitted files have no end"),
        ([replace(ITEMS[0], outcome="review"), *ITEMS[1:]], "otherwise than their analysis"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_told(items: list[Item], said: str) -> None:
    assert any(said in one for one in wrong(items))


def test_whoever_tells_other_totals_is_named() -> None:
    assert wrong(completion={**SUMS, "review": 2}) == ["completion says review 2, the files 1"]
