"""/v1/session: signing in with a key, for pages."""

from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, SecretStr

from gateway.api.door import Wired
from gateway.api.problems import documented
from gateway.api.speakers import COOKIE, Speaker, address_of, session_of
from gateway.catalog import keys
from gateway.catalog.shapes import Shape
from gateway.roles import Role

router = APIRouter(prefix="/v1/session", tags=["keys"])

_LONGEST_KEY: Final = 200


class SignIn(BaseModel):
    """Who signs in."""

    key: SecretStr = Field(min_length=1, max_length=_LONGEST_KEY)


class Session(Shape):
    """Who asks, and what they may do."""

    name: str = Field(description="as the audit log has it", examples=["key:ada"])
    role: Role
    owner: str = Field(description="whose photos are seen", examples=["local"])
    anonymous: bool = Field(description="whether no key was needed")
    ends_at: datetime | None = Field(description="when to sign in again; null without a session")


@router.get("", summary="Who you are", responses=documented(401, 503))
async def get_session(door: Wired) -> Session:
    """By your key, your session, or without either."""
    return _shown(door.speaker)


@router.post(
    "",
    status_code=201,
    summary="Sign in",
    response_model=Session,
    responses=documented(401, 403, 413, 422, 429, 503),
)
async def post_session(wanted: SignIn, request: Request, door: Wired) -> Response:
    """Begin a session with a key. Its cookie can't be read by scripts, is sent by no other site's
    page, and opens nothing any more after half a day, or once the key is revoked or expired."""
    address = address_of(request)
    holder = await door.keeper.holder(wanted.key.get_secret_value(), address)
    secret, ends_at = await door.catalog.ask(keys.begin_session, holder, address)
    shown = _shown(Speaker(holder.role, holder)).model_copy(update={"ends_at": ends_at})
    response = JSONResponse(shown.model_dump(mode="json"), 201)
    response.set_cookie(
        COOKIE,
        secret,
        expires=ends_at.astimezone(UTC),
        secure=_is_https(request),
        httponly=True,
        samesite="strict",
    )
    return response


@router.delete("", status_code=204, summary="Sign out", responses=documented(403, 503))
async def delete_session(request: Request, door: Wired) -> Response:
    """End the session, here and for whoever may have copied its cookie. Harmless without one."""
    session = session_of(request)
    if session is not None:
        await door.catalog.ask(keys.end_session, session)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, secure=_is_https(request), httponly=True, samesite="strict")
    return response


def _is_https(request: Request) -> bool:
    """What a client says falsely here it does to itself."""
    said = request.headers.get("x-forwarded-proto", request.url.scheme)
    return said.partition(",")[0].strip().lower() == "https"


def _shown(speaker: Speaker) -> Session:
    holder = speaker.holder
    return Session(
        name=speaker.named(),
        role=speaker.role,
        owner=holder.owner if holder else "local",
        anonymous=holder is None,
        ends_at=holder.session if holder else None,
    )
