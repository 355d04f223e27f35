"""The catalog's tables, version by version (alembic). `migrate` moves a database between them."""

from importlib.resources import files

from alembic import command
from alembic.config import Config

_LATEST = "head"
_NOTHING = "base"


def upgrade(database: str) -> None:
    """Bring the catalog to the newest version; harmless if it is there. Blocks."""
    command.upgrade(_config(database), _LATEST)


def downgrade(database: str) -> None:
    """Drop the whole catalog with all that is in it."""
    command.downgrade(_config(database), _NOTHING)


def _config(database: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files(__name__)))
    # The URL may hold a password with % in it, which alembic's ini syntax would read as its own.
    config.attributes["database"] = database
    return config
