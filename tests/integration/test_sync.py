"""Sources on a real PostgreSQL: what a look finds, hands in, and tells."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from darkroom_schemas import ids
from gateway import db
from gateway.catalog import import_commands, sources
from gateway.catalog.audit import entries
from gateway.catalog.jobs import Reason
from gateway.catalog.outbox import Outbox
from gateway.catalog.schedules import schedule
from gateway.catalog.sources import BusyError, NameTakenError, NewSource
from gateway.control.job_run import JobContext, JobError
from gateway.control.sync import Sync
from gateway.control.work import Means
from gateway.cron import Cron
from gateway.origins import OriginMeans, Problem, Seen, open_origin
from import_kit import (
    Example,
    Fuse,
    Killed,
    batch_row,
    end,
    fill,
    fragile,
    items,
    taken_up,
    to_the_end,
)
from streamkit import Busy, ObjectStore

OWNER = ids.LOCAL_OWNER
Report = Mapping[str, Any]
Look = Callable[..., Report]


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    (tmp_path / "shelf").mkdir()
    return ObjectStore(f"file://{tmp_path}/objects", [f"file://{tmp_path}/shelf"])


@pytest.fixture
def look(conn: db.Conn, outbox: Outbox, store: ObjectStore) -> Look:
    opens = partial(open_origin, means=OriginMeans(store))

    def look(
        name: str = "nas",
        *,
        reason: Reason = "schedule",
        settle_s: float = 0.0,
        on: db.Conn | None = None,
    ) -> Report:
        sync = Sync(outbox, opens, settle_s)
        return sync.run(on or conn, JobContext(sources.job_of(name), reason))

    return look


def add(conn: db.Conn, place: Path | str, name: str = "nas", **changes: Any) -> UUID:
    told: dict[str, Any] = {
        "name": name,
        "kind": "folder",
        "lane": "default",
        "schedule": Cron("*/15 * * * *"),
    }
    told |= {"deletions": "report", "enabled": True, "location": {"place": str(place)}}
    told["location"] |= changes.pop("location", {})
    return sources.add(conn, OWNER, NewSource(**told | changes), "ada")


def counts(report: Report) -> dict[str, int]:
    words = ("new", "changed", "unchanged", "unsettled", "gone", "returned")
    return {word: report[word] for word in words if report[word]}


def work_on(conn: db.Conn, report: Report, means: Means) -> list[dict[str, Any]]:
    """Record the files of a look's import."""
    to_the_end(taken_up(conn, report["batch_id"], means))
    return items(conn, report["batch_id"])


def over(conn: db.Conn, example: Example, report: Report, means: Means) -> list[dict[str, Any]]:
    """The import of a look, gone through with every photo's end."""
    recorded = work_on(conn, report, means)
    for item in recorded:
        if item["state"] == "submitted":
            end(conn, example, item)
    conn.execute(
        "UPDATE batches SET state = 'completed', completed_at = now() WHERE batch_id = %s",
        (report["batch_id"],),
    )
    return recorded


def names_of(recorded: list[dict[str, Any]]) -> list[str]:
    return [Path(item["path"]).name for item in recorded]


def test_a_look_hands_in_what_is_new_and_then_nothing(
    conn: db.Conn, look: Look, means: Means, folder: Path, example: Example
) -> None:
    fill(folder, a="1", sub__b="2", sub__c="3")
    source_id = add(conn, folder)
    first = look()
    assert counts(first) == {"new": 3}
    row = batch_row(conn, first["batch_id"])
    assert (row["kind"], row["lane"], row["source_id"]) == ("folder", "default", source_id)
    assert (row["roots"], row["state"]) == ([str(folder)], "scanning")

    assert counts(look()) == {"unchanged": 3}  # while the import goes on
    recorded = over(conn, example, first, means)
    assert names_of(recorded) == ["a.jpg", "b.jpg", "c.jpg"]
    assert {item["state"] for item in recorded} == {"submitted"}
    again = look()
    assert (counts(again), again["batch_id"]) == ({"unchanged": 3}, None)
    assert conn.execute("SELECT count(*) AS n FROM batches").fetchone() == {"n": 1}


def test_new_and_changed_files_are_handed_in_and_no_others(
    conn: db.Conn, look: Look, means: Means, folder: Path, example: Example
) -> None:
    fill(folder, a="1", b="2")
    add(conn, folder)
    over(conn, example, look(), means)
    fill(folder, b="another", c="3")
    report = look()
    assert counts(report) == {"new": 1, "changed": 1, "unchanged": 1}
    assert names_of(over(conn, example, report, means)) == ["b.jpg", "c.jpg"]
    assert counts(look()) == {"unchanged": 3}


