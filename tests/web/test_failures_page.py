"""The page of what failed: groups, what helps, trying again, laying aside, putting back."""

from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from catalog_seed import Look, Seed, Seeded, picture
from gateway import db
from gateway.catalog import audit
from gateway.catalog.outbox import Outbox
from gateway.control.replays import Replayer

REASON = "The model could not look at this photo"


def poisoned(seed: Seed, number: int) -> Seeded:
    """A photo that the detector gave up."""
    photo = seed.requested(f"IMG_{number:04}.jpg", picture(f"#{number * 37 % 256:02x}5577"))
    seed.parts(photo, Look(labels=(("tabby", 0.4),)), detector=False)
    seed.stage_failed(photo, "detector", "engine_failed", REASON)
    seed.outcome(photo, Look(outcome="review"), failed=("detector",))
    return photo


def visit(page: Page) -> None:
    page.goto("/failures")
    expect(page.locator("#sum")).not_to_have_text("Looking …")


def mended(seed: Seed, photo: Seeded) -> None:
    """The detector has looked."""
    seed.parts(photo, Look())
    seed.outcome(photo, Look(), revision=2)


def test_a_group_says_what_failed_and_what_helps_and_is_tried_again(
    page: Page, seed: Seed, conn: db.Conn, outbox: Outbox
) -> None:
    photos = [poisoned(seed, number) for number in range(6)]
    visit(page)
    group = page.locator(".group")
    expect(group).to_have_count(1)
    expect(group.locator("h2")).to_have_text(f"{REASON}.")
    expect(group.locator(".number")).to_have_text("6")
    expect(group.locator(".cure")).to_contain_text("then try again")
    expect(group.locator(".strip img")).to_have_count(4)

    group.get_by_role("button", name="Try all again").click()
    replay = page.locator(".replay")
    expect(replay).to_contain_text("Trying 6 failures again: 0 done, 6 left")
    Replayer(outbox).turn(conn)
    for photo in photos[:5]:
        mended(seed, photo)
    Replayer(outbox).turn(conn)
    expect(replay.locator(".sums")).to_have_text("5 whole now")
    expect(group.locator(".number")).to_have_text("1")
    mended(seed, photos[5])
    Replayer(outbox).turn(conn)
    expect(page.locator("#groups")).to_contain_text("No photo failed")
    expect(replay).to_contain_text("Tried 6 failures again")


def test_one_is_shown_with_its_story_discarded_for_a_reason_and_put_back(
    page: Page, seed: Seed, conn: db.Conn
) -> None:
    for number in range(2):
        poisoned(seed, number)
    visit(page)
    group = page.locator(".group")
    group.get_by_role("button", name="Show each").click()
    first = group.locator(".items > li").filter(has_text="IMG_0000.jpg")
    first.locator("summary").click()
    expect(first.locator(".steps")).to_contain_text("engine_failed")
    first.get_by_role("button", name="Discard").click()
    dialog = page.locator("#ask")
    expect(dialog).to_contain_text("Discard IMG_0000.jpg?")
    dialog.get_by_label("Why?").fill("a screenshot")
    dialog.get_by_role("button", name="Discard").click()
    expect(group.locator(".number")).to_have_text("1")
    expect(group.locator(".items > li")).to_have_count(1)

    page.get_by_role("button", name="1 discarded").click()
    aside = page.locator("#discarded")
    expect(aside).to_contain_text("a screenshot")
    aside.get_by_role("button", name="Put back").click()
    expect(group.locator(".number")).to_have_text("2")
    expect(aside).to_be_hidden()
    found, _ = audit.entries(conn, what="failures", limit=5)
    assert [entry.what for entry in found] == ["failures.restored", "failures.discarded"]


def test_a_file_that_is_no_photo_is_shown_without_a_way_to_try_it_again(
    page: Page, seed: Seed
) -> None:
    seed.refused(seed.batch([], {}), 0, "film.jpg", "file_too_large", "It has 150000000 bytes.")
    visit(page)
    group = page.locator(".group")
    expect(group).to_contain_text("film.jpg")
    expect(group.get_by_role("button", name="Try again")).to_be_hidden()
    group.get_by_role("button", name="Show each").click()
    item = group.locator(".items > li")
    expect(item.get_by_role("button", name="Discard")).to_be_visible()
    expect(item.get_by_role("button", name="Try again")).to_have_count(0)


def test_who_thinks_better_of_it_discards_nothing(page: Page, seed: Seed, conn: db.Conn) -> None:
    poisoned(seed, 1)
    visit(page)
    page.locator(".group").get_by_role("button", name="Discard").click()
    page.locator("#ask").get_by_role("button", name="Cancel").click()
    expect(page.locator(".group .number")).to_have_text("1")
    assert conn.execute("SELECT FROM failure_discards").fetchall() == []


def test_a_rejected_photo_and_letters_of_nobody_are_shown(
    page: Page, seed: Seed, conn: db.Conn
) -> None:
    seed.rejected("notes.txt", "not_an_image", "this is not a picture, it seems to be plain text")
    conn.execute(
        'INSERT INTO dead_letters (service, letter_id, partition, "offset", code, message,'
        " died_at) VALUES ('intake', 'x', 0, 1, 'not_framed', 'No Avro', %s)",
        (datetime.now(UTC),),
    )
    visit(page)
    expect(page.locator("#groups .group")).to_contain_text("It is no photo")
    expect(page.locator("#groups .strip")).to_contain_text("notes.txt")
    expect(page.locator("#letters")).to_contain_text("darkroom dlq list intake --code not_framed")


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(page: Page, seed: Seed, width: int) -> None:
    poisoned(seed, 3)
    page.set_viewport_size({"width": width, "height": 800})
    visit(page)
    page.get_by_role("button", name="Show each").click()
    page.locator(".items summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
