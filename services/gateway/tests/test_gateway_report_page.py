"""A report as a page: bounded, complete in itself, and never broken off by a picture."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.api import report_page
from gateway.api.report_page import LISTED, PICTURED, Told, page, row_of
from gateway.api.report_pictures import Pictures
from gateway.catalog.report_shapes import LabelCount, Spread, Statistics
from gateway.catalog.reports import Line
from gateway.catalog.shapes import Batch, Failure
from report_line import LINE as A_LINE
from streamkit import Reject, Retry

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
JPEG = b"\xff\xd8\xff" + b"x" * 100
NONE = dict.fromkeys(
    (
        *("found", "duplicates", "rejected", "accepted", "auto_labeled", "suggested", "review"),
        *("cancelled", "partial", "pending", "in_flight", "repaired", "failures_of"),
    ),
    0,
)
LINE = replace(
    A_LINE,
    index=0,
    photo_id="p",
    analysis_id="a",
    recorded_at=NOW,
    ended_at=NOW,
    thumbnail="mem://thumbnail",
)


class Shelf:
    """An object store that has one picture, or the trouble that a test wants."""

    def __init__(self, answer: bytes | Exception = JPEG) -> None:
        self.answer = answer
        self.asked = 0

    def get(self, uri: str, *, limit: int) -> bytes:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def told(reasons: Sequence[Failure] = (), **changes: Any) -> Told:
    batch: dict[str, Any] = {
        **NONE,
        **dict.fromkeys(("rate", "rate_overall", "eta_s", "eta_low_s", "eta_high_s")),
        **dict.fromkeys(("paused_by", "paused_at", "paused_until", "cancelled_by", "cancelled_at")),
        "waits_for": None,
        **{"batch_id": "5f0c4a7e", "state": "completed", "kind": "folder", "title": "trip"},
        **{"lane": "batch", "roots": ["/photos"], "expected": 0, "sealed": True, "failures": []},
        **{"elapsed_s": 3.0, "started_at": NOW, "completed_at": NOW},
        **changes,
    }
    statistics = Statistics(
        batch_id="5f0c4a7e",
        state="completed",
        total=1,
        success=1,
        failed=0,
        duplicates=0,
        cancelled=0,
        pending=0,
        partial=0,
        success_rate=1.0,
        files_per_s=1.0,
        elapsed_s=3.0,
        labels=[LabelCount(label="<tabby>", count=1, auto_labeled=1, suggested=0, review=0)],
        labels_left_out=3,
        durations={"total": Spread(p50=1500, p95=2500, of=1)},
    )
    return Told(Batch.model_validate(batch), statistics, reasons)


async def written(about: Told, lines: Sequence[Line], shelf: Shelf, size: int = 200) -> str:
    async def pages() -> AsyncIterator[Sequence[Line]]:
        for start in range(0, len(lines), size):
            yield lines[start : start + size]

    pieces = [each async for each in page(about, pages(), Pictures(shelf, PICTURED))]
    return b"".join(pieces).decode()


async def test_a_page_needs_no_other_file_and_runs_nothing() -> None:
    text = await written(told(found=1, auto_labeled=1, accepted=1), [LINE], Shelf())
    assert "data:image/jpeg;base64," in text
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:)\w+""", text) == []
    assert "<script" not in text
    assert "&lt;tabby&gt;" in text
    assert "1.5 s" in text
    assert "and 3 further labels" in text


async def test_an_uncalibrated_confidence_is_marked_and_it_is_said_why_and_what_helps() -> None:
    text = await written(told(found=1), [LINE], Shelf())
    assert '<span class="also" title="uncalibrated">≈ 91 %</span>' in text
    assert "<b>uncalibrated</b>: the model&#39;s own estimate, not fitted on 200" in text
    assert "python -m detector.calibrate" in text


@pytest.mark.parametrize("changes", [{"calibrated": True}, {"confidence": None, "label": None}])
async def test_a_page_without_uncalibrated_confidences_does_not_speak_of_them(
    changes: dict[str, Any],
) -> None:
    text = await written(told(found=1), [replace(LINE, **changes)], Shelf())
    assert "uncalibrated" not in text
    assert "≈" not in text


async def test_the_policy_lets_exactly_this_style_in() -> None:
    text = await written(told(), [], Shelf())
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style == report_page._STYLE
    assert "'unsafe-inline'" not in report_page.POLICY
    assert not re.search(r"\sstyle=", text), "the policy would refuse it"


async def test_an_import_of_nothing_says_so() -> None:
    assert "There was nothing to import." in await written(told(), [], Shelf())


@pytest.mark.parametrize(
    "answer",
    [Reject("object_missing", "It is gone."), Retry("It does not answer."), b"GIF89a"],
    ids=["gone", "away", "no picture"],
)
async def test_a_picture_that_can_not_be_had_is_left_out(answer: bytes | Exception) -> None:
    text = await written(told(found=1), [LINE], Shelf(answer))
    assert "cat.jpg" in text
    assert "<img" not in text


async def test_pictures_are_bounded_by_number() -> None:
    shelf = Shelf()
    lines = [replace(LINE, index=n) for n in range(PICTURED + 50)]
    text = await written(told(found=len(lines)), lines, shelf)
    assert shelf.asked == text.count("<img ") == PICTURED
    assert f"Only the first {PICTURED} are shown with a picture." in text


async def test_pictures_are_bounded_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.api.report_pictures._ALL_BYTES", 5 * len(JPEG) + 1)
    lines = [replace(LINE, index=n) for n in range(20)]
    assert (await written(told(found=20), lines, Shelf())).count("<img ") == 5


async def test_files_are_bounded_and_the_rest_is_not_asked_for() -> None:
    asked = 0

    async def pages() -> AsyncIterator[Sequence[Line]]:
        nonlocal asked
        while True:
            asked += 1
            yield [replace(LINE, thumbnail=None)] * 1_500

    about = told(found=1_000_000)
    text = b"".join(
        [each async for each in page(about, pages(), Pictures(Shelf(), PICTURED))]
    ).decode()
    assert text.count("cat.jpg") == LISTED
    assert asked == 7
    assert "990,000 more are left out here" in text


@pytest.mark.parametrize(
    ("changes", "words", "note"),
    [
        ({}, "auto-labelled", None),
        ({"end": "refused", "reason": "It is gone."}, "could not be read", "It is gone."),
        (
            {"end": "review", "partial": True, "reason": "ocr: gave up"},
            "to review, in part",
            "ocr: gave up",
        ),
        (
            {"end": "review", "partial": True, "repaired": True, "outcome": "suggested"},
            "to review",
            "repaired later, now suggested",
        ),
        (
            {"end": "duplicate", "duplicate_of": "id", "duplicate_of_path": "/a/b.jpg"},
            "duplicate",
            "same bytes as /a/b.jpg",
        ),
        ({"end": "pending", "outcome": None}, "on its way", None),
    ],
)
def test_what_became_of_a_file_is_said_in_words(
    changes: dict[str, Any], words: str, note: str | None
) -> None:
    row = row_of(replace(LINE, **changes), None)
    assert (row.words, row.note) == (words, note)
    assert (row.folder, row.name) == ("/photos/", "cat.jpg")
