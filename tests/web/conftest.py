"""What the tests of the page share: a browser, the door, a catalog to fill."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from playwright.sync_api import Browser, Page, sync_playwright

from api_door import ABSENT_REGISTRY, api_door, free_port, remember_ids
from catalog_seed import Seed
from gateway import db
from gateway.recorder.news import News, RedisWire
from gateway.settings import Settings
from infrastructure import Infrastructure

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
def objects(tmp_path: Path) -> Path:
    folder = tmp_path / "objects"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(
    infrastructure: Infrastructure, database: str, objects: Path, tmp_path: Path
) -> Settings:
    prefix = f"t{uuid4().hex[:8]}."
    remember_ids(tmp_path / "ids", prefix)
    return Settings(
        database=database,
        redis=infrastructure.redis,
        kafka=infrastructure.kafka,
        registry=ABSENT_REGISTRY,  # ids are remembered
        cache=tmp_path / "ids",
        objects=f"file://{objects}",
        api_port=free_port(),
        topic_prefix=prefix,
        _cli_parse_args=[],
    )


@pytest.fixture
def seed(conn: db.Conn, objects: Path) -> Seed:
    return Seed(conn, objects)


@pytest.fixture
def news(settings: Settings) -> Iterator[News]:
    with redis.Redis.from_url(settings.redis) as connection:
        yield News(RedisWire(connection), settings.topic_prefix)


@pytest.fixture
def door(settings: Settings) -> Iterator[str]:
    with api_door(settings) as url:
        yield url


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
