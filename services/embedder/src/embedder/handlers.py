"""What the embedder says of a photo."""

from collections.abc import Mapping
from typing import Any, Final

from darkroom_schemas.names import PHOTO_EMBEDDED
from embedder.engines import EmbedderEngine
from stagekit import Photo

STAGE: Final = "embedder"
TOPIC: Final = PHOTO_EMBEDDED

ENOUGH_PIXELS: Final = 512
"""Of the short side: twice of what the model looks at, so that scaling down stays smooth."""


def look(engine: EmbedderEngine, photo: Photo) -> Mapping[str, Any]:
    """The embedder's fields of its event; labels come by the owner's heads, where there are some.

    Raises Retry or Reject.
    """
    (vector,) = engine.embed([photo.rendition])
    return {"vector": vector.tolist(), "labels": []}
