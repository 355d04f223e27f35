"""Which role each route needs. What is not in the table is open to nobody."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from gateway.api.problems import ProblemError, documented
from gateway.api.speakers import COOKIE, Speaker
from gateway.roles import Role, reaches

OPEN: Final = frozenset(
    {
        *("GET /livez", "GET /readyz", "GET /metrics"),  # for those who watch over processes
        "GET /favicon.ico",
        *("POST /v1/session", "DELETE /v1/session"),  # to sign in and out
    }
)
"""Routes that ask nobody who they are; files of the pages (`/static/`) are open besides."""

_VIEWER: Final = (
    "GET /",
    "GET /v1/session",
    "GET /v1/system",
    "GET /v1/statistics",
    "GET /v1/load",
    "GET /v1/operations",
    "GET /v1/operations/workers",
    "GET /v1/operations/workers/{worker}",
    "GET /v1/operations/history",
    "GET /v1/operations/history/series",
    "GET /v1/operations/controls",
    "GET /v1/operations/tasks",
    "GET /v1/photos",
    "GET /v1/photos/{photo_id}",
    "GET /v1/photos/{photo_id}/thumbnail",
    "GET /v1/photos/{photo_id}/rendition",
    "GET /v1/photos/{photo_id}/original",
    "GET /v1/search",
    "GET /v1/imports",
    "GET /v1/imports/{batch_id}",
    "GET /v1/imports/{batch_id}/photos",
    "GET /v1/imports/{batch_id}/statistics",
    "GET /v1/imports/{batch_id}/failures",
    "GET /v1/imports/{batch_id}/report.csv",
    "GET /v1/imports/{batch_id}/report.html",
    "GET /v1/failures",
    "GET /v1/failures/items",
    "GET /v1/failures/replays",
    "GET /v1/failures/replays/{replay_id}",
    "GET /failures",
    "GET /operations",
    "GET /openapi.json",
    "GET /v1/policy",
    "GET /v1/policy/history",
    "GET /v1/policy/suggestions",
    "GET /v1/precision",
    "GET /v1/models",
    "GET /v1/models/{name}",
    "GET /v1/models/{name}/shadow-report",
    "GET /v1/trainings",
    "GET /v1/trainings/{request_id}",
    "GET /v1/labels",
    "GET /v1/labels/{set}",
    "GET /v1/labels/{set}/examples",
    "GET /v1/reviews",
    "GET /v1/reviews/answers",
    "GET /v1/schedules",
    "GET /v1/schedules/{name}",
    "GET /v1/schedules/{name}/runs",
    "GET /v1/sources",
    "GET /v1/sources/{source_id}",
    "GET /v1/sources/{source_id}/runs",
    "GET /v1/notifications",
    "GET /v1/notifications/{notice_id}",
    "WS /v1/events",
)

_UPLOADER: Final = (
    "POST /v1/photos",
    "POST /v1/photos/{photo_id}/cancel",
    "POST /v1/imports",
    "POST /v1/imports/archive",
    "POST /v1/imports/{batch_id}/missing",
    "PUT /v1/imports/{batch_id}/files",
    "POST /v1/imports/{batch_id}/seal",
    "POST /v1/imports/{batch_id}/pause",
    "POST /v1/imports/{batch_id}/resume",
    "POST /v1/imports/{batch_id}/cancel",
)

_REVIEWER: Final = (
    "GET /v1/reviews/next",  # nobody else gets these photos then
    "POST /v1/reviews/{photo_id}",
    "DELETE /v1/reviews/{photo_id}",
    "POST /v1/reviews/{photo_id}/release",
    # What went wrong with the owner's own photos: a person decides what becomes of it.
    "POST /v1/failures/replay",
    "POST /v1/failures/replays/{replay_id}/stop",
    "POST /v1/failures/discard",
    "POST /v1/failures/restore",
)

_TRAINER: Final = (
    # Bytes of a model, and a version that nothing uses yet. That it holds is an admin's decision,
    # but for the owner's own heads (OF_HEADS).
    "PUT /v1/model-files/{sha256}",
    "POST /v1/models/{name}/versions",
    "PUT /v1/labels/{set}",
    "POST /v1/labels/{set}/examples",
    "POST /v1/labels/{set}/examples/import",
    "DELETE /v1/labels/{set}/examples/{photo_id}",
    "POST /v1/trainings",
    "POST /v1/trainings/{request_id}/cancel",
)

_ADMIN: Final = (
    "POST /v1/models/{name}/activate",
    "POST /v1/models/{name}/rollback",
    "POST /v1/models/{name}/shadow",
    "POST /v1/models/{name}/retire",
    "PATCH /v1/operations/controls/{service}",
    "PATCH /v1/operations/controls/{service}/{lane}",
    "DELETE /v1/operations/controls/{service}",
    "DELETE /v1/operations/controls/{service}/{lane}",
    "POST /v1/policy",
    "POST /v1/reprocess",  # work for a whole library, and it changes what is shown
    "POST /v1/sources",
    "PATCH /v1/sources/{source_id}",
    "DELETE /v1/sources/{source_id}",
    "POST /v1/sources/{source_id}/run",
    "PATCH /v1/schedules/{name}",
    "POST /v1/schedules/{name}/run",
    # Where notices go to: hosts and addresses of people.
    "GET /v1/notifications/channels",
    "GET /v1/notifications/channels/{channel_id}",
    "POST /v1/notifications/channels",
    "PATCH /v1/notifications/channels/{channel_id}",
    "DELETE /v1/notifications/channels/{channel_id}",
    "POST /v1/notifications/channels/{channel_id}/test",
    "PUT /v1/load/{lane}/share",
    "DELETE /v1/load/{lane}/share",
    "GET /v1/audit",  # of all owners, with the addresses of strangers
    "GET /v1/keys",
    "POST /v1/keys",
    "DELETE /v1/keys/{key}",
)

NEEDED: Final[Mapping[str, Role]] = {
    **dict.fromkeys(_VIEWER, "viewer"),
    **dict.fromkeys(_UPLOADER, "uploader"),
    **dict.fromkeys(_REVIEWER, "reviewer"),
    **dict.fromkeys(_TRAINER, "trainer"),
    **dict.fromkeys(_ADMIN, "admin"),
}

OF_HEADS: Final[Mapping[str, Role]] = dict.fromkeys(
    (
        "POST /v1/models/{name}/activate",
        "POST /v1/models/{name}/rollback",
        "POST /v1/models/{name}/shadow",
        "POST /v1/models/{name}/retire",
    ),
    "trainer",
)
"""What the same routes need for a model `head:SET`, which labels its owner's photos alone."""


