"""The WebSocket /v1/events: states of photos and imports as they are recorded, and notices."""

import asyncio
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect

from gateway.api import metrics
from gateway.api.door import Door, Wired
from gateway.api.hub import Closed, Subscription, Thing

router = APIRouter()

NOT_ALLOWED: Final = 1008
"""WebSocket close code: policy violation."""

LOOK_AGAIN_S: Final = 2.0
"""So long a WebSocket may outlive its key."""


@router.websocket("/v1/events")
async def events(
    websocket: WebSocket,
    door: Wired,
    photo: Annotated[UUID | None, Query()] = None,
    batch: Annotated[UUID | None, Query()] = None,
) -> None:
    """Send {"type":"photo","photo":…}, {"type":"batch","batch":…} and {"type":"notice","notice":…};
    what comes in is ignored.

    With `photo` or `batch` only those (and the photos of that import), the present state first,
    so that whoever connects misses nothing. Closed with 1012 when Darkroom stops and 1013 for a
    client that does not keep up: connect again and read what is missing. 1008: the key, or the
    session, is over.
    """
    await websocket.accept()
    owner = door.catalog.owner
    asked: list[Thing] = [("photo", photo)] if photo else []
    asked += [("batch", batch)] if batch else []
    with (
        door.hub.subscribe(owner, photo, batch) as subscription,
        metrics.WEBSOCKETS.track_inprogress(),
    ):
        for thing, text in (await door.catalog.load(asked)).items():
            subscription.offer_first(thing, text)
        beside = [
            asyncio.create_task(_send(websocket, subscription)),
            asyncio.create_task(_watch(websocket, door, subscription)),
        ]
        try:
            await _until_gone(websocket)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)


async def _send(websocket: WebSocket, subscription: Subscription) -> None:
    try:
        while True:
            for text in await subscription.take():
                await websocket.send_text(text)
    except Closed as why:
        await websocket.close(why.code, why.reason)
    except WebSocketDisconnect:
        return


async def _watch(websocket: WebSocket, door: Door, subscription: Subscription) -> None:
    """Who listens by a key, or a session, does so as long as that holds."""
    holder = door.speaker.holder
    while holder is not None:
        if not await door.keeper.goes_on(holder, websocket):
            subscription.close(Closed(NOT_ALLOWED, "the key or session is over"))
            return
        await asyncio.sleep(LOOK_AGAIN_S)


async def _until_gone(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
