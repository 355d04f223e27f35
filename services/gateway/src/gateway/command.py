"""The command line: which door, and the settings."""

from typing import Literal

from pydantic import Field
from pydantic_settings import CliImplicitFlag, CliPositionalArg

from gateway.settings import Settings


class Command(Settings):
    """The gateway of Darkroom: one package, several doors.

    api: REST, WebSocket and page · recorder: events into the catalog · control: outbox relay and
    import runner · migrate: bring the catalog's tables to the newest version, then end · keys: one
    request about keys, as JSON on standard input.
    """

    door: CliPositionalArg[Literal["api", "recorder", "control", "migrate", "keys"]] = Field(
        description="what to run"
    )
    down: CliImplicitFlag[bool] = Field(False, description="migrate only: drop the whole catalog")
