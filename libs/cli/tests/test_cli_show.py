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
        "text": HOSTILE,
        "taken_at": None,
        "camera_model": HOSTILE,
        "width": 4,
        "height": 3,
        "stages": {},
    }
    return {**plain, **more}


def item(**more: Any) -> dict[str, Any]:
    plain = {"path": f"/a/{HOSTILE}", "status": "rejected", "photo": None, "duplicate_of": None}
    return {**plain, "duplicate_of_path": None, "error": None, **more}


@pytest.mark.parametrize(
    "table",
    [
        show.photo_table(photo()),
        show.hits_table([{"score": 0.5, "photo": photo()}]),
        show.items_table([item(status="analyzed", photo=photo())], "t"),
        show.items_table([item(error={"message": HOSTILE})], "t"),
        show.items_table([item(status="duplicate", duplicate_of_path=f"/a/{HOSTILE}")], "t"),
    ],
    ids=["photo", "hits", "analyzed", "rejected", "duplicate"],
)
def test_markup_and_control_characters_are_written_out(table: Any) -> None:
    text = shown(table, width=300)
    assert "[bold red]x[blink]" in text
    assert r"\x1b[31mred \u202egpj.exe\x00" in text
    assert not {"\x1b", "\u202e", "\x00"} & set(text)


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
