"""Files of an import that are recorded several at a time come to the same as one by one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog import imports
from gateway.catalog.items import NotStoredError, Place, known_photos, record_photos
from gateway.catalog.outbox import Outbox
from gateway.control.work import Means, Step
from gateway.originals import Original
from import_kit import (
    MANY,
    PACE,
    Example,
    Fuse,
    Killed,
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
)
from streamkit import Codec, ObjectStore

AT_ONCE = 4


class CountingStore:
    """A store that remembers what it was given."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.given: list[bytes] = []

    def put(self, key: str, data: bytes) -> str:
        self.given.append(data)
        return self._store.put(key, data)


@pytest.fixture
def disk(tmp_path: Path) -> ObjectStore:
    return ObjectStore(f"file://{tmp_path}/objects")


@pytest.fixture
def store(disk: ObjectStore) -> CountingStore:
    return CountingStore(disk)


@pytest.fixture
def means(outbox: Outbox, disk: ObjectStore, store: CountingStore) -> Means:
    return make_means(outbox, disk, replace(PACE, at_once=AT_ONCE), store=store)


def transactions(conn: db.Conn, batch_id: str) -> list[list[int]]:
    """Indices that were written together, in their order."""
    rows = conn.execute(
        "SELECT array_agg(index ORDER BY index) AS indices FROM batch_items WHERE batch_id = %s"
        " GROUP BY xmin::text ORDER BY min(index)",
        (batch_id,),
    )
    return [row["indices"] for row in rows]


def test_a_step_records_several_files_in_one_transaction(
    conn: db.Conn, means: Means, folder: Path, codec: Codec
) -> None:
    fill(folder, **{f"f{number}": str(number) for number in range(10)})
    batch_id = run(conn, means, folder)

    assert transactions(conn, batch_id) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    told = events(conn, codec, names.PHOTO_BATCH_JOINED)
    assert [event["index"] for event in told] == list(range(10))
    assert len(events(conn, codec, names.PHOTO_SUBMITTED["batch"])) == 10


def test_the_same_photo_twice_among_them_is_analysed_once(
    conn: db.Conn, means: Means, folder: Path, codec: Codec
) -> None:
    fill(folder, a="cat", b="dog", c="cat", d="cat")
    batch_id = run(conn, means, folder)

    assert states(conn, batch_id, folder) == {
        "a.jpg": "submitted",
        "b.jpg": "submitted",
        "c.jpg": "duplicate",
        "d.jpg": "duplicate",
    }
    assert items(conn, batch_id)[2]["duplicate_of"] == items(conn, batch_id)[0]["photo_id"]
    assert len(events(conn, codec, names.PHOTO_SUBMITTED["batch"])) == 2


def test_bytes_of_known_photos_are_not_stored_again(
    conn: db.Conn, means: Means, store: CountingStore, folder: Path, example: Example
) -> None:
    fill(folder, a="cat", b="dog")
    for item in items(conn, run(conn, means, folder)):
        end(conn, example, item)
    fill(folder, c="bird")
    store.given.clear()
    batch_id = run(conn, means, folder)

    assert list(states(conn, batch_id, folder).values()) == ["duplicate", "duplicate", "submitted"]
    assert store.given == [b"bird"]


def test_a_photo_that_is_known_no_more_when_it_is_recorded_is_told(
    conn: db.Conn, outbox: Outbox, folder: Path
) -> None:
    batch_id = create(conn, outbox, folder)
    (batch,) = imports.open_imports(conn)
    files = [(Place(0, "/a.jpg"), Original("ab" * 32, "", 3))]
    with pytest.raises(NotStoredError):
        record_photos(conn, outbox, batch, files)
    assert items(conn, batch_id) == []


