"""The catalog's tables into files and back, in one transaction each way."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from gateway.backup.manifest import Catalog, File, Table

LEFT_OUT: Final[Mapping[str, str]] = {
    "alembic_version": "the revision is in the manifest",
    "outbox": "a queue to a broker that is not the one after a restore; see control/republish.py",
    "dead_letters": "follows topics, which are read anew",
    "dead_letter_places": "offsets of those topics",
    "workers": "who works now",
    "model_replicas": "the same",
    "lane_loads": "measured every few seconds",
    "sessions": "people sign in again: one that was ended since must not open anything",
}
"""Tables that are not in a backup, and why."""

_AT_ONCE: Final = 1 << 16

Connection = psycopg.Connection[Any]


def table_names(conn: Connection) -> list[str]:
    """All tables that are backed up, those first that others refer to."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        names = {name for (name,) in cursor.execute(_TABLES)} - LEFT_OUT.keys()
        sorter = TopologicalSorter(dict.fromkeys(sorted(names), ()))
        for name, other in cursor.execute(_REFERENCES):
            if name in names and other != name:
                sorter.add(name, other)
    return [name for name in sorter.static_order() if name in names]


_TABLES: Final = """
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
ORDER BY relname
"""

_REFERENCES: Final = """
SELECT c.relname, o.relname FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class o ON o.oid = k.confrelid
WHERE k.contype = 'f' AND c.relnamespace = current_schema()::regnamespace
"""

_COLUMNS: Final = """
SELECT attname FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum
"""

_IDENTITIES: Final = """
SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = current_schema()::regnamespace AND a.attidentity <> ''
"""


def revision_of(conn: Connection) -> str | None:
    """The migration that the catalog is at; None if there is no catalog."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute("SELECT to_regclass('alembic_version')").fetchone()
        if row is None or row[0] is None:
            return None
        found = cursor.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if found is None else str(found[0])


def filled(conn: Connection) -> list[str]:
    """Tables that have rows, of those that are backed up."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        return [
            name
            for name in table_names(conn)
            if cursor.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(name)))
            and cursor.rowcount
        ]


def write_out(conn: Connection, folder: Path, place: str, name: str) -> Table:
    """Write a table's rows, as the transaction in progress sees them, below `folder/place`."""
    columns = _columns(conn, name)
    path = f"{place}/{name}.copy"
    digest, size = hashlib.sha256(), 0
    with conn.cursor() as cursor, (folder / path).open("wb") as file:
        with cursor.copy(_copy("COPY {} ({}) TO STDOUT (FORMAT binary)", name, columns)) as copy:
            for data in copy:
                file.write(data)
                digest.update(data)
                size += len(data)
        rows = cursor.rowcount
    written = File(path=path, bytes=size, sha256=digest.hexdigest())
    return Table(name=name, columns=tuple(columns), rows=rows, file=written)


def read_in(conn: Connection, folder: Path, catalog: Catalog) -> None:
    """Fill the tables, which are empty and of the catalog's revision, in the transaction in
    progress. Raises psycopg.Error, RuntimeError where rows are not as many as they were."""
    names = [table.name for table in catalog.tables]
    # What triggers made of the rows is among the rows.
    _triggers(conn, names, "DISABLE")
    for table in catalog.tables:
        _fill(conn, folder, table)
    _triggers(conn, names, "ENABLE")
    _count_on(conn)


def _fill(conn: Connection, folder: Path, table: Table) -> None:
    statement = _copy("COPY {} ({}) FROM STDIN (FORMAT binary)", table.name, table.columns)
    with conn.cursor() as cursor:
        with cursor.copy(statement) as copy, (folder / table.file.path).open("rb") as file:
            while data := file.read(_AT_ONCE):
                copy.write(data)
        if cursor.rowcount != table.rows:
            raise RuntimeError(f"{table.name} has {cursor.rowcount} rows of {table.rows}")


def _count_on(conn: Connection) -> None:
    """Have identities go on behind the last that is there."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        for name, column in cursor.execute(_IDENTITIES).fetchall():
            cursor.execute(
                sql.SQL(
                    "SELECT setval(pg_get_serial_sequence({}, {}), coalesce(max({}), 0) + 1, false)"
                    " FROM {}"
                ).format(
                    *(sql.Literal(name), sql.Literal(column)),
                    *(sql.Identifier(column), sql.Identifier(name)),
                )
            )


def _triggers(conn: Connection, names: Iterable[str], what: str) -> None:
    for name in names:
        statement = sql.SQL("ALTER TABLE {} {} TRIGGER USER")
        conn.execute(statement.format(sql.Identifier(name), sql.SQL(what)))


def _columns(conn: Connection, name: str) -> list[str]:
    with conn.cursor(row_factory=tuple_row) as cursor:
        return [column for (column,) in cursor.execute(_COLUMNS, (f'"{name}"',))]


def _copy(statement: str, name: str, columns: Sequence[str]) -> sql.Composed:
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL(statement).format(sql.Identifier(name), listed)
