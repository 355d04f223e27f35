"""Photos that an older version of the model embedded, embedded again."""

from collections.abc import Mapping
from typing import Any, Final

from darkroom_schemas.names import PHOTO_EMBEDDING_REQUESTED, PHOTO_REEMBEDDED
from stagekit import Also, Found


def answer(
    request: Mapping[str, Any], about: Mapping[str, Any], found: Found | str
) -> Mapping[str, Any]:
    """The value of photo.reembedded."""
    return {
        **about,
        "owner": request["owner"],
        "photo_id": request["photo_id"],
        "asked_version": request["model_version"],
        "vector": [] if isinstance(found, str) else found["vector"],
        "error": found if isinstance(found, str) else None,
    }


AGAIN: Final = Also(PHOTO_EMBEDDING_REQUESTED, "learning", PHOTO_REEMBEDDED, answer)
