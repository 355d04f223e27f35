"""Imports on a real PostgreSQL: what is found, in which order, at which pace, and after a kill."""

import os
import random
import resource
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg
import pytest

from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog import results
from gateway.catalog.items import open_indices
from gateway.catalog.outbox import Outbox
from gateway.catalog.submissions import Submission, submit_photo
from gateway.control.duty import Duty
from gateway.control.imports import ImportRunner
from gateway.control.work import Means, Pace, Step
from gateway.originals import store_original
from import_kit import (
    MANY,
    PACE,
    Example,
    Fuse,
    Killed,
    Row,
    batch_row,
    create,
    end,
    events,
    fill,
    fragile,
    items,
    make_means,
    run,
    states,
    taken_up,
    to_the_end,
    until,
)
from streamkit import Codec, ObjectStore, Retry


def submitted(conn: db.Conn, outbox: Outbox, store: ObjectStore, content: str) -> Row:
    """A photo handed in through another door."""
    original = store_original(store, content.encode())
    answer = submit_photo(
        conn,
        outbox,
        Submission(
            owner=ids.LOCAL_OWNER,
            sha256=original.sha256,
            source_uri=original.uri,
            byte_size=original.byte_size,
            file_name=None,
            lane="high",
            submission_id=str(uuid4()),
        ),
    )
    return {"photo_id": answer.photo_id, "analysis_id": answer.analysis_id}


# --- what is found ---------------------------------------------------------------------------


def test_all_files_below_the_folder_are_taken_in_a_fixed_order(
    conn: db.Conn, means: Means, folder: Path
) -> None:
    fill(folder, b="1", a="2", sub__z="3", sub__a="4", c__deep__er="5", B="6")
    batch_id = run(conn, means, folder)

    assert list(states(conn, batch_id, folder)) == [
        "B.jpg",
        "a.jpg",
        "b.jpg",
        "c/deep/er.jpg",
        "sub/a.jpg",
        "sub/z.jpg",
    ]
    assert [item["index"] for item in items(conn, batch_id)] == [0, 1, 2, 3, 4, 5]


def test_roots_are_taken_in_their_order_and_a_file_once(
    conn: db.Conn, means: Means, folder: Path
) -> None:
    fill(folder, b="1", sub__a="2", sub__c="3")
    batch_id = run(conn, means, folder / "sub", folder, folder / "sub" / "c.jpg")

    assert list(states(conn, batch_id, folder)) == ["sub/a.jpg", "sub/c.jpg", "b.jpg"]
    assert batch_row(conn, batch_id)["expected"] == 3


