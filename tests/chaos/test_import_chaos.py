"""Effectively once: an import goes on through crashes at every step of the services' own code,
kills of all services and of the infrastructure, and a process that stands still.

The order is by chance. A longer one, or the same again, by DARKROOM_CHAOS_PHOTOS (180),
DARKROOM_CHAOS_SEED and DARKROOM_CHAOS_STILL_S (12).
"""

import csv
import io
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from crash_points import POINTS, CrashPoints
from darkroom_cli.stack import SERVICES, Stack
from darkroom_schemas import names
from import_chaos import INFRASTRUCTURE, ImportChaos, wait
from import_watch import (
    SUPPORT,
    ended,
    fill_with_photos,
    photo,
    rows,
    start_import,
    state_of,
    stub_environment,
)
from topic_reader import TopicReader

PHOTOS = int(os.environ.get("DARKROOM_CHAOS_PHOTOS", "180"))
SEED = int(os.environ.get("DARKROOM_CHAOS_SEED", str(random.randrange(10**6))))
STILL_S = float(os.environ.get("DARKROOM_CHAOS_STILL_S", "12"))
"""Longer than the 10 s of a session: the broker takes partitions away meanwhile."""
pytestmark = pytest.mark.timeout(300 + PHOTOS + STILL_S)
COPIES = 5
BAD = 5
DEADLINE_S = 90.0 + STILL_S
AGAIN_S = 60.0
"""So long after the last harm the aggregator works again, on a machine busy with other tests."""
OUTCOME_TOPICS = {
    names.PHOTO_AUTO_LABELED: "auto_labeled",
    names.PHOTO_SUGGESTED: "suggested",
    names.PHOTO_REVIEW_REQUESTED: "review",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos, 5 of them twice, and 5 files that are none."""
    root = tmp_path_factory.mktemp("photos")
    fill_with_photos(root, PHOTOS)
    for number in range(COPIES):
        (root / f"copy-{number}.jpg").write_bytes(photo(number * 7, PHOTOS))
    for number in range(BAD):
        (root / f"bad-{number}.jpg").write_bytes(b"no photo %d" % number)
    return root


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> CrashPoints:
    return CrashPoints(tmp_path_factory.mktemp("points"))


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, points: CrashPoints
) -> Iterator[Stack]:
    env = stub_environment(folder) | points.env(SUPPORT)
    with Stack(tmp_path_factory.mktemp("data"), env=env) as running:
        yield running


@pytest.fixture(scope="module")
def batch(stack: Stack, folder: Path, points: CrashPoints) -> str:
    """The import, in the course of which all the harm was done."""
    batch = start_import(stack, folder)

    def over() -> bool:
        return state_of(stack, batch).startswith("completed")

    chance = random.Random(SEED)
    print(f"DARKROOM_CHAOS_SEED={SEED}", flush=True)  # noqa: T201 - shown with what failed
    chaos = ImportChaos(stack, points, chance, lambda: ended(stack, batch), over, STILL_S)
    chaos.run(step=PHOTOS // 60, within_s=DEADLINE_S)
    done = ended(stack, batch)
    wait(lambda: over() or ended(stack, batch) > done, "work goes on", AGAIN_S)
    wait(over, "the import completes", DEADLINE_S + PHOTOS)
    return batch


@pytest.fixture(scope="module")
def topics(stack: Stack, batch: str, tmp_path_factory: pytest.TempPathFactory) -> TopicReader:
    cache = tmp_path_factory.mktemp("schema-ids")
    return TopicReader(stack.addresses["kafka"], stack.addresses["registry"], cache)


def test_every_service_was_killed_and_came_back(stack: Stack, batch: str) -> None:
    state = stack.wait_until(lambda now: now.all_ready, 60, "all are ready again")
    assert all(state.process(name).restarts >= 1 for name in (*SERVICES, *INFRASTRUCTURE))


@pytest.mark.parametrize("point", POINTS)
def test_a_service_crashed_at(point: str, points: CrashPoints, batch: str) -> None:
    assert points.fired(point)


def test_the_totals_are_exact(stack: Stack, batch: str) -> None:
    found = httpx.get(f"{stack.addresses['api']}/v1/imports/{batch}", timeout=10).json()
    assert found["found"] == PHOTOS + COPIES + BAD
    assert found["duplicates"] == COPIES
    assert found["rejected"] == BAD
    assert found["accepted"] == PHOTOS
    assert found["accepted"] == found["auto_labeled"] + found["suggested"] + found["review"]
    assert (found["pending"], found["partial"], found["cancelled"]) == (0, 0, 0)


def outcomes(topics: TopicReader) -> dict[str, dict[str, Any]]:
    """The one outcome of each analysis; repetitions must be equal and have the same id."""
    found: dict[str, tuple[str, str, dict[str, Any]]] = {}
    for topic, outcome in OUTCOME_TOPICS.items():
        for event_id, value in topics.events(topic):
            told = (topic, event_id, value)
            assert found.setdefault(value["analysis_id"], told) == told
            assert value["outcome"] == outcome
    return {analysis: value for analysis, (_, _, value) in found.items()}


def test_every_photo_has_exactly_one_outcome_in_the_topics(topics: TopicReader) -> None:
    found = outcomes(topics)
    assert len(found) == PHOTOS
    assert len({value["photo_id"] for value in found.values()}) == PHOTOS
    assert set(Counter(value["outcome"] for value in found.values())) == set(
        OUTCOME_TOPICS.values()
    )


def test_the_catalog_tells_the_same_outcomes_as_the_topics(
    stack: Stack, topics: TopicReader
) -> None:
    catalog = {
        str(row["analysis_id"]): (str(row["photo_id"]), row["outcome"], row["confidence"])
        for row in rows(stack, "SELECT analysis_id, photo_id, outcome, confidence FROM outcomes")
    }
    told = {
        analysis: (value["photo_id"], value["outcome"], value["confidence"])
        for analysis, value in outcomes(topics).items()
    }
    assert catalog == told


def test_the_catalog_tells_the_same_ends_as_the_topics(
    stack: Stack, topics: TopicReader, batch: str
) -> None:
    told = {value["index"]: value["end"] for _, value in topics.events(names.BATCH_PHOTO_ENDED)}
    query = "SELECT index, ended FROM batch_items WHERE batch_id = %s AND state = 'submitted'"
    assert {row["index"]: row["ended"] for row in rows(stack, query, batch)} == told


def test_the_report_tells_the_same(stack: Stack, batch: str) -> None:
    answer = httpx.get(f"{stack.addresses['api']}/v1/imports/{batch}/report.csv", timeout=30)
    told = Counter(row["end"] for row in csv.DictReader(io.StringIO(answer.text)))
    query = "SELECT coalesce(ended, state) AS end FROM batch_items WHERE batch_id = %s"
    assert told == Counter(row["end"] for row in rows(stack, query, batch))


def test_every_part_is_in_the_catalog_once(stack: Stack, batch: str) -> None:
    counts = rows(stack, "SELECT stage, count(*) AS n FROM parts GROUP BY stage ORDER BY stage")
    assert [(row["stage"], row["n"]) for row in counts] == [
        ("detector", PHOTOS),
        ("embedder", PHOTOS),
        ("ocr", PHOTOS),
    ]
    assert rows(stack, "SELECT count(*) AS n FROM embeddings") == [{"n": PHOTOS}]


def test_every_submitted_file_ended_once(stack: Stack, topics: TopicReader, batch: str) -> None:
    ends: dict[int, dict[str, Any]] = {}
    for _, value in topics.events(names.BATCH_PHOTO_ENDED):
        assert ends.setdefault(value["index"], value) == value
    submitted = rows(
        stack,
        "SELECT index, analysis_id FROM batch_items WHERE batch_id = %s AND state = 'submitted'",
        batch,
    )
    assert {row["index"]: str(row["analysis_id"]) for row in submitted} == {
        index: value["analysis_id"] for index, value in ends.items()
    }
    assert len(ends) == PHOTOS + BAD


def test_the_tables_of_faust_tell_the_same(topics: TopicReader, batch: str) -> None:
    decided = {
        (analysis, int(number)): revision["decision"]["outcome"]
        for photo in topics.table("darkroom-aggregator-analyses-changelog").values()
        for analysis, known in photo["analyses"].items()
        for number, revision in known["revisions"].items()
        if "decision" in revision
    }
    assert decided == {
        (analysis, value["revision"]): value["outcome"]
        for analysis, value in outcomes(topics).items()
    }
    chunks = topics.table("darkroom-aggregator-chunks-changelog").values()
    assert sum(len(one["ends"].replace(".", "")) for one in chunks) == PHOTOS + BAD


def test_the_import_completed_with_one_answer(topics: TopicReader, batch: str) -> None:
    told = list(topics.events(names.BATCH_COMPLETED))
    assert len({event_id for event_id, _ in told}) == 1
    assert all(value == told[0][1] for _, value in told)
    assert told[0][1]["batch_id"] == batch
    assert told[0][1]["accepted"] == PHOTOS


def test_nothing_was_given_up(topics: TopicReader, batch: str) -> None:
    for service in ("intake", "detector", "ocr", "embedder", "aggregator", "gateway"):
        assert list(topics.records(f"darkroom.{service}.dlq")) == []


def test_of_two_imports_of_the_same_photos_one_is_cancelled_and_the_other_has_them_all(
    stack: Stack, folder: Path
) -> None:
    shared = [photo(PHOTOS + number, 2 * PHOTOS) for number in range(30)]
    for name, first in (("one", 100), ("two", 200)):
        (folder / name).mkdir()
        own = [photo(PHOTOS + first + number, 2 * PHOTOS) for number in range(20)]
        for number, data in enumerate([*shared, *own]):
            (folder / name / f"{number:02}.jpg").write_bytes(data)
    one, two = start_import(stack, folder / "one"), start_import(stack, folder / "two")
    wait(lambda: ended(stack, one) + ended(stack, two) >= 5, "both are under way", 30)
    api = stack.addresses["api"]
    assert httpx.post(f"{api}/v1/imports/{one}/cancel", timeout=10).status_code == 202
    wait(lambda: state_of(stack, one) == "cancelled", "the one is cancelled", 60)
    wait(lambda: state_of(stack, two) == "completed", "the other completes", 60)
    ends = (
        "SELECT photo_id, count(*) AS n FROM outcomes WHERE photo_id IN (SELECT"
        " coalesce(duplicate_of, photo_id) FROM batch_items WHERE batch_id = %s) GROUP BY photo_id"
    )
    assert [row["n"] for row in rows(stack, ends, two)] == [1] * 50
    for batch_id in (one, two):
        told = httpx.get(f"{api}/v1/imports/{batch_id}", timeout=10).json()
        assert told["pending"] == 0
        assert told["found"] == told["duplicates"] + told["rejected"] + told["accepted"]
    assert told["found"] == 50


def test_a_broker_that_stood_still_holds_nothing_up_afterwards(stack: Stack, batch: str) -> None:
    os.kill(stack.pid("kafka"), signal.SIGSTOP)
    try:
        # Longer than the 10 s of a session: the broker takes all partitions away when it goes on.
        again = time.monotonic() + 15
        wait(lambda: time.monotonic() > again, "the sessions end", 30)
    finally:
        os.kill(stack.pid("kafka"), signal.SIGCONT)
    answer = httpx.post(
        f"{stack.addresses['api']}/v1/photos",
        content=photo(PHOTOS + 1, PHOTOS),
        headers={"Prefer": "wait=60"},
        timeout=90,
    )
    assert answer.json()["status"] == "analyzed", answer.text
