"""/v1/keys: who may ask, and for what."""

from typing import Annotated

from fastapi import APIRouter, Path

from gateway.api.door import Wired
from gateway.api.problems import ProblemError, documented
from gateway.catalog import keys
from gateway.catalog.keys import Key, KeyName, KeyRequest, NewKey
from gateway.catalog.shapes import Shape

router = APIRouter(prefix="/v1/keys", tags=["keys"])


class Keys(Shape):
    """All keys, the newest first."""

    items: list[Key]


@router.get("", summary="Keys", responses=documented(503))
async def list_keys(door: Wired) -> Keys:
    """All keys that were ever made, without their secrets."""
    return Keys(items=await door.catalog.ask(keys.keys))


@router.post(
    "", status_code=201, summary="Make a key", responses=documented(403, 409, 413, 422, 503)
)
async def post_key(wanted: KeyRequest, door: Wired) -> NewKey:
    """The answer's `token` is the key. It is shown here and never again: only a hash is kept."""
    try:
        return await door.catalog.ask(keys.make_key, wanted, door.speaker.named())
    except keys.KeyNameTakenError as error:
        detail = f"There is, or was, a key named {wanted.name}."
        raise ProblemError(409, "key_exists", detail) from error


@router.delete("/{key}", summary="Revoke a key", responses=documented(403, 404, 422, 503))
async def delete_key(
    key: Annotated[KeyName, Path(description="its id or its name")], door: Wired
) -> Key:
    """From now on it opens nothing, and neither do its sessions. Harmless to repeat."""
    revoked = await door.catalog.ask(keys.revoke_key, key, door.speaker.named())
    if revoked is None:
        raise ProblemError(404, "not_found", "There is no key of this id or name.")
    return revoked
