"""Settings that every service has, from the environment or the command line."""

import ssl
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamkit.policy import Policy
from streamkit.rate import parse_rate
from streamkit.retry import DEFAULT_TIERS, RetryPlan


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
    trace_sample: float = Field(
        0.01, ge=0, le=1, description="share of new traces that is recorded"
    )

    @classmethod
    def from_command_line(cls, program: str, arguments: list[str] | None = None) -> Self:
        """Settings out of the environment and of `arguments` (None: those of the process).

        `--help` prints them all and exits.
        """
        given: list[str] | bool = True if arguments is None else arguments
        return cls(_cli_parse_args=given, _cli_prog_name=program)


class KafkaSettings(BaseSettings):
    """How to get in where brokers want to know who comes, or speak TLS. Without any of it they are
    spoken to in the clear."""

    model_config = SettingsConfigDict(
        env_prefix="DARKROOM_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    kafka_security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="how brokers are spoken to, as Kafka's security.protocol"
    )
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how the password is proven, with sasl_plaintext and sasl_ssl"
    )
    kafka_user: str = Field("", description="who comes, with sasl_plaintext and sasl_ssl")
    kafka_password: SecretStr = Field(SecretStr(""), description="the user's password")
    kafka_ca: Path | None = Field(
        None, description="who vouches for brokers, PEM; none: whom this system trusts"
    )
    kafka_certificate: Path | None = Field(
        None, description="certificate by which this service is known (mutual TLS), PEM"
    )
    kafka_key: Path | None = Field(None, description="its key, PEM, without a password")

    @model_validator(mode="after")
    def _fit(self) -> Self:
        named = bool(self.kafka_user), bool(self.kafka_password.get_secret_value())
        certified = self.kafka_certificate is not None, self.kafka_key is not None
        if named != (self._with_sasl, self._with_sasl):
            raise ValueError("kafka_user and kafka_password are for kafka_security=sasl_…, both")
        if certified[0] != certified[1]:
            raise ValueError("kafka_certificate needs kafka_key, and that the certificate")
        if (any(certified) or self.kafka_ca is not None) and not self._with_tls:
            raise ValueError("kafka_ca and kafka_certificate are for kafka_security=ssl, sasl_ssl")
        return self

    @property
    def _with_sasl(self) -> bool:
        return self.kafka_security.startswith("sasl")

    @property
    def _with_tls(self) -> bool:
        return self.kafka_security.endswith("ssl")

    @property
    def kafka_options(self) -> dict[str, str]:
        """The same as settings of librdkafka's; none for brokers that let everybody in."""
        if self.kafka_security == "plaintext":
            return {}
        options: dict[str, str] = {"security.protocol": self.kafka_security}
        if self._with_sasl:
            options |= {
                "sasl.mechanism": self.kafka_mechanism,
                "sasl.username": self.kafka_user,
                "sasl.password": self.kafka_password.get_secret_value(),
            }
        files = {
            "ssl.ca.location": self.kafka_ca,
            "ssl.certificate.location": self.kafka_certificate,
            "ssl.key.location": self.kafka_key,
        }
        return options | {name: str(file) for name, file in files.items() if file is not None}

    def kafka_tls(self) -> ssl.SSLContext | None:
        """The same for Python's own sockets; None without TLS. Raises OSError for a file that is
        missing or none of these."""
        if not self._with_tls:
            return None
        context = ssl.create_default_context(cafile=self.kafka_ca)
        if self.kafka_certificate is not None:
            context.load_cert_chain(self.kafka_certificate, self.kafka_key)
        return context


class TopicSettings(KafkaSettings, ServiceSettings):
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


class HeartbeatSettings(BaseSettings):
    """Settings of a service that tells how it stands; mixed into a ServiceSettings."""

    heartbeat_s: float = Field(
        5.0, gt=0, le=60, description="seconds between heartbeats on ops.worker.v1, at most"
    )