def test_a_copy_of_a_known_photo_is_a_duplicate(
    conn: db.Conn, look: Look, means: Means, folder: Path, example: Example
) -> None:
    fill(folder, a="1")
    add(conn, folder)
    over(conn, example, look(), means)
    fill(folder, copy="1")
    (item,) = over(conn, example, look(), means)
    assert item["state"] == "duplicate"
    assert counts(look()) == {"unchanged": 2}


def test_a_file_that_is_still_written_to_waits_for_the_next_look(
    conn: db.Conn, look: Look, folder: Path
) -> None:
    fill(folder, whole="1", growing="2", tomorrow="3", clock="4")
    now = time.time()
    ages = {"whole": -60, "growing": -1, "tomorrow": 86_400, "clock": 2}
    for name, age in ages.items():
        os.utime(folder / f"{name}.jpg", (now + age, now + age))
    add(conn, folder)
    assert counts(look(settle_s=10)) == {"new": 2, "unsettled": 2}
    assert counts(look()) == {"new": 2, "unchanged": 2}


def test_a_file_that_is_written_to_does_not_count_as_gone(
    conn: db.Conn, look: Look, folder: Path
) -> None:
    fill(folder, a="1")
    add(conn, folder)
    look()
    fill(folder, a="12")
    assert counts(look(settle_s=60)) == {"unsettled": 1}


def test_files_that_vanish_are_told_once_and_come_back_as_known(
    conn: db.Conn, look: Look, means: Means, folder: Path, example: Example
) -> None:
    fill(folder, a="1", sub__b="2", c="3")
    source_id = add(conn, folder)
    over(conn, example, look(), means)
    (folder / "sub/b.jpg").rename(folder.parent / "b.jpg")
    report = look()
    assert counts(report) == {"gone": 1, "unchanged": 2}
    assert report["gone_paths"] == [str(folder / "sub/b.jpg")]
    assert counts(look()) == {"unchanged": 2}
    source = sources.source(conn, OWNER, source_id)
    assert source is not None
    assert (source.files, source.gone) == (2, 1)
    (folder.parent / "b.jpg").rename(folder / "sub/b.jpg")
    assert counts(look()) == {"returned": 1, "unchanged": 3}
    assert conn.execute("SELECT count(*) AS n FROM photos").fetchone() == {"n": 3}


def test_files_that_vanish_are_forgotten_if_so_wanted_and_their_photos_stay(
    conn: db.Conn, look: Look, means: Means, folder: Path, example: Example
) -> None:
    fill(folder, a="1", b="2")
    source_id = add(conn, folder, deletions="forget")
    over(conn, example, look(), means)
    (folder / "b.jpg").unlink()
    assert counts(look()) == {"gone": 1, "unchanged": 1}
    source = sources.source(conn, OWNER, source_id)
    assert source is not None
    assert (source.files, source.gone) == (1, 0)
    assert conn.execute("SELECT count(*) AS n FROM photos").fetchone() == {"n": 2}


@pytest.mark.parametrize("how", ["missing", "empty", "a link"])
def test_a_drive_that_is_not_mounted_deletes_nothing(
    conn: db.Conn, look: Look, folder: Path, how: str
) -> None:
    fill(folder, a="1", b="2")
    source_id = add(conn, folder, deletions="forget")
    look()
    folder.rename(folder.parent / "elsewhere")
    if how == "empty":
        folder.mkdir()
    if how == "a link":
        folder.symlink_to(folder.parent / "elsewhere")
    with pytest.raises(JobError, match="Nothing of it counts as gone"):
        look()
    source = sources.source(conn, OWNER, source_id)
    assert source is not None
    assert (source.files, source.gone) == (2, 0)


class Told:
    """An origin that says what it is told to."""

    def __init__(self, *seen: Seen) -> None:
        self._seen = seen

    def walk(self) -> Iterator[Seen]:
        yield from self._seen

    def close(self) -> None:
        pass


def test_what_lies_in_a_folder_that_may_not_be_read_is_not_gone(
    conn: db.Conn, look: Look, outbox: Outbox, folder: Path
) -> None:
    fill(folder, a="1", sub__b="2", subtle__c="3")
    add(conn, folder)
    look()
    forbidden = Problem("file_forbidden", "There is no permission to read it.")
    told = Told(Seen(f"{folder}/a.jpg"), Seen(f"{folder}/sub", forbidden))
    sync = Sync(outbox, lambda *_: told, settle_s=0)  # type: ignore[arg-type]
    report = sync.run(conn, JobContext("sync:nas"))
    assert counts(report) == {"unchanged": 1, "gone": 1}
    assert report["gone_paths"] == [f"{folder}/subtle/c.jpg"]
    assert [one["path"] for one in report["troubles"]] == [f"{folder}/sub"]


