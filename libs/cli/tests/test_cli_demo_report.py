"""The demo says when something is not as it should be."""

from pathlib import Path
from typing import Any

import pytest

from darkroom_cli import demo_report
from darkroom_cli.sample import SampleFile, SampleKind, SampleManifest

SAMPLE = SampleManifest(
    Path("/sample"),
    0,
    (
        SampleFile("chelsea.jpg", SampleKind.PHOTO),
        SampleFile("document.jpg", SampleKind.DOCUMENT, "Invoice 4711"),
        SampleFile("again.jpg", SampleKind.DUPLICATE, same_as="chelsea.jpg"),
        SampleFile("empty.jpg", SampleKind.BAD),
        SampleFile("torn.jpg", SampleKind.BAD),
    ),
)


def item(name: str, status: str, photo_id: str, **more: Any) -> dict[str, Any]:
    plain = {"path": f"/sample/{name}", "status": status, "photo_id": photo_id, "photo": None}
    return {**plain, "duplicate_of": None, "duplicate_of_path": None, "error": None, **more}


def analyzed(label: str, text: str = "") -> dict[str, Any]:
    return {
        "outcome": "review",
        "confidence": 0.4,
        "calibrated": False,
        "category": "cat",
        "labels": [{"name": label, "confidence": 0.4}],
        "text": text,
        "embedding_dim": 1280,
        "stages": {"detector": {}, "ocr": {}, "embedder": {}},
    }


@pytest.fixture
def items() -> dict[str, dict[str, Any]]:
    found = (
        item("chelsea.jpg", "analyzed", "1", photo=analyzed("Egyptian cat")),
        item("document.jpg", "analyzed", "2", photo=analyzed("menu", "Invoice  4711\n")),
        item("again.jpg", "duplicate", "1", duplicate_of="1", duplicate_of_path="/x/chelsea.jpg"),
        item("empty.jpg", "rejected", "3", error={"code": "a", "message": "It is empty."}),
        item("torn.jpg", "rejected", "4", error={"code": "b", "message": "It is torn."}),
    )
    return {Path(one["path"]).name: one for one in found}


@pytest.fixture
def batch() -> dict[str, Any]:
    counts = {"found": 5, "accepted": 2, "duplicates": 1, "rejected": 2, "partial": 0}
    return {**counts, "auto_labeled": 0, "suggested": 0, "review": 2, "batch_id": "b"}


def told(batch: dict[str, Any], items: dict[str, dict[str, Any]]) -> list[str]:
    photos = [demo_report.photo_json(one) for one in items.values()]
    return demo_report.problems(batch, photos, SAMPLE)


def test_all_is_well(batch: dict[str, Any], items: dict[str, dict[str, Any]]) -> None:
    assert told(batch, items) == []


def test_a_duplicate_has_nothing_of_its_own(items: dict[str, dict[str, Any]]) -> None:
    photo = demo_report.photo_json(items["again.jpg"])
    assert photo["labels"] is None
    assert photo["duplicate_of"] == "/x/chelsea.jpg"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        ("found", "found is not"),
        ("review", "accepted is not"),
        ("partial", "a stage that failed"),
        ("rejected", "files are rejected"),
    ],
)
def test_totals_that_do_not_add_up_are_told(
    batch: dict[str, Any], items: dict[str, dict[str, Any]], count: str, words: str
) -> None:
    batch[count] += 1
    assert any(words in problem for problem in told(batch, items))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("chelsea.jpg", {"photo": analyzed("sock")}, "is labelled sock"),
        ("document.jpg", {"photo": analyzed("menu", "lnvoice 4711")}, "lnvoice"),
        ("document.jpg", {"photo": {**analyzed("x"), "embedding_dim": None}}, "no embedding"),
        ("document.jpg", {"photo": {**analyzed("x"), "stages": {"ocr": {}}}}, "seen by ocr only"),
        ("torn.jpg", {"error": {"code": "a", "message": "It is empty."}}, "the same words"),
        ("empty.jpg", {"status": "analyzed", "photo": analyzed("x")}, "is analyzed, not rejected"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(
    batch: dict[str, Any],
    items: dict[str, dict[str, Any]],
    name: str,
    change: dict[str, Any],
    words: str,
) -> None:
    items[name] |= change
    assert any(words in problem for problem in told(batch, items))


def test_a_missing_file_is_told(batch: dict[str, Any], items: dict[str, dict[str, Any]]) -> None:
    del items["torn.jpg"]
    assert "torn.jpg is missing" in told(batch, items)
