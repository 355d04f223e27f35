"""A backup of a catalog and its objects, and back, between real databases."""

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from psycopg import sql

from catalog_seed import Seed, picture
from darkroom_cli.contracts import Topics
from darkroom_schemas import catalogue
from darkroom_schemas.names import OPS_CONTROL
from filled_tables import contents, fill
from gateway import db
from gateway.backup.making import NAMED, back_up
from gateway.backup.manifest import BackupError, Manifest, read_manifest
from gateway.backup.restoring import Target, restore
from gateway.backup.tables import LEFT_OUT, table_names
from gateway.backup_command import run_backup
from gateway.catalog import jobs
from gateway.command import Command
from gateway.control.lag import KafkaOffsets
from gateway.control.tidying import RETENTION
from gateway.migrations import migrate
from infrastructure import Infrastructure
from streamkit import ObjectStore

BEGUN_ANEW = {"jobs", "audit", "trainings"}
"""Tables in which a restore writes down that it was one, and what begins anew."""


@dataclass
class Told:
    """Progress, as it is told."""

    steps: list[str] = field(default_factory=list)

    def __call__(self, step: str, _done: int, _of: int | None) -> None:
        if step not in self.steps:
            self.steps.append(step)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture
def elsewhere(tmp_path: Path) -> ObjectStore:
    """An object store of another address."""
    return ObjectStore(f"file://{tmp_path}/elsewhere")


Targeting = Callable[..., Target]


@pytest.fixture
def target(
    infrastructure: Infrastructure, empty_database: str, elsewhere: ObjectStore
) -> Targeting:
    """Makes a target that is empty, in so far as nothing else is said."""

    def made(**changes: Any) -> Target:
        offsets = KafkaOffsets(infrastructure.kafka, prefix=f"restore{uuid4().hex}.")
        empty = {"database": empty_database, "store": elsewhere, "registry": None}
        return Target(**{**empty, "offsets": offsets, **changes})

    return made


def silent(_step: str, _done: int, _of: int | None) -> None:
    return None


@pytest.fixture
def backup(database: str, conn: db.Conn, store: ObjectStore, seed: Seed, folder: Path) -> Manifest:
    """Of a catalog with photos, and with a row in every table."""
    for number in range(3):
        seed.analyzed(f"{number}.jpg", picture(f"#{number}00000"))
    fill(conn)
    return back_up(folder, database, store, None, silent)


def test_every_table_and_object_comes_back_as_it_was(
    backup: Manifest, conn: db.Conn, folder: Path, target: Targeting, store: ObjectStore
) -> None:
    told = Told()
    there = target(store=store)
    restore(folder, there, told)
    assert told.steps == ["verify", "objects", "schemas", "catalog"]
    before = contents(conn)
    with db.connect(there.database, name="test") as restored:
        after = contents(restored)
        assert after.keys() == before.keys() == {table.name for table in backup.catalog.tables}
        assert {n: after[n] for n in after.keys() - BEGUN_ANEW} == {
            name: before[name] for name in before.keys() - BEGUN_ANEW
        }
        for name in LEFT_OUT.keys() - {"alembic_version"}:
            query = sql.SQL("SELECT FROM {}").format(sql.Identifier(name))
            assert restored.execute(query).rowcount == 0


def test_every_table_is_backed_up_or_left_out_for_a_reason(conn: db.Conn) -> None:
    rows = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    assert {*table_names(conn), *LEFT_OUT} == {row["tablename"] for row in rows}


def test_in_another_store_nothing_names_the_old_one(
    backup: Manifest, conn: db.Conn, folder: Path, target: Targeting, tmp_path: Path
) -> None:
    old = backup.objects.location
    for table, columns in NAMED.items():
        for column in columns:
            statement = sql.SQL("UPDATE {} SET {c} = %s WHERE {c} = 'x'").format(
                sql.Identifier(table), c=sql.Identifier(column)
            )
            conn.execute(statement, (f"{old}/a",))
    conn.execute(
        "UPDATE batches SET kind = 'archive', location = jsonb_build_object('uri', %s::text)",
        (f"{old}/archives/a",),
    )
    back_up(folder, url_of(conn), ObjectStore(old), None, silent)
    there = target()
    restore(folder, there, silent)
    with db.connect(there.database, name="test") as restored:
        for name in table_names(restored):
            query = sql.SQL("SELECT t::text AS row FROM {} t WHERE strpos(t::text, %s) > 0")
            found = restored.execute(query.format(sql.Identifier(name)), (f"{old}/",))
            assert found.fetchall() == [], name
        rows = restored.execute("SELECT source_uri, sha256 FROM photos WHERE sha256 <> 'x'")
        for row in rows.fetchall():
            data = there.store.get(row["source_uri"], limit=100_000)
            assert hashlib.sha256(data).hexdigest() == row["sha256"]


def url_of(conn: db.Conn) -> str:
    info = conn.info
    return f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"