_SECURITY: Final = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key, `dk_ID_SECRET`."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "`POST /v1/session` begins one, for pages.",
    },
}


class Described(FastAPI):
    """An application whose description says how to be known, and which role each route needs."""

    def openapi(self) -> dict[str, Any]:
        """See FastAPI; `x-role` is the role, and what is open to all has no `security`."""
        described = super().openapi()
        described.setdefault("components", {})["securitySchemes"] = _SECURITY
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                role = NEEDED.get(f"{method.upper()} {path}")
                if role is not None:
                    operation["x-role"] = role
                    operation["security"] = [{"key": []}, {"session": []}]
                    for status, problem in documented(401, 403).items():
                        operation["responses"].setdefault(str(status), problem)
        return described


async def _permitted(asking: HTTPConnection) -> None:
    """Raises ProblemError (403)."""
    method = asking.scope.get("method", "WS")
    path = getattr(asking.scope.get("route"), "path", "")
    name = f"{method} {path}"
    if name in OPEN:
        return
    needed = NEEDED.get(name)
    if asking.path_params.get("name", "").startswith("head:"):
        needed = OF_HEADS.get(name, needed)
    speaker = asking.scope.get("speaker")
    held = speaker.role if isinstance(speaker, Speaker) else None
    if needed is not None and held is not None and reaches(held, needed):
        return
    detail = f"This needs the role {needed or 'of nobody'}; yours is {held or 'none'}."
    raise ProblemError(403, "forbidden", detail, more={"needed": needed, "held": held})


Permitted = Depends(_permitted)
"""Of the whole application: each route asks for its role before anything else."""
