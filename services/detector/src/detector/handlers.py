"""What the detector says of a photo."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from darkroom_schemas.names import PHOTO_OBJECTS_DETECTED
from detector.engines import DetectorEngine
from stagekit import Photo

STAGE: Final = "detector"
TOPIC: Final = PHOTO_OBJECTS_DETECTED

ENOUGH_PIXELS: Final = 512
"""Of the short side: twice of what the model looks at, so that scaling down stays smooth."""

ENOUGH_FOR_BOXES: Final = 1024
"""Detectors look at 640 to 960 pixels, and for small things."""


def look(engine: DetectorEngine, photo: Photo) -> Mapping[str, Any]:
    """The detector's fields of its event. Raises Retry or Reject."""
    (detection,) = engine.detect([photo.rendition])
    return dataclasses.asdict(detection)