def test_hidden_names_links_and_pipes_are_passed_over(
    conn: db.Conn, means: Means, folder: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    fill(elsewhere, private="s")
    fill(folder, a="1", **{".hidden": "2", ".cache__b": "3"})
    (folder / "file-link.jpg").symlink_to(elsewhere / "private.jpg")
    (folder / "folder-link").symlink_to(elsewhere)
    os.mkfifo(folder / "pipe.jpg")

    batch_id = run(conn, means, folder)
    assert list(states(conn, batch_id, folder)) == ["a.jpg"]


def test_a_name_that_is_not_utf8_is_shown_with_backslashes(
    conn: db.Conn, means: Means, folder: Path, codec: Codec
) -> None:
    for number, name in enumerate((b"caf\xe9.jpg", b"caf\\xe9.jpg", "café.jpg".encode())):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text(str(number))

    batch_id = run(conn, means, folder)
    assert list(states(conn, batch_id, folder)) == [r"caf\\xe9.jpg", "café.jpg", r"caf\xe9.jpg"]
    told = events(conn, codec, "photo.submitted.batch.v1")
    assert [one["file_name"] for one in told] == [r"caf\\xe9.jpg", "café.jpg", r"caf\xe9.jpg"]


def test_an_empty_folder_is_sealed_at_once(
    conn: db.Conn, means: Means, folder: Path, codec: Codec
) -> None:
    batch_id = run(conn, means, folder)

    assert batch_row(conn, batch_id)["state"] == "running"
    assert [(e["state"], e["found"]) for e in events(conn, codec, names.BATCH_INTAKE)] == [
        ("started", 0),
        ("sealed", 0),
    ]


def test_a_folder_that_is_away_when_an_import_goes_on_is_waited_for(
    conn: db.Conn, outbox: Outbox, store: ObjectStore, folder: Path
) -> None:
    fill(folder, a="1", b="2", c="3")
    batch_id = create(conn, outbox, folder)
    moment = 0.0
    means = make_means(outbox, store, PACE, lambda: moment)
    taken_up(conn, batch_id, means).step(1)
    folder.rename(folder.with_name("away"))
    scan = taken_up(conn, batch_id, means)
    assert scan.step(MANY) is Step.WAITING
    waits_for = batch_row(conn, batch_id)["waits_for"]
    assert waits_for == f"{folder} is not there any more. Is its drive mounted?"
    folder.with_name("away").rename(folder)
    moment = 60.0
    to_the_end(scan)
    assert list(states(conn, batch_id, folder)) == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("gone", [1, 3])
def test_files_that_had_gone_when_an_import_went_on_are_told_by_their_number(
    conn: db.Conn, means: Means, folder: Path, gone: int
) -> None:
    fill(folder, **{f"f{number}": str(number) for number in range(5)})
    batch_id = create(conn, means.outbox, folder)
    scan = taken_up(conn, batch_id, means)
    for most in (1, 0, 0):  # the files are counted beside
        scan.step(most)
    assert batch_row(conn, batch_id)["expected"] == 5
    for number in range(1, 1 + gone):
        (folder / f"f{number}.jpg").unlink()
    scan = taken_up(conn, batch_id, means)
    while not items(conn, batch_id)[-1]["code"]:
        assert scan.step(MANY) is Step.WORKED
    # Interrupted once more, it tells them once.
    to_the_end(taken_up(conn, batch_id, means))
    told = [item for item in items(conn, batch_id) if item["state"] == "refused"]
    assert [(item["path"], item["code"]) for item in told] == [("(gone)", "files_gone")]
    words = "1 file had" if gone == 1 else "3 files had"
    assert told[0]["message"].startswith(words)
    assert len(items(conn, batch_id)) == 5 - gone + 1


def test_what_can_not_be_read_is_refused_with_a_reason(
    conn: db.Conn, means: Means, folder: Path, tmp_path: Path, codec: Codec
) -> None:
    fill(folder, a="fine", b="gone", c="x" * 1001, d="turned into a link", e="fine too")
    batch_id = create(conn, means.outbox, folder, tmp_path / "nowhere")
    scan = taken_up(conn, batch_id, means)
    assert scan.step(MANY) is Step.WORKED  # the folder is listed now
    (folder / "b.jpg").unlink()
    (folder / "d.jpg").unlink()
    (folder / "d.jpg").symlink_to(folder / "a.jpg")
    to_the_end(scan)

    assert [(i["state"], i["code"]) for i in items(conn, batch_id)] == [
        ("submitted", None),
        ("refused", "file_missing"),
        ("refused", "file_too_large"),
        ("refused", "not_a_file"),
        ("submitted", None),
        ("refused", "file_missing"),
    ]
    assert items(conn, batch_id)[2]["message"] == "It has 1001 bytes; the limit is 1000."
    sealed = events(conn, codec, names.BATCH_INTAKE)[-1]
    assert (sealed["found"], sealed["refused"], sealed["submitted"]) == (6, 4, 2)
    assert len(events(conn, codec, "photo.submitted.batch.v1")) == 2


def deep_file(folder: Path, content: str) -> Path:
    """A file with a path of more than 3.5 kB that does not get shorter by compression."""
    chance = random.Random(7)
    while len(os.fsencode(folder)) < 3_500:
        folder /= "".join(chance.choices("abcdefghijklmnopqrstuvwxyzäöü", k=100))
    folder.mkdir(parents=True)
    file = folder / "deep.jpg"
    file.write_text(content)
    return file


def test_a_file_with_a_very_long_path_is_a_file_like_others(
    conn: db.Conn, means: Means, folder: Path
) -> None:
    fill(folder, a="1", zz="2")
    deep = deep_file(folder, "3")
    batch_id = create(conn, means.outbox, folder)
    for _ in range(2):
        taken_up(conn, batch_id, means).step(MANY)
    to_the_end(taken_up(conn, batch_id, means))  # known ones are known again

    assert states(conn, batch_id, folder) == {
        "a.jpg": "submitted",
        str(deep.relative_to(folder)): "submitted",
        "zz.jpg": "submitted",
    }


def test_a_path_that_the_catalog_refuses_costs_that_file_and_no_other(
    conn: db.Conn, means: Means, folder: Path, codec: Codec
) -> None:
    conn.execute("CREATE UNIQUE INDEX narrow ON batch_items (batch_id, path)")
    fill(folder, a="1", zz="2")
    deep = deep_file(folder, "3")
    batch_id = create(conn, means.outbox, folder)
    for _ in range(2):
        assert taken_up(conn, batch_id, means).step(MANY) is Step.WORKED
    to_the_end(taken_up(conn, batch_id, means))

    found = items(conn, batch_id)
    assert [item["code"] for item in found] == [None, "path_unstorable", None]
    assert str(deep).startswith(found[1]["path"][:100])
    assert len(found[1]["path"]) < 300
    assert len(events(conn, codec, "photo.submitted.batch.v1")) == 2


# --- duplicates ------------------------------------------------------------------------------


def test_the_same_bytes_twice_in_an_import_are_a_duplicate(
    conn: db.Conn, means: Means, folder: Path
) -> None:
    fill(folder, a="same", b="other", c="same")
    batch_id = run(conn, means, folder)

    first, _, third = items(conn, batch_id)
    assert (third["state"], third["analysis_id"]) == ("duplicate", None)
    assert third["duplicate_of"] == third["photo_id"] == first["photo_id"]


def test_a_photo_with_an_outcome_is_a_duplicate(
    conn: db.Conn, means: Means, folder: Path, store: ObjectStore, example: Example
) -> None:
    fill(folder, a="known", b="new")
    known = submitted(conn, means.outbox, store, "known")
    end(conn, example, known)
    batch_id = run(conn, means, folder)

    assert states(conn, batch_id, folder) == {"a.jpg": "duplicate", "b.jpg": "submitted"}
    assert str(items(conn, batch_id)[0]["duplicate_of"]) == known["photo_id"]


def test_a_photo_that_another_door_waits_for_joins_its_analysis(
    conn: db.Conn, means: Means, folder: Path, store: ObjectStore, codec: Codec
) -> None:
    fill(folder, a="waited for")
    waiting = submitted(conn, means.outbox, store, "waited for")
    first, second = run(conn, means, folder), run(conn, means, folder)

    for batch_id in (first, second):
        (item,) = items(conn, batch_id)
        assert (item["state"], str(item["analysis_id"])) == ("submitted", waiting["analysis_id"])
    assert len(events(conn, codec, "photo.submitted.high.v1")) == 1
    assert events(conn, codec, "photo.submitted.batch.v1") == []
    joined = events(conn, codec, names.PHOTO_BATCH_JOINED)
    assert [(one["batch_id"], one["index"]) for one in joined] == [(first, 0), (second, 0)]


def test_a_photo_that_was_only_refused_is_tried_again_but_once_in_an_import(
    conn: db.Conn, means: Means, folder: Path, example: Example, codec: Codec
) -> None:
    fill(folder, a="torn")
    (item,) = items(conn, run(conn, means, folder))
    rejection = example(
        names.PHOTO_REJECTED,
        photo_id=str(item["photo_id"]),
        analysis_id=str(item["analysis_id"]),
    )
    results.record_rejection(conn, rejection)  # type: ignore[arg-type]
    fill(folder, b="torn")

    batch_id = run(conn, means, folder)
    assert states(conn, batch_id, folder) == {"a.jpg": "submitted", "b.jpg": "duplicate"}
    assert items(conn, batch_id)[0]["analysis_id"] != item["analysis_id"]
    assert len(events(conn, codec, "photo.submitted.batch.v1")) == 2


# --- pace and totals -------------------------------------------------------------------------


def test_no_more_photos_are_under_way_than_allowed(
    conn: db.Conn, outbox: Outbox, store: ObjectStore, folder: Path, example: Example
) -> None:
    fill(folder, **{f"f{number}": str(number) for number in range(8)})
    means = make_means(outbox, store, Pace(in_flight=3, limit=1000))
    batch_id = create(conn, outbox, folder)
    scan = taken_up(conn, batch_id, means)

    ended = 0
    while (step := scan.step(MANY)) is not Step.SEALED:
        under_way = len(open_indices(conn, batch_id))
        assert under_way <= 3
        if step is Step.WAITING:
            assert under_way == 3
            end(conn, example, items(conn, batch_id)[ended])
            ended += 1
    assert ended == 5


def test_all_files_are_counted_before_they_are_all_taken(
    conn: db.Conn,
    outbox: Outbox,
    store: ObjectStore,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.control.ahead._COUNT_AT_ONCE", 3)
    fill(folder, **{f"f{number}": str(number) for number in range(8)})
    batch_id = create(conn, outbox, folder)
    assert batch_row(conn, batch_id)["expected"] is None
    scan = taken_up(conn, batch_id, make_means(outbox, store, Pace(in_flight=3, limit=1000)))
    while scan.step(MANY) is Step.WORKED:
        pass
    row = batch_row(conn, batch_id)
    assert (row["expected"], len(items(conn, batch_id))) == (8, 3)


def test_an_import_taken_up_again_counts_what_is_under_way(
    conn: db.Conn, outbox: Outbox, store: ObjectStore, folder: Path, example: Example
) -> None:
    fill(folder, **{f"f{number}": str(number) for number in range(8)})
    means = make_means(outbox, store, Pace(in_flight=3, limit=1000))
    batch_id = create(conn, outbox, folder)
    first = taken_up(conn, batch_id, means)
    while first.step(MANY) is Step.WORKED:
        pass
    end(conn, example, items(conn, batch_id)[1])

    second = taken_up(conn, batch_id, means)
    assert second.under_way == 2
    assert [second.step(MANY), second.step(MANY)] == [Step.WORKED, Step.WAITING]


def test_totals_are_announced_every_so_many_files_and_seconds_and_only_grow(
    conn: db.Conn, outbox: Outbox, store: ObjectStore, folder: Path, codec: Codec
) -> None:
    fill(folder, **{f"f{number}": str(number // 2) for number in range(10)})
    moment = 0.0
    pace = replace(PACE, announce_files=4, announce_s=1.0)
    batch_id = create(conn, outbox, folder)
    scan = taken_up(conn, batch_id, make_means(outbox, store, pace, lambda: moment))
    for _ in range(5):
        scan.step(MANY)
    moment = 1.5
    to_the_end(scan)

    told = events(conn, codec, names.BATCH_INTAKE)
    assert [(e["state"], e["found"], e["duplicates"], e["submitted"]) for e in told] == [
        ("started", 0, 0, 0),
        ("scanning", 4, 2, 2),
        ("scanning", 5, 2, 3),
        ("scanning", 9, 4, 5),
        ("sealed", 10, 5, 5),
    ]
    ce_ids = conn.execute(
        "SELECT DISTINCT event_id FROM outbox WHERE topic = %s", (names.BATCH_INTAKE,)
    )
    assert len(ce_ids.fetchall()) == len(told)
    row = batch_row(conn, batch_id)
    assert (row["found"], row["duplicates"], row["submitted"]) == (10, 5, 5)


# --- trouble ---------------------------------------------------------------------------------


class FragileStore:
    """An object store whose process dies before or after a file is stored."""

    def __init__(self, store: ObjectStore, fuse: Fuse) -> None:
        self._store, self._fuse = store, fuse

    def put(self, key: str, data: bytes) -> str:
        self._fuse.burn()
        uri = self._store.put(key, data)
        self._fuse.burn()
        return uri


@pytest.mark.parametrize("trouble", [Killed, psycopg.OperationalError])
def test_an_import_killed_at_any_step_goes_on_where_it_stood(
    database: str,
    conn: db.Conn,
    outbox: Outbox,
    store: ObjectStore,
    folder: Path,
    codec: Codec,
    trouble: type[BaseException],
) -> None:
    fill(folder, a="1", b="same", sub__c="same", sub__d="x" * 2000, sub__e="3")
    pace = replace(PACE, announce_files=2)
    steps = 0
    while True:
        steps += 1 if trouble is Killed else 4
        conn.execute("TRUNCATE photos, analyses, batch_items, batches, outbox")
        batch_id = create(conn, outbox, folder)
        fuse = Fuse(steps, trouble)
        with fragile(database, fuse) as dying:
            try:
                means = make_means(outbox, store, pace, store=FragileStore(store, fuse))
                to_the_end(taken_up(dying, batch_id, means))
            except trouble:
                dying.close()
        if fuse.left > 0:
            break
        if batch_row(conn, batch_id)["state"] == "scanning":
            to_the_end(taken_up(conn, batch_id, make_means(outbox, store, pace)))
        check_exact(conn, codec, batch_id, folder)
    assert steps > 30


def check_exact(conn: db.Conn, codec: Codec, batch_id: str, folder: Path) -> None:
    assert states(conn, batch_id, folder) == {
        "a.jpg": "submitted",
        "b.jpg": "submitted",
        "sub/c.jpg": "duplicate",
        "sub/d.jpg": "refused",
        "sub/e.jpg": "submitted",
    }
    assert [item["index"] for item in items(conn, batch_id)] == [0, 1, 2, 3, 4]
    joined = [one["index"] for one in events(conn, codec, names.PHOTO_BATCH_JOINED)]
    assert joined == [0, 1, 4]
    assert len(events(conn, codec, "photo.submitted.batch.v1")) == 3
    row = batch_row(conn, batch_id)
    assert (row["state"], row["found"], row["duplicates"], row["refused"], row["submitted"]) == (
        "running",
        5,
        1,
        1,
        3,
    )
    found = [one["found"] for one in events(conn, codec, names.BATCH_INTAKE)]
    assert found == sorted(found)
    sealed = [one for one in events(conn, codec, names.BATCH_INTAKE) if one["state"] == "sealed"]
    assert [(one["found"], one["submitted"]) for one in sealed] == [(5, 3)]


class MoodyStore:
    """An object store that fails at its first calls."""

    def __init__(self, store: ObjectStore, failures: int) -> None:
        self._store, self._failures = store, failures

    def put(self, key: str, data: bytes) -> str:
        if self._failures:
            self._failures -= 1
            raise Retry("the disk is full")
        return self._store.put(key, data)


def test_an_object_store_that_fails_is_waited_for_and_no_file_is_passed_over(
    conn: db.Conn, outbox: Outbox, store: ObjectStore, folder: Path
) -> None:
    fill(folder, a="1", b="2")
    moment = 0.0
    batch_id = create(conn, outbox, folder)
    means = make_means(outbox, store, PACE, lambda: moment, MoodyStore(store, 2))
    scan = taken_up(conn, batch_id, means)

    assert [scan.step(MANY), scan.step(MANY)] == [Step.WAITING, Step.WAITING]
    assert batch_row(conn, batch_id)["waits_for"] == "the disk is full"
    moment = 10.0
    assert scan.step(MANY) is Step.WAITING
    moment = 20.0
    to_the_end(scan)
    assert batch_row(conn, batch_id)["waits_for"] is None
    assert states(conn, batch_id, folder) == {"a.jpg": "submitted", "b.jpg": "submitted"}


@pytest.fixture
def runner(database: str, means: Means) -> Iterator[None]:
    """A running import runner."""
    connect = partial(db.connect, database, name="runner")
    duty = Duty("imports", 2, connect, ImportRunner(means).work)
    stop = threading.Event()
    thread = threading.Thread(target=duty.run, args=(stop,))
    thread.start()
    yield
    stop.set()
    thread.join(timeout=20)
    assert not thread.is_alive()


@pytest.mark.usefixtures("runner")
def test_imports_are_noticed_at_once_and_run_side_by_side(
    conn: db.Conn, outbox: Outbox, folder: Path
) -> None:
    fill(folder / "one", a="1", b="2")
    fill(folder / "two", a="3", b="4")
    until(
        lambda: (
            conn.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'").fetchone() is not None
        ),
        "the runner leads",
    )
    asked = [create(conn, outbox, folder / "one"), create(conn, outbox, folder / "two")]
    until(
        lambda: all(batch_row(conn, one)["state"] == "running" for one in asked),
        "both imports are sealed",
        seconds=5,
    )


@pytest.mark.usefixtures("runner")
def test_a_runner_whose_connection_is_cut_goes_on(
    conn: db.Conn, outbox: Outbox, folder: Path
) -> None:
    fill(folder, **{f"f{number}": str(number) for number in range(50)})
    batch_id = create(conn, outbox, folder)
    until(lambda: items(conn, batch_id), "the first file is recorded")
    conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'runner'"
        " AND datname = current_database()"
    )
    until(lambda: batch_row(conn, batch_id)["state"] == "running", "the import is sealed")
    assert [item["index"] for item in items(conn, batch_id)] == list(range(50))


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_folder_of_100_000_files_is_counted_and_begun_at_once(
    conn: db.Conn, means: Means
) -> None:
    with TemporaryDirectory(dir="/dev/shm") as name:
        Path(f"{name}/0").touch()
        for number in range(1, 100_000):
            os.link(f"{name}/0", f"{name}/{number}")
        batch_id = create(conn, means.outbox, Path(name))
        began, before = time.monotonic(), peak_bytes()
        scan = taken_up(conn, batch_id, means)
        assert scan.step(MANY) is Step.WORKED
        assert len(items(conn, batch_id)) == 1
        while batch_row(conn, batch_id)["expected"] is None:
            assert scan.step(MANY) is Step.WORKED
        scan.close()
    assert batch_row(conn, batch_id)["expected"] == 100_000
    assert len(items(conn, batch_id)) < 300
    assert peak_bytes() - before < 150e6
    assert time.monotonic() - began < 30


def test_a_folder_of_only_bad_files_is_refused_file_by_file(
    conn: db.Conn, means: Means, folder: Path, codec: Codec
) -> None:
    fill(folder, a="x" * 1001, b="y" * 2000)
    batch_id = run(conn, means, folder)

    assert [item["code"] for item in items(conn, batch_id)] == ["file_too_large"] * 2
    (sealed,) = [one for one in events(conn, codec, names.BATCH_INTAKE) if one["state"] == "sealed"]
    assert (sealed["found"], sealed["refused"], sealed["submitted"]) == (2, 2, 0)


def test_importing_again_stores_nothing_again(
    conn: db.Conn, outbox: Outbox, store: ObjectStore, folder: Path, example: Example
) -> None:
    fill(folder, a="1", b="2")
    means = make_means(outbox, store)
    for item in items(conn, run(conn, means, folder)):
        end(conn, example, item)

    class Untouched:
        def put(self, key: str, data: bytes) -> str:
            raise AssertionError(key)

    again = run(conn, make_means(outbox, store, store=Untouched()), folder)
    assert states(conn, again, folder) == {"a.jpg": "duplicate", "b.jpg": "duplicate"}