class WorkerSettings(HeartbeatSettings, TopicSettings):
    """Settings of a service that runs a Worker."""

    group_protocol: Literal["consumer", "classic"] = Field(
        "consumer", description="consumer (KIP-848, Kafka 4.0 or newer) or classic"
    )
    group_member: str = Field(
        "", description="static name of this worker in its groups, for classic only; empty: none"
    )
    high_engine: Literal["own", "lazy", "shared"] = Field(
        "own",
        description="own: a process for the lane high beside that of the others; lazy: started at "
        "its first record; shared: one for all lanes, by their weights",
    )
    bulk_engines: int = Field(1, ge=1, le=64, description="engine processes of the other lanes")
    bulk_nice: int = Field(10, ge=0, le=19, description="by how much they yield the CPU to others")
    lane_weights: str = Field(
        "high=10,batch=5,learning=3,default=1", description="shares of engine time of busy lanes"
    )
    lane_records: int = Field(2_000, ge=1, description="records that a lane fetches ahead, at most")
    retry_tiers: str = Field(
        ",".join(DEFAULT_TIERS),
        description="waits between attempts, up to 10m; their topics must exist; empty: no retries",
    )
    soft_deadline_s: float = Field(
        60.0, gt=0, description="a handler that takes longer is interrupted: one failed attempt"
    )
    hard_deadline_s: float = Field(
        120.0, gt=0, description="an engine process that takes longer is replaced"
    )
    drain_s: float = Field(
        8.0, gt=0, description="that work in hand may take at a stop or a rebalance"
    )
    records_per_process: int = Field(
        0, ge=0, description="an engine process is replaced after so many records; 0: never"
    )
    engine_memory: int = Field(
        0, ge=0, description="bytes above which an engine process is replaced; 0: never"
    )
    stage_rate: str = Field(
        "", description="of all workers of the stage together, as 100/m or 5/s; empty: no limit"
    )
    redis: str = Field(
        "redis://127.0.0.1:6379/0", description="Redis that shares rates and tells news, as URL"
    )
    operations: bool = Field(
        True,
        description="obey ops.control.v1, write ops.notified.v1 and ops.worker.v1; they must exist",
    )

    @field_validator("retry_tiers")
    @classmethod
    def _are_tiers(cls, value: str) -> str:
        RetryPlan("any", _words(value))
        return value

    @field_validator("lane_weights")
    @classmethod
    def _are_weights(cls, value: str) -> str:
        _weights(value)
        return value

    @field_validator("redis")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        if urlsplit(value).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("write redis://host:port/0, rediss://… or unix://…")
        return value

    @field_validator("stage_rate")
    @classmethod
    def _is_rate(cls, value: str) -> str:
        if value:
            parse_rate(value)
        return value

    @property
    def policy(self) -> Policy:
        """What these settings mean to the core."""
        return Policy(
            weights=_weights(self.lane_weights),
            lane_records=self.lane_records,
            hard_deadline_s=self.hard_deadline_s,
            drain_s=self.drain_s,
            records_per_process=self.records_per_process,
            engine_memory=self.engine_memory,
            retry_tiers=_words(self.retry_tiers),
            stage_rate=self.stage_rate,
            heartbeat_s=self.heartbeat_s,
        )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _weights(text: str) -> dict[str, float]:
    """Raises ValueError for what is not `lane=number,…` with numbers above 0."""
    pairs = [word.partition("=") for word in _words(text)]
    weights = {name.strip(): float(number) for name, _, number in pairs}
    if not all(weight > 0 for weight in weights.values()):
        raise ValueError("a lane's weight is a number above 0")
    return weights


class ObjectSettings(BaseSettings):
    """Settings of a service that reads or writes objects; mixed into a ServiceSettings."""

    objects: str = Field(
        "file:///var/lib/darkroom/objects", description="object store, as URL: written and read"
    )
    stores: tuple[str, ...] = Field((), description="further URLs whose objects may be read (JSON)")
