"""The page, in a real browser against the real api door."""

import pytest
from playwright.sync_api import APIResponse, Browser, FilePayload, Page, Route, expect

from api_door import api_door
from catalog_seed import BOX, Look, Seed, picture
from gateway.recorder.news import News, photo_news
from gateway.settings import Settings

ON_SCREEN = """polygon => [...polygon.points].map(corner => {
  const {x, y} = corner.matrixTransform(polygon.getScreenCTM()); return [x, y]; })"""
"""Where a polygon's corners are in the window, in pixels."""


def visit(page: Page) -> None:
    """Open the page and wait until it is live."""
    page.goto("/")
    expect(page.locator("#link-state")).to_have_attribute("data-state", "live")


def test_an_empty_catalog_says_what_to_do(page: Page) -> None:
    visit(page)
    expect(page.get_by_text("./darkroom import FOLDER")).to_be_visible()
    expect(page.locator(".card")).to_have_count(0)


def test_a_list_that_was_on_its_way_hides_nothing_that_was_told_since(
    page: Page, seed: Seed, news: News
) -> None:
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/v1/photos?*", lambda route: held.append((route, route.fetch())))
    visit(page)
    expect(page.locator("#filters .count").first).to_have_text("0")
    photo = seed.requested("cat.jpg", picture())
    news.tell([photo_news(photo.photo_id, photo.analysis_id, [])])
    expect(page.locator(".card.pending")).to_contain_text("cat.jpg")
    ((route, answer),) = held
    with page.expect_response("**/v1/photos?*"):
        route.fulfill(response=answer)
    expect(page.get_by_text("./darkroom import FOLDER")).to_be_hidden()
    expect(page.locator(".card.pending")).to_contain_text("cat.jpg")


def test_a_photo_appears_as_soon_as_it_is_recorded(page: Page, seed: Seed, news: News) -> None:
    visit(page)
    photo = seed.requested("cat.jpg", picture())
    news.tell([photo_news(photo.photo_id, photo.analysis_id, [])])
    expect(page.locator(".card.pending")).to_contain_text("cat.jpg")
    look = Look(text="HELLO WORLD", outcome="suggested")
    seed.parts(photo, look)
    seed.outcome(photo, look)
    news.tell([photo_news(photo.photo_id, photo.analysis_id, [])])
    card = page.locator(".card.suggested")
    for text in ("tabby", "≈ 90 %", "cat", "HELLO WORLD", "Suggested"):
        expect(card).to_contain_text(text)
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator('[data-filter="suggested"] .count')).to_have_text("1")


def test_a_card_keeps_the_proportions_of_its_photo(page: Page, seed: Seed) -> None:
    seed.analyzed("wide.jpg", picture("red", (600, 300)))
    visit(page)
    frame = page.locator(".card .frame").bounding_box()
    assert frame is not None
    assert frame["width"] / frame["height"] == pytest.approx(2.0, rel=0.02)


def test_boxes_lie_where_the_polygons_say(page: Page, seed: Seed) -> None:
    seed.analyzed("sign.jpg", picture(size=(800, 500)), Look(text="OPEN"))
    visit(page)
    page.locator(".card .open").click()
    expect(page.locator("#detail .reading")).to_have_text("OPEN")
    image = page.locator(".picture img").bounding_box()
    assert image is not None
    assert image["width"] / image["height"] == pytest.approx(1.6, rel=0.01)
    corners = page.locator(".picture polygon.word").evaluate(ON_SCREEN)
    expected = [
        (image["x"] + x * image["width"], image["y"] + y * image["height"])
        for x, y in zip(BOX[::2], BOX[1::2], strict=True)
    ]
    for corner, wanted in zip(corners, expected, strict=True):
        assert corner == pytest.approx(wanted, abs=1.0)
    page.keyboard.press("b")
    expect(page.locator(".picture polygon.word")).to_be_hidden()
    page.keyboard.press("b")
    page.locator(".reading span").hover()
    expect(page.locator(".picture polygon.word.on")).to_have_count(1)


