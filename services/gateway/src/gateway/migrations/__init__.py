"""The catalog's tables, version by version (alembic). `migrate` moves a database between them.

Each revision's module says by `loses` what its downgrade can't keep; None: nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, create_engine, pool, text

from gateway.locks import MIGRATING

LATEST = "head"
NOTHING = "base"

_PATIENCE = "10s"
"""So long a statement waits for a table that is in use. All others wait behind it meanwhile."""


class MigrationError(Exception):
    """Why the catalog stays as it is, and what to do about it: sentences for a person."""

    def __init__(self, cause: str, cure: str = "") -> None:
        super().__init__(cause)
        self.cure = cure


class Catalog:
    """A database within one transaction, in which the catalog moves between revisions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._script = ScriptDirectory.from_config(_config(connection))

    @property
    def raw(self) -> psycopg.Connection[Any]:
        """The connection, as the driver has it, within the same transaction."""
        connection: psycopg.Connection[Any] = self._connection.connection.driver_connection  # type: ignore[assignment]
        return connection

    @property
    def revision(self) -> str:
        """Where the catalog is; NOTHING without one."""
        found = MigrationContext.configure(self._connection).get_current_revision()
        return found or NOTHING

    def move(self, revision: str) -> None:
        """Go to a revision, LATEST or NOTHING, by upgrades or downgrades."""
        config = _config(self._connection)
        if self._back_to(revision) is None:
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)

    def losses(self, revision: str) -> list[str]:
        """What goes lost on the way to a revision, newest first. Raises MigrationError if it, or
        where the catalog is, is not known here."""
        back = self._back_to(revision)
        if not back:
            return []
        return [f"{one.revision}: {one.module.loses}" for one in back if one.module.loses]

    def _back_to(self, revision: str) -> list[Any] | None:
        """Revisions that are undone on the way; None where it leads forward."""
        try:
            known = None if revision == NOTHING else self._script.get_revision(revision)
            here = self.revision
            undone = list(self._script.walk_revisions(NOTHING, here))
        except (RevisionError, CommandError) as error:
            raise MigrationError(
                f"There is no such revision here: {error}.",
                "Use the version of Darkroom that has it.",
            ) from error
        names = [one.revision for one in undone]
        if known is None:
            return undone
        return undone[: names.index(known.revision)] if known.revision in names else None


def upgrade(database: str) -> None:
    """Bring the catalog to the newest version; harmless if it is there. Blocks."""
    migrate(database)


def migrate(database: str, to: str = LATEST, *, lose_data: bool = False) -> str:
    """Move the catalog to a revision, LATEST or NOTHING, in one transaction; where it is then.

    Blocks, also while another one migrates. Raises MigrationError, with nothing changed: where
    data would be lost without `lose_data`, where there is no such revision, where a table is in
    use for too long.
    """
    try:
        with moving(database) as catalog:
            lost = catalog.losses(to)
            if lost and not lose_data:
                said = "\n  ".join(lost)
                raise MigrationError(
                    f"This loses data:\n  {said}", "Make a backup, then say --lose-data."
                )
            catalog.move(to)
            return catalog.revision
    except Exception as error:
        if isinstance(getattr(error, "orig", error), psycopg.errors.LockNotAvailable):
            raise MigrationError(
                f"A table was in use for more than {_PATIENCE}.", "Nothing was changed. Try again."
            ) from error
        raise


def knows(revision: str) -> bool:
    """Whether this program has a revision."""
    script = ScriptDirectory.from_config(_config(None))
    return revision in {one.revision for one in script.walk_revisions()}


@contextmanager
def moving(database: str) -> Iterator[Catalog]:
    """The catalog within a transaction, which nobody else migrates meanwhile."""
    engine = create_engine(
        "postgresql+psycopg://",
        connect_args=conninfo_to_dict(database),
        poolclass=pool.NullPool,
    )
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATING})
        connection.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE}'"))
        yield Catalog(connection)


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files(__name__)))
    config.attributes["connection"] = connection
    return config