def test_a_source_that_sleeps_fails_the_look(conn: db.Conn, outbox: Outbox, folder: Path) -> None:
    class Asleep(Told):
        def walk(self) -> Iterator[Seen]:
            yield Seen(f"{folder}/a.jpg")
            raise Busy("the network folder does not answer")

    fill(folder, a="1")
    add(conn, folder)
    sync = Sync(outbox, lambda *_: Asleep(), settle_s=0)  # type: ignore[arg-type]
    with pytest.raises(JobError, match="does not answer"):
        sync.run(conn, JobContext("sync:nas"))
    assert conn.execute("SELECT count(*) AS n FROM batches").fetchone() == {"n": 0}


def test_an_empty_source_is_no_trouble(conn: db.Conn, look: Look, folder: Path) -> None:
    add(conn, folder)
    report = look()
    assert (counts(report), report["batch_id"]) == ({}, None)


def test_patterns_and_odd_names_hold_for_sources_too(
    conn: db.Conn, look: Look, means: Means, folder: Path, example: Example
) -> None:
    fill(folder, a="1", raw__b="2", **{"back\\slash": "3"})
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\\xff.jpg"))).write_text("4")
    (folder / "note.txt").write_text("no photo")
    add(conn, folder, location={"include": ["*.jpg"], "exclude": ["raw/"]})
    recorded = over(conn, example, look(), means)
    assert {item["state"] for item in recorded} == {"submitted"}
    assert len(recorded) == 3
    assert counts(look()) == {"unchanged": 3}


def test_files_of_an_import_that_was_cancelled_are_handed_in_again(
    conn: db.Conn, look: Look, means: Means, folder: Path, example: Example
) -> None:
    fill(folder, a="1", b="2", c="3")
    add(conn, folder)
    first = look()
    work = taken_up(conn, first["batch_id"], means)
    for _ in range(4):  # some of the files, not all
        if len(items(conn, first["batch_id"])) < 2:
            work.step(1000)
    one, _other = items(conn, first["batch_id"])
    end(conn, example, one)
    import_commands.cancel(conn, OWNER, UUID(first["batch_id"]), "ada")
    to_the_end(taken_up(conn, first["batch_id"], means))
    conn.execute(
        "UPDATE batches SET state = 'cancelled', sealed = true WHERE batch_id = %s",
        (first["batch_id"],),
    )
    second = look()
    assert counts(second) == {"new": 2, "unchanged": 1}
    assert names_of(work_on(conn, second, means)) == ["b.jpg", "c.jpg"]


def test_a_file_that_was_missing_when_it_was_read_is_handed_in_again(
    conn: db.Conn, look: Look, means: Means, folder: Path, example: Example
) -> None:
    """A drive that went between the look and the import, with all its files as they were."""
    fill(folder, a="1", b="2")
    add(conn, folder)
    report = look()
    folder.rename(folder.parent / "unmounted")
    recorded = over(conn, example, report, means)
    assert {item["code"] for item in recorded} == {"file_missing"}
    (folder.parent / "unmounted").rename(folder)
    assert counts(look()) == {"new": 2}


def test_a_file_that_can_not_be_read_is_tried_again_a_day_later_or_for_a_person(
    conn: db.Conn, look: Look, means: Means, folder: Path, example: Example
) -> None:
    fill(folder, a="1")
    source_id = add(conn, folder)
    first = look()
    over(conn, example, first, means)
    conn.execute(
        "UPDATE batch_items SET state = 'refused', code = 'file_forbidden', message = 'no',"
        " photo_id = NULL, analysis_id = NULL"
    )
    assert counts(look()) == {"unchanged": 1}
    assert counts(look(reason="person")) == {"new": 1}
    conn.execute("UPDATE batches SET state = 'completed'")
    conn.execute("UPDATE source_files SET batch_id = %s", (first["batch_id"],))
    assert counts(look()) == {"unchanged": 1}
    conn.execute(
        "UPDATE source_files SET seen_at = now() - interval '25 hours' WHERE source_id = %s",
        (source_id,),
    )
    assert counts(look()) == {"new": 1}