def test_the_details_name_engines_times_and_what_confidence_means(page: Page, seed: Seed) -> None:
    seed.analyzed("cat.jpg", picture(), Look(labels=[("tabby", 0.9), ("lynx", 0.05)]))
    visit(page)
    page.locator(".card .open").click()
    detail = page.locator("#detail")
    for text in ("cat.jpg", "detector", "stub", "4 ms", "400 × 300 px", "3 dimensions", "lynx"):
        expect(detail).to_contain_text(text)
    detail.get_by_role("button", name="uncalibrated").focus()
    expect(detail.get_by_role("tooltip")).to_be_visible()
    href = detail.get_by_role("link", name="Original").get_attribute("href")
    assert href is not None
    assert page.request.get(href).headers["content-type"] == "image/jpeg"
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    expect(page.locator(".card .open")).to_be_focused()


def test_an_uncalibrated_confidence_is_marked_on_the_sheet_and_it_is_said_why_and_what_helps(
    page: Page, seed: Seed
) -> None:
    seed.analyzed("sure.jpg", picture("red"), Look(labels=[("cup", 0.9)], calibrated=True))
    seed.analyzed("cat.jpg", picture("blue"), Look(labels=[("tabby", 0.9)]))
    visit(page)
    mark = page.locator(".card", has_text="tabby").get_by_text("uncalibrated")
    expect(mark).to_be_visible()
    for said in ("200 labelled photos", "nine times out of ten", "detector.calibrate"):
        assert said in (mark.get_attribute("title") or "")
    calibrated = page.locator(".card", has_text="cup")
    expect(calibrated).to_contain_text("90 %")
    expect(calibrated).not_to_contain_text("≈")
    expect(calibrated.get_by_text("uncalibrated")).to_have_count(0)
    calibrated.locator(".open").click()
    expect(page.locator("#detail .labels")).to_contain_text("90 %")
    expect(page.locator("#detail").get_by_text("uncalibrated")).to_have_count(0)


def test_where_a_card_is_too_narrow_for_the_word_its_sign_stays(page: Page, seed: Seed) -> None:
    seed.analyzed("tower.jpg", picture(size=(300, 400)), Look(labels=[("tabby", 0.9)]))
    page.set_viewport_size({"width": 390, "height": 800})
    visit(page)
    expect(page.locator(".card")).to_contain_text("≈ 90 %")
    expect(page.locator(".card .unsure")).to_be_hidden()


def test_searching_shows_what_matches_and_escape_leads_back(page: Page, seed: Seed) -> None:
    seed.analyzed("cat.jpg", picture("red"), Look(labels=[("tabby", 0.9)]))
    seed.analyzed("cup.jpg", picture("blue"), Look(labels=[("espresso", 0.85)], category="food"))
    visit(page)
    expect(page.locator(".card")).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("espresso")
    expect(page.locator("#lead")).to_contain_text("1 photo")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".card")).to_contain_text("espresso")
    page.keyboard.press("Escape")
    expect(page.locator(".card")).to_have_count(2)


def test_more_like_this_orders_by_likeness(page: Page, seed: Seed) -> None:
    seed.analyzed("far.jpg", picture("red"), Look(labels=[("far", 0.9)], vector=[0, 1, 0]))
    seed.analyzed("near.jpg", picture("blue"), Look(labels=[("near", 0.9)], vector=[0.9, 0.1, 0]))
    seed.analyzed("this.jpg", picture("green"), Look(labels=[("this", 0.9)], vector=[1, 0, 0]))
    visit(page)
    card = page.locator(".card", has_text="this")
    card.hover()
    card.get_by_role("button", name="More like this.jpg").click()
    expect(page.locator("#lead")).to_contain_text("More like this")
    expect(page.locator(".card .name b")).to_have_text(["near", "far"])


