"""An object store that is away under load: told once, nothing is given up, and all goes on.

It is away for DARKROOM_CHAOS_STORE_AWAY_S seconds (20).
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from moto.s3.models import s3_backends

from cut_line import CutLine, line_to
from darkroom_cli.stack import Stack
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
from s3_kit import s3_environment, served_s3
from topic_reader import TopicReader

AWAY_S = float(os.environ.get("DARKROOM_CHAOS_STORE_AWAY_S", "20"))
"""Longer than the first tier of retries."""
PHOTOS = 120
WITHIN_S = 120.0
pytestmark = pytest.mark.timeout(300 + AWAY_S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    fill_with_photos(root, PHOTOS)
    return root


@pytest.fixture(scope="module")
def line() -> Iterator[CutLine]:
    """What leads to the object store."""
    with served_s3() as place, line_to(*place) as line:
        yield line


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, folder: Path, line: CutLine) -> Iterator[Stack]:
    bucket = "darkroom-away"
    s3_backends["123456789012"]["aws"].create_bucket(bucket, "us-east-1")
    env = stub_environment(folder) | s3_environment("127.0.0.1", line.port)
    env |= {"DARKROOM_OBJECTS": f"s3://{bucket}/photos", "DARKROOM_IMPORT_IN_FLIGHT": "40"}
    env["DARKROOM_RATE_SINGLE"] = "none"  # refusals come quickly: over a hundred a minute
    with Stack(tmp_path_factory.mktemp("data"), env=env) as running:
        yield running


@pytest.fixture(scope="module")
def refusals(stack: Stack, folder: Path, line: CutLine) -> list[httpx.Response]:
    """What people were told who handed in a photo meanwhile; the import has completed since."""
    batch = start_import(stack, folder)
    wait(lambda: ended(stack, batch) >= PHOTOS // 8, "the import is under way", 60)
    line.cut()
    until = time.monotonic() + AWAY_S
    refusals: list[httpx.Response] = []

    def over() -> bool:
        refusals.append(hand_in(stack, len(refusals)))
        return time.monotonic() > until

    wait(over, "time goes by", AWAY_S + WITHIN_S)
    assert line.refused > 0
    assert ended(stack, batch) < PHOTOS, "it was away in the course of the import"
    line.mend()
    wait(lambda: state_of(stack, batch) == "completed", "the import completes", WITHIN_S)
    return refusals


def hand_in(stack: Stack, number: int, **headers: str) -> httpx.Response:
    data = photo(PHOTOS + number, 2 * PHOTOS)
    return httpx.post(
        f"{stack.addresses['api']}/v1/photos", content=data, headers=headers, timeout=60
    )


def test_who_hands_in_a_photo_is_told_to_come_again(refusals: list[httpx.Response]) -> None:
    assert {answer.status_code for answer in refusals} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refusals)
    assert refusals[0].json()["detail"].startswith("Object store does not answer.")


@pytest.mark.usefixtures("refusals")
def test_it_is_told_once(stack: Stack) -> None:
    def told() -> list[dict[str, Any]]:
        query = "SELECT kind, subject FROM notices WHERE kind <> ALL(%s)"
        return rows(stack, query, ["batch_completed", "training_finished"])

    wait(lambda: bool(told()), "it is told", 30)
    assert told() == [{"kind": "dependency_away", "subject": "object store"}]


@pytest.mark.usefixtures("refusals")
def test_every_photo_has_a_whole_outcome_and_nothing_was_given_up(
    stack: Stack, tmp_path: Path
) -> None:
    found = rows(stack, "SELECT ended FROM batch_items")
    assert len(found) == PHOTOS
    assert set(Counter(row["ended"] for row in found)) <= {"auto_labeled", "suggested", "review"}
    assert rows(stack, "SELECT count(*) AS n FROM outcomes WHERE partial") == [{"n": 0}]
    assert rows(stack, "SELECT count(*) AS n FROM stage_failures") == [{"n": 0}]
    topics = TopicReader(stack.addresses["kafka"], stack.addresses["registry"], tmp_path)
    for service in ("intake", "detector", "ocr", "embedder", "aggregator", "gateway"):
        assert list(topics.records(f"darkroom.{service}.dlq")) == []


@pytest.mark.usefixtures("refusals")
def test_what_was_refused_is_taken_afterwards(stack: Stack) -> None:
    answer = hand_in(stack, 0, Prefer="wait=30")
    assert answer.json()["status"] == "analyzed", answer.text
