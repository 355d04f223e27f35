"""Errors as people and programs read them: RFC 9457 problem details, never a stack trace."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import psycopg
import psycopg_pool
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gateway.api.headers import ALWAYS
from streamkit import Busy, Reject, Retry, StoreFull

_log = structlog.get_logger("gateway.api")

MEDIA_TYPE: Final = "application/problem+json"


class Problem(BaseModel):
    """What went wrong. `code` is stable, for programs; `detail` is a sentence for a person."""

    type: str = "about:blank"
    status: int = Field(examples=[415])
    title: str = Field(examples=["Unsupported Media Type"])
    code: str = Field(examples=["not_an_image"])
    detail: str = Field(examples=["this is not a picture, it seems to be plain text"])


_NO_MORE: Final[Mapping[str, Any]] = {}


class ProblemError(HTTPException):
    """Raised anywhere below a route to answer with a problem; `more` are fields of its own."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        headers: dict[str, str] | None = None,
        *,
        more: Mapping[str, Any] = _NO_MORE,
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.more = more


def not_found(what: str) -> ProblemError:
    """There is no such thing, or it belongs to somebody else."""
    return ProblemError(404, "not_found", f"There is no {what} with this id.")


def unavailable(code: str, detail: str, *, retry_after_s: int = 5) -> ProblemError:
    """A part that the request needs is away."""
    return ProblemError(503, code, detail, {"Retry-After": str(retry_after_s)})


def answer(
    status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """A problem as a response; `more` are extension members."""
    problem = Problem(status=status, title=HTTPStatus(status).phrase, code=code, detail=detail)
    body = problem.model_dump() | more
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


_CODES: Final = {404: "not_found", 405: "method_not_allowed", 400: "bad_request"}
_DETAILS: Final = {404: "There is nothing at this address."}


def _http(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, ProblemError):
        headers = dict(error.headers or {})
        return answer(error.status_code, error.code, error.detail, headers, **error.more)
    if not isinstance(error, HTTPException):  # pragma: no cover  # registered for these alone
        raise error
    status = error.status_code
    detail = _DETAILS.get(status, f"{error.detail}.")
    return answer(status, _CODES.get(status, "refused"), detail, dict(error.headers or {}))


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    told = [
        {
            "where": ".".join(str(step) for step in found["loc"]),
            "what": found["msg"].removeprefix("Value error, "),
        }
        for found in errors
    ]
    detail = "; ".join(f"{each['where']}: {each['what']}" for each in told)
    return answer(422, "invalid_request", detail or "The request is not valid.", errors=told)


DATABASE_AWAY: Final = (
    # A server that is away, not a defective query: those are errors of ours.
    *(psycopg.OperationalError, psycopg.InterfaceError),
    psycopg_pool.PoolTimeout,
)
"""What is raised while the catalog is away."""


def _database_away(_request: Request | None, error: Exception) -> JSONResponse:
    _log.warning("database_unavailable", error=str(error))
    detail = "The catalog's database does not answer. Try again in a moment."
    return answer(503, "database_unavailable", detail, {"Retry-After": "5"})


def _store_away(_request: Request, error: Exception) -> JSONResponse:
    _log.warning("part_unavailable", error=str(error))
    part = error.dependency if isinstance(error, Retry | Busy) else ""
    detail = (
        f"{(part or 'A part of Darkroom').capitalize()} does not answer. Try again in a moment."
    )
    return answer(503, "unavailable", detail, {"Retry-After": "5"})


def _store_full(_request: Request, error: Exception) -> JSONResponse:
    _log.error("store_full", error=str(error))
    detail = "Darkroom's store of photos has no room left. Make room there, then try again."
    return answer(507, "disk_full", detail, {"Retry-After": "60"})


def _object_refused(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Reject):  # pragma: no cover  # registered for these alone
        raise error
    _log.error("object_refused", code=error.code, message=error.message)
    return answer(404, error.code, error.message)


def _gone(_request: Request, _error: Exception) -> JSONResponse:
    return answer(400, "upload_broken_off", "The client left before the body was complete.")


def _defect(request: Request, error: Exception) -> JSONResponse:
    _log.error("request_failed", path=request.url.path, exc_info=error)
    detail = "Something went wrong inside Darkroom; its log says what."
    # Starlette answers this one outside of all middleware, so the headers come from here.
    return answer(500, "internal_error", detail, dict(ALWAYS))


def answered(error: Exception) -> JSONResponse | None:
    """The same for what is raised outside of the routes; None for a defect."""
    if isinstance(error, ProblemError):
        return answer(error.status_code, error.code, error.detail, dict(error.headers or {}))
    return _database_away(None, error) if isinstance(error, DATABASE_AWAY) else None


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    for away in DATABASE_AWAY:
        app.add_exception_handler(away, _database_away)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(StoreFull, _store_full)
    app.add_exception_handler(Retry, _store_away)
    app.add_exception_handler(Busy, _store_away)
    app.add_exception_handler(Reject, _object_refused)
    app.add_exception_handler(Exception, _defect)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These statuses as problems, for a route's OpenAPI description."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        }
        for status in statuses
    }