def test_filters_count_and_show_one_outcome(page: Page, seed: Seed) -> None:
    for n, outcome in enumerate(("auto_labeled", "review", "review")):
        seed.analyzed(f"{n}.jpg", picture(f"#{n}{n}{n}"), Look(outcome=outcome))
    visit(page)
    expect(page.locator('[data-filter="all"] .count')).to_have_text("3")
    page.locator('[data-filter="review"]').click()
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator('[data-filter="review"]')).to_have_attribute("aria-pressed", "true")


def test_a_rejected_file_shows_its_reason(page: Page, seed: Seed, news: News) -> None:
    seed.rejected("torn.jpg", "image_truncated", "it ends in the middle of the picture")
    visit(page)
    page.locator('[data-filter="rejected"]').click()
    row = page.locator(".files li")
    expect(row).to_contain_text("torn.jpg")
    expect(row).to_contain_text("It ends in the middle of the picture.")
    later = seed.rejected("notes.jpg", "not_an_image", "<b>this</b> is plain text")
    news.tell([photo_news(later.photo_id, later.analysis_id, [])])
    expect(row).to_have_count(2)
    expect(row.first).to_contain_text("<b>this</b> is plain text")


def test_photos_can_be_handed_in_and_every_answer_is_shown(
    page: Page, seed: Seed, news: News, complaints: list[str]
) -> None:
    known = picture("red")
    seed.analyzed("known.jpg", known)
    visit(page)
    files = [("fresh.jpg", picture("blue")), ("copy.jpg", known), ("diary.jpg", b"Dear diary")]
    page.locator("#files").set_input_files(
        [FilePayload(name=name, mimeType="image/jpeg", buffer=data) for name, data in files]
    )
    tray = page.locator("#tray")
    expect(tray).to_contain_text("already here")
    expect(tray).to_contain_text("This is not a picture, it seems to be plain text.")
    expect(page.locator(".card.pending")).to_contain_text("fresh.jpg")
    photo = seed.requested("fresh.jpg", files[0][1])
    seed.parts(photo, Look())
    seed.outcome(photo, Look())
    news.tell([photo_news(photo.photo_id, photo.analysis_id, [])])
    expect(tray.locator("li", has_text="fresh.jpg")).to_contain_text("tabby")
    expect(page.locator(".card.pending")).to_have_count(0)
    refused = "error: Failed to load resource: the server responded with a status of 415"
    assert [each.startswith(refused) for each in complaints] == [True]
    complaints.clear()


def test_arrows_move_between_photos(page: Page, seed: Seed) -> None:
    for n in range(3):
        seed.analyzed(f"{n}.jpg", picture(f"#{n}{n}{n}"))
    visit(page)
    page.locator(".card .open").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".card .open").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#detail-name")).to_have_text("1.jpg")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#detail-name")).to_have_text("0.jpg")


@pytest.mark.parametrize("width", [360, 768, 2200])
def test_the_page_fits_its_window(page: Page, seed: Seed, width: int) -> None:
    for n, size in enumerate(((900, 100), (100, 900), (400, 300))):
        seed.analyzed(f"{'long-' * 20}{n}.jpg", picture(f"#{n}{n}{n}", size), Look(text="A " * 90))
    page.set_viewport_size({"width": width, "height": 740})
    visit(page)
    expect(page.locator(".card")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".card .open").first.click()
    expect(page.locator("#detail .picture")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_lost_connection_is_shown_and_mended(
    browser: Browser, settings: Settings, seed: Seed
) -> None:
    context = browser.new_context()
    page = context.new_page()
    with api_door(settings) as url:
        page.goto(url)
        expect(page.locator("#link-state")).to_have_attribute("data-state", "live")
    expect(page.locator("#offline")).to_contain_text("No connection to Darkroom")
    seed.analyzed("meanwhile.jpg", picture())
    with api_door(settings):
        page.get_by_role("button", name="Try now").click()
        expect(page.locator("#link-state")).to_have_attribute("data-state", "live")
        expect(page.locator(".card")).to_have_count(1)
    context.close()
