"""The result has the figures that are asked for, and judges them."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from bench.imports.measuring import log_bytes
from bench.imports.progress import Progress
from bench.imports.replay import Replayed
from bench.imports.report import Found, as_json, figures, judged, tell
from bench.imports.whole import Import, Whole
from bench.runtime.report import met
from rich.console import Console

CPU = {"intake": 15.0, "kafka": 3.0, "redis": 0.01}
FOUND = Found(
    Whole(Import(2_000, 32.0, CPU), Import(2_000, 4.0, {"postgres": 0.4}), 90_000, 81.5, 37_000),
    Replayed(1_000_000, 260.0, 2_000_000, 91.0, 70.0, 0.05, []),
)

ASKED = (
    "photos_per_s",
    "reimport_files_per_s",
    "changelog_bytes_per_photo",
    "changelog_bytes_per_photo_1m",
    "aggregator_pss_mb",
    "aggregator_pss_mb_1m",
    "totals_exact",
)


def test_the_json_has_all_figures_that_are_asked_for() -> None:
    told = json.loads(json.dumps(as_json(FOUND, {"machine": {"cores": 2}})))
    assert set(ASKED) <= told.keys()
    assert told["photos_per_s"] == 62.5
    assert told["reimport_files_per_s"] == 500.0
    assert told["changelog_bytes_per_photo"] == 45.0
    assert told["changelog_bytes_per_photo_1m"] == 2.0
    assert told["totals_exact"] is True
    assert told["machine"] == {"cores": 2}


def test_what_is_wrong_anywhere_makes_the_totals_inexact() -> None:
    wrong = replace(FOUND, replayed=replace(FOUND.replayed, wrong=["the completion says found 3"]))
    told = as_json(wrong, {})
    assert told["totals_exact"] is False
    assert told["wrong"] == ["replay: the completion says found 3"]
    assert not met(judged(figures(wrong)))


@pytest.mark.parametrize(("took_s", "ok"), [(40.0, True), (40.1, False)])
def test_fifty_photos_a_second_are_the_least(took_s: float, ok: bool) -> None:
    first = replace(FOUND.whole.first, took_s=took_s)
    limits = judged(figures(replace(FOUND, whole=replace(FOUND.whole, first=first))))
    assert {one.figure: one.ok for one in limits}["photos_per_s"] is ok


def test_the_table_shows_rates_and_where_the_cpu_went() -> None:
    out = io.StringIO()
    tell(FOUND, Console(file=out, width=120))
    text = out.getvalue()
    for word in ("folder to catalog", "62.5", "500.0", "intake 15.0, kafka 3.0", "1,000,000"):
        assert word in text
    assert "redis" not in text
    assert "photos_per_s: 62.50 (at least 50)" in text


def test_logs_of_the_totals_are_summed_and_a_cleaned_one_is_no_figure(tmp_path: Path) -> None:
    for topic, number in (("chunks", 0), ("chunks", 1), ("batches", 0), ("analyses", 0)):
        folder = tmp_path / f"darkroom-aggregator-{topic}-changelog-{number}"
        folder.mkdir()
        (folder / "00000000000000000000.log").write_bytes(b"x" * 100)
        (folder / "00000000000000000000.index").write_bytes(b"x" * 1_000)
    assert log_bytes(tmp_path) == 300

    (tmp_path / "darkroom-aggregator-chunks-changelog-1" / "00000000000000000900.log").touch()
    with pytest.raises(ValueError, match="2 segments"):
        log_bytes(tmp_path)


def test_progress_is_told_every_ten_seconds_with_the_time_left() -> None:
    now, lines = 0.0, list[str]()
    progress = Progress("files", 1_000, lines.append, clock=lambda: now)
    for second in range(25):
        now = float(second)
        progress(20 * second)

    assert lines == [
        "  200 of 1,000 files, 20/s, about 40 s left",
        "  400 of 1,000 files, 20/s, about 30 s left",
    ]


def test_what_goes_on_slowly_is_told_with_a_decimal() -> None:
    now, lines = 0.0, list[str]()
    progress = Progress("photos", 100, lines.append, clock=lambda: now)
    now = 10.0
    progress(4)
    assert lines == ["  4 of 100 photos, 0.4/s, about 4 minutes left"]
