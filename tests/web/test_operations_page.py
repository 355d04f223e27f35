"""The page of operations: lanes, stages, what is set, a day of plots, workers, tasks."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from psycopg.types.json import Jsonb

from catalog_seed import Look, Seed, picture
from gateway import db
from gateway.catalog import audit, controls, samples, shares, workers
from gateway.catalog.outbox import Outbox
from gateway.catalog.workers import Heartbeat
from gateway.roles import Role
from gateway.settings import Settings

CAUSE = "detector is not running: 1,201 photos of lane default wait."
PHOTO = "0197a8a1-6f2e-7c44-9a51-5d0c8f1be001"


def measured(conn: db.Conn, lane: str, records: int, state: str = "open") -> None:
    """As the control door measures it."""
    stages = [
        {"name": name, "records": records, "per_s": 3.5, "oldest_s": 30.0, "workers": 1}
        for name in ("intake", "detector", "ocr", "embedder")
    ]
    conn.execute(
        "INSERT INTO lane_loads (lane, state, records, outbox, stages, retries, retry_after_s,"
        " cause, measured_at, since) VALUES (%s, %s, %s, 0, %s, %s, 60, %s, now(), now())",
        (
            *(lane, state, records, Jsonb(stages), Jsonb({"ocr": 7})),
            CAUSE if state != "open" else None,
        ),
    )


def heartbeat(service: str, **more: Any) -> Heartbeat:
    now = datetime.now(UTC)
    lane: Mapping[str, Any] = {
        **{"lane": "batch", "waiting": 12, "in_engine": 1, "concurrency": None, "rate": None},
        **{"paused": False, "done": 4321, "failed": 2},
        "partitions": [{"topic": "photo.analysis-requested.batch.v1", "partition": 3}],
    }
    task: Mapping[str, Any] = {
        **{"lane": "batch", "topic": "photo.analysis-requested.batch.v1", "partition": 3},
        **{"offset": 17, "key": PHOTO, "attempt": 1, "engine": "bulk"},
        "since": now - timedelta(seconds=4),
    }
    said: dict[str, Any] = {
        **{"worker": f"{service}@studio:4711", "service": service, "host": "studio", "pid": 4711},
        **{"version": "0.1.0", "state": "working", "started_at": now - timedelta(hours=3)},
        **{"reported_at": now, "every_s": 5.0, "cpu": 0.87, "cpu_cores": 1.25, "memory": 0.4},
        **{"memory_bytes": 1_234_000_000, "lanes": [lane], "work": [task]},
    }
    return Heartbeat.model_validate(said | more)


def a_day(conn: db.Conn) -> None:
    """What was measured until an hour ago, with a gap, and lately."""
    at = samples.slot(conn)
    for minutes in (*range(0, 60, 5), *range(300, 1430, 5)):
        values = {"lane.batch.records": 900 - minutes // 2, "photos.per_s": 2.5}
        samples.add(conn, at - timedelta(minutes=minutes), values)


def visit(page: Page) -> None:
    page.goto("/operations")
    expect(page.locator("#sum")).not_to_have_text("Looking …")


def test_it_shows_what_waits_for_whom_and_why_nothing_is_taken_in(
    page: Page, conn: db.Conn
) -> None:
    measured(conn, "high", 0)
    measured(conn, "default", 1201, "closed")
    workers.note(conn, [heartbeat("ocr")])
    visit(page)
    expect(page.locator("#sum")).to_have_text("1 worker · 0 photos a second · 1,201 wait")
    default = page.locator('.lane[data-lane="default"]')
    expect(default.locator(".number")).to_have_text("1,201")
    expect(default).to_contain_text("refuses new photos")
    expect(default).to_contain_text(CAUSE)
    expect(page.locator('.lane[data-lane="high"]')).to_contain_text("takes photos in")
    ocr = page.locator('#stages tr[data-service="ocr"]')
    expect(ocr.locator("th")).to_contain_text("1 worker")
    expect(ocr.locator("td").nth(1)).to_contain_text("1,201")
    expect(ocr.locator("td").nth(1)).to_contain_text("3.5/s, oldest 30 s")
    expect(ocr).to_contain_text("87 %")
    expect(page.locator('#stages tr[data-service="detector"] th')).to_contain_text("not running")


def test_it_is_live(page: Page, conn: db.Conn) -> None:
    measured(conn, "batch", 5)
    visit(page)
    expect(page.locator("#link-state")).to_have_text("Live")
    conn.execute("UPDATE lane_loads SET records = 77, measured_at = now()")
    expect(page.locator('.lane[data-lane="batch"] .number')).to_have_text("77")
    conn.execute("UPDATE lane_loads SET measured_at = now() - interval '5 minutes'")
    expect(page.locator('.lane[data-lane="batch"]')).to_contain_text("not measured")


def test_workers_say_what_they_have_in_hand_and_who_is_missing(page: Page, conn: db.Conn) -> None:
    silent = heartbeat("detector", worker="detector@studio:99", pid=99)
    workers.note(conn, [heartbeat("ocr"), silent])
    conn.execute(
        "UPDATE workers SET seen_at = now() - interval '2 minutes' WHERE service = 'detector'"
    )
    visit(page)
    ocr = page.locator('#workers tr[data-worker="ocr@studio:4711"]')
    expect(ocr).to_contain_text("studio, process 4711")
    expect(ocr).to_contain_text(f"batch: {PHOTO[:13]} for 4 s")
    expect(ocr).to_contain_text("4,321")
    expect(ocr).to_contain_text("2 given up")
    detector = page.locator('#workers tr[data-worker="detector@studio:99"]')
    expect(detector).to_contain_text("missing")
    expect(detector).to_contain_text("2 min ago")
    expect(page.locator("#sum")).to_contain_text("1 worker missing")


def test_a_service_is_paused_with_a_reason_and_goes_on(page: Page, conn: db.Conn) -> None:
    measured(conn, "batch", 5)
    visit(page)
    page.locator('#stages tr[data-service="ocr"]').get_by_role("button", name="Set …").click()
    dialog = page.locator("#ask")
    dialog.get_by_label("Lane").select_option("batch")
    dialog.get_by_label("Pause").select_option("For an hour")
    dialog.get_by_label("Records that begin").fill("20/s")
    dialog.get_by_role("button", name="Set").click()
    expect(dialog.locator("#set-reason:invalid")).to_be_visible()
    dialog.get_by_label("Why").fill("a new disk")
    dialog.get_by_role("button", name="Set").click()
    expect(dialog).to_be_hidden()
    held = page.locator('#set li[data-target="ocr/batch"]')
    expect(held).to_contain_text("paused until")
    expect(held).to_contain_text("at most 20/s")
    expect(held).to_contain_text("a new disk")
    (control,) = controls.controls(conn, "")
    assert (control.target, control.paused, control.rate) == ("ocr/batch", True, "20/s")
    held.get_by_role("button", name="Take back").click()
    expect(page.locator("#controls")).to_be_hidden()
    found, _ = audit.entries(conn, what="control", limit=5)
    assert [entry.what for entry in found] == ["control.removed", "control.changed"]


def test_what_others_have_set_is_shown_and_an_open_pause_stays_one(
    page: Page, conn: db.Conn, outbox: Outbox
) -> None:
    controls.change(conn, outbox, "ocr", {"paused": True, "reason": "too hot"}, "key:mia")
    shares.pin(conn, "", "batch", 0.5, None, ("key:mia", "a quiet night"))
    measured(conn, "batch", 5)
    visit(page)
    expect(page.locator("#set")).to_contain_text("until somebody resumes it")
    expect(page.locator("#set")).to_contain_text("key:mia")
    expect(page.locator('.lane[data-lane="batch"] .share')).to_contain_text(
        "Lets in half of what the limits say: set by key:mia: a quiet night."
    )
    page.locator('#stages tr[data-service="ocr"]').get_by_role("button").click()
    dialog = page.locator("#ask")
    expect(dialog.get_by_label("Why")).to_have_value("too hot")
    dialog.get_by_label("Records at a time").fill("2")
    dialog.get_by_role("button", name="Set").click()
    expect(page.locator("#set")).to_contain_text("2 at a time in each worker")
    (control,) = controls.controls(conn, "")
    assert (control.paused, control.paused_until, control.concurrency) == (True, None, 2)


def test_plots_show_the_day_with_its_gaps_and_tell_what_was_when(page: Page, conn: db.Conn) -> None:
    a_day(conn)
    visit(page)
    plot = page.locator(".plot").filter(has_text="Photos that wait")
    line = plot.locator("path.line").nth(1)  # the last drawn is the first named: of four, batch
    expect(line).to_have_attribute("d", re.compile(r"^M[^M]+M[^M]+"))
    expect(plot.locator("svg")).to_have_attribute("aria-label", re.compile("batch: 900"))
    plot.locator(".frame").hover()
    expect(plot.locator(".told")).not_to_have_text("")
    page.get_by_role("button", name="1 h", exact=True).click()
    expect(page.get_by_role("button", name="1 h", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    letters = page.locator(".plot").filter(has_text="Dead letters")
    expect(letters).to_contain_text("Nothing was measured yet.")


def test_a_plot_has_room_for_what_is_written_beside_it(page: Page, conn: db.Conn) -> None:
    at = samples.slot(conn)
    for minutes in range(0, 60, 5):
        memory = {"service.ocr.memory_bytes": 1.75e9}
        samples.add(conn, at - timedelta(minutes=minutes), memory)
    visit(page)
    plot = page.locator(".plot").filter(has_text="Memory of workers")
    expect(plot.locator("path.line[d^=M]")).to_have_count(1)
    left = plot.locator("svg").evaluate("drawing => drawing.getBoundingClientRect().left")
    marks = plot.locator("text.mark[text-anchor=end]")
    assert "GB" in marks.last.inner_html()
    places = marks.evaluate_all(
        "marks => marks.map((mark) => mark.getBoundingClientRect()).map((r) => [r.left, r.right])"
    )
    assert min(begins for begins, _ in places) >= left, "none is cut"
    rule = plot.locator("line.rule").first.evaluate("one => one.getBoundingClientRect().left")
    assert max(ends for _, ends in places) < rule


def test_tasks_are_chosen_by_state_and_shown_page_by_page(page: Page, seed: Seed) -> None:
    for number in range(10):
        photo = seed.requested(f"IMG_{number:04}.jpg", picture(f"#{number * 20:02x}5577"))
        seed.parts(photo, Look(), detector=number != 3)
        if number == 3:
            seed.stage_failed(photo, "detector", "engine_failed", "It broke.")
    visit(page)
    rows = page.locator("#tasks tbody tr")
    expect(rows).to_have_count(20)
    page.get_by_role("button", name="Show earlier ones").click()
    expect(rows).to_have_count(30)
    page.get_by_label("All states").select_option("failed")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("IMG_0003.jpg")
    expect(rows).to_contain_text("engine_failed")
    page.get_by_label("All stages").select_option("ocr")
    expect(rows).to_contain_text("There is none like that.")


class TestViewer:
    """Who may only look."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        role: Role = "viewer"
        return settings.model_copy(update={"anonymous": role})

    def test_who_may_only_look_is_not_offered_to_change(self, page: Page, conn: db.Conn) -> None:
        measured(conn, "batch", 5)
        visit(page)
        expect(page.locator('#stages tr[data-service="ocr"]')).to_be_visible()
        expect(page.locator("#stages button")).to_have_count(0)


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(page: Page, conn: db.Conn, width: int) -> None:
    measured(conn, "default", 1201, "closed")
    workers.note(conn, [heartbeat("ocr")])
    a_day(conn)
    page.set_viewport_size({"width": width, "height": 800})
    visit(page)
    expect(page.locator(".plot path.line").first).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
