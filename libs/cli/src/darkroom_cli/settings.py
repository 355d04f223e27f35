"""The command's own settings, read once from the environment."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class CliSettings(BaseSettings):
    """Environment variables that steer the command, prefix DARKROOM_."""

    model_config = SettingsConfigDict(env_prefix="DARKROOM_", frozen=True, extra="ignore")

    api_key: SecretStr | None = Field(
        default=None, description="Key by which the commands speak to a gateway."
    )
    database: SecretStr | None = Field(
        default=None, description="Catalog of a gateway elsewhere, for `keys`."
    )
    home: Path | None = Field(default=None, description="Data folder; default .darkroom/ here.")
    api_port: int = Field(
        default=8080, ge=1, le=65535, description="Port of the page and the API, if it is free."
    )
    log_bytes: int = Field(
        default=10 * 1024 * 1024, ge=10_000, description="Bytes of a program's log file."
    )
    log_files: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Log files of a program that are kept, with the current.",
    )
    service_nice: int = Field(
        default=10,
        ge=0,
        le=19,
        description="By how much services yield the CPU to the API, and the whole stack to all"
        " other programs.",
    )
    api_realtime: bool = Field(
        default=True,
        description="The API goes before all other programs of the machine while it has something"
        " to do, if the user may say so (Linux: root, or a limit `rtprio` of 1 or more).",
    )
