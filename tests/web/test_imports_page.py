"""Imports on the page: the panel, its buttons, the details, the reports, notices."""

import json
from uuid import UUID

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect
from psycopg.types.json import Jsonb

from catalog_seed import Look, Seed, picture
from gateway import db
from gateway.recorder.news import News, batch_news


def visit(page: Page) -> None:
    """Open the page and wait until it is live."""
    page.goto("/")
    expect(page.locator("#link-state")).to_have_attribute("data-state", "live")


def going(seed: Seed, conn: db.Conn) -> str:
    """An import in the midst of it, with two failures of one reason."""
    batch = seed.batch([], {})
    for index in (0, 1):
        seed.refused(batch, index, f"secret{index}.jpg", "file_forbidden", "It may not be read")
    conn.execute(
        "UPDATE batches SET state = 'scanning', sealed = false, expected = 1200, found = 700,"
        " submitted = 698, refused = 2, started_at = now() - interval '60 s', totals = %s,"
        " samples = (SELECT jsonb_agg(jsonb_build_array(extract(epoch FROM now()) - 60 + 2 * n,"
        "   20 * n)) FROM generate_series(0, 29) AS n)",  # an even 10 files a second
        (Jsonb({"found": 700, "accepted": 598, "auto_labeled": 598, "rejected": 2}),),
    )
    return batch


def test_an_import_moves_its_bar_and_names_duplicates(
    page: Page, seed: Seed, news: News, conn: db.Conn
) -> None:
    photos = [seed.analyzed(f"{n}.jpg", picture(f"#{n}{n}{n}")) for n in range(4)]
    batch = seed.batch(photos, {"found": 4, "accepted": 1, "auto_labeled": 1})
    seed.duplicate(batch, 4, "copy.jpg", of=photos[0])
    visit(page)
    bar = page.get_by_role("progressbar", name="Import of trip")
    expect(bar).to_have_attribute("aria-valuenow", "1")
    conn.execute(
        "UPDATE batches SET found = 5, duplicates = 1,"
        """ totals = '{"found": 5, "duplicates": 1, "accepted": 3, "auto_labeled": 3}'"""
    )
    news.tell([batch_news(batch)])
    expect(bar).to_have_attribute("aria-valuenow", "4")
    page.get_by_role("button", name="Details").click()
    expect(page.locator("#report")).to_contain_text("copy.jpg")
    page.locator("#report").get_by_role("button", name="0.jpg").click()
    expect(page.locator("#detail")).to_contain_text("0.jpg")


def test_an_import_says_how_fast_it_is_when_it_ends_and_why_files_failed(
    page: Page, seed: Seed, conn: db.Conn
) -> None:
    going(seed, conn)
    visit(page)
    row = page.locator(".import")
    expect(row.locator(".progress")).to_contain_text("600 of 1,200")
    expect(row.locator(".progress")).to_contain_text("a second")
    expect(row.locator(".progress")).to_contain_text("left")
    expect(row.locator(".reasons")).to_have_text("2 × It may not be read.")
    expect(row.locator(".sums")).to_contain_text("100 being analysed")


def test_an_import_is_paused_goes_on_and_is_cancelled_after_a_question(
    page: Page, seed: Seed, conn: db.Conn
) -> None:
    batch = going(seed, conn)
    visit(page)
    row = page.locator(f'[data-batch="{batch}"]')
    row.get_by_role("button", name="Pause").click()
    expect(row.locator(".state")).to_have_text("Paused")
    expect(row.locator(".progress")).not_to_contain_text("left")
    row.get_by_role("button", name="Resume").click()
    expect(row.get_by_role("button", name="Pause")).to_be_visible()
    row.get_by_role("button", name="Cancel").click()
    expect(row.get_by_role("button", name="Keep going")).to_be_focused()
    page.keyboard.press("Escape")
    expect(row.get_by_role("button", name="Cancel", exact=True)).to_be_focused()
    row.get_by_role("button", name="Cancel").click()
    row.get_by_role("button", name="Cancel import").click()
    expect(row.locator(".state")).to_have_text("Cancelling")
    expect(row.get_by_role("button")).to_have_text(["Details"])
    states = conn.execute("SELECT state, paused_by, cancelled_by FROM batches").fetchall()
    assert [(each["state"], each["cancelled_by"]) for each in states] == [("cancelling", "page")]


def test_what_can_not_be_done_is_said(
    page: Page, seed: Seed, conn: db.Conn, complaints: list[str]
) -> None:
    batch = going(seed, conn)

    def too_late(route: Route) -> None:
        conn.execute("UPDATE batches SET state = 'running', sealed = true")
        route.continue_()

    visit(page)
    page.route("**/pause", too_late)
    page.locator(f'[data-batch="{batch}"]').get_by_role("button", name="Pause").click()
    expect(page.locator(".trouble")).not_to_be_empty()
    assert [each.startswith("error: Failed to load resource") for each in complaints] == [True]
    complaints.clear()


