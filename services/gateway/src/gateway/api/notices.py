"""/v1/notifications: what people are told, by which channels, and what became of it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BaseModel, Field

from gateway.api.cursors import decode_notice, encode_notice
from gateway.api.door import Door, Wired
from gateway.api.problems import ProblemError, documented, not_found
from gateway.catalog import channels, deliveries
from gateway.catalog.channels import MOST_CHANNELS, ChannelWish
from gateway.catalog.deliveries import NoticeFilter
from gateway.catalog.notice_shapes import (
    Channel,
    ChannelKind,
    Channels,
    NewChannel,
    Notice,
    NoticeKind,
    NoticePage,
)
from gateway.catalog.notices import Severity
from gateway.notifications.mail_server import HOW
from gateway.notifications.targets import (
    TargetError,
    checked_addresses,
    checked_secret,
    checked_url,
    new_secret,
)

router = APIRouter(prefix="/v1/notifications", tags=["notifications"])


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("may hold neither control characters nor spaces around it")
    return text


Kinds = Annotated[
    list[NoticeKind], Field(max_length=50, description="kinds of notices that it wants; empty: all")
]


class ChannelRequest(BaseModel):
    """A way by which you want to be told.

    `url` (and perhaps `secret`) is for a webhook, `to` for email; log and websocket need neither.
    """

    name: Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_printable)] = Field(
        examples=["ops"]
    )
    kind: ChannelKind
    url: str | None = Field(None, examples=["https://hooks.example.com/darkroom"])
    secret: str | None = Field(
        None,
        max_length=200,
        description="`whsec_` and 24 to 64 bytes in Base64, to sign a webhook's messages with;"
        " else Darkroom makes one",
    )
    to: list[str] | None = Field(None, examples=[["ada@example.com"]])
    kinds: Kinds = []
    least_severity: Severity = "info"
    enabled: bool = True


class ChannelChange(BaseModel):
    """What is to be another; the rest stays."""

    kinds: Kinds | None = None
    least_severity: Severity | None = None
    enabled: bool | None = None


@router.get("", summary="Notices, newest first", responses=documented(422, 503))
async def list_notices(
    door: Wired,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=300, description="an answer's `next`")] = None,
    kind: Annotated[NoticeKind | None, Query(description="only such notices")] = None,
    undelivered: Annotated[
        bool, Query(description="only those that a channel could not deliver")
    ] = False,
) -> NoticePage:
    """What people were told, and by which channels; with the reason where that failed."""
    wanted = NoticeFilter(kind, undelivered)
    items, place = await door.catalog.ask(deliveries.notices, wanted, decode_notice(cursor), limit)
    return NoticePage(items=items, next=encode_notice(place))


@router.get("/channels", summary="Channels", responses=documented(503))
async def list_channels(door: Wired) -> Channels:
    """Who is told what by which way. The channel `log` is there from the start."""
    return Channels(items=await door.catalog.ask(channels.channels))


@router.post(
    "/channels",
    status_code=201,
    summary="Add a channel",
    responses=documented(403, 409, 413, 422, 503),
)
async def post_channel(wanted: ChannelRequest, door: Wired) -> NewChannel:
    """It is told of what happens from now on.

    A webhook gets `POST` requests that are signed as [Standard Webhooks](
    https://www.standardwebhooks.com) says; the secret that Darkroom makes for it is in this answer
    and is never shown again.
    """
    secret = new_secret() if wanted.kind == "webhook" and wanted.secret is None else None
    wish = ChannelWish(
        name=wanted.name,
        kind=wanted.kind,
        target=_target(door, wanted, secret),
        kinds=list(dict.fromkeys(wanted.kinds)),
        least_severity=wanted.least_severity,
        enabled=wanted.enabled,
    )
    try:
        made = await door.catalog.ask(channels.make_channel, wish, door.speaker.named())
    except channels.NameTakenError as error:
        detail = f"There is a channel named {wanted.name} already."
        raise ProblemError(409, "channel_exists", detail) from error
    except channels.TooManyChannelsError as error:
        detail = f"There are {MOST_CHANNELS} channels already; remove one."
        raise ProblemError(409, "too_many_channels", detail) from error
    return NewChannel(**made.model_dump(), secret=secret)


def _target(door: Door, wanted: ChannelRequest, made: str | None) -> dict[str, object]:
    """What is kept of where it leads. Raises ProblemError (422)."""
    given = {"url": wanted.url, "secret": wanted.secret, "to": wanted.to}
    takes = {"webhook": {"url", "secret"}, "email": {"to"}}.get(wanted.kind, set())
    for name in [name for name, value in given.items() if value is not None and name not in takes]:
        raise _useless(f"{name}: a channel of kind {wanted.kind} has none.")
    try:
        if wanted.kind == "webhook":
            secret = made or checked_secret(wanted.secret or "")
            return {"url": checked_url(wanted.url or ""), "secret": secret}
        if wanted.kind == "email":
            to = checked_addresses(wanted.to or [])
            if not door.settings.sends_mail:
                raise ProblemError(422, "no_mail_server", HOW)
            return {"to": to}
    except TargetError as error:
        raise _useless(str(error)) from error
    return {}


def _useless(detail: str) -> ProblemError:
    return ProblemError(422, "invalid_channel", detail)


@router.get("/channels/{channel_id}", summary="One channel", responses=documented(404, 422, 503))
async def get_channel(channel_id: UUID, door: Wired) -> Channel:
    """The channel, without its secret."""
    return _found(await door.catalog.ask(channels.channel, channel_id))


@router.patch(
    "/channels/{channel_id}",
    summary="Change what a channel is told",
    responses=documented(403, 404, 413, 422, 503),
)
async def patch_channel(channel_id: UUID, wanted: ChannelChange, door: Wired) -> Channel:
    """What waits for a channel when it is disabled is sent once it is enabled again."""
    changed = await door.catalog.ask(
        channels.change_channel,
        channel_id,
        kinds=wanted.kinds,
        least_severity=wanted.least_severity,
        enabled=wanted.enabled,
        by=door.speaker.named(),
    )
    return _found(changed)


@router.delete(
    "/channels/{channel_id}",
    status_code=204,
    summary="Remove a channel",
    responses=documented(403, 404, 409, 422, 503),
)
async def delete_channel(channel_id: UUID, door: Wired) -> Response:
    """With it goes what waits for it, and the record of what it was told."""
    if channels.is_default(channel_id):
        detail = "This channel is Darkroom's own and would come back. Disable it instead."
        raise ProblemError(409, "default_channel", detail)
    by = door.speaker.named()
    if not await door.catalog.ask(channels.remove_channel, channel_id, by):
        raise not_found("channel")
    return Response(status_code=204)


@router.post(
    "/channels/{channel_id}/test",
    status_code=202,
    summary="Try a channel out",
    responses=documented(403, 404, 422, 503),
)
async def test_channel(channel_id: UUID, door: Wired) -> Notice:
    """Send a notice of kind `test` by this channel alone, once, even if it is disabled.

    Ask for the notice by its id to see what came of it.
    """
    notice_id = await door.catalog.ask(channels.try_channel, channel_id)
    if notice_id is None:
        raise not_found("channel")
    return await _notice(door, notice_id)


@router.get("/{notice_id}", summary="One notice", responses=documented(404, 422, 503))
async def get_notice(notice_id: UUID, door: Wired) -> Notice:
    """The notice, and what became of telling it by each channel."""
    return await _notice(door, notice_id)


async def _notice(door: Door, notice_id: UUID) -> Notice:
    found = await door.catalog.ask(deliveries.notice, notice_id)
    if found is None:
        raise not_found("notice")
    return found


def _found(channel: Channel | None) -> Channel:
    if channel is None:
        raise not_found("channel")
    return channel