def test_a_photo_that_was_forgotten_meanwhile_is_stored_after_all(
    conn: db.Conn,
    means: Means,
    store: CountingStore,
    folder: Path,
    example: Example,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(folder, a="cat")
    for item in items(conn, run(conn, means, folder)):
        end(conn, example, item)
    store.given.clear()

    def known(conn: db.Conn, batch: imports.Import, photos: Sequence[str]) -> set[str]:
        found = known_photos(conn, batch, photos)
        conn.execute("TRUNCATE outcomes")
        return found

    monkeypatch.setattr("gateway.control.recording.items.known_photos", known)
    batch_id = run(conn, means, folder)
    assert states(conn, batch_id, folder) == {"a.jpg": "submitted"}
    assert store.given == [b"cat"]


def test_a_file_that_can_not_be_read_keeps_its_place_between_the_others(
    conn: db.Conn, means: Means, folder: Path
) -> None:
    fill(folder, a="1", b="x" * 2000, c="3", d="4")
    batch_id = run(conn, means, folder)

    found = [(item["index"], item["state"], item["code"]) for item in items(conn, batch_id)]
    assert found == [
        (0, "submitted", None),
        (1, "refused", "file_too_large"),
        (2, "submitted", None),
        (3, "submitted", None),
    ]


def test_one_that_the_catalog_refuses_does_not_take_the_others_with_it(
    conn: db.Conn, means: Means, folder: Path
) -> None:
    fill(folder, a="1", b="2", c="3", d="4")
    conn.execute("ALTER TABLE batch_items ADD CHECK (path NOT LIKE '%%/b.jpg')")
    batch_id = run(conn, means, folder)

    found = [(item["state"], item["code"]) for item in items(conn, batch_id)]
    assert found == [
        ("submitted", None),
        ("refused", "path_unstorable"),
        ("submitted", None),
        ("submitted", None),
    ]


def test_large_files_are_not_all_held_in_memory(
    conn: db.Conn, means: Means, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.control.recording._BYTES_AT_ONCE", 1_500)
    fill(folder, **{name: name * 900 for name in "abcd"})
    batch_id = run(conn, means, folder)
    assert transactions(conn, batch_id) == [[0, 1], [2, 3]]


def test_no_more_photos_are_under_way_than_allowed(
    conn: db.Conn, outbox: Outbox, disk: ObjectStore, folder: Path, example: Example
) -> None:
    fill(folder, **{f"f{number}": str(number) for number in range(9)})
    pace = replace(PACE, in_flight=3, least=1, at_once=AT_ONCE)
    batch_id = create(conn, outbox, folder)
    scan = taken_up(conn, batch_id, make_means(outbox, disk, pace))

    ended, most = 0, 0
    while (step := scan.step(MANY)) is not Step.SEALED:
        open_items = [item for item in items(conn, batch_id) if item["ended"] is None]
        most = max(most, len(open_items))
        if step is Step.WAITING:
            end(conn, example, items(conn, batch_id)[ended])
            ended += 1
    assert most == 3
    assert len(items(conn, batch_id)) == 9


@pytest.mark.parametrize("statement", range(1, 14))
def test_a_runner_that_is_killed_anywhere_goes_on_with_each_file_once(
    database: str, conn: db.Conn, means: Means, folder: Path, codec: Codec, statement: int
) -> None:
    fill(folder, a="1", b="2", c="1", d="4", e="5")
    batch_id = create(conn, means.outbox, folder)
    with fragile(database, Fuse(statement + 8)) as own, pytest.raises(Killed):
        to_the_end(taken_up(own, batch_id, means))
    to_the_end(taken_up(conn, batch_id, means))

    found = items(conn, batch_id)
    assert [item["index"] for item in found] == list(range(5))
    assert len(events(conn, codec, names.PHOTO_SUBMITTED["batch"])) == 4
    assert {str(item["photo_id"]) for item in found} == {
        ids.photo_id(ids.LOCAL_OWNER, sha256) for sha256 in _digests("1", "2", "4", "5")
    }


def _digests(*contents: str) -> list[str]:
    from hashlib import sha256

    return [sha256(content.encode()).hexdigest() for content in contents]
