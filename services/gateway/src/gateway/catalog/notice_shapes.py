"""What the catalog shows of notices and of the channels by which people are told."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from gateway.catalog.notices import Severity
from gateway.catalog.shapes import Shape

ChannelKind = Literal["log", "webhook", "email", "websocket"]
NoticeKind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$", examples=["batch_completed"])]


class Delivery(Shape):
    """What became of telling a notice by one channel."""

    channel_id: str
    channel: str = Field(description="its name", examples=["ops"])
    state: Literal["waiting", "delivered", "failed"]
    attempts: int = Field(description="tries so far")
    next_at: datetime | None = Field(description="when it is tried next; null once it is over")
    delivered_at: datetime | None
    error: str | None = Field(
        description="why the last try failed, or whom it did not reach",
        examples=["hooks.example.com answered 500 Internal Server Error"],
    )


class Notice(Shape):
    """Something that a person should know."""

    notice_id: str
    kind: str = Field(examples=["first_dead_letter"])
    service: str = Field(description="who says it", examples=["detector"])
    subject: str = Field(description="what it is about", examples=["engine_failed"])
    severity: Severity
    title: str = Field(examples=["detector gave up a record: engine_failed"])
    detail: str = Field(description="what it means and what to do")
    occurred_at: datetime
    recorded_at: datetime
    deliveries: list[Delivery]


class NoticePage(Shape):
    """Some notices, newest first, and the cursor of the following ones."""

    items: list[Notice]
    next: str | None


class Channel(Shape):
    """A way by which a person is told, and of what.

    `target` is what may be shown of it: of a webhook its host, never its path, query or secret,
    since whoever knows those may be able to post there too.
    """

    channel_id: str
    name: str = Field(examples=["ops"])
    kind: ChannelKind
    target: str = Field(examples=["https://hooks.example.com/…"])
    kinds: list[str] = Field(description="kinds of notices that it wants; empty: all")
    least_severity: Severity
    enabled: bool
    created_at: datetime


class Channels(Shape):
    """All channels, in the order of their names."""

    items: list[Channel]


class NewChannel(Channel):
    """A channel as it was made."""

    secret: str | None = Field(
        description="what signs a webhook's messages, if Darkroom chose it; it is never shown again"
    )
