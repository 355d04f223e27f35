"""`python -m gateway migrate [--to REVISION]`: where the catalog is then, as a line of JSON."""

import json
from typing import TextIO

from gateway.command import Command
from gateway.migrations import MigrationError, migrate


def run_migrate(command: Command, told: TextIO) -> int:
    """Migrate; the exit code: 1 with {"error": …, "cure": …}. Raises psycopg's errors."""
    try:
        revision = migrate(command.database, command.to, lose_data=command.lose_data)
    except MigrationError as error:
        told.write(json.dumps({"error": str(error), "cure": error.cure}) + "\n")
        return 1
    told.write(json.dumps({"done": {"revision": revision}}) + "\n")
    return 0
