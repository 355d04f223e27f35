"""What the tests of the page share: a browser, the door, a catalog to fill."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

INSTALL = (
    "These tests need Chromium. Debian, Ubuntu: apt install chromium · Fedora: dnf install "
    "chromium · macOS: brew install --cask chromium; it must be on the PATH."
)
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the session: while Playwright runs, it has the event loop that other tests need.
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail(INSTALL)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console said in anger."""
    return []


@pytest.fixture
def page(browser: Browser, door: str, complaints: list[str]) -> Iterator[Page]:
    """A tab that has not been anywhere; at the end it must have had nothing to complain about."""
    context = browser.new_context(base_url=door, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    foreign: list[str] = []
    page.on(
        "request", lambda asked: None if asked.url.startswith(door) else foreign.append(asked.url)
    )
    yield page
    assert complaints == []
    assert foreign == [], "the page asks nobody but its own door"
    context.close()