def test_an_import_that_is_interrupted_goes_on_with_its_own_files(
    conn: db.Conn, look: Look, means: Means, folder: Path
) -> None:
    fill(folder, **{f"f{number}": str(number) for number in range(5)})
    add(conn, folder)
    report = look()
    work = taken_up(conn, report["batch_id"], means)
    while len(items(conn, report["batch_id"])) < 2:
        work.step(1000)
    fill(folder, later="x", f1="changed")
    second = look()
    assert counts(second) == {"new": 1, "changed": 1, "unchanged": 4}
    assert names_of(work_on(conn, report, means)) == [f"f{n}.jpg" for n in range(5)]
    assert names_of(work_on(conn, second, means)) == ["f1.jpg", "later.jpg"]


def test_two_sources_of_one_folder_hand_in_their_own_and_share_photos(
    conn: db.Conn, look: Look, means: Means, folder: Path, example: Example
) -> None:
    fill(folder, a="1")
    add(conn, folder)
    add(conn, folder, "again")
    over(conn, example, look(), means)
    (item,) = over(conn, example, look("again"), means)
    assert item["state"] == "duplicate"


def test_a_store_is_looked_through_by_its_tags(
    conn: db.Conn, look: Look, means: Means, tmp_path: Path, example: Example
) -> None:
    shelf, uri = tmp_path / "shelf", f"file://{tmp_path}/shelf"
    fill(shelf, a="1", sub__b="2")
    add(conn, uri, kind="store", location={"uri": uri})
    first = look(settle_s=60)  # what a store lists is whole
    assert counts(first) == {"new": 2}
    row = batch_row(conn, first["batch_id"])
    assert (row["kind"], row["roots"]) == ("store", [uri])
    assert {item["state"] for item in over(conn, example, first, means)} == {"submitted"}
    assert counts(look()) == {"unchanged": 2}
    fill(shelf, a="changed")
    (shelf / "sub/b.jpg").unlink()
    assert counts(look()) == {"changed": 1, "gone": 1}
    for file in shelf.rglob("*.jpg"):
        file.unlink()
    with pytest.raises(JobError, match="held 1 files"):
        look()


def test_a_source_has_a_job_that_follows_its_changes(conn: db.Conn, folder: Path) -> None:
    source_id = add(conn, folder)
    job = schedule(conn, "sync:nas")
    assert job is not None
    assert (job.schedule, job.enabled, job.asked_by) == ("*/15 * * * *", True, "ada")
    changes = {"schedule": None, "enabled": False, "lane": "batch", "deletions": "forget"}
    assert sources.change(conn, OWNER, source_id, changes, "ada") == "nas"
    source = sources.source(conn, OWNER, source_id)
    assert source is not None
    assert (source.lane, source.deletions) == ("batch", "forget")
    assert (source.job.schedule, source.job.enabled) == (None, False)
    sources.change(conn, OWNER, source_id, {"schedule": Cron("0 4 * * *")}, "ada")
    job = schedule(conn, "sync:nas")
    assert job is not None
    assert (job.schedule, job.enabled) == ("0 4 * * *", False)
    with pytest.raises(NameTakenError):
        add(conn, folder)
    assert sources.remove(conn, OWNER, source_id, "ada") is not None
    assert sources.remove(conn, OWNER, source_id, "ada") is None
    assert (schedule(conn, "sync:nas"), sources.sources(conn, OWNER)) == (None, [])
    told, _ = entries(conn, what="source", limit=10)
    assert [one.what for one in told] == [
        *("source.removed", "source.changed", "source.changed", "source.added")
    ]


def test_a_source_whose_import_records_files_is_not_removed(
    conn: db.Conn, look: Look, means: Means, folder: Path, example: Example
) -> None:
    fill(folder, a="1")
    source_id = add(conn, folder)
    report = look()
    with pytest.raises(BusyError):
        sources.remove(conn, OWNER, source_id, "ada")
    over(conn, example, report, means)
    assert sources.remove(conn, OWNER, source_id, "ada") is not None
    assert conn.execute("SELECT count(*) AS n FROM photos").fetchone() == {"n": 1}


def test_looks_that_are_killed_at_any_statement_lose_nothing_and_hand_in_nothing_twice(
    conn: db.Conn, database: str, look: Look, means: Means, folder: Path
) -> None:
    fill(folder, a="1", sub__b="2")
    add(conn, folder)
    for statement in range(1, 100):
        with suppress(Killed), fragile(database, Fuse(statement)) as other:
            look(on=other)
            break
    else:
        pytest.fail("no look came to its end")
    assert statement > 10
    (batch,) = conn.execute("SELECT batch_id::text FROM batches").fetchall()
    assert names_of(work_on(conn, batch, means)) == ["a.jpg", "b.jpg"]
