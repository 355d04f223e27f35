"""Signing in, in a real browser against a door that knows nobody without a key."""

import re
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from api_door import door_settings
from gateway import db
from gateway.catalog import keys
from gateway.catalog.keys import KeyRequest, NewKey
from gateway.settings import Settings
from infrastructure import Infrastructure


@pytest.fixture
def settings(infrastructure: Infrastructure, database: str, tmp_path: Path) -> Settings:
    return door_settings(infrastructure, database, tmp_path, anonymous="none")


@pytest.fixture
def key(conn: db.Conn) -> NewKey:
    return keys.make_key(conn, "", KeyRequest(name="ada", role="viewer"), "test")


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Your key").fill(token)
    page.get_by_role("button", name="Sign in").click()


def is_refusal(complaint: str) -> bool:
    """The browser tells of each 401; that is what is tried here."""
    return "the server responded with a status of 401" in complaint


def test_who_signs_in_sees_the_page_and_leaves_it_again(
    page: Page, key: NewKey, complaints: list[str]
) -> None:
    page.goto("/?outcome=suggested")
    expect(page.get_by_label("Your key")).to_be_focused()
    sign_in(page, "dk_nothing_x")
    expect(page.get_by_role("alert")).to_contain_text("This key opens nothing")
    expect(page.get_by_label("Your key")).to_be_focused()
    sign_in(page, f"  {key.token} ")
    expect(page.locator("#link-state")).to_have_attribute("data-state", "live")
    assert page.url.endswith("/?outcome=suggested"), "what was asked for is there"
    expect(page.locator("#who")).to_contain_text("ada, viewer")
    assert page.evaluate("document.cookie") == ""
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Your key")).to_be_visible()
    assert page.context.cookies() == []
    complaints[:] = [each for each in complaints if not is_refusal(each)]


def test_a_page_whose_key_is_revoked_asks_for_another(
    page: Page, key: NewKey, conn: db.Conn, complaints: list[str]
) -> None:
    page.goto("/")
    sign_in(page, key.token)
    expect(page.locator("#link-state")).to_have_attribute("data-state", "live")
    keys.revoke_key(conn, "", key.name, "test")
    expect(page.get_by_label("Your key")).to_be_visible()
    complaints[:] = [each for each in complaints if not is_refusal(each)]


def test_any_address_of_a_browser_leads_to_the_form(page: Page, complaints: list[str]) -> None:
    answer = page.goto(f"/v1/imports/{uuid4()}/report.html")
    assert answer is not None
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="darkroom"')
    expect(page).to_have_title(re.compile("Sign in"))
    complaints[:] = [each for each in complaints if not is_refusal(each)]
