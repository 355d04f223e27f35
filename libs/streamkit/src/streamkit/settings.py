"""Settings that every service has, from the environment or the command line."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Read once, frozen. Each setting is the variable DARKROOM_NAME or the flag --name."""

    model_config = SettingsConfigDict(
        env_prefix="DARKROOM_", frozen=True, cli_kebab_case=True, cli_hide_none_type=True
    )

    topic_prefix: str = Field("", description="put before every topic, group and subject")
    health_host: str = Field("127.0.0.1", description="where /livez, /readyz, /metrics are served")
    health_port: int = Field(0, description="its port; 0 takes a free one, which the log names")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level"
    )

    @classmethod
    def from_command_line(cls, program: str, arguments: list[str] | None = None) -> Self:
        """Settings out of the environment and of `arguments` (None: those of the process).

        `--help` prints them all and exits.
        """
        given: list[str] | bool = True if arguments is None else arguments
        return cls(_cli_parse_args=given, _cli_prog_name=program)


class TopicSettings(ServiceSettings):
    """Settings of a service that reads or writes topics."""

    kafka: str = Field("127.0.0.1:9092", description="bootstrap servers, host:port[,host:port]")
    registry: str = Field(
        "http://127.0.0.1:8081", description="schema registry with Confluent's API"
    )
    cache: Path = Field(
        Path("~/.cache/darkroom/schemas"), description="folder of remembered schema ids"
    )

    @field_validator("cache")
    @classmethod
    def _expand_home(cls, value: Path) -> Path:
        return value.expanduser()


class WorkerSettings(TopicSettings):
    """Settings of a service that runs a Worker."""

    group_protocol: Literal["consumer", "classic"] = Field(
        "consumer", description="consumer (KIP-848, Kafka 4.0 or newer) or classic"
    )
    attempts: int = Field(5, ge=1, le=100, description="tries of a record before it is given up")


class ObjectSettings(BaseSettings):
    """Settings of a service that reads or writes objects; mixed into a ServiceSettings."""

    objects: str = Field(
        "file:///var/lib/darkroom/objects", description="object store, as URL: written and read"
    )
    stores: tuple[str, ...] = Field((), description="further URLs whose objects may be read (JSON)")
