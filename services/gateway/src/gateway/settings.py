"""Settings of the gateway's doors."""

from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from gateway import adapting, load
from gateway.notifications.mail_server import mail_server, sender
from gateway.origins import ArchiveLimits
from gateway.roles import Role
from gateway.training_rules import TrainingRules
from imaging.limits import LIMITS, Limits
from streamkit import ObjectSettings, WorkerSettings
from streamkit.rate import Quota, parse_quota

SERVICE: Final = "gateway"
"""Name of the service in groups, dead letters, events and metrics."""


class Settings(ObjectSettings, WorkerSettings):
    """Read once, frozen. Each setting is the variable DARKROOM_NAME or the flag --name."""

    model_config = SettingsConfigDict(hide_input_in_errors=True)  # URLs hold passwords

    database: str = Field(
        "postgresql://127.0.0.1:5432/darkroom", description="PostgreSQL of the catalog, as URL"
    )
    api_host: str = Field("127.0.0.1", description="where the api door listens")
    api_port: int = Field(8080, description="its port; 0 takes a free one")
    import_roots: tuple[Path, ...] = Field(
        (), description="folders that may be imported from (JSON)"
    )
    import_roots_file: Path | None = Field(
        None, description="file with more of them, an absolute path as a JSON string a line"
    )
    import_in_flight: int = Field(
        100, ge=1, description="photos of one import that may wait for their outcome"
    )
    reembed_in_flight: int = Field(
        200, ge=1, description="photos that may wait to be embedded again by another version"
    )
    rescore_per_s: float = Field(
        200.0,
        gt=0,
        description="photos a second that may be labelled again by the user's own models from"
        " their embeddings",
    )
    model_file_max_bytes: int = Field(
        10_000_000_000, gt=0, description="bytes of the largest file of a model's version"
    )
    import_wait_s: float = Field(
        10.0, gt=0, description="fewer do, where one would wait for longer than so many seconds"
    )
    archive_max_bytes: int = Field(
        10_000_000_000, gt=0, description="bytes of the largest archive that may be uploaded"
    )
    archive_max_members: int = Field(
        1_000_000, gt=0, description="entries of an archive, folders among them, that are imported"
    )
    archive_max_expanded: int = Field(
        100_000_000_000, gt=0, description="bytes that an archive's entries may have unpacked"
    )
    spool: Path = Field(
        Path("~/.cache/darkroom/spool"), description="folder of archives while they are uploaded"
    )
    photo_max_bytes: int = Field(
        LIMITS.max_bytes, gt=0, description="bytes of the largest photo; intake has it too"
    )
    photo_max_pixels: int = Field(
        LIMITS.max_pixels, gt=0, description="width x height of one; intake has it too"
    )
    anonymous: Role | Literal["none"] = Field(
        "none",
        description="role of who has no key, only where the api door listens on the loopback",
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="further host names of the api door beside the loopback's (JSON); * for all"
    )
    analysis_deadline_s: float = Field(
        900.0,
        gt=0,
        description="a stage that is idle and has said nothing of a photo for so long has failed",
    )
    outbox_limit: int = Field(
        10_000, ge=1, description="events that may wait for Kafka before new photos are refused"
    )
    rate_single: str = Field(
        "100/m",
        description="single photos that all api doors together take in, as 100/m or 5/s; none: "
        "no limit",
    )
    rate_imports: str = Field("10/m", description="imports that may be begun, in the same way")
    rate_training: str = Field(
        "1/h",
        description="trainings of a model that imports and schedules may begin, in the same way",
    )
    review_lease_s: float = Field(
        120.0, gt=0, description="seconds for which a photo is given to one reviewer"
    )
    auto_examples: bool = Field(
        True,
        description="whether the user's own models learn, too, from what they labelled without"
        " asking",
    )
    audit_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="share of what is labelled without asking that people are asked about all the"
        " same; 0: nothing",
    )
    policy_target: float = Field(
        0.95, gt=0, lt=1, description="share of right labels that suggested thresholds shall keep"
    )
    examples_least: int = Field(
        3, ge=1, description="examples that each of the user's own labels needs"
    )
    training_least_accuracy: float = Field(
        0.8,
        ge=0,
        lt=1,
        description="what the user's own labels were taught is used only if it is right more often",
    )
    training_time_limit_s: float = Field(
        3_600.0, gt=0, description="seconds that a training may take"
    )
    adapt: bool = Field(
        True,
        description="whether half of the limits is let in where workers are busy, and twice as much"
        " where they have room",
    )
    adapt_above: float = Field(
        0.8, gt=0, le=1, description="share of CPU or memory above which they are busy"
    )
    adapt_below: float = Field(
        0.3, ge=0, lt=1, description="share of both below which they have room"
    )
    high_p95_s: float = Field(
        10.0,
        gt=0,
        description="less of lane high is let in only where 95 of 100 of its single photos take"
        " longer than so many seconds",
    )
    lag_warn: int = Field(
        500, ge=1, description="photos of a lane that may wait before it is warned of that"
    )
    lag_refuse: int = Field(
        1_000, ge=1, description="the same before new ones are refused, until lag_warn is reached"
    )
    lag_every_s: float = Field(
        2.0, gt=0, description="seconds from one look at how much waits to the next"
    )
    measure_every_s: float = Field(
        15.0,
        gt=0,
        description="seconds from one look at totals and consumer groups, for Prometheus, to the"
        " next, at least",
    )
    keep_days: int = Field(
        90, ge=1, description="days for which notices and runs of scheduled jobs are kept"
    )
    audit_days: int = Field(
        0, ge=0, description="days for which the audit log is kept; 0: for good"
    )
    photo_days: int = Field(
        0,
        ge=0,
        description="days after which a photo and all that is known of it are deleted, counted from"
        " when it was handed in last; 0: never",
    )
    upload_days: int = Field(
        7, ge=1, description="days without a file after which an unfinished upload is cancelled"
    )
    upload_memory: int = Field(
        400_000_000, ge=1, description="bytes of memory for uploads in progress"
    )
    websocket_backlog: int = Field(
        1_000, ge=1, description="photos and imports that a slow WebSocket may be behind"
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="mail server for notices: smtp[s]://[user:password@]host[:port]; smtp takes"
        " STARTTLS",
    )
    smtp_from: str | None = Field(
        None, description="sender of notices, such as Darkroom <darkroom@example.com>"
    )

    @field_validator("rate_single", "rate_imports", "rate_training")
    @classmethod
    def _check_rate(cls, text: str) -> str:
        _quota(text)
        return text

    @model_validator(mode="after")
    def _check_lag(self) -> Self:
        if self.lag_warn > self.lag_refuse:
            raise ValueError("lag_warn is above lag_refuse")
        return self

    @model_validator(mode="after")
    def _check_adapt(self) -> Self:
        if self.adapt_below + 2 * adapting.GAP > self.adapt_above:
            raise ValueError(f"adapt_below is not {2 * adapting.GAP:g} below adapt_above")
        return self

    @model_validator(mode="after")
    def _check_anonymous(self) -> Self:
        if self.anonymous != "none" and not _is_loopback(self.api_host):
            raise ValueError(
                f"DARKROOM_ANONYMOUS={self.anonymous} would give everybody who reaches"
                f" {self.api_host} that role; unset it and make keys (darkroom keys create),"
                " or let the api door listen on 127.0.0.1"
            )
        return self

    @property
    def anonymous_role(self) -> Role | None:
        """What may be done without a key; None: nothing."""
        return None if self.anonymous == "none" else self.anonymous

    @field_validator("spool")
    @classmethod
    def _expand_spool(cls, folder: Path) -> Path:
        return folder.expanduser()

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            mail_server(url.get_secret_value())
        return url

    @field_validator("smtp_from")
    @classmethod
    def _check_smtp_from(cls, address: str | None) -> str | None:
        return None if address is None else sender(address)

    @property
    def single_quota(self) -> Quota | None:
        """Single photos that may be handed in; None: any number."""
        return _quota(self.rate_single)

    @property
    def imports_quota(self) -> Quota | None:
        """Imports that may be begun; None: any number."""
        return _quota(self.rate_imports)

    @property
    def training_rules(self) -> TrainingRules:
        """What trainings go by."""
        return TrainingRules(
            least_accuracy=self.training_least_accuracy,
            least_examples=self.examples_least,
            time_limit_s=self.training_time_limit_s,
            auto_examples=self.auto_examples,
        )

    @property
    def training_every_s(self) -> float:
        """Seconds from one training of a model to the next, where nobody asks for it."""
        quota = _quota(self.rate_training)
        return 0.0 if quota is None else quota.window_s / quota.amount

    @property
    def marks(self) -> adapting.Marks | None:
        """When less is let in, or more; None: never."""
        if not self.adapt:
            return None
        return adapting.Marks(self.adapt_above, self.adapt_below, self.high_p95_s)

    @property
    def lag_limits(self) -> load.Limits:
        """Photos of a lane that may wait."""
        return load.Limits(self.lag_warn, self.lag_refuse)

    @property
    def sends_mail(self) -> bool:
        """Whether there is a mail server for notices."""
        return self.smtp_url is not None and self.smtp_from is not None

    @property
    def archive_limits(self) -> ArchiveLimits:
        """What is taken from one archive."""
        return ArchiveLimits(self.archive_max_members, self.archive_max_expanded)

    @property
    def photo_limits(self) -> Limits:
        """What an upload's header is checked against."""
        return Limits(max_bytes=self.photo_max_bytes, max_pixels=self.photo_max_pixels)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name may lead anywhere
        return False


def _quota(text: str) -> Quota | None:
    """Raises ValueError."""
    return None if text == "none" else parse_quota(text)