@pytest.mark.parametrize(
    ("state", "counts", "words"),
    [
        ("completed", {}, "Done"),
        ("completed_with_failures", {"found": 2, "rejected": 2}, "Done, with failures"),
        ("cancelled", {"found": 9, "accepted": 9, "cancelled": 5, "auto_labeled": 4}, "Cancelled"),
    ],
)
def test_the_bar_of_what_is_over_is_full(
    page: Page, seed: Seed, conn: db.Conn, state: str, counts: dict[str, int], words: str
) -> None:
    seed.batch([], {})
    conn.execute(
        "UPDATE batches SET state = %s, totals = %s, found = %s, completed_at = now(),"
        " expected = 400",
        (state, Jsonb(counts), counts.get("found", 0)),
    )
    visit(page)
    bar = page.get_by_role("progressbar")
    expect(page.locator(".import .state")).to_have_text(words)
    most = bar.get_attribute("aria-valuemax")
    assert bar.get_attribute("aria-valuenow") == most
    assert page.locator(".import").get_by_role("button").count() >= 1
    filled = bar.evaluate(
        "bar => bar.classList.contains('empty') ? 100 :"
        " [...bar.children].reduce((sum, part) => sum + parseFloat(part.style.width), 0)"
    )
    assert filled == pytest.approx(100)


def test_the_details_lead_to_reports_that_render_under_their_policy(
    page: Page, seed: Seed, conn: db.Conn
) -> None:
    photo = seed.analyzed("cat.jpg", picture(), Look(labels=[("tabby", 0.9)]))
    batch = seed.batch([photo], {"found": 2, "accepted": 1, "auto_labeled": 1, "rejected": 1})
    seed.ended(batch, 0, "auto_labeled")
    seed.refused(batch, 1, "<i>secret</i>.jpg", "file_forbidden", "It may not be read.")
    conn.execute("UPDATE batches SET found = 2, refused = 1, state = 'completed_with_failures'")
    visit(page)
    page.get_by_role("button", name="Details").click()
    report = page.locator("#report")
    expect(report).to_contain_text("Why files failed")
    expect(report).to_contain_text("<i>secret</i>.jpg")
    with page.expect_download() as saved:
        report.get_by_role("link", name="Every file as CSV").click()
    assert saved.value.path().read_text(encoding="utf-8").count("\n") == 3
    address = report.get_by_role("link", name="Report", exact=True).get_attribute("href")
    assert address is not None
    page.goto(address)
    expect(page.locator("h1")).to_have_text("trip")
    image = page.locator(".files img")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.naturalWidth") > 0, "the policy lets pictures in"
    assert page.locator("h1").evaluate("h1 => getComputedStyle(h1).fontSize") == "27px", "and style"
    expect(page.locator(".files")).to_contain_text("<i>secret</i>.jpg")


def test_notices_are_shown_quietly_and_can_be_closed(page: Page) -> None:
    def with_notices(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        for n, severity in enumerate(("warning", "warning", "critical")):
            notice = {
                **{"notice_id": str(UUID(int=n // 2)), "severity": severity, "kind": "x"},
                **{"title": f"<b>notice</b> {n}", "detail": "Look at it."},
                "occurred_at": "2026-11-29T12:00:00Z",
            }
            socket.send(json.dumps({"type": "notice", "notice": notice}))

    page.route_web_socket("**/v1/events", with_notices)
    visit(page)
    notices = page.locator("#notices li")
    expect(notices).to_have_count(2)  # the second one is the first again
    expect(notices.first).to_contain_text("<b>notice</b> 0")
    expect(page.locator("#spoken")).to_contain_text("notice")
    page.get_by_role("button", name="Close this notice").first.click()
    page.get_by_role("button", name="Close this notice").first.click()
    expect(page.locator("#notices")).to_be_hidden()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_panel_and_the_report_fit_their_window(
    page: Page, seed: Seed, conn: db.Conn, width: int
) -> None:
    batch = going(seed, conn)
    conn.execute(
        "UPDATE batches SET roots = %s, paused_by = %s, state = 'paused'",
        (Jsonb([f"/a/{'long-name-' * 30}"]), "somebody with quite a long name"),
    )
    seed.refused(batch, 2, "n" * 240, "file_forbidden", "because " * 40)
    page.set_viewport_size({"width": width, "height": 740})
    visit(page)
    expect(page.locator(".import")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".import").get_by_role("button", name="Cancel").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto(f"/v1/imports/{batch}/report.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
