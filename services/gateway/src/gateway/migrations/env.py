"""Alembic's entry: one connection, one transaction, one migration at a time."""

from alembic import context
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, create_engine, pool, text

from gateway.locks import MIGRATING


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATING})
        context.run_migrations()


def _run() -> None:
    arguments = conninfo_to_dict(context.config.attributes["database"])
    engine = create_engine("postgresql+psycopg://", connect_args=arguments, poolclass=pool.NullPool)
    with engine.connect() as connection:
        _migrate(connection)


_run()
