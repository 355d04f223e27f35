"""A row in every table of a catalog, whatever revision it is at, and what the tables are like."""

import re
from collections.abc import Mapping
from typing import Any, Final

from psycopg import sql
from psycopg.rows import tuple_row

from gateway import db
from gateway.backup import tables

ID: Final = "00000000-0000-4000-8000-000000000001"

_VALUES: Final[Mapping[str, Any]] = {
    "uuid": ID,
    "text": "x",
    "text[]": ["x"],
    "bytea": b"x",
    "jsonb": "{}",
    "vector": "[1,2,3]",
    "tsvector": "x",
    "boolean": False,
    "timestamp with time zone": "2026-01-02T03:04:05Z",
    "timestamp without time zone": "2026-01-02T03:04:05",
}
_NUMBER: Final = 2

_CHOSEN: Final[Mapping[str, Mapping[str, Any]]] = {
    "review_answers": {"answer": "confirm"},
    "failure_replay_items": {"result": "changed"},
    "outcomes": {"labels": "[]", "parts": "[]", "failed_stages": []},
    "batches": {"samples": "[]", "roots": "[]"},
    "api_keys": {"role": "viewer"},
}
"""Where several columns depend on each other."""


def fill(conn: db.Conn) -> list[str]:
    """Write a row into each table that has none; the names of all tables."""
    names = _all(conn)
    for name in names:
        columns = _columns(conn, name)
        values = {column: _value(conn, name, column, kind) for column, kind in columns}
        statement = sql.SQL(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({}) ON CONFLICT DO NOTHING"
        ).format(
            sql.Identifier(name),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Placeholder, values)),
        )
        conn.execute(statement, values)
    return names


def contents(conn: db.Conn) -> dict[str, tuple[int, str]]:
    """Of each table that is backed up how many rows it has, and a hash of them."""
    found = {}
    for name in tables.table_names(conn):
        query = sql.SQL(
            "SELECT count(*) AS rows, md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"
            " AS hash FROM {} t"
        ).format(sql.Identifier(name))
        row = conn.execute(query).fetchone()
        assert row is not None
        found[name] = (row["rows"], row["hash"])
    return found


def shape(conn: db.Conn) -> set[str]:
    """Columns, constraints, indexes, triggers and functions, each as a line."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        return {str(line) for query in _SHAPE for (line,) in cursor.execute(query)}


_SHAPE: Final = (
    """SELECT format('column %s.%s %s %s %s', table_name, column_name, udt_name, is_nullable,
    column_default) FROM information_schema.columns WHERE table_schema = current_schema()""",
    """SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = current_schema()::regnamespace AND contype <> 'n'""",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()",
    """SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = current_schema()::regnamespace AND NOT tgisinternal""",
    """SELECT regexp_replace(pg_get_functiondef(p.oid), '\\s+', ' ', 'g') FROM pg_proc p
    WHERE pronamespace = current_schema()::regnamespace AND NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')""",
)


def _all(conn: db.Conn) -> list[str]:
    """Tables in the order of their references, those that no backup has at the end."""
    kept = tables.table_names(conn)
    rows = conn.execute(
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()"
    )
    others = {row["name"] for row in rows} - {*kept, "alembic_version"}
    return [*kept, *sorted(others)]


def _columns(conn: db.Conn, name: str) -> list[tuple[str, str]]:
    with conn.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            (name,),
        ).fetchall()


def _value(conn: db.Conn, table: str, column: str, kind: str) -> Any:
    chosen = _CHOSEN.get(table, {})
    if column in chosen:
        return chosen[column]
    return _allowed(conn, table, column) or _VALUES.get(kind, _NUMBER)


def _allowed(conn: db.Conn, table: str, column: str) -> str | None:
    """The first of the texts that a column may have, if they are listed."""
    rows = conn.execute(
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype = 'c' ORDER BY conname",
        (table,),
    )
    for row in rows:
        found = re.search(rf"\(\(?{column} = ANY \(ARRAY\['(\w+)'", row["text"])
        if found:
            return found[1]
    return None
