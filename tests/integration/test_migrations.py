"""Every revision of the catalog, forward and back, with rows in all tables."""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Final

import pytest

from darkroom_cli.commands import data
from darkroom_cli.errors import DarkroomError
from filled_tables import fill, shape
from gateway import db, migrations
from gateway.migrations import LATEST, NOTHING, MigrationError, migrate, versions

DERIVED: Final = {"lane_loads", "model_takes"}
"""Tables whose rows are measured, or told by workers, again and again."""

REVISIONS: Final[list[ModuleType]] = [
    import_module(f"{versions.__name__}.{module.name}")
    for module in sorted(iter_modules(versions.__path__), key=lambda one: one.name)
]


def photos(conn: db.Conn) -> int:
    row = conn.execute("SELECT count(*) AS photos FROM photos").fetchone()
    return int(row["photos"]) if row else 0


def test_every_revision_goes_forward_and_back_with_rows_in_all_tables(empty_database: str) -> None:
    shapes: dict[str, set[str]] = {}
    numbers = [one.revision for one in REVISIONS]
    with db.connect(empty_database, name="test") as conn:
        for number in numbers:
            assert migrate(empty_database, number) == number
            shapes[number] = shape(conn)
            fill(conn)
        for number, before in zip(reversed(numbers), [*reversed(numbers[:-1]), None], strict=True):
            if before is None:
                break
            for _ in range(2):  # back, forward with what is left, and back for good
                assert migrate(empty_database, before, lose_data=True) == before
                assert shape(conn) ^ shapes[before] == set(), f"{number} leaves something"
                assert photos(conn) == 1
                migrate(empty_database, number)
                assert shape(conn) ^ shapes[number] == set()
            migrate(empty_database, before, lose_data=True)
        assert migrate(empty_database, NOTHING, lose_data=True) == NOTHING
        assert {line for line in shape(conn) if "alembic_version" not in line} == set()


def test_a_revision_says_what_its_downgrade_loses(empty_database: str) -> None:
    with db.connect(empty_database, name="test") as conn:
        before: set[str] = set()
        for module in REVISIONS:
            migrate(empty_database, module.revision)
            after = {line for line in shape(conn) if line.startswith("column ")}
            added = {line.split()[1].partition(".")[0] for line in after - before}
            if added - DERIVED:
                assert module.loses, f"{module.revision} adds {added} and says nothing of a loss"
            before = after


def test_nothing_is_lost_unless_somebody_says_so(database: str) -> None:
    with pytest.raises(MigrationError, match=r"0013: .*\n  0012: .*") as refused:
        migrate(database, "0011")
    assert "0011" not in str(refused.value)
    assert "backup" in refused.value.cure
    with db.connect(database, name="test") as conn:
        assert conn.execute("SELECT version_num FROM alembic_version").fetchall() == [
            {"version_num": REVISIONS[-1].revision}
        ]


def test_a_way_back_without_a_loss_needs_no_word(empty_database: str) -> None:
    migrate(empty_database, "0005")
    assert migrate(empty_database, "0003") == "0003"


@pytest.mark.parametrize("to", ["9999", "first"])
def test_a_revision_that_does_not_exist_is_told(database: str, to: str) -> None:
    with pytest.raises(MigrationError, match="no such revision"):
        migrate(database, to)


def test_a_catalog_of_a_newer_version_is_told(database: str) -> None:
    with db.connect(database, name="test") as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MigrationError, match="9999"):
        migrate(database, LATEST)


def test_a_table_in_use_is_not_waited_for_for_ever(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_PATIENCE", "100ms")
    with db.connect(database, name="test") as conn, conn.transaction():
        conn.execute("LOCK TABLE reviews IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match="in use"):
            migrate(database, "0012", lose_data=True)


def test_the_command_says_what_would_be_lost(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_DATABASE", database)
    with pytest.raises(DarkroomError, match="0013") as refused:
        data.migrate(to="0012")
    assert "--lose-data" in refused.value.cure