def test_identities_go_on_behind_the_last(
    backup: Manifest, folder: Path, target: Targeting
) -> None:
    there = target()
    restore(folder, there, silent)
    with db.connect(there.database, name="test") as restored:
        row = restored.execute(
            "INSERT INTO audit (who, what, subject) VALUES ('x', 'x', 'x') RETURNING id"
        ).fetchone()
        highest = restored.execute("SELECT max(id) AS id FROM audit").fetchone()
    assert row == highest


def test_a_restore_asks_for_what_brokers_must_know(
    backup: Manifest, conn: db.Conn, folder: Path, target: Targeting
) -> None:
    conn.execute("UPDATE trainings SET state = 'running', token = 3, worker = 'w', ended_at = NULL")
    back_up(folder, url_of(conn), ObjectStore(backup.objects.location), None, silent)
    there = target()
    restore(folder, there, silent)
    with db.connect(there.database, name="test") as restored:
        _, standings = jobs.standings(restored)
        (asked,) = [one for one in standings if one.name == "republish"]
        assert (asked.schedule, asked.asked_by) == ("", "restore")
        training = restored.execute("SELECT state, token, worker FROM trainings").fetchone()
        assert training == {"state": "requested", "token": None, "worker": None}


def test_an_older_backup_becomes_a_catalog_of_now(
    conn: db.Conn, database: str, folder: Path, store: ObjectStore, target: Targeting
) -> None:
    migrate(database, "0012", lose_data=True)
    fill(conn)
    assert back_up(folder, database, store, None, silent).catalog.revision == "0012"
    there = target()
    restore(folder, there, silent)
    with db.connect(there.database, name="test") as restored:
        assert restored.execute("SELECT taught FROM review_answers").fetchall() == [
            {"taught": True}
        ]


def test_what_is_written_meanwhile_is_not_half_in_it(
    database: str, conn: db.Conn, store: ObjectStore, seed: Seed, folder: Path
) -> None:
    seed.analyzed("a.jpg", picture("#111111"))

    def write(step: str, done: int, _of: int | None) -> None:
        if step == "catalog" and done == 1:
            seed.analyzed("b.jpg", picture("#222222"))

    made = back_up(folder, database, store, None, write)
    rows = {table.name: table.rows for table in made.catalog.tables}
    assert (rows["photos"], rows["analyses"], rows["outcomes"]) == (1, 1, 1)
    assert made.objects.count == 2  # too much never hurts


def test_an_object_that_the_store_has_lost_is_named(
    database: str, store: ObjectStore, seed: Seed, objects: Path, folder: Path
) -> None:
    seed.analyzed("a.jpg", picture())
    (lost,) = objects.iterdir()
    lost.unlink()
    made = back_up(folder, database, store, None, silent).objects
    assert (made.missing, made.count) == (1, 0)
    assert (folder / (made.missing_keys or "")).read_text() == f"{lost.name}\n"


def test_what_the_store_has_lost_since_the_backup_before_is_kept(
    database: str, store: ObjectStore, seed: Seed, objects: Path, folder: Path, target: Targeting
) -> None:
    seed.analyzed("a.jpg", picture())
    back_up(folder, database, store, None, silent)
    (lost,) = objects.iterdir()
    data = lost.read_bytes()
    lost.unlink()
    for _ in range(2):
        made = back_up(folder, database, store, None, silent).objects
        assert (made.missing, made.count) == (1, 1)
    there = target()
    restore(folder, there, silent)
    assert there.store.get(there.store.uri_of(lost.name), limit=100_000) == data


def test_an_object_under_any_name_is_not_missing(
    database: str, conn: db.Conn, store: ObjectStore, seed: Seed, folder: Path
) -> None:
    seed.analyzed("a.jpg", picture())
    store.put("inbox/ein Bild (1).jpg", b"data")
    uri = store.within(store.uri_of(""), "inbox/ein Bild (1).jpg")
    assert "%20" in uri
    conn.execute("UPDATE photos SET source_uri = %s", (uri,))
    assert back_up(folder, database, store, None, silent).objects.missing == 0


def test_a_backup_replaces_the_one_before_in_its_folder(
    backup: Manifest, conn: db.Conn, folder: Path, store: ObjectStore, objects: Path
) -> None:
    for file in objects.iterdir():
        file.unlink()
        break
    again = back_up(folder, url_of(conn), store, None, silent)
    assert read_manifest(folder) == again != backup
    assert len(list((folder / "objects").iterdir())) == again.objects.count
    assert {each.name for each in folder.iterdir() if each.is_dir()} == {
        again.objects.listing.path.split("/")[0],
        "objects",
    }


def test_all_that_a_backup_has_is_for_its_owner_alone(
    database: str, store: ObjectStore, seed: Seed, folder: Path
) -> None:
    """Also in a folder that others could read, as most that are there already."""
    seed.analyzed("a.jpg", picture())
    folder.mkdir()
    folder.chmod(0o755)
    before = os.umask(0o022)
    try:
        back_up(folder, database, store, None, silent)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    files = [folder, *folder.rglob("*")]
    assert {"manifest.json", "objects.jsonl", "photos.copy"} <= {file.name for file in files}
    assert [file for file in files if file.stat().st_mode & 0o77] == []


