"""The command line: which door, and the settings."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import CliImplicitFlag, CliPositionalArg

from gateway.settings import Settings

Door = Literal["api", "recorder", "control", "migrate", "keys", "backup", "restore"]


class Command(Settings):
    """The gateway of Darkroom: one package, several doors.

    api: REST, WebSocket and page · recorder: events into the catalog · control: outbox relay and
    import runner · migrate: bring the catalog's tables to a version, then end · keys: one request
    about keys, as JSON on standard input · backup, restore: the catalog, the objects and the
    registry's schemas into a folder, and back; progress is JSON on standard output.
    """

    door: CliPositionalArg[Door] = Field(description="what to run")
    to: str = Field("head", description="migrate only: a revision, head or base (no catalog)")
    lose_data: CliImplicitFlag[bool] = Field(
        False, description="migrate only: also to where data is lost"
    )
    folder: Path | None = Field(None, description="backup and restore only: where the backup lies")
    replace: CliImplicitFlag[bool] = Field(
        False, description="restore only: lose the catalog that is there"
    )
    without_schemas: CliImplicitFlag[bool] = Field(
        False, description="backup and restore only: leave out the registry, which is not Apicurio"
    )
    schemas_only: CliImplicitFlag[bool] = Field(
        False, description="restore only: the registry's schemas and nothing else"
    )
    verify_only: CliImplicitFlag[bool] = Field(
        False, description="restore only: read the backup and change nothing"
    )
