"""What comes from files and photos is shown, never obeyed."""

import io
from typing import Any

import pytest
from rich.console import Console

from darkroom_cli import show

HOSTILE = "[/bold] [bold red]x[blink] \x1b[31mred \u202egpj.exe\x00"


def shown(renderable: Any, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(renderable)
    return out.getvalue()


def photo(**more: Any) -> dict[str, Any]:
    plain = {
        "photo_id": "5f0c4a7e-3a53-5b0f-9a55-0d7f0f4f2a11",
        "file_name": HOSTILE,
        "status": "analyzed",
        "outcome": "review",
        "partial": False,
        "reason": HOSTILE,
        "error": None,
        "category": HOSTILE,
        "labels": [{"name": HOSTILE, "confidence": 0.5}],
        "calibrated": None,
        "objects": [],
        "own_labels": [],
        "text": HOSTILE,
        "taken_at": None,
        "camera_model": HOSTILE,
        "width": 4,
        "height": 3,
        "stages": {},
    }
    return {**plain, **more}


def thing(name: str, confidence: float) -> dict[str, Any]:
    box = {"x": 0.1, "y": 0.25, "width": 0.4, "height": 0.5}
    return {"name": name, "confidence": confidence, **box}


def item(**more: Any) -> dict[str, Any]:
    plain = {"path": f"/a/{HOSTILE}", "status": "rejected", "photo": None, "duplicate_of": None}
    return {**plain, "duplicate_of_path": None, "error": None, **more}


@pytest.mark.parametrize(
    "table",
    [
        show.photo_table(photo()),
        show.photo_table(photo(objects=[thing(HOSTILE, 0.5)])),
        show.hits_table([{"score": 0.5, "photo": photo()}]),
        show.items_table([item(status="analyzed", photo=photo())], "t"),
        show.items_table([item(error={"message": HOSTILE})], "t"),
        show.items_table([item(status="duplicate", duplicate_of_path=f"/a/{HOSTILE}")], "t"),
    ],
    ids=["photo", "objects", "hits", "analyzed", "rejected", "duplicate"],
)
def test_markup_and_control_characters_are_written_out(table: Any) -> None:
    text = shown(table, width=300)
    assert "[bold red]x[blink]" in text
    assert r"\x1b[31mred \u202egpj.exe\x00" in text
    assert not {"\x1b", "\u202e", "\x00"} & set(text)


def lines_of(**more: Any) -> list[str]:
    """What is shown of a photo, without the spaces between columns."""
    text = shown(show.photo_table(photo(**more)), width=120)
    return [" ".join(line.split()) for line in text.splitlines()]


def test_boxes_are_told_in_pixels_and_their_confidences_marked_as_uncalibrated() -> None:
    lines = lines_of(objects=[thing("cat", 0.91), thing("dog", 0.4)], width=640, height=480)
    at = lines.index("objects cat ≈ 91 % · 256 × 240 at 64, 120")
    assert lines[at + 1] == "dog ≈ 40 % · 256 × 240 at 64, 120"
    assert lines[at + 2].startswith("≈ uncalibrated")


def test_of_many_boxes_the_first_are_shown_and_the_others_counted() -> None:
    lines = lines_of(objects=[thing(f"thing {n}", 0.5) for n in range(14)])
    assert any(line.startswith("thing 9 ") for line in lines)
    assert not any(line.startswith("thing 10 ") for line in lines)
    assert "and 4 more" in lines


def test_a_photo_without_boxes_does_not_speak_of_them() -> None:
    assert not any(line.startswith(("objects", "≈")) for line in lines_of(calibrated=True))


@pytest.mark.parametrize(("calibrated", "told"), [(True, "cat 90 %"), (False, "cat ≈ 90 %")])
def test_labels_are_marked_where_they_are_uncalibrated(calibrated: bool, told: str) -> None:
    labels = [{"name": "cat", "confidence": 0.9}]
    lines = lines_of(labels=labels, calibrated=calibrated)
    assert f"labels {told}" in lines
    assert any(line.startswith("≈ uncalibrated") for line in lines) is not calibrated


def test_labels_of_ones_own_are_told_with_the_version_that_gave_them() -> None:
    own = [{"name": "receipt", "confidence": 0.93, "set": "paper", "version": "head@2c26b46b68ff"}]
    assert "yours receipt ≈ 93 % (head@2c26b46b68ff of paper)" in lines_of(own_labels=own)
    assert not any(line.startswith("yours") for line in lines_of())


def test_a_photos_id_stands_on_one_line_in_a_narrow_terminal() -> None:
    hits = [{"score": 0.5, "photo": photo(file_name="n" * 80)}]
    assert photo()["photo_id"] in shown(show.hits_table(hits), width=80)


@pytest.mark.parametrize(
    ("scores", "count"),
    [
        ([], 0),
        ([0.9], 1),
        ([1.0, 0.2, 0.19, 0.18, 0.17], 5),
        ([0.9, 0.88, 0.87, 0.86, 0.3, 0.29], 4),
        ([0.5, 0.5, 0.5, 0.49, 0.48], 5),
    ],
)
def test_weak_results_begin_at_the_largest_gap(scores: list[float], count: int) -> None:
    assert show.strong(scores) == count
