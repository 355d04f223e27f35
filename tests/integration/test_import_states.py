"""Imports that are paused, resumed and cancelled, on a real PostgreSQL."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog import cancelling, ends, import_commands, imports, results
from gateway.catalog.import_commands import ImportStateError
from gateway.catalog.imports import NotScanningError
from gateway.catalog.items import Place, record_photo
from gateway.catalog.outbox import Outbox
from gateway.catalog.submissions import Status, Submission, submit_photo
from gateway.control.cancelling import Cancelling
from gateway.control.duty import Duty
from gateway.control.imports import ImportRunner
from gateway.control.work import Means, Pace, Step, Work
from gateway.originals import Original, store_original
from import_kit import (
    MANY,
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
    taken_up,
    to_the_end,
    until,
)
from reconcile_world import World
from streamkit import Codec, ObjectStore

OWNER = ids.LOCAL_OWNER
CANCELLED = "cancelled"
SUBMITTED = frozenset(names.PHOTO_SUBMITTED.values())


def pause(conn: db.Conn, batch_id: str, ends_at: datetime | None = None) -> bool:
    return import_commands.pause(conn, OWNER, UUID(batch_id), "ada", ends_at)


def resume(conn: db.Conn, batch_id: str) -> bool:
    return import_commands.resume(conn, OWNER, UUID(batch_id), "ada")


def cancel(conn: db.Conn, batch_id: str) -> bool:
    return import_commands.cancel(conn, OWNER, UUID(batch_id), "ada")


def state(conn: db.Conn, batch_id: str) -> str:
    return str(batch_row(conn, batch_id)["state"])


def audited(conn: db.Conn) -> list[str]:
    return [row["what"] for row in conn.execute("SELECT what FROM audit ORDER BY id")]


def hand_in(conn: db.Conn, outbox: Outbox, store: ObjectStore, content: str) -> str:
    """A person hands a photo in; returns the analysis."""
    original = store_original(store, content.encode())
    return submit_photo(conn, outbox, submission(original)).analysis_id


def submission(original: Original) -> Submission:
    return Submission(
        owner=OWNER,
        sha256=original.sha256,
        source_uri=original.uri,
        byte_size=original.byte_size,
        file_name=None,
        lane="high",
        submission_id=str(uuid4()),
    )


def take_ends(conn: db.Conn, codec: Codec) -> None:
    """What the recorder does with the ends that were published."""
    for told in events(conn, codec, names.BATCH_PHOTO_ENDED):
        ends.record_end(conn, told)  # type: ignore[arg-type]


def cancelled_analyses(conn: db.Conn) -> set[str]:
    rows = conn.execute("SELECT analysis_id FROM analyses WHERE cancelled_at IS NOT NULL")
    return {str(row["analysis_id"]) for row in rows}


# --- pause and resume ------------------------------------------------------------------------


def test_a_paused_import_records_nothing_until_it_is_resumed(
    conn: db.Conn, means: Means, folder: Path
) -> None:
    fill(folder, a="1", b="2", c="3")
    batch_id = create(conn, means.outbox, folder)
    scan = taken_up(conn, batch_id, means)
    assert scan.step(MANY) is Step.WORKED
    assert pause(conn, batch_id)

    assert scan.step(MANY) is Step.STOPPED
    row = batch_row(conn, batch_id)
    assert (row["state"], row["paused_by"], row["found"]) == ("paused", "ada", 1)
    assert len(items(conn, batch_id)) == 1
    assert imports.open_imports(conn) == []

    assert resume(conn, batch_id)
    to_the_end(taken_up(conn, batch_id, means))
    assert [item["index"] for item in items(conn, batch_id)] == [0, 1, 2]
    row = batch_row(conn, batch_id)
    assert (row["state"], row["sealed"], row["found"], row["paused_by"]) == (
        "running",
        True,
        3,
        None,
    )
    assert audited(conn) == ["import.paused", "import.resumed"]


def test_a_pause_ends_by_itself(conn: db.Conn, outbox: Outbox, folder: Path) -> None:
    early, late, endless = (create(conn, outbox, folder) for _ in range(3))
    pause(conn, early, datetime.now(UTC) - timedelta(seconds=1))
    pause(conn, late, datetime.now(UTC) + timedelta(hours=1))
    pause(conn, endless)

    assert import_commands.end_pauses(conn) == 1
    assert [state(conn, one) for one in (early, late, endless)] == ["scanning", "paused", "paused"]


def test_commands_may_be_repeated(conn: db.Conn, means: Means, folder: Path) -> None:
    batch_id = create(conn, means.outbox, folder)
    assert pause(conn, batch_id)
    ends_at = datetime(2030, 1, 1, tzinfo=UTC)
    assert pause(conn, batch_id, ends_at)
    assert batch_row(conn, batch_id)["paused_until"] == ends_at
    assert resume(conn, batch_id)
    assert resume(conn, batch_id)
    assert cancel(conn, batch_id)
    assert cancel(conn, batch_id)
    assert state(conn, batch_id) == "cancelling"
    assert audited(conn) == ["import.paused"] * 2 + ["import.resumed", "import.cancelled"]


def test_what_the_state_does_not_allow_is_refused(
    conn: db.Conn, means: Means, folder: Path
) -> None:
    sealed = run(conn, means, folder)
    with pytest.raises(ImportStateError) as refused:
        pause(conn, sealed)
    assert refused.value.code == "import_sealed"
    assert resume(conn, sealed)

    for final in ("completed", "completed_with_failures", "cancelled", "cancelling"):
        conn.execute("UPDATE batches SET state = %s WHERE batch_id = %s", (final, sealed))
        for command in (pause, resume, cancel):
            if (final, command) == ("cancelling", cancel):
                continue
            with pytest.raises(ImportStateError) as over:
                command(conn, sealed)
            assert over.value.code == "import_over"
    assert audited(conn) == []


def test_another_owners_import_is_none(conn: db.Conn, outbox: Outbox, folder: Path) -> None:
    batch_id = UUID(create(conn, outbox, folder))
    stranger = str(uuid4())
    assert not import_commands.pause(conn, stranger, batch_id, "eve", None)
    assert not import_commands.resume(conn, stranger, batch_id, "eve")
    assert not import_commands.cancel(conn, stranger, batch_id, "eve")
    assert state(conn, str(batch_id)) == "scanning"


def test_a_command_waits_for_the_file_that_is_being_recorded(
    database: str, conn: db.Conn, outbox: Outbox, store: ObjectStore, folder: Path
) -> None:
    batch_id = create(conn, outbox, folder)
    (batch,) = imports.open_imports(conn)
    original = store_original(store, b"photo")
    with db.connect(database, name="other") as other:
        with conn.transaction():
            record_photo(conn, outbox, batch, Place(0, "/a.jpg"), original)
            other.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                cancel(other, batch_id)
        assert cancel(other, batch_id)
    with pytest.raises(NotScanningError):
        record_photo(conn, outbox, batch, Place(1, "/b.jpg"), original)
    assert len(items(conn, batch_id)) == 1


@pytest.mark.parametrize("command", [pause, cancel])
def test_a_file_waits_for_a_command_and_is_not_recorded_after_it(
    database: str,
    conn: db.Conn,
    outbox: Outbox,
    store: ObjectStore,
    folder: Path,
    command: Callable[[db.Conn, str], bool],
) -> None:
    batch_id = create(conn, outbox, folder)
    (batch,) = imports.open_imports(conn)
    original = store_original(store, b"photo")
    refused: list[Exception] = []

    def record() -> None:
        with db.connect(database, name="recording") as own:
            try:
                record_photo(own, outbox, batch, Place(0, "/a.jpg"), original)
            except NotScanningError as error:
                refused.append(error)

    recording = threading.Thread(target=record)
    with db.connect(database, name="watch") as watch, conn.transaction():
        command(conn, batch_id)
        recording.start()
        until(lambda: waits(watch, "recording"), "the file waits for the command")
    recording.join(10)
    assert len(refused) == 1
    assert items(conn, batch_id) == []


# --- cancellation ----------------------------------------------------------------------------


def test_a_cancelled_import_tells_the_end_of_every_waiting_photo_and_its_totals(
    conn: db.Conn, means: Means, folder: Path, example: Example, codec: Codec
) -> None:
    fill(folder, a="1", b="2", c="2", d="x" * 2000, e="3", f="4")
    batch_id = create(conn, means.outbox, folder)
    scan = taken_up(conn, batch_id, means)
    for _ in range(5):
        scan.step(MANY)
    end(conn, example, items(conn, batch_id)[0])
    cancel(conn, batch_id)
    assert scan.step(MANY) is Step.STOPPED
    to_the_end(taken_up(conn, batch_id, means))

    told = events(conn, codec, names.BATCH_PHOTO_ENDED)
    assert [(one["index"], one["end"]) for one in told] == [(1, "cancelled"), (4, "cancelled")]
    last = events(conn, codec, names.BATCH_INTAKE)[-1]
    assert (last["state"], last["found"], last["duplicates"], last["refused"]) == (
        "cancelled",
        5,
        1,
        1,
    )
    assert last["submitted"] == 3
    waiting = {str(items(conn, batch_id)[index]["analysis_id"]) for index in (1, 4)}
    assert cancelled_analyses(conn) == waiting
    ended = events(conn, codec, names.PHOTO_ANALYSIS_CANCELLED)
    assert {one["analysis_id"] for one in ended} == waiting
    row = batch_row(conn, batch_id)
    assert (row["state"], row["sealed"], row["cancelled_by"]) == ("cancelling", True, "ada")
    assert imports.open_imports(conn) == []


def test_a_sealed_import_can_be_cancelled(
    conn: db.Conn, means: Means, folder: Path, codec: Codec
) -> None:
    fill(folder, a="1", b="2")
    batch_id = run(conn, means, folder)
    cancel(conn, batch_id)
    to_the_end(taken_up(conn, batch_id, means))

    assert len(events(conn, codec, names.BATCH_PHOTO_ENDED)) == 2
    assert [one["state"] for one in events(conn, codec, names.BATCH_INTAKE)][-1] == "cancelled"
    assert batch_row(conn, batch_id)["sealed"]


def test_a_cancelled_photo_is_analysed_anew_by_the_next_who_wants_it(
    conn: db.Conn, means: Means, folder: Path, store: ObjectStore
) -> None:
    fill(folder, a="1")
    first = run(conn, means, folder)
    cancel(conn, first)
    to_the_end(taken_up(conn, first, means))

    second = run(conn, means, folder)
    (item,) = items(conn, second)
    assert item["state"] == "submitted"
    assert item["analysis_id"] != items(conn, first)[0]["analysis_id"]


def test_photos_that_somebody_else_waits_for_are_analysed_all_the_same(
    conn: db.Conn, means: Means, folder: Path, store: ObjectStore, codec: Codec
) -> None:
    fill(folder / "one", a="only one", b="both", c="a person joins", d="a person began")
    fill(folder / "two", a="both")
    begun = hand_in(conn, means.outbox, store, "a person began")
    one = run(conn, means, folder / "one")
    two = run(conn, means, folder / "two")
    hand_in(conn, means.outbox, store, "a person joins")
    own, shared, joined, theirs = (str(item["analysis_id"]) for item in items(conn, one))
    assert theirs == begun
    assert str(items(conn, two)[0]["analysis_id"]) == shared

    cancel(conn, one)
    to_the_end(taken_up(conn, one, means))
    assert cancelled_analyses(conn) == {own}
    assert len(events(conn, codec, names.BATCH_PHOTO_ENDED)) == 4
    take_ends(conn, codec)
    assert items(conn, two)[0]["ended"] is None

    cancel(conn, two)
    to_the_end(taken_up(conn, two, means))
    assert cancelled_analyses(conn) == {own, shared}
    assert joined not in cancelled_analyses(conn)


def test_an_end_that_came_before_stands(
    conn: db.Conn, means: Means, folder: Path, example: Example, codec: Codec
) -> None:
    fill(folder, a="1", b="2")
    batch_id = run(conn, means, folder)
    cancel(conn, batch_id)
    to_the_end(taken_up(conn, batch_id, means))
    end(conn, example, items(conn, batch_id)[0])
    take_ends(conn, codec)

    assert [item["ended"] for item in items(conn, batch_id)] == ["suggested", "cancelled"]


def test_a_cancellation_goes_in_slices_and_may_begin_again(
    conn: db.Conn, means: Means, folder: Path, codec: Codec
) -> None:
    fill(folder, **{f"f{number}": str(number) for number in range(7)})
    batch_id = run(conn, means, folder)
    cancel(conn, batch_id)
    (batch,) = imports.open_imports(conn)
    killed = Cancelling(conn, batch, means, files=3)
    assert [killed.step(MANY) for _ in range(3)] == [Step.WORKED] * 3

    assert state(conn, batch_id) == "cancelling"
    again = Cancelling(conn, batch, means, files=3)
    assert [again.step(MANY) for _ in range(5)] == [Step.WORKED] * 4 + [Step.SEALED]
    rows = conn.execute(
        "SELECT event_id FROM outbox WHERE topic = %s", (names.BATCH_PHOTO_ENDED,)
    ).fetchall()
    assert (len(rows), len({row["event_id"] for row in rows})) == (13, 7)
    assert len(events(conn, codec, names.PHOTO_ANALYSIS_CANCELLED)) == 7


def test_nobody_joins_an_analysis_while_it_is_being_cancelled(
    database: str, conn: db.Conn, means: Means, folder: Path, store: ObjectStore
) -> None:
    fill(folder, a="wanted")
    batch_id = run(conn, means, folder)
    cancel(conn, batch_id)
    (batch,) = imports.open_imports(conn)
    original = store_original(store, b"wanted")
    answers = []

    def submit() -> None:
        with db.connect(database, name="person") as own:
            answers.append(submit_photo(own, means.outbox, submission(original)))

    person = threading.Thread(target=submit)
    with conn.transaction():
        cancelling.cancel_some(conn, means.outbox, batch, cancelling.NO_INDEX, 10)
        person.start()
        with db.connect(database, name="watch") as watch:
            until(lambda: waits(watch, "person"), "the person waits for the photo")
    person.join(10)
    assert [answer.status for answer in answers] == [Status.NEW]


def waits(conn: db.Conn, name: str) -> bool:
    row = conn.execute(
        "SELECT FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
        " AND datname = current_database()",
        (name,),
    ).fetchone()
    return row is not None


# --- the runner ------------------------------------------------------------------------------


@pytest.fixture
def runner(database: str, outbox: Outbox, store: ObjectStore) -> Iterator[None]:
    """A running import runner; three photos of an import may be under way."""
    means = make_means(outbox, store, Pace(in_flight=3, limit=1000))
    duty = Duty("imports", 2, partial(db.connect, database, name="r"), ImportRunner(means).work)
    stop = threading.Event()
    thread = threading.Thread(target=duty.run, args=(stop,))
    thread.start()
    yield
    stop.set()
    thread.join(timeout=20)
    assert not thread.is_alive()


@pytest.mark.usefixtures("runner")
def test_the_runner_follows_commands_while_other_imports_go_on(
    conn: db.Conn, outbox: Outbox, folder: Path, example: Example, codec: Codec
) -> None:
    fill(folder / "one", **{f"f{number}": f"1-{number}" for number in range(8)})
    fill(folder / "two", **{f"f{number}": f"2-{number}" for number in range(8)})
    one, two = create(conn, outbox, folder / "one"), create(conn, outbox, folder / "two")
    until(lambda: len(items(conn, one)) == len(items(conn, two)) == 3, "both windows are full")
    pause(conn, one, datetime.now(UTC) + timedelta(seconds=1.5))
    cancel(conn, two)
    until(lambda: batch_row(conn, two)["sealed"], "the second is cancelled", seconds=5)
    assert [one["end"] for one in events(conn, codec, names.BATCH_PHOTO_ENDED)] == ["cancelled"] * 3
    assert state(conn, one) == "paused"

    def ended() -> bool:
        for item in items(conn, one):
            if item["ended"] is None:
                end(conn, example, item)
        return state(conn, one) == "running"

    began = time.monotonic()
    until(ended, "the first goes on by itself and is sealed")
    assert time.monotonic() - began < 10
    assert len(items(conn, one)) == 8


def test_overlapping_imports_end_right_when_one_is_cancelled(
    conn: db.Conn, means: Means, folder: Path, example: Example, codec: Codec
) -> None:
    fill(folder, **{f"f{number}": str(number) for number in range(6)})
    first, second = create(conn, means.outbox, folder), create(conn, means.outbox, folder)
    scans = [taken_up(conn, batch_id, means) for batch_id in (first, second)]
    for _ in range(4):  # both are at the fifth file
        for scan in scans:
            assert scan.step(MANY) is Step.WORKED
    cancel(conn, first)
    assert scans[0].step(MANY) is Step.STOPPED
    to_the_end(taken_up(conn, first, means))
    to_the_end(scans[1])
    take_ends(conn, codec)

    assert [item["ended"] for item in items(conn, first)] == ["cancelled"] * 4
    assert cancelled_analyses(conn) == set()
    analysed = [one["analysis_id"] for one in events(conn, codec, "photo.submitted.batch.v1")]
    waited = [str(item["analysis_id"]) for item in items(conn, second)]
    assert analysed == waited  # each once
    for item in items(conn, second):
        end(conn, example, item)
    assert [item["ended"] for item in items(conn, second)] == ["suggested"] * 6


def test_an_empty_import_can_be_cancelled(
    conn: db.Conn, means: Means, folder: Path, codec: Codec
) -> None:
    batch_id = create(conn, means.outbox, folder)
    cancel(conn, batch_id)
    to_the_end(taken_up(conn, batch_id, means))
    told = events(conn, codec, names.BATCH_INTAKE)
    assert [(one["state"], one["found"]) for one in told] == [("started", 0), ("cancelled", 0)]


def test_a_completion_makes_a_cancelled_import_cancelled(
    conn: db.Conn, means: Means, folder: Path, example: Example
) -> None:
    fill(folder, a="1")
    batch_id = run(conn, means, folder)
    cancel(conn, batch_id)
    to_the_end(taken_up(conn, batch_id, means))
    done = example(names.BATCH_COMPLETED, batch_id=batch_id, found=1, accepted=1, cancelled=1)
    ends.record_completion(conn, done)  # type: ignore[arg-type]

    assert state(conn, batch_id) == "cancelled"
    with pytest.raises(ImportStateError):
        cancel(conn, batch_id)


def test_a_refused_analysis_is_not_cancelled_but_its_file_ends(
    conn: db.Conn, means: Means, folder: Path, example: Example, codec: Codec
) -> None:
    fill(folder, a="torn")
    batch_id = run(conn, means, folder)
    (item,) = items(conn, batch_id)
    refused: Row = example(
        names.PHOTO_REJECTED,
        photo_id=str(item["photo_id"]),
        analysis_id=str(item["analysis_id"]),
    )
    results.record_rejection(conn, refused)  # type: ignore[arg-type]
    cancel(conn, batch_id)
    to_the_end(taken_up(conn, batch_id, means))

    assert len(events(conn, codec, names.BATCH_PHOTO_ENDED)) == 1
    assert events(conn, codec, names.PHOTO_ANALYSIS_CANCELLED) == []


def test_a_cancellation_killed_at_any_step_ends_right(
    database: str, conn: db.Conn, means: Means, folder: Path, codec: Codec
) -> None:
    fill(folder, **{f"f{number}": str(number) for number in range(4)})
    steps = 0
    while True:
        steps += 1
        conn.execute("TRUNCATE photos, analyses, batch_items, batches, outbox")
        batch_id = run(conn, means, folder)
        cancel(conn, batch_id)
        (batch,) = imports.open_imports(conn)
        fuse = Fuse(steps)
        with fragile(database, fuse) as dying:
            try:
                to_the_end(Cancelling(dying, batch, means, files=2))
            except Killed:
                dying.close()
        if fuse.left > 0:
            break
        for left in imports.open_imports(conn):
            to_the_end(Cancelling(conn, left, means, files=2))
        assert batch_row(conn, batch_id)["sealed"]
        ends_told = {one["index"] for one in events(conn, codec, names.BATCH_PHOTO_ENDED)}
        assert ends_told == {0, 1, 2, 3}
        assert len(cancelled_analyses(conn)) == 4
        assert len(events(conn, codec, names.PHOTO_ANALYSIS_CANCELLED)) == 4
        told = [one for one in events(conn, codec, names.BATCH_INTAKE) if one["state"] == CANCELLED]
        assert {(one["found"], one["submitted"]) for one in told} == {(4, 4)}
    assert steps > 10


# --- with the aggregator's own steps and the recorder ----------------------------------------


@dataclass
class Overlapping:
    """Two imports of the same photos, and whatever may happen to them next."""

    world: World
    works: dict[str, Work]
    chance: random.Random
    analysed: set[str] = field(default_factory=set)

    def act(self, times: int) -> None:
        actions: list[Callable[[], object]] = [self.step, self.step, self.world.flow, self.analyse]
        for _ in range(times):
            self.chance.choice(actions)()

    def step(self) -> None:
        if self.works:
            batch_id = self.chance.choice(list(self.works))
            if self.works[batch_id].step(MANY) in (Step.SEALED, Step.STOPPED):
                del self.works[batch_id]

    def analyse(self) -> None:
        """Intake and stages answer for one of the photos that were submitted."""
        begun = [value for topic, _, value in self.world.published if topic in SUBMITTED]
        waiting = [one for one in begun if one["analysis_id"] not in self.analysed]
        if waiting:
            value = self.chance.choice(waiting)
            self.analysed.add(value["analysis_id"])
            self.world.analysed(Submission(**{one.name: value[one.name] for one in FIELDS}))

    def to_the_end(self) -> None:
        while self.works:
            self.step()
        for _ in range(20):  # more than there are photos
            self.world.flow()
            self.analyse()


FIELDS = fields(Submission)


@pytest.mark.parametrize("seed", range(4))
def test_overlapping_imports_end_right_whenever_one_is_cancelled(
    database: str,
    conn: db.Conn,
    means: Means,
    folder: Path,
    example: Example,
    codec: Codec,
    seed: int,
) -> None:
    fill(folder / "common", **{f"f{number}": f"both {number}" for number in range(6)})
    fill(folder / "one", **{f"f{number}": f"one {number}" for number in range(3)})
    fill(folder / "two", a="two", b="both 3")
    first = create(conn, means.outbox, folder / "common", folder / "one")
    second = create(conn, means.outbox, folder / "two", folder / "common")
    works = {batch_id: taken_up(conn, batch_id, means) for batch_id in (first, second)}
    world = World.of(database, conn, means.outbox, codec, example)
    both = Overlapping(world, works, random.Random(seed))
    both.act(8 + 4 * seed)
    cancel(conn, first)
    works[first] = taken_up(conn, first, means)
    both.act(10)
    both.to_the_end()

    assert (state(conn, first), state(conn, second)) == ("cancelled", "completed")
    for batch_id in (first, second):
        check_totals(conn, batch_id)
    for item in items(conn, second):
        assert item["ended"] == ("auto_labeled" if item["state"] == "submitted" else None)
        photo = item["photo_id"]
        assert len(world.rows("SELECT FROM outcomes WHERE photo_id = %s", photo)) == 1
    world.session.close()


def check_totals(conn: db.Conn, batch_id: str) -> None:
    """Promise 2, and that the aggregator's totals are those of the files."""
    recorded, totals = items(conn, batch_id), batch_row(conn, batch_id)["totals"]
    ended = Counter(item["ended"] for item in recorded if item["state"] == "submitted")
    assert ended[None] == 0
    assert totals["found"] == len(recorded)
    assert totals["found"] == totals["duplicates"] + totals["rejected"] + totals["accepted"]
    assert totals["accepted"] == ended.total()
    for end_ in ("auto_labeled", "cancelled"):
        assert totals[end_] == ended[end_]
