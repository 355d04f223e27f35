"""A disk that is full in the course of an import: nothing is lost, and all goes on afterwards."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from darkroom_cli.stack import Stack
from darkroom_schemas import names
from import_chaos import wait
from import_watch import (
    ended,
    fill_with_photos,
    photo,
    rows,
    start_import,
    state_of,
    stub_environment,
)
from small_disk import SmallDisk, small_disk
from topic_reader import TopicReader

PHOTOS = 60
FULL_S = 12.0
"""Longer than a session, and than it takes a program to be started again a few times."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    fill_with_photos(root, PHOTOS)
    return root


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with small_disk(tmp_path_factory.mktemp("small") / "disk", 1000) as disk:
        yield disk


@pytest.fixture(scope="module")
def stack(disk: SmallDisk, folder: Path) -> Iterator[Stack]:
    """All of its data is on that disk: photos, catalog, topics, logs."""
    with Stack(disk.folder / "data", env=stub_environment(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def refusal(stack: Stack, disk: SmallDisk, folder: Path) -> httpx.Response:
    """What somebody was told who handed in a photo then; the import has completed since."""
    batch = start_import(stack, folder)
    wait(lambda: ended(stack, batch) >= PHOTOS // 5, "the import is under way", 60)
    disk.fill()
    try:
        refusal = httpx.post(
            f"{stack.addresses['api']}/v1/photos", content=photo(PHOTOS + 1, PHOTOS), timeout=30
        )
        until = time.monotonic() + FULL_S
        wait(lambda: time.monotonic() > until, "programs meet the full disk", 2 * FULL_S)
        assert stack.running, "a full disk does not end the supervisor"
    finally:
        disk.make_room()
    wait(lambda: state_of(stack, batch) == "completed", "the import completes", 180)
    return refusal


def test_who_hands_in_a_photo_is_told_that_there_is_no_room(refusal: httpx.Response) -> None:
    assert refusal.status_code == 507, refusal.text
    assert refusal.json()["code"] == "disk_full"
    assert "Make room" in refusal.json()["detail"]


@pytest.mark.usefixtures("refusal")
def test_every_photo_has_its_end_and_nothing_was_given_up(stack: Stack, tmp_path: Path) -> None:
    stack.wait_until(lambda now: now.all_ready, 60, "all are ready again")
    topics = TopicReader(stack.addresses["kafka"], stack.addresses["registry"], tmp_path)
    told = {value["index"]: value["end"] for _, value in topics.events(names.BATCH_PHOTO_ENDED)}
    ends = {row["index"]: row["ended"] for row in rows(stack, "SELECT * FROM batch_items")}
    assert ends == told
    assert set(ends) == set(range(PHOTOS))
    assert set(Counter(ends.values())) <= {"auto_labeled", "suggested", "review"}
    for service in ("intake", "detector", "ocr", "embedder", "aggregator", "gateway"):
        assert list(topics.records(f"darkroom.{service}.dlq")) == []


@pytest.mark.usefixtures("refusal")
def test_what_was_refused_is_taken_when_there_is_room(stack: Stack) -> None:
    answer = httpx.post(
        f"{stack.addresses['api']}/v1/photos",
        content=photo(PHOTOS + 1, PHOTOS),
        headers={"Prefer": "wait=30"},
        timeout=60,
    )
    assert answer.json()["status"] == "analyzed", answer.text