def test_a_folder_with_something_else_in_it_is_left(
    database: str, store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(BackupError, match="not empty, and no backup"):
        back_up(tmp_path / "mine", database, store, None, silent)


def test_retention_waits_for_a_backup(
    database: str, store: ObjectStore, conn: db.Conn, folder: Path
) -> None:
    held: list[bool] = []

    def look(_step: str, _done: int, _of: int | None) -> None:
        held.append(jobs.hold(conn, RETENTION, uuid4()))
        conn.execute("SELECT pg_advisory_unlock_all()")

    back_up(folder, database, store, None, look)
    assert held
    assert not any(held)


# -- what a restore refuses ----------------------------------------------------------------------


def test_a_catalog_that_is_not_empty_is_kept(
    backup: Manifest, conn: db.Conn, folder: Path, target: Targeting
) -> None:
    before = contents(conn)
    with pytest.raises(BackupError, match="not empty: there are"):
        restore(folder, target(database=url_of(conn)), silent)
    assert contents(conn) == before


def test_a_catalog_may_be_replaced(
    backup: Manifest, conn: db.Conn, folder: Path, target: Targeting
) -> None:
    conn.execute("DELETE FROM photos")
    restore(folder, target(database=url_of(conn), replace=True), silent)
    (row,) = conn.execute("SELECT count(*) AS photos FROM photos")
    assert row["photos"] == 4


def test_a_restore_that_fails_changes_no_catalog_and_can_be_repeated(
    backup: Manifest,
    conn: db.Conn,
    folder: Path,
    target: Targeting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = contents(conn)
    there = target(database=url_of(conn), replace=True)
    with monkeypatch.context() as patch:
        patch.setattr("gateway.backup.restoring._begin_anew", lambda _conn: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            restore(folder, there, silent)
    assert contents(conn) == before
    restore(folder, there, silent)


def test_doors_must_be_stopped(backup: Manifest, folder: Path, target: Targeting) -> None:
    there = target()
    with (
        db.connect(there.database, name="darkroom-gateway-relay"),
        pytest.raises(BackupError, match="darkroom-gateway-relay"),
    ):
        restore(folder, there, silent)


def test_a_broker_with_records_is_refused(
    backup: Manifest, folder: Path, target: Targeting, infrastructure: Infrastructure
) -> None:
    prefix = f"full{uuid4().hex}."
    only = catalogue.Catalogue((), {OPS_CONTROL: catalogue.load()[OPS_CONTROL]})
    assert all(one.good for one in Topics(infrastructure.kafka, only, prefix).apply())
    there = target(offsets=KafkaOffsets(infrastructure.kafka, prefix=prefix))
    producer = Producer({"bootstrap.servers": infrastructure.kafka})
    producer.produce(prefix + OPS_CONTROL, b"x", "ocr")
    assert producer.flush(20) == 0
    with pytest.raises(BackupError, match=r"Kafka is not empty.*ops\.control"):
        restore(folder, there, silent)


def test_a_damaged_table_is_found_first(
    backup: Manifest, folder: Path, target: Targeting, tmp_path: Path
) -> None:
    photos = next(one.file.path for one in backup.catalog.tables if one.name == "photos")
    data = bytearray((folder / photos).read_bytes())
    data[-30] ^= 1
    (folder / photos).write_bytes(data)
    with pytest.raises(BackupError, match=r"damaged: .*photos\.copy"):
        restore(folder, target(), silent)
    assert not any((tmp_path / "elsewhere").iterdir())


# -- the program ---------------------------------------------------------------------------------


def test_the_program_ends_with_another_code_where_objects_are_missing(
    database: str, store: ObjectStore, seed: Seed, objects: Path, folder: Path
) -> None:
    seed.analyzed("a.jpg", picture())
    (lost,) = objects.iterdir()
    lost.unlink()
    places: Any = {"database": database, "objects": store.uri_of("").rstrip("/"), "folder": folder}
    command = Command(door="backup", without_schemas=True, **places)
    told = io.StringIO()
    assert run_backup(command, told) == 3
    done = json.loads(told.getvalue().splitlines()[-1])["done"]
    assert (done["missing"], (folder / done["missing_keys"]).read_text()) == (1, f"{lost.name}\n")
    lost.write_bytes(picture())
    assert run_backup(command, told) == 0


def test_the_program_says_why_it_does_not_restore_and_what_to_do(
    backup: Manifest, conn: db.Conn, folder: Path, infrastructure: Infrastructure
) -> None:
    places = {
        "DARKROOM_DATABASE": url_of(conn),
        "DARKROOM_OBJECTS": backup.objects.location,
        "DARKROOM_KAFKA": infrastructure.kafka,
    }
    command = [sys.executable, "-m", "gateway", "restore", "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--without-schemas"],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert told[0]["step"] == "verify"
    assert "not empty" in told[-1]["error"]
    assert "--replace" in told[-1]["cure"]
