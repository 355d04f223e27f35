"""/livez, /readyz, /metrics, /v1/system: the door about itself and what is around it."""

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.api import metrics
from gateway.api.door import Wired
from gateway.api.system import SystemState

router = APIRouter(tags=["system"])


@router.get("/v1/system", summary="Versions of the parts and counts of the photos")
async def get_system(door: Wired) -> SystemState:
    """A part that does not answer is null; this always answers."""
    return await door.system.state(door.catalog)


@router.get("/livez", summary="Whether the process runs")
async def livez() -> dict[str, bool]:
    """Always true."""
    return {"alive": True}


@router.get("/readyz", summary="Whether requests can be served", response_class=JSONResponse)
async def readyz(door: Wired) -> JSONResponse:
    """503 with what is missing; `without` names parts whose absence is bridged."""
    lacking = await door.system.lacking()
    without = [] if door.feed.connected else ["redis"]
    body = {"ready": not lacking, "waiting_for": lacking, "without": without}
    return JSONResponse(body, 503 if lacking else 200)


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def get_metrics(door: Wired) -> Response:
    """In Prometheus' text format."""
    metrics.REDIS_CONNECTED.set(door.feed.connected)
    metrics.RATE_LOCAL.set(door.quotas.local)
    # Disks are asked, which may not answer.
    return Response(await asyncio.to_thread(generate_latest), media_type=CONTENT_TYPE_LATEST)
