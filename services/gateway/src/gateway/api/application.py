"""The application: routes, errors and the guards around them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

import structlog
from fastapi import FastAPI

from gateway.api import (
    archives,
    controls,
    events,
    failures,
    health,
    import_uploads,
    imports,
    keys,
    labels,
    load,
    media,
    models,
    notices,
    operations,
    page,
    photos,
    policies,
    problems,
    reports,
    reprocess,
    reviews,
    schedules,
    search,
    session,
    sources,
    tasks,
    trainings,
)
from gateway.api.bodies import FORM_OVERHEAD, SMALL_BODY, BodyLimit
from gateway.api.door import Door, Runs
from gateway.api.guard import Guard
from gateway.api.headers import SecurityHeaders
from gateway.api.limits import Limited
from gateway.api.metrics import Measured
from gateway.api.permissions import OPEN, Described, Permitted
from gateway.api.speakers import Introduced
from gateway.api.traces import Traced

_log = structlog.get_logger("gateway.api")

_DESCRIPTION: Final = """\
Hand photos in, read what was found on them, search them.

Who asks shows a key (`Authorization: Bearer dk_…`) or has signed in; `x-role` says which role a
route needs: viewer < uploader < reviewer < trainer < admin. On the loopback nobody may need one.

Errors are problem details (RFC 9457) with a stable `code`. What begins work is limited: answers to
it carry `RateLimit` and `RateLimit-Policy`, a 429 also `Retry-After`.

Follow what happens by the WebSocket `/v1/events` (`?photo=ID`, `?batch=ID`, or everything):
messages are `{"type": "photo", "photo": Photo}`, `{"type": "batch", "batch": Batch}` and, if a
channel of kind `websocket` wants it and you follow everything,
`{"type": "notice", "notice": Notice}`.
"""


def _tell_failure(task: asyncio.Task[None]) -> None:
    """What goes on beside the requests must not end in silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("beside_failed", exc_info=error)


def application(door: Door) -> FastAPI:
    """The ASGI application around a door; while it runs, the door's feed and quotas do, and what
    goes on beside them."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        beside: list[Runs] = [door.feed, door.quotas, *door.beside]
        running = [asyncio.create_task(each.run()) for each in beside]
        for task in running:
            task.add_done_callback(_tell_failure)
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    app = Described(
        title="Darkroom",
        version=version("darkroom-gateway"),
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_url=page.DESCRIPTION,
        docs_url=None,  # its page would load scripts from another host
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Permitted],
    )
    app.state.door = door
    for resource in (
        photos,
        media,
        models,
        search,
        archives,
        controls,
        imports,
        import_uploads,
        reports,
        reprocess,
        policies,
        notices,
        trainings,
        labels,
        reviews,
        events,
        failures,
        health,
        keys,
        load,
        operations,
        page,
        schedules,
        session,
        sources,
        tasks,
    ):
        app.include_router(resource.router)
    app.mount("/static", page.PageFiles(directory=page.FOLDER), name="static")
    problems.install(app)
    _surround(app, door)
    return app


def _surround(app: FastAPI, door: Door) -> None:
    """Middleware; the last one added is the outermost."""
    upload_limit = door.settings.photo_max_bytes + FORM_OVERHEAD

    def limit_of(method: str, path: str) -> int:
        if (method, path) == ("POST", archives.PATH):
            return door.settings.archive_max_bytes
        if models.is_file(method, path):
            return door.settings.model_file_max_bytes
        photo = (method, path) == ("POST", "/v1/photos") or import_uploads.is_file(method, path)
        return upload_limit if photo else SMALL_BODY

    app.add_middleware(Limited, quotas=door.quotas, shares=door.shares)
    app.add_middleware(BodyLimit, limit_of=limit_of)
    app.add_middleware(Introduced, keeper=door.keeper, open_to_all=OPEN)
    app.add_middleware(Guard, allowed_hosts=door.settings.allowed_hosts)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Measured)
    app.add_middleware(Traced)
