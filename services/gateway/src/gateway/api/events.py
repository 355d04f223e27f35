"""The WebSocket /v1/events: states of photos and imports as they are recorded, and notices."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect

from gateway.api import metrics
from gateway.api.door import Wired
from gateway.api.hub import Closed, Subscription, Thing

router = APIRouter()


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
    client that does not keep up: connect again and read what is missing.
    """
    await websocket.accept()
    asked: list[Thing] = [("photo", photo)] if photo else []
    asked += [("batch", batch)] if batch else []
    with door.hub.subscribe(photo, batch) as subscription, metrics.WEBSOCKETS.track_inprogress():
        for thing, text in (await door.catalog.load(asked)).items():
            subscription.offer_first(thing, text)
        sending = asyncio.create_task(_send(websocket, subscription))
        try:
            await _until_gone(websocket)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _send(websocket: WebSocket, subscription: Subscription) -> None:
    try:
        while True:
            for text in await subscription.take():
                await websocket.send_text(text)
    except Closed as why:
        await websocket.close(why.code, why.reason)
    except WebSocketDisconnect:
        return


async def _until_gone(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
