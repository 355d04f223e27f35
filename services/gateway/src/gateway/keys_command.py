"""Keys straight in the catalog, for who may reach it anyway: so that there can be a first one.

One request as JSON on standard input, its answer on standard output. A key is never an argument,
which others of the machine could read.
"""

from typing import Annotated, Final, Literal, TextIO

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateway import db
from gateway.catalog import keys
from gateway.catalog.keys import Key, KeyRequest
from gateway.db import Conn
from gateway.texts import Name

_NO_OWNER: Final = ""
"""Keys are asked about for no owner in particular."""


class Create(BaseModel):
    """{"do": "create", "key": {"name", "role"}, "by"}"""

    model_config = ConfigDict(extra="forbid")

    do: Literal["create"]
    key: KeyRequest
    by: Name


class Revoke(BaseModel):
    """{"do": "revoke", "key": ID or NAME, "by"}"""

    model_config = ConfigDict(extra="forbid")

    do: Literal["revoke"]
    key: Name
    by: Name


class List(BaseModel):
    """{"do": "list"}"""

    model_config = ConfigDict(extra="forbid")

    do: Literal["list"]


class Listed(BaseModel):
    """All keys."""

    items: list[Key]


_REQUEST: Final[TypeAdapter[Create | Revoke | List]] = TypeAdapter(
    Annotated[Create | Revoke | List, Field(discriminator="do")]
)


def run_keys(database: str, asked: TextIO, told: TextIO) -> int:
    """Answer one request; the exit code: 1 with {"error": SENTENCE}. Raises psycopg.Error."""
    try:
        request = _REQUEST.validate_json(asked.read())
    except ValidationError as error:
        wrong = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
        return _refuse(told, wrong)
    with db.connect(database, name="darkroom-gateway-keys") as conn:
        answer = _answer(conn, request)
    if isinstance(answer, str):
        return _refuse(told, answer)
    told.write(answer.model_dump_json() + "\n")
    return 0


def _answer(conn: Conn, request: Create | Revoke | List) -> BaseModel | str:
    """A string is why not."""
    match request:
        case Create():
            try:
                return keys.make_key(conn, _NO_OWNER, request.key, request.by)
            except keys.KeyNameTakenError:
                return f"there is, or was, a key named {request.key.name}"
        case Revoke():
            revoked = keys.revoke_key(conn, _NO_OWNER, request.key, request.by)
            return revoked or f"there is no key {request.key}"
        case List():
            return Listed(items=keys.keys(conn, _NO_OWNER))


def _refuse(told: TextIO, why: str) -> int:
    told.write(_Refused(error=why).model_dump_json() + "\n")
    return 1


class _Refused(BaseModel):
    error: str
